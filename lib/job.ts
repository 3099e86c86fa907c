import type { Readable } from 'node:stream';
import type { EventHub, Missed } from './event-hub';
import {
  pmiEventTypes,
  readEvents,
  type EventOptions,
  type RepeatedEvent,
  type SpawnEvent,
  type Timed,
  type UntimedPmiEvent,
} from './events';
import type { JobHandle } from './handle';
import { MAX_MILLISECONDS } from './limits';
import { native } from './native';
import { checkInteger, checkOptions, checkString, optionError } from './options';
import { printable } from './printable';
import type { JobResult } from './result';
import { signalNumber } from './signals';
import type { PmiStatus } from './status';

/**
 * What happens in a launched job: the PMI server's events, each rank's start and end, and what ranks spawn. What is of a
 * spawned group has its number as `group`.
 */
export type UntimedJobEvent =
  | (Exclude<UntimedPmiEvent, SpawnEvent> & { group?: number })
  /** `cpus`: those that the rank is bound to; none when it is not. */
  | { type: 'started'; rank: number; pid: number; cpus: number[]; group?: number }
  | { type: 'exited'; rank: number; code?: number; signal?: NodeJS.Signals; group?: number }
  /** A rank has spawned a group, all of which has been started. `ignoredInfo`: keys of MPI_Info that nothing is made of. */
  | {
      type: 'spawned';
      group: number;
      by: { group: number; rank: number };
      size: number;
      programs: string[];
      ignoredInfo: string[];
    }
  /** A rank got no processes. */
  | { type: 'spawn-refused'; by: { group: number; rank: number }; reason: string }
  /** No rank of a spawned group runs any more. */
  | { type: 'group-ended'; group: number }
  /** Ranks have written to the terminal that showStatus() writes to. */
  | { type: 'printed' };

/** The same, and when it happened. `missed` as in {@link PmiEvent}: of a spawned group anything may be. */
export type JobEvent =
  | (UntimedJobEvent & Timed)
  | Missed<
      | RepeatedEvent
      | 'finalized'
      | 'aborted'
      | 'stuck'
      | 'started'
      | 'exited'
      | 'spawned'
      | 'spawn-refused'
      | 'group-ended'
    >;

const jobEventTypes = [
  ...pmiEventTypes.filter((type) => type !== 'spawn'),
  'started',
  'exited',
  'spawned',
  'spawn-refused',
  'group-ended',
  'printed',
];

/** What the owner reads of a job, where it asked for pipes. */
export interface JobStreams {
  stdout?: Readable | undefined;
  stderr?: Readable | undefined;
  rankStdout?: readonly Readable[] | undefined;
  rankStderr?: readonly Readable[] | undefined;
}

/** A running job. Its processes are children of wireup-agent, which ends all of them when this process ends. */
export class Job implements AsyncDisposable {
  /**
   * Resolves when no process of the job is left. A failed job is a result too: it rejects with `ERR_PMI_INTERNAL` alone,
   * where not even the result could be made.
   */
  readonly result: Promise<JobResult>;
  readonly size: number;
  /** The host that the ranks run on. */
  readonly host: string;
  /** Process id of wireup-agent. */
  readonly agentPid: number;
  /** Resolves with the process id of each rank once all have been started; rejects with `ERR_PMI_CLOSED` when not all were. */
  readonly started: Promise<readonly number[]>;
  /** With `stdout: 'pipe'`: the output of all ranks. A reader that stops holds the ranks up. */
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  /** With `stdout: 'pipe-per-rank'`: each rank's output. */
  readonly rankStdout: readonly Readable[] | undefined;
  readonly rankStderr: readonly Readable[] | undefined;
  readonly #handle: JobHandle;
  readonly #hub: EventHub<JobEvent>;
  readonly #grace: number;

  /** @internal */
  constructor(
    handle: JobHandle,
    hub: EventHub<JobEvent>,
    agent: { pid: number; host: string },
    parts: {
      size: number;
      grace: number;
      streams: JobStreams;
      started: Promise<readonly number[]>;
      result: Promise<JobResult>;
    },
  ) {
    this.#handle = handle;
    this.#hub = hub;
    this.host = agent.host;
    this.agentPid = agent.pid;
    this.size = parts.size;
    this.#grace = parts.grace;
    this.started = parts.started;
    this.result = parts.result;
    this.stdout = parts.streams.stdout;
    this.stderr = parts.streams.stderr;
    this.rankStdout = parts.streams.rankStdout;
    this.rankStderr = parts.streams.rankStderr;
  }

  /**
   * What happens from now on, until the job has ended; everything, when it is called as soon as launch() resolves. A reader
   * that is slow is told how many it has missed of what ranks can repeat without end.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  events<T extends JobEvent['type'] = JobEvent['type']>(
    options: EventOptions<T> = {},
  ): AsyncIterableIterator<Extract<JobEvent, { type: T | 'missed' }>> {
    return readEvents(this.#hub, options, jobEventTypes) as AsyncIterableIterator<
      Extract<JobEvent, { type: T | 'missed' }>
    >;
  }

  /** @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` when the job has ended */
  status(): Promise<PmiStatus> {
    return this.#handle.status();
  }

  /**
   * Sends a signal to the process groups of ranks that still run. SIGTSTP stops them as SIGSTOP does.
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
   * Shows a line on the terminal that the ranks' stderr is, in the place of the last one. It goes for good when ranks write
   * there, which a `printed` event tells. Nothing happens where stderr is no terminal or not joined.
   *
   * @param line without control characters; empty to take it away
   */
  showStatus(line: string): void {
    if (printable(checkString('line', line)) !== line)
      throw optionError('line', 'a line without control characters', line);
    native.showStatus(this.#handle.id, line);
  }

  /**
   * Ends the job: TERM, and KILL to what is left after the grace. What the ranks exit with is then no failure; the result
   * has `stopped` and exit code 143 (128 + TERM), unless the job was over by then.
   *
   * @param options.grace milliseconds; the job's `killTimeout` by default. When the job is being ended already, this can
   * only shorten its grace
   */
  async stop(options: { grace?: number } = {}): Promise<JobResult> {
    checkOptions('options', options, ['grace']);
    native.stop(this.#handle.id, checkInteger('grace', options.grace ?? this.#grace, 0, MAX_MILLISECONDS));
    return this.result;
  }

  /** stop(), where the job still runs, and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
