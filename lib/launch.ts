import { constants } from 'node:os';
import { toListenOptions } from './address';
import { scrubEnvironment, toList, type Environment } from './env';
import { fromFault, fromThrown, PmiError } from './errors';
import { EventHub, toPmiEvent, type PmiEvent } from './events';
import { JobHandle } from './handle';
import { formatIdset } from './idset';
import { makeJobOptions, type AdmissionOptions } from './identity';
import { MAX_MILLISECONDS, MAX_RANKS } from './limits';
import { agentPath, execPath, native, type NativeResult } from './native';
import { checkBoolean, checkInteger, checkOneOf, checkOptions, checkSignal, checkString, checkStrings, optionError } from './options';
import { describeStatus, toPmiStatus, type PmiStatus, type RankState } from './status';
import { deferred } from './wait';

/** How ranks reach their server: an inherited fd, TCP on 127.0.0.1, or a unix socket in a private folder. */
export type PmiTransport = 'fd' | 'tcp' | 'unix';

export interface LaunchOptions extends Pick<AdmissionOptions, 'allowedUids' | 'pmiId' | 'reconnect'> {
  /** What to run; searched in the PATH of `env` when it has no slash. */
  program: string;
  args?: readonly string[];
  /** How many ranks: 1 to 1,048,576. */
  ranks: number;
  /** `fd` by default. */
  pmi?: PmiTransport;
  /**
   * With `pmi: 'unix'`: whether wireup-exec stands before each rank's program, which then sees PMI_FD; true by default.
   * False for programs that read `unix://` in PMI_PORT themselves, and for container runtimes, inside which wireup-exec
   * must stand because they drop the fd.
   */
  execShim?: boolean;
  /** The ranks' working directory; this process's own by default. */
  cwd?: string;
  /**
   * The ranks' environment; `process.env` by default. What other process managers left in it is taken out, the
   * job's own variables are put in.
   */
  env?: Environment;
  /** Put `[rank] ` before every line of output, and write whole lines only. */
  label?: boolean;
  /** The rank that reads this process's standard input; by default none does. All others read /dev/null. */
  stdin?: number;
  /** Where the ranks' output goes: to this process's own stdout and stderr (the default), or nowhere. */
  output?: 'inherit' | 'ignore';
  /** What `get_universe_size` answers; `ranks` by default. */
  universeSize?: number;
  /** How many ranks share a node; all by default. Ranks that have a /dev/shm each (containers) need 1. */
  ranksPerNode?: number;
  /**
   * A command put before the program of these ranks: a debugger, or a terminal with one in it. It is searched as
   * `program` is. Debuggers that drop inherited fds need `pmi: 'tcp'`.
   */
  debugger?: { command: readonly string[]; ranks: readonly number[] };
  /**
   * Signals that are ignored in the ranks when they start, beside those that this process ignores natively. Node makes
   * every signal default at its own start, so what `nohup` ignored has to be said.
   */
  ignoredSignals?: readonly NodeJS.Signals[];
  /**
   * What a rank that fails does to the others: `kill` (the default) ends them, `wait` lets them run on. A rank that
   * cannot be started, and abort, always end the job.
   */
  onFailure?: 'kill' | 'wait';
  /**
   * What happens when a rank leaves (exits, with 0 too, or finalizes) while others wait for it in a barrier, or enter
   * one later: `fail` (the default) ends the job at once, `wait` lets them wait.
   */
  onEarlyExit?: 'fail' | 'wait';
  /** Milliseconds from TERM to KILL when the job is ended; 5,000 by default. */
  killTimeout?: number;
  /** Milliseconds that the job may take; no limit by default. */
  timeout?: number;
  /** Milliseconds until every rank must have said init and be out of the first barrier; no limit by default. */
  wireupTimeout?: number;
  /** Ends the job: TERM, after `killTimeout` KILL. */
  signal?: AbortSignal;
}

