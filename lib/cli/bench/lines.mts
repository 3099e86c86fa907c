/** Figures as text. */
import { AGAIN, type Figure } from './measure.mjs';
import { median, type Ratio } from './statistics.mjs';

/** Three significant digits, because a measurement is no more precise. */
export function milliseconds(value: number): string {
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ms`;
}

export function times({ median: middle, low, high }: Ratio): string {
  const interval = low === null || high === null ? '' : ` (${low.toFixed(2)} to ${high.toFixed(2)})`;
  return `${middle.toFixed(2)}x${interval}`;
}

export function titleOf({ what, pmi, ranks, swarm, load, turns, planned }: Figure): string {
  const partial = turns < planned ? [`${turns} of ${planned} turns`] : [];
  return [
    what,
    ...(pmi === undefined ? [] : [pmi]),
    `${ranks} ranks`,
    ...(swarm ? ['swarm'] : []),
    ...(load > 0 ? [`beside ${load} busy loops`] : []),
    ...partial,
  ].join(', ');
}

export function figureLines(figure: Figure): string[] {
  const { series, toFloor, toPeer } = figure;
  const rows = Object.entries(series).map(
    ([name, { milliseconds: values, spreadMs, serverNs, memoryBytes }]) => {
      const ratio = toFloor[name];
      return [
        `  ${name.padEnd(14)}${milliseconds(median(values)).padStart(10)}`,
        ...(ratio === undefined ? [] : [`${times(ratio.time)} the floor${name === AGAIN ? ' (noise)' : ''}`]),
        ...(toPeer[name] === undefined ? [] : [`wireup takes ${times(toPeer[name])} of it`]),
        ...(spreadMs === undefined ? [] : [`spread ${milliseconds(median(spreadMs))}`]),
        ...(serverNs === undefined ? [] : [`server ${(median(serverNs) / 1000).toFixed(2)} us an operation`]),
        ...(ratio?.server === undefined ? [] : [`${times(ratio.server)} the floor's`]),
        ...(memoryBytes === undefined ? [] : [`${(median(memoryBytes) / 1024).toFixed(2)} KiB a rank`]),
      ].join('; ');
    },
  );
  return [`${titleOf(figure)}:`, ...rows];
}
