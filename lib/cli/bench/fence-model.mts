/** The costs of a fence over more hosts than one machine can pretend: see native/tools/bench/fence_model.h. */
import { linearRegression } from 'simple-statistics';
import { runBenchProgram, VALUE_BYTES, type Traffic } from './fence.mjs';
import type { Figure } from './measure.mjs';
import { median } from './statistics.mjs';

/** Processor time of an agent, from the measured points. */
export interface FenceCosts {
  /** For a fence of its own ranks without puts, and with one put. */
  emptyNs: number;
  putNs: number;
  /** For each message that it receives or sends, and for each byte of keys. */
  messageNs: number;
  byteNs: number;
}

/** A cluster's Ethernet: the time of a small TCP message between two hosts, and 10 Gbit/s. */
export const LINK = { latencyNs: 25_000, bytesPerNs: 1.25 };

const HOSTS = [1024, 10_000, 100_000];

interface SimulatedNode extends Traffic {
  processorNs: number;
}

export interface Simulated {
  hosts: number;
  tree: number;
  puts: boolean;
  wallNs: number;
  /** Of all agents. */
  processorNs: number;
  depth: number;
  root: SimulatedNode;
  inner: SimulatedNode;
  leaf: SimulatedNode;
}

export interface FenceModel {
  costs: FenceCosts;
  link: typeof LINK;
  points: Simulated[];
}

/** The agents of a figure: what each has sent and received, and its processor time. */
function nodesOf({ counted, series }: Figure): { traffic: Traffic; ns: number }[] {
  const times = series.wireup?.nodes;
  if (counted === undefined || times === undefined) return [];
  return [
    { traffic: counted.root, ns: median(times.rootNs) },
    ...(counted.inner === undefined ? [] : [{ traffic: counted.inner, ns: median(times.innerNs) }]),
    { traffic: counted.leaf, ns: median(times.leafNs) },
  ];
}

const messagesOf = (traffic: Traffic): number => traffic.messagesIn + traffic.messagesOut;
const bytesOf = (traffic: Traffic): number => traffic.bytesIn + traffic.bytesOut;

/**
 * Least squares, first over the fences without puts, by messages; then over the others, by bytes.
 *
 * @returns undefined if there are fewer than two trees of each kind
 */
export function fitCosts(figures: readonly Figure[]): FenceCosts | undefined {
  const fences = figures.filter(({ what }) => what === 'fence');
  const empty = fences.filter(({ puts }) => puts === false).flatMap(nodesOf);
  const full = fences.filter(({ puts }) => puts === true).flatMap(nodesOf);
  if (empty.length < 4 || full.length < 4) return undefined;
  const byMessages = linearRegression(empty.map(({ traffic, ns }) => [messagesOf(traffic), ns]));
  const byBytes = linearRegression(
    full.map(({ traffic, ns }) => [bytesOf(traffic), ns - byMessages.m * messagesOf(traffic)]),
  );
  return { emptyNs: byMessages.b, putNs: byBytes.b, messageNs: byMessages.m, byteNs: byBytes.m };
}

/** The model for the measured numbers of hosts, and for more than one machine can pretend. */
export async function simulate(
  figures: readonly Figure[],
  signal: AbortSignal,
): Promise<FenceModel | undefined> {
  const costs = fitCosts(figures);
  if (costs === undefined) return undefined;
  const fences = figures.filter(({ what }) => what === 'fence');
  const trees = [...new Set(fences.map(({ tree }) => tree!))];
  const hosts = [...new Set([...fences.map(({ ranks }) => ranks), ...HOSTS])].sort((a, b) => a - b);
  const points: Simulated[] = [];
  for (const puts of [false, true]) {
    for (const tree of trees) {
      for (const count of hosts) {
        const numbers = [
          ...[count, tree, puts ? VALUE_BYTES : 0],
          ...[puts ? costs.putNs : costs.emptyNs, costs.messageNs, costs.byteNs],
          ...[LINK.latencyNs, LINK.bytesPerNs],
        ];
        const point = await runBenchProgram<Omit<Simulated, 'hosts' | 'tree' | 'puts'>>(
          ['model', ...numbers.map(String)],
          signal,
        );
        points.push({ hosts: count, tree, puts, ...point });
      }
    }
  }
  return { costs, link: LINK, points };
}

export const treeName = (tree: number): string => (tree === 0 ? 'flat' : `width ${tree}`);

const number = (value: number): string => Math.round(value).toLocaleString('en-US');

/** Three significant digits. */
function time(ns: number): string {
  const [value, unit] = ns >= 1e9 ? [ns / 1e9, 's'] : ns >= 1e6 ? [ns / 1e6, 'ms'] : [ns / 1e3, 'us'];
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

export function modelLines({ costs, link, points }: FenceModel): string[] {
  const { emptyNs, putNs, messageNs, byteNs } = costs;
  const rows = points.map(({ hosts, tree, puts, wallNs, depth, root, inner }) =>
    [
      `  ${`${number(hosts)} hosts, ${treeName(tree)}`.padEnd(24)}${puts ? 'a put each' : 'no puts   '}`,
      `${time(wallNs).padStart(8)}, depth ${depth}`,
      `root ${time(root.processorNs)}, ${number(root.messagesIn)} messages in, ${number(root.messagesOut)} out, ${number(root.bytesIn)} bytes in, ${number(root.bytesOut)} out`,
      `inner ${time(inner.processorNs)}`,
    ].join('; '),
  );
  return [
    `model of a fence: ${time(emptyNs)} (with a put ${time(putNs)}) of processor time for an agent's own ranks, ${time(messageNs)} a message, ${byteNs.toFixed(2)} ns a byte; links of ${time(link.latencyNs)} and ${link.bytesPerNs * 8} Gbit/s:`,
    ...rows,
  ];
}
