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
  /** For each message that it receives or sends. */
  messageNs: number;
  /** For each byte of keys that it receives, and that it sends. */
  receiveNs: number;
  sendNs: number;
  /** For each byte of the keys of other hosts that it keeps for its ranks. */
  storeNs: number;
}

type ByteCosts = Pick<FenceCosts, 'receiveNs' | 'sendNs'>;

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

interface MeasuredNode {
  traffic: Traffic;
  /** The bytes of the keys of other hosts. */
  stored: number;
  ns: number;
}

/** The agents of a figure: what each has sent and received, and its processor time. */
function nodesOf({ counted, series }: Figure): MeasuredNode[] {
  const times = series.wireup?.nodes;
  if (counted === undefined || times === undefined) return [];
  const stored = counted.leaf.bytesIn;
  return [
    { traffic: counted.root, stored, ns: median(times.rootNs) },
    ...(counted.inner === undefined ? [] : [{ traffic: counted.inner, stored, ns: median(times.innerNs) }]),
    { traffic: counted.leaf, stored, ns: median(times.leafNs) },
  ];
}

const messagesOf = (traffic: Traffic): number => traffic.messagesIn + traffic.messagesOut;

/**
 * Least squares, first over the fences without puts, by messages; then over the others, by bytes that are stored.
 *
 * @param bytes what a byte takes that an agent receives or sends; the measured fences are too small to show it
 * @returns undefined if the points are too few, or so noisy that a cost is negative
 */
export function fitCosts(figures: readonly Figure[], bytes: ByteCosts): FenceCosts | undefined {
  const fences = figures.filter(({ what }) => what === 'fence');
  const empty = fences.filter(({ puts }) => puts === false).flatMap(nodesOf);
  const full = fences.filter(({ puts }) => puts === true).flatMap(nodesOf);
  if (empty.length < 4 || full.length < 4) return undefined;
  const byMessages = linearRegression(empty.map(({ traffic, ns }) => [messagesOf(traffic), ns]));
  const byStored = linearRegression(
    full.map(({ traffic, stored, ns }) => [
      stored,
      ns -
        byMessages.m * messagesOf(traffic) -
        bytes.receiveNs * traffic.bytesIn -
        bytes.sendNs * traffic.bytesOut,
    ]),
  );
  const costs = {
    emptyNs: byMessages.b,
    putNs: byStored.b,
    messageNs: byMessages.m,
    ...bytes,
    storeNs: byStored.m,
  };
  return Object.values(costs).every((cost) => cost >= 0) ? costs : undefined;
}

/**
 * The model for the measured numbers of hosts, and for more than one machine can pretend.
 *
 * @param bytes what a byte takes; default: it is measured
 */
export async function simulate(
  figures: readonly Figure[],
  signal: AbortSignal,
  bytes?: ByteCosts,
): Promise<FenceModel | undefined> {
  const fences = figures.filter(({ what }) => what === 'fence');
  if (fences.length === 0) return undefined;
  const costs = fitCosts(figures, bytes ?? (await runBenchProgram<ByteCosts>(['byte-cost'], signal)));
  if (costs === undefined) return undefined;
  const trees = [...new Set(fences.map(({ tree }) => tree!))];
  const hosts = [...new Set([...fences.map(({ ranks }) => ranks), ...HOSTS])].sort((a, b) => a - b);
  const points: Simulated[] = [];
  for (const puts of [false, true]) {
    for (const tree of trees) {
      for (const count of hosts) {
        const numbers = [
          ...[count, tree, puts ? VALUE_BYTES : 0],
          ...[
            puts ? costs.putNs : costs.emptyNs,
            costs.messageNs,
            costs.receiveNs,
            costs.sendNs,
            costs.storeNs,
          ],
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

export function modelLines(model: FenceModel | undefined): string[] {
  if (model === undefined) return ['no model of a fence: the points are too few, or too noisy'];
  const { costs, link, points } = model;
  const { emptyNs, putNs, messageNs, receiveNs, sendNs, storeNs } = costs;
  const rows = points.map(({ hosts, tree, puts, wallNs, depth, root, inner }) =>
    [
      `  ${`${number(hosts)} hosts, ${treeName(tree)}`.padEnd(24)}${puts ? 'a put each' : 'no puts   '}`,
      `${time(wallNs).padStart(8)}, depth ${depth}`,
      `root ${time(root.processorNs)}, ${number(root.messagesIn)} messages in, ${number(root.messagesOut)} out, ${number(root.bytesIn)} bytes in, ${number(root.bytesOut)} out`,
      `inner ${time(inner.processorNs)}`,
    ].join('; '),
  );
  return [
    `model of a fence: ${time(emptyNs)} (with a put ${time(putNs)}) of processor time for an agent's own ranks, ${time(messageNs)} a message, ${receiveNs.toFixed(2)} ns to receive a byte, ${sendNs.toFixed(2)} ns to send one, ${storeNs.toFixed(2)} ns to keep one for its ranks; links of ${time(link.latencyNs)} and ${link.bytesPerNs * 8} Gbit/s:`,
    ...rows,
  ];
}