/** Why a job failed; the first reason in time. */
export interface JobFailure {
  /**
   * `exit`: a rank exited with a code other than 0. `signal`: a rank was killed. `abort`: a rank said abort.
   * `lost`: a rank left PMI without finalize. `early`: a rank left, and others wait for it in a barrier. `spawn`: a
   * rank could not be started. `timeout`, `wireup`: a time limit passed. `agent`: wireup-agent is gone.
   */
  reason: 'exit' | 'signal' | 'abort' | 'lost' | 'early' | 'spawn' | 'timeout' | 'wireup' | 'agent';
  /** Absent for `timeout`, `wireup` and `agent`. */
  rank?: number;
  /** Its process id, where it was started. */
  pid?: number;
  /** Exit code of `exit` and `abort`; of `early` where it has exited. */
  code?: number;
  /** Name of the signal. */
  signal?: NodeJS.Signals;
  /** The number of the system's error of `spawn` and `agent`. */
  errno?: number;
  /** What abort said; what failed. */
  message?: string;
  /** How far the rank had come in PMI, whatever became of its connection: before init, or past init, or finalize. */
  phase?: 'none' | 'initialized' | 'finalized';
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

/** How one rank ended. */
export interface RankResult {
  rank: number;
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
   * What a launcher should exit with: 0; the failing rank's code, or 128 + its signal; abort's code; 124 when a time
   * limit passed; 127 for a program that does not exist, 126 for one that cannot be executed; 1 for the rest.
   */
  exitCode: number;
  failure?: JobFailure;
  /** How many other ranks were ended because of the failure. */
  ended: number;
  /** Milliseconds from the launch to the end. */
  duration: number;
  /** Completed barriers, and when the first 64 of them completed, in milliseconds since the launch. */
  barriers: { count: number; times: number[] };
  /** The host that the ranks ran on. */
  host: string;
  program: string;
  ranks: RankResult[];
}

/** What happens in a launched job: the PMI server's events, and each rank's start and end. */
export type JobEvent =
  | PmiEvent
  | { type: 'started'; rank: number; pid: number }
  | { type: 'exited'; rank: number; code?: number; signal?: NodeJS.Signals };

/** Where one signal has several names (SIGABRT and SIGIOT, SIGIO and SIGPOLL), Node lists the usual one first. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
);

function signalNumber(option: string, signal: NodeJS.Signals): number {
  const number = constants.signals[signal];
  if (number === undefined) throw optionError(option, 'the name of a signal', signal);
  return number;
}

function exitOf(outcome: { signaled: boolean; value: number }): { code: number } | { signal: NodeJS.Signals } {
  if (!outcome.signaled) return { code: outcome.value };
  return { signal: signalNames.get(outcome.value) ?? (`SIG${outcome.value}` as NodeJS.Signals) };
}

function toJobFailure(result: NativeResult): JobFailure | undefined {
  if (result.failure === undefined) return undefined;
  const { reason, rank, value, message, phase, barrier } = result.failure;
  const row = result.ranks[rank];
  const exits = reason === 'exit' || reason === 'abort' || (reason === 'early' && row?.exited && !row.ended);
  const status = result.status && toPmiStatus(result.status);
  return {
    reason,
    ...(rank >= 0 ? { rank, phase } : {}),
    ...(row?.pid ? { pid: row.pid } : {}),
    ...(exits ? { code: value } : {}),
    ...(reason === 'signal' ? exitOf({ signaled: true, value }) : {}),
    ...((reason === 'spawn' || reason === 'agent') && value !== 0 ? { errno: value } : {}),
    ...(reason === 'timeout' || reason === 'wireup' ? { limit: value } : {}),
    ...(message === '' ? {} : { message }),
    ...(barrier === undefined ? {} : { barrier }),
    ...(reason === 'early' ? { waiting: status?.barrier.inside ?? '', missing: formatIdset(result.departed.sort((x, y) => x - y)) } : {}),
    ...(status === undefined ? {} : { status }),
  };
}

function toJobResult(result: NativeResult, host: string, program: string): JobResult {
  const failure = toJobFailure(result);
  return {
    exitCode: result.exitCode,
    ...(failure === undefined ? {} : { failure }),
    ended: result.victims,
    duration: result.duration,
    barriers: { count: result.barriers, times: result.barrierTimes },
    host,
    program,
    ranks: result.ranks.map((row, rank) => ({
      rank,
      ...(row.pid === 0 ? {} : { pid: row.pid }),
      state: row.state,
      ...(row.exited ? exitOf(row) : {}),
      coreDumped: row.coreDumped,
      ended: row.ended,
      times: row.times,
    })),
  };
}

/** A running job. Its processes are children of wireup-agent, which ends all of them when this process ends. */
export class Job {
  /** Resolves when no process of the job is left. It never rejects: a failed job is a result too. */
  readonly result: Promise<JobResult>;
  readonly size: number;
  /** The host that the ranks run on. */
  readonly host: string;
  /** Process id of wireup-agent. */
  readonly agentPid: number;
  /** Resolves with the process id of each rank once all have been started; rejects with `ERR_PMI_CLOSED` when not all were. */
  readonly started: Promise<readonly number[]>;
  readonly #handle: JobHandle;
  readonly #hub: EventHub<JobEvent>;
  readonly #grace: number;

