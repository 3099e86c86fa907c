/** The benchmark `fence`: barriers over pretended hosts on this machine, beside a tree of processes over plain libzmq. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';
import { RUN_LIMIT } from '../bench.js';
import { conduct, type Conducted } from './conduct.mjs';
import { client, tool, type Launcher } from './launchers.mjs';
import { AGAIN, measure, type Figure, type Plan, type Series } from './measure.mjs';
import { median, pairedRatio, type Ratio } from './statistics.mjs';

/** The messages and bytes of keys of one host for one fence. */
export interface Traffic {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
}

/** The links of a job, counted in a run that is not timed. */
export interface Counted {
  /** Edges from the root to the deepest host. */
  depth: number;
  root: Traffic;
  /** The host with the most messages that has a parent and children. */
  inner?: Traffic;
  leaf: Traffic;
}

/** Processor time for one fence. */
export interface NodeTimes {
  rootNs: number;
  /** Of the one with the most that has a parent and children; 0: there is none. */
  innerNs: number;
  leafNs: number;
}

/** Bytes of the value that each rank puts, and of its key and two lengths in a message. */
export const VALUE_BYTES = 128;
const entryBytes = (host: number, round: number): number => 8 + `card-${host}-${round}`.length + VALUE_BYTES;

/** Fences in a run. */
const FENCES = 20;
const COUNTED_FENCES = 5;

export interface FencePlan extends Plan {
  /** How many other hosts each host has below it; 0: all are below the first one. */
  tree: number;
  puts: boolean;
}

/** Of a job: byte streams, or ZeroMQ without and with encryption. */
type Links = 'streams' | 'plain' | 'curve';

const wireupNames: Readonly<Record<string, Links>> = {
  wireup: 'streams',
  'wireup, ZeroMQ': 'plain',
  'wireup, CURVE': 'curve',
};

/** Trees over plain libzmq: without and with encryption, and with a rank that each process serves. */
const floors: Readonly<Record<string, { curve: boolean; ranks: boolean }>> = {
  floor: { curve: false, ranks: false },
  'floor, ranks': { curve: false, ranks: true },
  'floor, CURVE': { curve: true, ranks: false },
  'floor, CURVE, ranks': { curve: true, ranks: true },
};

interface TreeRun extends NodeTimes {
  fenceNs: number[];
}

/** Runs a mode of wireup-bench that prints JSON. Rejects with what it writes to stderr. */
export async function runBenchProgram<T>(words: readonly string[], signal: AbortSignal): Promise<T> {
  const late = AbortSignal.timeout(RUN_LIMIT * 1000);
  const child = spawn(benchPath, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: AbortSignal.any([signal, late]),
  });
  const [out, complaint, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code !== 0)
    throw new Error(complaint.trim().replace(/^wireup-bench: /, '') || `${words[0]!} ended with ${code}`);
  return JSON.parse(out) as T;
}

function addTimes(series: Series, milliseconds: number, { rootNs, innerNs, leafNs }: NodeTimes): void {
  series.milliseconds.push(milliseconds);
  const nodes = (series.nodes ??= { rootNs: [], innerNs: [], leafNs: [] });
  nodes.rootNs.push(rootNs);
  nodes.innerNs.push(innerNs);
  nodes.leafNs.push(leafNs);
}

async function runFloor(
  { ranks, tree, puts }: FencePlan,
  { curve, ranks: serving }: { curve: boolean; ranks: boolean },
  series: Series,
  signal: AbortSignal,
): Promise<void> {
  const bytes = puts ? entryBytes(ranks - 1, FENCES) : 0;
  const run = await runBenchProgram<TreeRun>(
    [
      ...['zmq-tree', `${ranks}`, `${tree}`, `${bytes}`, `${FENCES}`],
      ...[curve ? 'curve' : 'plain', ...(serving ? ['ranks'] : [])],
    ],
    signal,
  );
  addTimes(series, median(run.fenceNs) / 1e6, run);
}

/** The time from the last rank that enters each barrier to the last one that leaves it. */
function fenceTimes({ lastNs }: Conducted, puts: boolean): number[] {
  const step = puts ? 2 : 1;
  return Array.from({ length: FENCES }, (_, i) => lastNs[(i + 1) * step]! - lastNs[(i + 1) * step - 1]!);
}

