/** The result of a launched job, as data and as text. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { formatIdset } from './idset';
import { toRankFacts, type RankFacts } from './inspect';
import { describeLateRanks } from './late-ranks';
import type { LaunchPlan } from './launch-plan';
import type { NativeRankRow, NativeResult } from './native-notices';
import { readRankRows } from './notice-rows';
import { printable } from './printable';
import { signalName } from './signals';
import type { Spawner } from './spawn';
import { describeStatus, toPmiStatus, type PmiStatus, type RankState } from './status';

/**
 * Why a job failed.
 *
 * | reason | what happened |
 * | --- | --- |
 * | `exit` | a rank exited with a code other than 0 |
 * | `signal` | a signal killed a rank |
 * | `abort` | a rank sent abort |
 * | `lost` | a rank left PMI between init and finalize |
 * | `early` | a rank left while others wait for it in a barrier |
 * | `spawn` | a rank could not be started |
 * | `timeout` | the job took longer than the option `timeout` |
 * | `startup` | not every rank had sent init and completed the first barrier within the option `startupTimeout` |
 * | `output` | output cannot be written; with EPIPE, its reader has closed it |
 * | `agent` | wireup-agent was killed or stopped |
 * | `host` | another host was lost, or could not be reached |
 */
export type FailureReason =
  | 'exit'
  | 'signal'
  | 'abort'
  | 'lost'
  | 'early'
  | 'spawn'
  | 'timeout'
  | 'startup'
  | 'output'
  | 'agent'
  | 'host';

/**
 * How far a rank had come in PMI.
 *
 * - `none`: it had not sent init.
 * - `initialized`: it had sent init.
 * - `finalized`: it had sent finalize.
 */
export type RankPhase = 'none' | 'initialized' | 'finalized';

/** Why a job failed: the first failure in time. */
export interface JobFailure {
  /** The kind of failure. */
  reason: FailureReason;
  /** Absent for `timeout`, `startup`, `output`, `agent` and `host`. */
  rank?: number;
  /** The host of the rank; for `host`: the host that was lost. Absent if the failure concerns no single host. */
  host?: string;
  /** The number of the rank's process group, if that was spawned; absent for group 0. */
  group?: number;
  /** The program that the rank of a spawned process group ran; absent for group 0. */
  program?: string;
  /** The rank's process id, if it was started. */
  pid?: number;
  /** For `exit` and `abort`: the exit code. For `early`: the exit code if the rank has exited. */
  code?: number;
  /** For `signal`: the name of the signal. */
  signal?: NodeJS.Signals;
  /** True if the signal left a core file. */
  coreDumped?: boolean;
  /** For `spawn`, `output` and `agent`: the errno; absent if there was none. */
  errno?: number;
  /** For `host`: false if its agent has never answered. */
  started?: boolean;
  /** For `host`: the ranks of the process group on it, as an idset; empty if it had none. */
  ranks?: string;
  /** For `abort`: the rank's message. For `spawn`, `output`, `agent` and `host`: what failed. */
  message?: string;
  /** For `host`: what to do about it, for people; absent if that is not known. */
  advice?: string;
  /** How far the rank had come in PMI, whatever has happened to its connection since. */
  phase?: RankPhase;
  /** Why the PMI server closed the rank's connection before the failure; absent if it did not. */
  cutOff?: string;
  /**
   * The number of the barrier in which the rank was. For `early`: of the barrier that waits for it. For `host`: of the first
   * barrier that was not complete.
   */
  barrier?: number;
  /** For `early`: the ranks that waited, as an idset. */
  waiting?: string;
  /** For `early`: the ranks that had left, so that the barrier could not complete, as an idset. */
  missing?: string;
  /** For `timeout` and `startup`: the limit in milliseconds. */
  limit?: number;
  /** For `early`, `timeout` and `startup`: the state of the ranks at the failure. */
  status?: PmiStatus;
  /** For `startup`: what the processes of the late ranks did, at most 1,024 of them; absent if none of them could be asked. */
  late?: RankFacts[];
}

/** One of the programs of a job, and how many ranks run it. */
export interface JobApp {
  /** The program, as the option `program` named it. */
  program: string;
  /** How many ranks run it. */
  ranks: number;
}