  /** @internal */
  constructor(
    handle: JobHandle,
    hub: EventHub<JobEvent>,
    agent: { pid: number; host: string },
    size: number,
    grace: number,
    started: Promise<readonly number[]>,
    result: Promise<JobResult>,
  ) {
    this.#handle = handle;
    this.#hub = hub;
    this.host = agent.host;
    this.agentPid = agent.pid;
    this.size = size;
    this.#grace = grace;
    this.started = started;
    this.result = result;
  }

  /**
   * What happens from now on, until the job has ended; everything, when it is called as soon as launch() resolves.
   *
   * @param options.signal ends the iteration with its reason
   */
  events(options: { signal?: AbortSignal } = {}): AsyncIterableIterator<JobEvent> {
    checkOptions('options', options, ['signal']);
    return this.#hub.read(checkSignal(options.signal));
  }

  /** @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` when the job has ended */
  status(): Promise<PmiStatus> {
    return this.#handle.status();
  }

  /**
   * Sends a signal to the process groups of ranks that still run.
   *
   * @param ranks which; all by default, none when it is empty
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  kill(signal: NodeJS.Signals, ranks?: readonly number[]): void {
    const number = signalNumber('signal', signal);
    if (ranks !== undefined && !Array.isArray(ranks)) throw optionError('ranks', 'an array of ranks', ranks);
    for (const rank of ranks ?? []) checkInteger('rank', rank, 0, this.size - 1);
    if (ranks?.length === 0) return;
    native.signal(this.#handle.id, number, [...(ranks ?? [])]);
  }

  /**
   * Ends the job: TERM, and KILL to what is left after the grace. What the ranks exit with is then no failure.
   *
   * @param options.grace milliseconds; the job's `killTimeout` by default. When the job is being ended already, this can
   * only shorten its grace
   */
  async stop(options: { grace?: number } = {}): Promise<JobResult> {
    checkOptions('options', options, ['grace']);
    native.stop(this.#handle.id, checkInteger('grace', options.grace ?? this.#grace, 0, MAX_MILLISECONDS));
    return this.result;
  }
}

const optionNames: readonly (keyof LaunchOptions)[] = [
  'program', 'args', 'ranks', 'pmi', 'cwd', 'env', 'label', 'stdin', 'output', 'universeSize', 'ranksPerNode', 'execShim',
  'allowedUids', 'pmiId', 'reconnect', 'debugger', 'ignoredSignals', 'onFailure', 'onEarlyExit', 'killTimeout', 'timeout',
  'wireupTimeout', 'signal',
];

function debuggerOf(value: LaunchOptions['debugger'], size: number): { debugger: string[]; debugged: number[] } {
  if (value === undefined) return { debugger: [], debugged: [] };
  checkOptions('debugger', value, ['command', 'ranks']);
  const command = checkStrings('debugger.command', value.command);
  if (command.length === 0) throw optionError('debugger.command', 'a command', command);
  if (!Array.isArray(value.ranks)) throw optionError('debugger.ranks', 'an array of ranks', value.ranks);
  return { debugger: command, debugged: value.ranks.map((rank, i) => checkInteger(`debugger.ranks[${i}]`, rank, 0, size - 1)) };
}

/**
 * Starts a job: a PMI server here, wireup-agent as this process's child, the ranks as the agent's.
 *
 * With `pmi: 'unix'` (and no `execShim: false`) the small program wireup-exec stands before each rank's program and
 * turns the socket into an inherited fd, so that an MPI that knows nothing of `unix://` runs over it.
 *
 * @returns when the agent runs; the ranks are being started
 * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_FD_LIMIT`, `ERR_PMI_LAUNCH`, `ERR_PMI_LISTEN`,
 * `ERR_PMI_ADDRESS`, or with the signal's reason. A program that cannot be started is no rejection but a result.
 */
export async function launch(options: LaunchOptions): Promise<Job> {
  checkOptions('options', options, optionNames);
  const size = checkInteger('ranks', options.ranks, 1, MAX_RANKS);
  const program = checkString('program', options.program);
  const args = checkStrings('args', options.args ?? []);
  const pmi = checkOneOf('pmi', options.pmi ?? 'fd', ['fd', 'tcp', 'unix'] as const);
  const universe = options.universeSize;
  if (universe !== undefined) checkInteger('universeSize', universe, size, 2 ** 31 - 1);
  const shim = checkBoolean('execShim', options.execShim ?? true) && pmi === 'unix';
  const nativeOptions = {
    ...makeJobOptions(size, universe, options.ranksPerNode, options),
    ...(pmi === 'fd' ? {} : await toListenOptions(pmi)),
    pmi: pmi === 'fd' ? ('fd' as const) : ('port' as const),
    agent: agentPath,
    directory: checkString('cwd', options.cwd ?? ''),
    prefix: shim ? [execPath] : [],
    // What is started further inside need not descend from the rank's process: a container's runtime may detach it.
    descendantsOnly: shim,
    args: [program, ...args],
    environment: checkStrings('env', toList(scrubEnvironment(options.env ?? process.env))),
    label: checkBoolean('label', options.label ?? false),
    stdinRank: options.stdin === undefined ? -1 : checkInteger('stdin', options.stdin, 0, size - 1),
    discardOutput: checkOneOf('output', options.output ?? 'inherit', ['inherit', 'ignore'] as const) === 'ignore',
    ...debuggerOf(options.debugger, size),
    ignoredSignals: (options.ignoredSignals ?? []).map((signal) => signalNumber('ignoredSignals', signal)),
    endOnFailure: checkOneOf('onFailure', options.onFailure ?? 'kill', ['kill', 'wait'] as const) === 'kill',
    endOnEarlyExit: checkOneOf('onEarlyExit', options.onEarlyExit ?? 'fail', ['fail', 'wait'] as const) === 'fail',
    grace: checkInteger('killTimeout', options.killTimeout ?? 5000, 0, MAX_MILLISECONDS),
    timeout: options.timeout === undefined ? 0 : checkInteger('timeout', options.timeout, 1, MAX_MILLISECONDS),
    wireupTimeout:
      options.wireupTimeout === undefined ? 0 : checkInteger('wireupTimeout', options.wireupTimeout, 1, MAX_MILLISECONDS),
  };
  const signal = checkSignal(options.signal);
  signal?.throwIfAborted();

  const hub = new EventHub<JobEvent>();
  const ready = deferred<{ pid: number; host: string }>();
  const result = deferred<JobResult>();
  const started = deferred<readonly number[]>();
  const pids: number[] = [];
  let running = 0;
  let host = '';
  let handle: JobHandle;
  try {
    handle = new JobHandle(
      () => native.launch(nativeOptions),
      (notice) => {
        switch (notice.type) {
          case 'agent':
            host = notice.host;
            hub.open();
            return ready.resolve(notice);
          case 'fault':
            return ready.reject(fromFault(notice));
          case 'event':
            return hub.push(toPmiEvent(notice));
          case 'started':
            pids[notice.rank] = notice.pid;
            if (++running === size) started.resolve(pids);
            return hub.push({ type: 'started', rank: notice.rank, pid: notice.pid });
          case 'exited':
            return hub.push({ type: 'exited', rank: notice.rank, ...exitOf(notice) });
          case 'result':
            ready.reject(fromFault({ type: 'fault', code: 'ERR_PMI_LAUNCH', message: notice.failure?.message || 'wireup-agent ended before it was ready' }));
            started.reject(new PmiError('ERR_PMI_CLOSED', 'the job ended before all ranks had been started'));
            return result.resolve(toJobResult(notice, host, program));
          case 'closed':
            return hub.end();
        }
      },
    );
  } catch (error) {
    throw fromThrown('ERR_PMI_LAUNCH', error);
  }
  const job = new Job(handle, hub, await ready.promise, size, nativeOptions.grace, started.promise, result.promise);
  if (signal !== undefined) {
    const onAbort = (): void => void job.stop();
    signal.addEventListener('abort', onAbort, { once: true });
    void job.result.finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  }
  return job;
}

/** One or two lines for people on why a job failed; absent when it did not. */
export function describeFailure(result: JobResult): string | undefined {
  const { failure, ended, host, program } = result;
  if (failure === undefined) return undefined;
  const { reason, rank, pid, code, signal, message, phase, barrier } = failure;
  const others = ended === 0 ? '' : `; ${ended} ${rank === undefined ? '' : 'other '}rank${ended === 1 ? ' was' : 's were'} ended`;
  const where = failure.status === undefined ? '' : `\n${describeStatus(failure.status)}`;
  switch (reason) {
    case 'agent':
      return `${message}; the job was ended`;
    case 'spawn':
      return `rank ${rank} on ${host} could not be started: ${message}`;
    case 'timeout':
      return `the job was not over after ${seconds(failure.limit)}${others}${where}`;
    case 'wireup':
      return `the ranks had not found each other after ${seconds(failure.limit)}${others}${where}`;
  }
  // Nothing is said of PMI where no rank has used it.
  const usesPmi = result.ranks.some(({ times }) => times.initialized !== undefined);
  const place = { none: usesPmi ? ', before PMI init' : '', initialized: ', past PMI init', finalized: ', past PMI finalize' };
  const inBarrier = barrier !== undefined && reason !== 'early';
  const who = `rank ${rank} (pid ${pid}, ${program}${inBarrier ? `, in PMI barrier ${barrier}` : place[phase ?? 'none']}) on ${host}`;
  switch (reason) {
    case 'exit':
      return `${who} exited with code ${code}${others}`;
    case 'signal':
      return `${who} was killed by ${signal}${result.ranks[rank!]?.coreDumped ? ' (core dumped)' : ''}${others}`;
    case 'abort':
      return `${who} aborted the job with code ${code}${message === undefined ? '' : `: ${message}`}${others}`;
    case 'lost':
      return `${who} left without PMI finalize${others}`;
    case 'early': {
      const how = code === undefined ? 'left PMI' : `exited with code ${code}`;
      const left = phase === 'initialized' ? `${how} without finalize` : how;
      return `${who} ${left} while others wait in PMI barrier ${barrier}: ${failure.waiting}; missing: ${failure.missing}${others}`;
    }
  }
}

function seconds(milliseconds = 0): string {
  return `${milliseconds / 1000} s`;
}