/**
 * The agents of a job among its processes. Each is the child of a guard, which has the same name. An agent over byte streams
 * is below that of its parent. Those over ZeroMQ are below one command, in the order of hosts.
 */
function nodeTimes({ threads }: Conducted, { ranks, tree }: FencePlan, links: Links): NodeTimes {
  const processes = new Map<number, { process: number; parent: number; isAgent: boolean; ns: number }>();
  for (const { process, parent, name, cpuNs } of threads) {
    const known = processes.get(process) ?? { process, parent, isAgent: false, ns: 0 };
    // Threads of libzmq have names of their own.
    const isAgent = known.isAgent || name === 'wireup-agent';
    processes.set(process, { ...known, isAgent, ns: known.ns + cpuNs });
  }
  const parentOf = (process: number): number => processes.get(process)?.parent ?? 0;
  const agentsAbove = (process: number): number =>
    processes.get(parentOf(process))?.isAgent ? 1 + agentsAbove(parentOf(process)) : 0;
  const nodes = [...processes.values()].filter(
    ({ process, isAgent }) => isAgent && agentsAbove(process) % 2 === 1,
  );
  const parents = new Set(nodes.map(({ parent }) => parentOf(parent)));
  const width = tree === 0 ? ranks : tree;
  const hasChildren = ({ process }: { process: number }, host: number): boolean =>
    links === 'streams' ? parents.has(process) : host * width + 1 < ranks;
  const [root, ...others] = nodes;
  const most = (which: typeof nodes): number => Math.max(0, ...which.map(({ ns }) => ns)) / FENCES;
  return {
    rootNs: root!.ns / FENCES,
    innerNs: most(others.filter((node, i) => hasChildren(node, i + 1))),
    leafNs: most(others.filter((node, i) => !hasChildren(node, i + 1))),
  };
}

/** One command starts the agents with links over ZeroMQ, as srun does. */
function linkOptions({ ranks }: FencePlan, links: Links): string[] {
  if (links === 'streams') return ['--map', `block:${ranks}`];
  const hosts = ['localhost', ...Array.from({ length: ranks - 1 }, (_, i) => `h${i + 1}`)];
  return [
    ...['--hosts', hosts.join(','), '--iface', 'lo'],
    ...['--launcher', 'slurm', '--launcher-exec', benchPath],
    ...(links === 'plain' ? ['--insecure-links'] : []),
  ];
}

const jobOf = (ranks: number, tree: number, ...hosts: string[]): string[] => [
  ...tool,
  ...['run', '--no-defaults', '--progress', 'none', '--pmi', 'fd', '--no-exec-shim'],
  ...['-n', `${ranks}`, ...hosts, '--tree-width', `${tree}`, ...client],
];

async function runWireup(plan: FencePlan, links: Links, series: Series, signal: AbortSignal): Promise<void> {
  const { ranks, tree, puts } = plan;
  // Without a tree, one command does not start all hosts.
  const width = links !== 'streams' && tree === 0 ? ranks : tree;
  const run = await conduct({
    what: puts ? 'fence' : 'barrier',
    ranks,
    count: FENCES,
    command: jobOf(ranks, width, ...linkOptions(plan, links)),
    signal,
  });
  addTimes(series, median(fenceTimes(run, puts)) / 1e6, nodeTimes(run, plan, links));
}

interface LinkCount {
  up: { messages: number; bytes: number };
  down: { messages: number; bytes: number };
}