/** Times of a rank, in milliseconds since the launch. A time is absent if the event did not happen. */
export interface RankTimes {
  /** Its process was started. */
  started?: number;
  /** It connected to the PMI server; absent with `pmi: 'fd'`, because the connection exists from the start. */
  connected?: number;
  /** It sent init. */
  initialized?: number;
  /** It sent finalize. */
  finalized?: number;
  /** It sent abort. */
  aborted?: number;
  /** Its connection ended. */
  disconnected?: number;
  /** Its process ended. */
  exited?: number;
  /**
   * With the option `barrierTimes`: when it entered the first 64 barriers over all ranks, by their numbers. null: not known,
   * because the launcher was slow. It left a barrier when that completed, see {@link CompletedBarriers.times}.
   */
  entered?: (number | null)[];
}

/** The processor time of a rank and of its descendants that it has waited for, in milliseconds. */
export interface RankCpu {
  /** In the program. */
  user: number;
  /** In the kernel, on behalf of the program. */
  system: number;
}

/** How one rank ended. */
export interface RankResult {
  /** The rank. */
  rank: number;
  /** Which of the job's applications it ran. */
  appnum: number;
  /** The name of its host. */
  host: string;
  /** Absent when it was never started. */
  pid?: number;
  /** How far it had come in PMI at the end. */
  state: RankState;
  /** Its exit code; absent if a signal killed it, or it was never started. */
  code?: number;
  /** The signal that killed it; absent if it exited. */
  signal?: NodeJS.Signals;
  /** True if the signal left a core file. */
  coreDumped: boolean;
  /** True if it ran when wireup ended the job: its exit is not a failure of its own. */
  ended: boolean;
  /** The times of its start, its PMI requests and its exit. */
  times: RankTimes;
  /** Its processor time; absent if it has not exited. */
  cpu?: RankCpu;
}

/** The completed barriers over all ranks of a job. */
export interface CompletedBarriers {
  /** How many there were. */
  count: number;
  /** When the first 64 of them completed: milliseconds since the launch. */
  times: number[];
}

/** How a job ended. */
export interface JobResult {
  /**
   * The exit code that a launcher should use: 0 without a failure; the failing rank's code, or 128 + its
   * signal; abort's code; 124 if a time limit passed; 143 (128 + SIGTERM) if stop() or the option `signal`
   * ended the job; 128 + a signal that kill() sent before ranks were started; 127 if a program does not
   * exist, 126 if it cannot be executed; 141 (128 + SIGPIPE) if the reader of the output has closed it;
   * otherwise 1.
   */
  exitCode: number;
  /** The first failure in time; absent if there was none. */
  failure?: JobFailure;
  /** True if stop() or the option `signal` ended ranks, or prevented some from being started. */
  stopped: boolean;
  /** How many other ranks were ended because of the failure, or by stop(). */
  ended: number;
  /** When the launch began: milliseconds since 1970, with a fraction. */
  begun: number;
  /** Milliseconds from the launch to the end. */
  duration: number;
  /** The completed barriers. */
  barriers: CompletedBarriers;
  /** The host of the launcher. */
  host: string;
  /** The programs, by appnum. */
  apps: JobApp[];
  /** One row for each rank that was launched, in rank order; spawned ranks have none. */
  ranks: RankResult[];
  /** How many process groups ranks have spawned. */
  spawned: number;
}

/** The exit code of a shell whose last program was killed by SIGPIPE. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/**
 * Explains a silent SIGPIPE: a program uses PMI on a channel on which an earlier program of the rank has
 * finalized.
 */
const secondProgram =
  ", as a second PMI program in one rank does: the first one's finalize ended the connection (with reconnect, over tcp, each gets its own)";

export function exitOf(outcome: {
  signaled: boolean;
  value: number;
}): { code: number } | { signal: NodeJS.Signals } {
  if (!outcome.signaled) return { code: outcome.value };
  return { signal: signalName(outcome.value) };
}

/** The ranks of group 0 on a host. */
function ranksOn(rows: readonly NativeRankRow[], host: number): string {
  return formatIdset(rows.flatMap((row, rank) => (row.host === host ? [rank] : [])));
}

