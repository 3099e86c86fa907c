/** Statistics of a series of turns. */
import { binomialDistribution, linearRegression, median } from 'simple-statistics';

export { median };

export interface Ratio {
  median: number;
  /** Its 95 % interval; null if there are fewer turns than such an interval needs (6). */
  low: number | null;
  high: number | null;
}

const CONFIDENCE = 0.95;

/**
 * The interval of a median by order statistics: each value lies below the true median with a probability of one half,
 * so the number of those that do is binomial. It assumes nothing about the distribution of the values.
 */
function intervalOf(sorted: readonly number[]): [number | null, number | null] {
  const chances = binomialDistribution(sorted.length, 0.5)!;
  let below = 0;
  let cut = 0;
  for (let tail = chances[0]!; 2 * tail <= 1 - CONFIDENCE; tail += chances[below]!) cut = ++below;
  return cut === 0 ? [null, null] : [sorted[cut - 1]!, sorted[sorted.length - cut]!];
}

/** The 95 % interval of the median of a series; null: it has too few values. */
export const medianInterval = (values: readonly number[]): [number | null, number | null] =>
  intervalOf([...values].sort((a, b) => a - b));

/** Of two series that were taken in turn: the median of the ratios of all turns that both have. */
export function pairedRatio(values: readonly number[], others: readonly number[]): Ratio {
  const ratios = values
    .slice(0, others.length)
    .map((value, i) => value / others[i]!)
    .sort((a, b) => a - b);
  const [low, high] = intervalOf(ratios);
  return { median: median(ratios), low, high };
}

/** The exponent e of a cost that grows as N to the power of e. Undefined for fewer than three points. */
export function growth(points: readonly (readonly [ranks: number, cost: number])[]): number | undefined {
  if (points.length < 3) return undefined;
  return linearRegression(points.map(([ranks, cost]) => [Math.log(ranks), Math.log(cost)])).m;
}
