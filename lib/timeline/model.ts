/**
 * What a timeline shows, computed from a job's result: the phases of each rank, the way to the first barrier, and the ranks
 * that differ from the others. All times are milliseconds since the launch.
 */
import { formatIdset } from '../idset';
import { describeFailure, type JobResult, type RankResult } from '../result';
import type { ResultWithGroups, SpawnedGroup } from './spawned';

/**
 * The phases of a rank.
 *
 * - `start`: from the start of its process to PMI init. Programs without PMI are in it until they end.
 * - `run`: between init and finalize, outside of barriers.
 * - `barrier`: in a barrier over all ranks.
 * - `end`: from finalize to the exit.
 */
export type PhaseKind = 'start' | 'run' | 'barrier' | 'end';

/** A phase of a rank. */
export interface Phase {
  kind: PhaseKind;
  from: number;
  to: number;
  /** Of `barrier`: its number. */
  barrier?: number;
  /** Of `barrier`: it did not complete. */
  incomplete?: true;
}

/** A rank of a timeline. */
export interface RankLine {
  rank: number;
  /** The rank, after the number of its process group if that was spawned: `1.0`. */
  label: string;
  host: string;
  phases: Phase[];
  /** When its connection was made over PMI_PORT. */
  connected?: number;
  /** It has failed, or was the first that did. */
  failedAt?: number;
  result: RankResult;
}

/** A moment that each rank reaches once, such as its init. */
export interface Moment {
  name: string;
  /** When each rank reached it. */
  times: { rank: number; time: number }[];
}

/** Least, middle and largest of some times. */
export interface Spread {
  count: number;
  min: number;
  median: number;
  max: number;
  /** The rank with the largest one. */
  last: number;
}

/** A host with its ranks. */
export interface HostLines {
  host: string;
  lines: RankLine[];
}

/** A process group that ranks have spawned. */
export interface GroupLines {
  group: number;
  /** What it is, for people. */
  title: string;
  hosts: HostLines[];
  moments: Moment[];
}

/** A timeline. */
export interface TimelineModel {
  result: JobResult;
  /** The end of the time axis. */
  end: number;
  /** In the order of hosts and ranks. */
  hosts: HostLines[];
  moments: Moment[];
  groups: GroupLines[];
  /** How many ranks it has, in all process groups. */
  size: number;
  /** The rank that came last to the first barrier, if that is complete and it is known. */
  last?: RankLine;
  /** What a reader should know first, in sentences. */
  findings: string[];
  /** The ranks that differ from the others, the worst first. */
  worst: RankLine[];
}

/** How many ranks `worst` has. */
const WORST = 20;

/** A rank differs from the others if its processor time is so many times theirs, or so small a part of it. */
const CPU_FACTOR = 4;
/** Smaller differences of processor time mean nothing: a clock tick of the kernel is 1 to 10 ms. */
const CPU_MS = 100;

export function spreadOf({ times }: Moment): Spread | undefined {
  if (times.length === 0) return undefined;
  const sorted = [...times].sort((a, b) => a.time - b.time || a.rank - b.rank);
  const last = sorted.at(-1)!;
  return {
    count: sorted.length,
    min: sorted[0]!.time,
    median: medianOf(sorted.map(({ time }) => time)),
    max: last.time,
    last: last.rank,
  };
}