function toJobFailure(
  result: NativeResult,
  rows: readonly NativeRankRow[],
  plan: LaunchPlan,
  spawner: Spawner,
  nameOf: (host: number) => string,
): JobFailure | undefined {
  if (result.failure === undefined) return undefined;
  const {
    reason,
    rank,
    value,
    started,
    message,
    phase,
    barrier,
    cutOff,
    group,
    outcome: row,
  } = result.failure;
  const program = group === 0 ? undefined : spawner.programOf(group, rank);
  const exits = reason === 'exit' || reason === 'abort' || (reason === 'early' && row?.exited && !row.ended);
  const status = result.status && toPmiStatus(result.status, result.awaited);
  const late = toRankFacts(
    result.late,
    rows.map((row) => nameOf(row.host)),
    false,
  );
  const host =
    reason === 'host'
      ? nameOf(value)
      : rank < 0
        ? undefined
        : group === 0
          ? nameOf(rows[rank]!.host)
          : spawner.hostOf(group, rank);
  const advice = reason === 'host' && !started ? plan.advise(host!, message) : undefined;
  return {
    reason,
    ...(rank >= 0 ? { rank, phase } : {}),
    ...(host === undefined ? {} : { host }),
    ...(reason === 'host'
      ? { started, ranks: group === 0 ? ranksOn(rows, value) : formatIdset(spawner.ranksOn(group, value)) }
      : {}),
    ...(group === 0 ? {} : { group }),
    ...(program === undefined ? {} : { program }),
    ...(row?.pid ? { pid: row.pid } : {}),
    ...(row?.coreDumped ? { coreDumped: true } : {}),
    ...(exits ? { code: value } : {}),
    ...(reason === 'signal' ? exitOf({ signaled: true, value }) : {}),
    ...((reason === 'spawn' || reason === 'output' || reason === 'agent') && value !== 0
      ? { errno: value }
      : {}),
    ...(reason === 'timeout' || reason === 'startup' ? { limit: value } : {}),
    ...(message === '' ? {} : { message }),
    ...(advice === undefined ? {} : { advice }),
    ...(cutOff === '' ? {} : { cutOff }),
    ...(barrier === undefined ? {} : { barrier }),
    ...(reason === 'early'
      ? { waiting: status?.barrier.inside ?? '', missing: formatIdset(result.departed.sort((x, y) => x - y)) }
      : {}),
    ...(status === undefined ? {} : { status }),
    ...(late.length === 0 ? {} : { late }),
  };
}

export function toJobResult(
  result: NativeResult,
  plan: LaunchPlan,
  spawner: Spawner,
  begun: number,
): JobResult {
  const { hostName: host, apps } = plan;
  const nameOf = (number: number): string => result.hosts[number] || host;
  const rows = readRankRows(result);
  const failure = toJobFailure(result, rows, plan, spawner, nameOf);
  const appnums = apps.flatMap(({ ranks }, appnum) => Array<number>(ranks).fill(appnum));
  return {
    exitCode: result.exitCode,
    ...(failure === undefined ? {} : { failure }),
    stopped: result.stopped,
    ended: result.victims,
    begun,
    duration: result.duration,
    barriers: { count: result.barriers, times: result.barrierTimes },
    host,
    apps: [...apps],
    ranks: rows.map((row, rank) => ({
      rank,
      appnum: appnums[rank]!,
      host: nameOf(row.host),
      ...(row.pid === 0 ? {} : { pid: row.pid }),
      state: row.state,
      ...(row.exited ? exitOf(row) : {}),
      coreDumped: row.coreDumped,
      ended: row.ended,
      times: row.times,
      ...(row.exited ? { cpu: { user: row.cpuUser, system: row.cpuSystem } } : {}),
    })),
    spawned: spawner.spawned,
  };
}

/**
 * Describes in one to three lines for people why a job failed or that it was stopped; undefined if neither
 * happened. Control characters in the names of programs and files, and in messages of ranks, are escaped.
 */
export function describeFailure(result: JobResult): string | undefined {
  const { failure, ended } = result;
  if (failure === undefined)
    return result.stopped
      ? `the job was stopped; ${ended} rank${ended === 1 ? ' was' : 's were'} ended`
      : undefined;
  const line = printable(describeReason(result, failure));
  const { reason, status, late } = failure;
  return [
    line,
    ...(status === undefined || reason === 'early' ? [] : [describeStatus(status)]),
    ...(late === undefined ? [] : [printable(describeLateRanks(late))]),
  ].join('\n');
}

