/** Figures as text. */
import type { Traffic } from './fence.mjs';
import { treeName } from './fence-model.mjs';
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

export function titleOf({ what, pmi, ranks, swarm, load, turns, planned, tree, puts }: Figure): string {
  const partial = turns < planned ? [`${turns} of ${planned} turns`] : [];
  return [
    what,
    ...(pmi === undefined ? [] : [pmi]),
    `${ranks} ${what === 'fence' ? 'hosts' : 'ranks'}`,
    ...(tree === undefined ? [] : [treeName(tree), puts ? 'a put each' : 'no puts']),
    ...(swarm ? ['swarm'] : []),
    ...(load > 0 ? [`beside ${load} busy loops`] : []),
    ...partial,
  ].join(', ');
}

const traffic = (name: string, { messagesIn, messagesOut, bytesIn, bytesOut }: Traffic): string =>
  `${name} ${messagesIn} messages in and ${messagesOut} out, ${bytesIn} and ${bytesOut} bytes`;

export function figureLines(figure: Figure): string[] {
  const { series, toFloor, toServing, toPeer, counted } = figure;
  const rows = Object.entries(series).map(
    ([name, { milliseconds: values, spreadMs, serverNs, memoryBytes, nodes }]) => {
      const ratio = toFloor[name];
      const serving = toServing?.[name];
      return [
        `  ${name.padEnd(19)}${milliseconds(median(values)).padStart(10)}`,
        ...(ratio === undefined
          ? []
          : [
              `${times(ratio.time)} the floor${name === AGAIN ? ' (noise)' : name === 'wireup, CURVE' ? ' with CURVE' : ''}`,
            ]),
        ...(serving === undefined ? [] : [`${times(serving)} the one with ranks`]),
        ...(toPeer[name] === undefined ? [] : [`wireup takes ${times(toPeer[name])} of it`]),
        ...(spreadMs === undefined ? [] : [`spread ${milliseconds(median(spreadMs))}`]),
        ...(serverNs === undefined ? [] : [`server ${(median(serverNs) / 1000).toFixed(2)} us an operation`]),
        ...(ratio?.server === undefined ? [] : [`${times(ratio.server)} the floor's`]),
        ...(nodes === undefined
          ? []
          : [
              `root ${milliseconds(median(nodes.rootNs) / 1e6)}, inner ${milliseconds(median(nodes.innerNs) / 1e6)}, leaf ${milliseconds(median(nodes.leafNs) / 1e6)} of processor time`,
            ]),
        ...(memoryBytes === undefined ? [] : [`${(median(memoryBytes) / 1024).toFixed(2)} KiB a rank`]),
      ].join('; ');
    },
  );
  if (counted !== undefined) {
    const { depth, root, inner } = counted;
    rows.push(
      [
        `  depth ${depth}`,
        traffic('root', root),
        ...(inner === undefined ? [] : [traffic('inner host', inner)]),
      ].join('; '),
    );
  }
  return [`${titleOf(figure)}:`, ...rows];
}