/** @param sorted not empty */
function medianOf(sorted: readonly number[]): number {
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** 12.3 ms, 1.234 s: as many digits as a reader needs. */
export function milliseconds(time: number): string {
  if (time >= 10_000) return `${(time / 1000).toFixed(1)} s`;
  if (time >= 1000) return `${(time / 1000).toFixed(2)} s`;
  return `${time.toFixed(1)} ms`;
}

/** When the rank entered a barrier; undefined: never, or not known. */
export function enteredAt({ times }: RankResult, barrier: number): number | undefined {
  return times.entered?.[barrier] ?? undefined;
}

function phasesOf(row: RankResult, result: Pick<JobResult, 'duration' | 'barriers'>): Phase[] {
  const { started, initialized, finalized, exited } = row.times;
  if (started === undefined) return [];
  const end = exited ?? result.duration;
  const phases: Phase[] = [];
  let at = started;
  let kind: PhaseKind = 'start';
  /** Times can only grow: with the option `reconnect` a rank reaches moments more than once. */
  const reach = (time: number, next: PhaseKind, about: Pick<Phase, 'barrier' | 'incomplete'> = {}): void => {
    const to = Math.min(Math.max(time, at), end);
    // A phase of no measured length is shown too: the start, if the report of the start was late.
    if (to > at || (kind === 'start' && to === at)) phases.push({ kind, from: at, to, ...about });
    at = to;
    kind = next;
  };
  if (initialized !== undefined) reach(initialized, 'run');
  for (const [number, entered] of (row.times.entered ?? []).entries()) {
    if (entered === null) continue;
    reach(entered, 'barrier');
    const released = result.barriers.times[number];
    reach(released ?? row.times.disconnected ?? end, 'run', {
      barrier: number,
      ...(released === undefined ? { incomplete: true } : {}),
    });
  }
  if (finalized !== undefined) reach(finalized, 'end');
  reach(end, 'end');
  return phases;
}

/** When the failure of the job happened; undefined if the result does not have it. */
function failureTime({ failure, ranks }: JobResult): number | undefined {
  if (failure === undefined) return undefined;
  if (failure.limit !== undefined) return failure.limit;
  if (failure.rank === undefined || failure.group !== undefined) return undefined;
  const times = ranks[failure.rank]?.times;
  if (failure.reason === 'abort') return times?.aborted ?? times?.exited;
  if (failure.reason === 'lost') return times?.disconnected ?? times?.exited;
  return times?.exited;
}

/** @param result of this process, or read from the file of `--result` */
export function modelOf(result: ResultWithGroups): TimelineModel {
  const failedAt = failureTime(result);
  const lines = result.ranks.map((row): RankLine => {
    const { connected } = row.times;
    const failed =
      result.failure?.group === undefined && result.failure?.rank === row.rank && failedAt !== undefined;
    return {
      rank: row.rank,
      label: `${row.rank}`,
      host: row.host,
      phases: phasesOf(row, result),
      ...(connected === undefined ? {} : { connected }),
      ...(failed ? { failedAt } : {}),
      result: row,
    };
  });
  const last = lastToFirstBarrier(lines, result);
  const groups = (result.groups ?? []).map((group) => groupLines(group, result));
  return {
    result,
    end: Math.max(result.duration, ...lines.flatMap(({ phases }) => phases.at(-1)?.to ?? [])),
    hosts: byHost(lines),
    moments: momentsOf(result.ranks),
    groups,
    size: sizeOf(result),
    ...(last === undefined ? {} : { last }),
    findings: findingsOf(lines, result, last),
    worst: worstOf(lines, result),
  };
}

/** How many ranks a result has, in all process groups. */
export const sizeOf = ({ ranks, groups = [] }: ResultWithGroups): number =>
  groups.reduce((sum, group) => sum + group.ranks.length, ranks.length);

function byHost(lines: readonly RankLine[]): HostLines[] {
  const hosts = new Map<string, RankLine[]>();
  for (const line of lines) {
    const there = hosts.get(line.host);
    if (there === undefined) hosts.set(line.host, [line]);
    else there.push(line);
  }
  return [...hosts].map(([host, there]) => ({ host, lines: there }));
}

function groupLines({ group, by, programs, barriers, ranks }: SpawnedGroup, result: JobResult): GroupLines {
  const rows = ranks.map((row): RankResult => ({ ...row, appnum: 0, coreDumped: false, ended: false }));
  const lines = rows.map((row): RankLine => {
    const { connected } = row.times;
    return {
      rank: row.rank,
      label: `${group}.${row.rank}`,
      host: row.host,
      phases: phasesOf(row, { duration: result.duration, barriers }),
      ...(connected === undefined ? {} : { connected }),
      result: row,
    };
  });
  const spawner = by.group === 0 ? `${by.rank}` : `${by.group}.${by.rank}`;
  return {
    group,
    title: `process group ${group}: ${ranksText(ranks.map(({ rank }) => rank))} of ${[...new Set(programs)].join(', ')}, spawned by rank ${spawner}`,
    hosts: byHost(lines),
    moments: momentsOf(rows),
  };
}

function momentsOf(ranks: readonly RankResult[]): Moment[] {
  const moment = (name: string, timeOf: (row: RankResult) => number | undefined): Moment[] => {
    const times = ranks.flatMap((row) => {
      const time = timeOf(row);
      return time === undefined ? [] : [{ rank: row.rank, time }];
    });
    return times.length === 0 ? [] : [{ name, times }];
  };
  const barriers = Math.max(0, ...ranks.map(({ times }) => times.entered?.length ?? 0));
  return [
    ...moment('started', ({ times }) => times.started),
    ...moment('connected', ({ times }) => times.connected),
    ...moment('init', ({ times }) => times.initialized),
    ...Array.from({ length: barriers }, (_, number) =>
      moment(`enters barrier ${number}`, (row) => enteredAt(row, number)),
    ).flat(),
    ...moment('finalize', ({ times }) => times.finalized),
    ...moment('exit', ({ times }) => times.exited),
  ];
}

function lastToFirstBarrier(lines: readonly RankLine[], { barriers }: JobResult): RankLine | undefined {
  if (barriers.count === 0) return undefined;
  const entered = lines.filter(({ result }) => enteredAt(result, 0) !== undefined);
  return entered.length < lines.length || entered.length < 2
    ? undefined
    : entered.reduce((a, b) => (enteredAt(b.result, 0)! > enteredAt(a.result, 0)! ? b : a));
}

function findingsOf(lines: readonly RankLine[], result: JobResult, last: RankLine | undefined): string[] {
  const failure = describeFailure(result);
  return [
    ...(failure === undefined ? [] : failure.split('\n').map((line) => sentence(line))),
    ...firstBarrier(lines, result, last),
    ...openBarrier(lines, result),
    ...withoutInit(result),
    ...processorTimes(result),
  ];
}

const sentence = (line: string): string => `${line[0]!.toUpperCase()}${line.slice(1)}.`;

function firstBarrier(
  lines: readonly RankLine[],
  { barriers }: JobResult,
  last: RankLine | undefined,
): string[] {
  if (last === undefined) return [];
  const times = lines.map(({ result }) => enteredAt(result, 0)!).sort((a, b) => a - b);
  const { started = 0, initialized = started } = last.result.times;
  const entered = enteredAt(last.result, 0)!;
  return [
    `The first barrier completed after ${milliseconds(barriers.times[0]!)}. Rank ${last.rank} on ${last.host} entered it last, ` +
      `${milliseconds(entered - medianOf(times))} after the median rank: it was started after ${milliseconds(started)}, ` +
      `sent init ${milliseconds(initialized - started)} later, and entered the barrier ${milliseconds(entered - initialized)} after that.`,
  ];
}

/** The barrier that did not complete. */
function openBarrier(lines: readonly RankLine[], { barriers }: JobResult): string[] {
  const { count } = barriers;
  const inside = lines.filter(({ phases }) =>
    phases.some(({ barrier, incomplete }) => barrier === count && incomplete),
  );
  if (inside.length === 0) return [];
  const missing = lines.filter((line) => !inside.includes(line)).map(({ rank }) => rank);
  return [
    `Barrier ${count} did not complete: ${ranksText(inside.map(({ rank }) => rank))} waited in it for ${ranksText(missing)}.`,
  ];
}

/** Ranks that sent no init, although others did. */
function withoutInit({ ranks }: JobResult): string[] {
  const silent = ranks.filter(({ times }) => times.started !== undefined && times.initialized === undefined);
  if (silent.length === 0 || silent.length === ranks.length) return [];
  return [sentence(`${ranksText(silent.map(({ rank }) => rank))} never sent PMI init`)];
}

interface OddTime {
  rank: number;
  cpu: number;
}

/** The ranks whose processor time differs from the others', and the median. */
function oddProcessorTimes({ ranks }: JobResult): { odd: OddTime[]; median: number } {
  const used = ranks.flatMap(({ rank, cpu }) =>
    cpu === undefined ? [] : [{ rank, cpu: cpu.user + cpu.system }],
  );
  if (used.length < 3) return { odd: [], median: 0 };
  const median = medianOf(used.map(({ cpu }) => cpu).sort((a, b) => a - b));
  const odd = used.filter(
    ({ cpu }) =>
      Math.abs(cpu - median) >= CPU_MS && (cpu >= CPU_FACTOR * median || median >= CPU_FACTOR * cpu),
  );
  // If many differ, the work is just not equal.
  return { odd: odd.length * 4 > used.length ? [] : odd, median };
}

function processorTimes(result: JobResult): string[] {
  const { odd, median } = oddProcessorTimes(result);
  const describe = (name: string, some: OddTime[]): string[] => {
    if (some.length === 0) return [];
    const times = some.map(({ cpu }) => cpu).sort((a, b) => a - b);
    const [least, most] = [milliseconds(times[0]!), milliseconds(times.at(-1)!)];
    return [
      sentence(
        `${ranksText(some.map(({ rank }) => rank))} used ${name} processor time than the others: ` +
          `${least === most ? least : `${least} to ${most}`}, the median rank ${milliseconds(median)}`,
      ),
    ];
  };
  return [
    ...describe(
      'less',
      odd.filter(({ cpu }) => cpu < median),
    ),
    ...describe(
      'more',
      odd.filter(({ cpu }) => cpu > median),
    ),
  ];
}

export const ranksText = (ranks: readonly number[]): string =>
  `rank${ranks.length === 1 ? '' : 's'} ${formatIdset(ranks)}`;

/** Those that failed first, then those that the others waited for, then those that came last to the first barrier. */
function worstOf(lines: readonly RankLine[], result: JobResult): RankLine[] {
  const { count } = result.barriers;
  const open = lines.some(({ result: row }) => enteredAt(row, count) !== undefined);
  const odd = new Set(oddProcessorTimes(result).odd.map(({ rank }) => rank));
  const badness = ({ rank, result: row, failedAt }: RankLine): number[] => [
    failedAt === undefined ? 0 : 1,
    open && enteredAt(row, count) === undefined ? 1 : 0,
    row.times.initialized === undefined ? 1 : 0,
    odd.has(rank) ? 1 : 0,
    enteredAt(row, 0) ?? row.times.initialized ?? row.times.exited ?? Infinity,
  ];
  return lines
    .map((line) => ({ line, bad: badness(line) }))
    .sort((a, b) => {
      const i = a.bad.findIndex((value, at) => value !== b.bad[at]);
      return i < 0 ? a.line.rank - b.line.rank : b.bad[i]! - a.bad[i]!;
    })
    .slice(0, WORST)
    .map(({ line }) => line);
}
