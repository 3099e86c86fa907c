import type { PmiClient, Waiting } from '../index';

export interface Measure {
  what: string;
  count: number;
  milliseconds: number;
}

/** Enough barriers for a mean. */
const barriers = 100;

/** All ranks do the same at the same time. Each rank gets what its neighbour has put. */
export async function bench(pmi: PmiClient, count: number, waiting: () => Waiting): Promise<Measure[]> {
  const measures: Measure[] = [];
  const measure = async (what: string, times: number, work: () => Promise<unknown>): Promise<void> => {
    await pmi.barrier(waiting());
    const begin = performance.now();
    await work();
    measures.push({ what, count: times, milliseconds: performance.now() - begin });
  };
  const keysOf = (rank: number): string[] => Array.from({ length: count }, (_, i) => `bench-${rank}-${i}`);
  const own = keysOf(pmi.rank);
  const theirs = keysOf((pmi.rank + 1) % pmi.size);

  await measure('put, pipelined', count, () =>
    pmi.putMany(
      own.map((key) => [key, `of-${key}`] as const),
      waiting(),
    ),
  );
  await measure('get, one by one', count, async () => {
    for (const key of theirs) await pmi.get(key, waiting());
  });
  await measure('get, pipelined', count, () => pmi.getMany(theirs, waiting()));
  await measure('barrier', barriers, async () => {
    for (let i = 0; i < barriers; i++) await pmi.barrier(waiting());
  });
  return measures;
}

export function benchLines(pmi: PmiClient, measures: Measure[]): string[] {
  return measures.map(({ what, count, milliseconds }) => {
    const each = ((milliseconds * 1000) / count).toFixed(1);
    return `rank ${pmi.rank} of ${pmi.size}: ${what.padEnd(16)} ${count} in ${milliseconds.toFixed(1)} ms, ${each} us each`;
  });
}