function describeReason(result: JobResult, failure: JobFailure): string {
  const { ended } = result;
  const { host = result.host } = failure;
  const { reason, rank, group, pid, code, signal, message, phase, barrier } = failure;
  const others =
    ended === 0
      ? ''
      : `; ${ended} ${rank === undefined ? '' : 'other '}rank${ended === 1 ? ' was' : 's were'} ended`;
  switch (reason) {
    case 'agent':
      return `${message}; the job was ended`;
    case 'host':
      return `${describeHostFailure(host, failure)}${others}`;
    case 'output':
      return `output cannot be written to ${message}: ${errorText(failure.errno)}${others}`;
    case 'spawn':
      return `rank ${rank} on ${host} could not be started: ${message}`;
    case 'timeout':
      return `the job exceeded its time limit of ${seconds(failure.limit)}${others}`;
    case 'startup':
      return `not all ranks completed PMI init and their first barrier within ${seconds(failure.limit)}${others}`;
  }
  // Without a rank that used PMI, the text does not mention PMI.
  const usesPmi = group !== undefined || result.ranks.some(({ times }) => times.initialized !== undefined);
  const place = {
    none: usesPmi ? ', before PMI init' : '',
    initialized: ', past PMI init',
    finalized: ', past PMI finalize',
  };
  const program = failure.program ?? result.apps[result.ranks[rank!]?.appnum ?? 0]?.program;
  const inBarrier = barrier !== undefined && reason !== 'early';
  const cut = failure.cutOff === undefined ? '' : `; its PMI connection had been cut off: ${failure.cutOff}`;
  const subject = `rank ${rank}${group === undefined ? '' : ` of spawned group ${group}`} (pid ${pid}, ${program}${inBarrier ? `, in PMI barrier ${barrier}` : place[phase ?? 'none']}) on ${host}`;
  switch (reason) {
    case 'exit':
      return `${subject} exited with code ${code}${phase === 'finalized' && code === BROKEN_PIPE ? secondProgram : ''}${cut}${others}`;
    case 'signal':
      return `${subject} was killed by ${signal}${failure.coreDumped ? ' (core dumped)' : ''}${phase === 'finalized' && signal === 'SIGPIPE' ? secondProgram : ''}${cut}${others}`;
    case 'abort':
      return `${subject} aborted the job with code ${code}${message === undefined ? '' : `: ${message}`}${cut}${others}`;
    case 'lost':
      return `${subject} ${failure.cutOff === undefined ? 'left without PMI finalize' : `was cut off from PMI: ${failure.cutOff}`}${others}`;
    case 'early': {
      const how = code === undefined ? 'left PMI' : `exited with code ${code}`;
      const left = phase === 'initialized' ? `${how} without finalize` : how;
      const gone =
        failure.cutOff === undefined || code !== undefined
          ? `${left}${cut}`
          : `was cut off from PMI (${failure.cutOff})`;
      return `${subject} ${gone} while others wait in PMI barrier ${barrier}: ${failure.waiting}; missing: ${failure.missing}${others}`;
    }
  }
}

/** `host n3 was lost (no sign for 5 s, last seen in barrier 2); ranks 8-11 were on it`. */
function describeHostFailure(host: string, failure: JobFailure): string {
  const { started, message = '', advice, barrier, ranks = '', group } = failure;
  if (started === false) {
    return `host ${host} could not be started: ${message}${advice === undefined ? '' : ` (${advice})`}`;
  }
  const seen = barrier === undefined ? '' : `, last seen in barrier ${barrier}`;
  const single = /^\d+$/.test(ranks);
  const of = group === undefined ? '' : ` of spawned group ${group}`;
  const on =
    ranks === ''
      ? 'no rank was on it'
      : `rank${single ? '' : 's'} ${ranks}${of} ${single ? 'was' : 'were'} on it`;
  return `host ${host} was lost (${message}${seen}); ${on}`;
}

function seconds(milliseconds = 0): string {
  return `${milliseconds / 1000} s`;
}

function errorText(errno = 0): string {
  const [name, message] = getSystemErrorMap().get(-errno) ?? [];
  return name === undefined ? `error ${errno}` : `${message} (${name})`;
}