/** Runs a job with a counting program between each two agents. */
async function count({ ranks, tree, puts }: FencePlan, signal: AbortSignal): Promise<Counted> {
  const folder = mkdtempSync(join(tmpdir(), 'wireup-bench-'));
  try {
    const hosts = ['localhost', ...Array.from({ length: ranks - 1 }, (_, i) => `h${i + 1}`)];
    const counting = `${benchPath} count ${folder}/{host}`;
    await conduct({
      what: puts ? 'fence' : 'barrier',
      ranks,
      count: COUNTED_FENCES,
      command: jobOf(
        ranks,
        tree,
        ...['--hosts', hosts.join(',')],
        ...['--launcher', 'exec', '--launcher-exec', counting],
      ),
      signal,
    });
    const links = hosts
      .slice(1)
      .map((host) => JSON.parse(readFileSync(join(folder, host), 'utf8')) as LinkCount);
    return countedOf(links, tree);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param links those of host 1 and so on to their parents */
function countedOf(links: readonly LinkCount[], tree: number): Counted {
  const parentOf = (host: number): number => (tree === 0 ? 0 : Math.floor((host - 1) / tree));
  const nodes = Array.from({ length: links.length + 1 }, () => ({
    children: 0,
    depth: 0,
    traffic: { messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 },
  }));
  for (const [i, { up, down }] of links.entries()) {
    const node = nodes[i + 1]!;
    const parent = nodes[parentOf(i + 1)]!;
    parent.children++;
    node.depth = parent.depth + 1;
    node.traffic.messagesOut += up.messages / COUNTED_FENCES;
    node.traffic.bytesOut += up.bytes / COUNTED_FENCES;
    node.traffic.messagesIn += down.messages / COUNTED_FENCES;
    node.traffic.bytesIn += down.bytes / COUNTED_FENCES;
    parent.traffic.messagesIn += up.messages / COUNTED_FENCES;
    parent.traffic.bytesIn += up.bytes / COUNTED_FENCES;
    parent.traffic.messagesOut += down.messages / COUNTED_FENCES;
    parent.traffic.bytesOut += down.bytes / COUNTED_FENCES;
  }
  const most = (which: typeof nodes): Traffic | undefined =>
    which
      .map(({ traffic }) => traffic)
      .sort((a, b) => b.messagesIn + b.messagesOut - a.messagesIn - a.messagesOut)[0];
  const [root, ...others] = nodes;
  const inner = most(others.filter(({ children }) => children > 0));
  return {
    depth: Math.max(...nodes.map(({ depth }) => depth)),
    root: root!.traffic,
    ...(inner === undefined ? {} : { inner }),
    leaf: most(others.filter(({ children }) => children === 0))!,
  };
}

/** Without libzmq the floor fails, and wireup is measured alone. */
const named = (name: string, essential: boolean): Launcher => ({
  name,
  essential,
  transports: ['fd'],
  commands: () => [],
});

export const fenceLaunchers: readonly Launcher[] = [
  named('floor', false),
  ...Object.keys(wireupNames).map((name) => named(name, name === 'wireup')),
  ...Object.keys(floors)
    .filter((name) => name !== 'floor')
    .map((name) => named(name, false)),
  named(AGAIN, false),
];

/** As {@link measure}; one more step is the job whose messages are counted. */
export async function measureFence(
  plan: FencePlan,
  launchers: readonly Launcher[],
  signal: AbortSignal,
  done: () => void,
  failed: (launcher: Launcher, why: string) => void,
): Promise<Figure | undefined> {
  const take = ({ name }: Launcher, series: Series): Promise<void> => {
    const links = wireupNames[name];
    return links === undefined
      ? runFloor(plan, floors[name] ?? floors.floor!, series, signal)
      : runWireup(plan, links, series, signal);
  };
  const figure = await measure(plan, launchers, take, signal, done, failed);
  if (figure === undefined) return undefined;
  const { series, toFloor } = figure;
  const ratio = (name: string, floor: string): Ratio | undefined => {
    const [own, other] = [series[name]?.milliseconds, series[floor]?.milliseconds];
    return own === undefined || other === undefined ? undefined : pairedRatio(own, other);
  };
  const toEncrypted = ratio('wireup, CURVE', 'floor, CURVE');
  if (toEncrypted !== undefined) toFloor['wireup, CURVE'] = { time: toEncrypted };
  for (const [name, links] of Object.entries(wireupNames)) {
    const toServing = ratio(name, links === 'curve' ? 'floor, CURVE, ranks' : 'floor, ranks');
    if (toServing !== undefined) (figure.toServing ??= {})[name] = toServing;
  }
  if (signal.aborted) return figure;
  try {
    return { ...figure, tree: plan.tree, puts: plan.puts, counted: await count(plan, signal) };
  } catch (error) {
    if (!signal.aborted) failed(named('wireup', true), (error as Error).message);
    return { ...figure, tree: plan.tree, puts: plan.puts };
  }
}
