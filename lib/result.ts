/** How a launched job ended, as data and in words. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { formatIdset } from './idset';
import type { NativeResult } from './native';
import { printable } from './printable';
import { signalName } from './signals';
import type { Spawner } from './spawn';
import { describeStatus, toPmiStatus, type PmiStatus, type RankState } from './status';

/** Why a job failed; the first reason in time. */
export interface JobFailure {
  /**
   * `exit`: a rank exited with a code other than 0. `signal`: a rank was killed. `abort`: a rank said abort.
   * `lost`: a rank left PMI without finalize. `early`: a rank left, and others wait for it in a barrier. `spawn`: a
   * rank could not be started. `timeout`, `wireup`: a time limit passed. `output`: where the ranks write takes no more (with
   * EPIPE, whoever read it has gone). `agent`: wireup-agent is gone.
   */
  reason:
    'exit' | 'signal' | 'abort' | 'lost' | 'early' | 'spawn' | 'timeout' | 'startup' | 'output' | 'agent';
  /** Absent for `timeout`, `wireup`, `output` and `agent`. */
  rank?: number;
  /** The number of the spawned group that the rank is of, and what it ran; absent for the ranks of the launch itself. */
  group?: number;
  program?: string;
  /** Its process id, where it was started. */
  pid?: number;
  /** Exit code of `exit` and `abort`; of `early` where it has exited. */
  code?: number;
  /** Name of the signal. */
  signal?: NodeJS.Signals;
  /** True where the signal left a core. */
  coreDumped?: boolean;
  /** The number of the system's error of `spawn`, `output` and `agent`. */
  errno?: number;
  /** What abort said; what failed. */
  message?: string;
  /** How far the rank had come in PMI, whatever became of its connection: before init, or past init, or finalize. */
  phase?: 'none' | 'initialized' | 'finalized';
  /** Why the PMI server cut off the rank's connection before it failed; absent where it did not. */
  cutOff?: string;
  /** The barrier that the rank was in, or, for `early`, the one that waits for it. */
  barrier?: number;
  /** For `early`: the ranks that waited. */
  waiting?: string;
  /** For `early`: the ranks that had left and so will never come, as an idset. */
  missing?: string;
  /** For `timeout` and `wireup`: milliseconds. */
  limit?: number;
  /** For `early`, `timeout` and `wireup`: where the ranks were. */
  status?: PmiStatus;
}

/** One of the programs of a job, and how many ranks run it. */
export interface JobApp {
  program: string;
  ranks: number;
}

/** How one rank ended. */
export interface RankResult {
  rank: number;
  /** Which of the job's applications it ran. */
  appnum: number;
  /** Absent when it was never started. */
  pid?: number;
  /** What it was to the PMI server at the end. */
  state: RankState;
  code?: number;
  signal?: NodeJS.Signals;
  coreDumped: boolean;
  /** It ran when the job was being ended: its exit is no failure of its own. */
  ended: boolean;
  /**
   * When what happened, in milliseconds since the launch. `connected` is absent with `pmi: 'fd'`, where the channel is
   * there from the start.
   */
  times: { started?: number; connected?: number; initialized?: number; finalized?: number; exited?: number };
}

export interface JobResult {
  /**
   * What a launcher should exit with: 0; the failing rank's code, or 128 + its signal; abort's code; 124 when a time limit
   * passed; 143 (128 + TERM) where stop() or the option `signal` ended it; 127 for a program that does not exist, 126 for one
   * that cannot be executed; 141 when the reader of the output has gone; 1 for the rest.
   */
  exitCode: number;
  failure?: JobFailure;
  /** stop(), or the option `signal`, ended ranks, or kept some from being started. */
  stopped: boolean;
  /** How many other ranks were ended because of the failure, or by stop(). */
  ended: number;
  /** Milliseconds from the launch to the end. */
  duration: number;
  /** Completed barriers, and when the first 64 of them completed, in milliseconds since the launch. */
  barriers: { count: number; times: number[] };
  /** The host that the ranks ran on. */
  host: string;
  /** By appnum. */
  apps: JobApp[];
  ranks: RankResult[];
  /** How many groups ranks have spawned. */
  spawned: number;
}

/** What a shell exits with whose last program was killed by SIGPIPE. */
const BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/** What kills a program silently that speaks PMI over a channel on which another one has finalized. */
const secondProgram =
  ", as a second PMI program in one rank does: the first one's finalize ended the connection (with reconnect, over tcp, each gets its own)";

export function exitOf(outcome: {
  signaled: boolean;
  value: number;
}): { code: number } | { signal: NodeJS.Signals } {
  if (!outcome.signaled) return { code: outcome.value };
  return { signal: signalName(outcome.value) };
}

function toJobFailure(result: NativeResult, spawner: Spawner): JobFailure | undefined {
  if (result.failure === undefined) return undefined;
  const { reason, rank, value, message, phase, barrier, cutOff, group, outcome: row } = result.failure;
  const program = group === 0 ? undefined : spawner.programOf(group, rank);
  const exits = reason === 'exit' || reason === 'abort' || (reason === 'early' && row?.exited && !row.ended);
  const status = result.status && toPmiStatus(result.status);
  return {
    reason,
    ...(rank >= 0 ? { rank, phase } : {}),
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
    ...(cutOff === '' ? {} : { cutOff }),
    ...(barrier === undefined ? {} : { barrier }),
    ...(reason === 'early'
      ? { waiting: status?.barrier.inside ?? '', missing: formatIdset(result.departed.sort((x, y) => x - y)) }
      : {}),
    ...(status === undefined ? {} : { status }),
  };
}

export function toJobResult(
  result: NativeResult,
  host: string,
  apps: readonly JobApp[],
  spawner: Spawner,
): JobResult {
  const failure = toJobFailure(result, spawner);
  const appnums = apps.flatMap(({ ranks }, appnum) => Array<number>(ranks).fill(appnum));
  return {
    exitCode: result.exitCode,
    ...(failure === undefined ? {} : { failure }),
    stopped: result.stopped,
    ended: result.victims,
    duration: result.duration,
    barriers: { count: result.barriers, times: result.barrierTimes },
    host,
    apps: [...apps],
    ranks: result.ranks.map((row, rank) => ({
      rank,
      appnum: appnums[rank]!,
      ...(row.pid === 0 ? {} : { pid: row.pid }),
      state: row.state,
      ...(row.exited ? exitOf(row) : {}),
      coreDumped: row.coreDumped,
      ended: row.ended,
      times: row.times,
    })),
    spawned: spawner.spawned,
  };
}

/**
 * One or two lines for people: why a job failed, or that it was stopped; absent when it was neither. Control characters in
 * the names of programs and files, and in what ranks have sent, are escaped.
 */
export function describeFailure(result: JobResult): string | undefined {
  const { failure, ended } = result;
  if (failure === undefined)
    return result.stopped
      ? `the job was stopped; ${ended} rank${ended === 1 ? ' was' : 's were'} ended`
      : undefined;
  const line = printable(describeReason(result, failure));
  const { reason, status } = failure;
  return status === undefined || reason === 'early' ? line : `${line}\n${describeStatus(status)}`;
}

function describeReason(result: JobResult, failure: JobFailure): string {
  const { ended, host } = result;
  const { reason, rank, group, pid, code, signal, message, phase, barrier } = failure;
  const others =
    ended === 0
      ? ''
      : `; ${ended} ${rank === undefined ? '' : 'other '}rank${ended === 1 ? ' was' : 's were'} ended`;
  switch (reason) {
    case 'agent':
      return `${message}; the job was ended`;
    case 'output':
      return `nothing more can be written to ${message}: ${errorText(failure.errno)}${others}`;
    case 'spawn':
      return `rank ${rank} on ${host} could not be started: ${message}`;
    case 'timeout':
      return `the job was not over after ${seconds(failure.limit)}${others}`;
    case 'startup':
      return `the ranks had not found each other after ${seconds(failure.limit)}${others}`;
  }
  // Nothing is said of PMI where no rank has used it.
  const usesPmi = group !== undefined || result.ranks.some(({ times }) => times.initialized !== undefined);
  const place = {
    none: usesPmi ? ', before PMI init' : '',
    initialized: ', past PMI init',
    finalized: ', past PMI finalize',
  };
  const program = failure.program ?? result.apps[result.ranks[rank!]?.appnum ?? 0]?.program;
  const inBarrier = barrier !== undefined && reason !== 'early';
  const cut = failure.cutOff === undefined ? '' : `; its PMI connection had been cut off: ${failure.cutOff}`;
  const who = `rank ${rank}${group === undefined ? '' : ` of spawned group ${group}`} (pid ${pid}, ${program}${inBarrier ? `, in PMI barrier ${barrier}` : place[phase ?? 'none']}) on ${host}`;
  switch (reason) {
    case 'exit':
      return `${who} exited with code ${code}${phase === 'finalized' && code === BROKEN_PIPE ? secondProgram : ''}${cut}${others}`;
    case 'signal':
      return `${who} was killed by ${signal}${failure.coreDumped ? ' (core dumped)' : ''}${phase === 'finalized' && signal === 'SIGPIPE' ? secondProgram : ''}${cut}${others}`;
    case 'abort':
      return `${who} aborted the job with code ${code}${message === undefined ? '' : `: ${message}`}${cut}${others}`;
    case 'lost':
      return `${who} ${failure.cutOff === undefined ? 'left without PMI finalize' : `was cut off from PMI: ${failure.cutOff}`}${others}`;
    case 'early': {
      const how = code === undefined ? 'left PMI' : `exited with code ${code}`;
      const left = phase === 'initialized' ? `${how} without finalize` : how;
      const gone =
        failure.cutOff === undefined || code !== undefined
          ? `${left}${cut}`
          : `was cut off from PMI (${failure.cutOff})`;
      return `${who} ${gone} while others wait in PMI barrier ${barrier}: ${failure.waiting}; missing: ${failure.missing}${others}`;
    }
  }
}

function seconds(milliseconds = 0): string {
  return `${milliseconds / 1000} s`;
}

function errorText(errno = 0): string {
  const [name, message] = getSystemErrorMap().get(-errno) ?? [];
  return name === undefined ? `error ${errno}` : `${message} (${name})`;
}
