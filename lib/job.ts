import type { Readable } from 'node:stream';
import type { EventHub, MissedEvent } from './event-hub';
import {
  pmiEventTypes,
  readEvents,
  type EventBase,
  type EventOptions,
  type EventsOf,
  type PmiEvent,
  type RepeatedEventType,
  type SpawnEvent,
} from './events';
import type { JobHandle } from './handle';
import { checkInspectOptions, toRankFacts, type InspectOptions, type RankFacts } from './inspect';
import { MAX_MILLISECONDS } from './limits';
import type { PmiMetrics } from './metrics';
import { native } from './native';
import { checkInteger, checkOptions, checkString, optionError } from './options';
import { printable } from './printable';
import type { JobResult } from './result';
import { signalNumber } from './signals';
import type { PmiStatus } from './status';
import type { TraceSummary } from './trace/writer';

/** A property of events of spawned process groups. */
export interface OfGroup {
  /** The number of the process group; absent for group 0, which was launched. */
  group?: number;
}

/** The process of a rank has been started. */
export interface StartedEvent extends EventBase<'started'>, OfGroup {
  /** The rank. */
  rank: number;
  /** Its process id. */
  pid: number;
  /** The numbers of the CPUs that the rank is bound to; empty if it is not bound. */
  cpus: number[];
}

/** The process of a rank has ended. */
export interface ExitedEvent extends EventBase<'exited'>, OfGroup {
  /** The rank. */
  rank: number;
  /** Its exit code; absent if a signal killed it. */
  code?: number;
  /** The signal that killed it; absent if it exited. */
  signal?: NodeJS.Signals;
}

/** A rank of a job, by its process group. */
export interface GroupRank {
  /** The number of the process group; 0 was launched. */
  group: number;
  /** The rank in it. */
  rank: number;
}

/** A rank has spawned a process group, and every process of it has been started. */
export interface SpawnedEvent extends EventBase<'spawned'> {
  /** The number of the new process group, from 1. */
  group: number;
  /** The rank that asked for it. */
  by: GroupRank;
  /** How many ranks it has. */
  size: number;
  /** The programs that it runs, in the order of the rank's commands. */
  programs: string[];
  /** The host of each rank. */
  hosts: string[];
  /** Keys of MPI_Info that wireup ignores. */
  ignoredInfo: string[];
}

/** A rank asked for processes and got none. */
export interface SpawnRefusedEvent extends EventBase<'spawn-refused'> {
  /** The rank that asked. */
  by: GroupRank;
  /** Why it got none. */
  reason: string;
}

/** No rank of a spawned process group runs any more. */
export interface GroupEndedEvent extends EventBase<'group-ended'> {
  /** The number of the process group. */
  group: number;
}

/** The agent of another host has answered. */
export interface HostStartedEvent extends EventBase<'host-started'> {
  /** The name of the host. */
  host: string;
  /** The process id of its wireup-agent there. */
  pid: number;
}

/** One command could not start all hosts, so each host is started by its own. The job is not affected. */
export interface StartedSinglyEvent extends EventBase<'started-singly'> {
  /** Why, for people. */
  reason: string;
}

/** Another host is lost, or could not be reached. The job then fails, and other hosts may follow. */
export interface HostLostEvent extends EventBase<'host-lost'> {
  /** The name of the host. */
  host: string;
  /** False if its agent has never answered. */
  started: boolean;
  /** What has happened, for people. */
  message: string;
  /** The ranks of group 0 that are on the host. */
  ranks: number[];
}

/** Other processes cannot see the job, although the option `listed` asks for that: no socket could be made. */
export interface UnlistedEvent extends EventBase<'unlisted'> {
  /** Why, for people. */
  reason: string;
}

/** Ranks have written to the terminal that {@link Job.showStatus} writes to. */
export type PrintedEvent = EventBase<'printed'>;

/** The types of events of a job that peers and ranks can cause without end. */
export type RepeatedJobEventType =
  | RepeatedEventType
  | 'finalized'
  | 'aborted'
  | 'stuck'
  | 'started'
  | 'exited'
  | 'spawned'
  | 'spawn-refused'
  | 'group-ended';

/**
 * The events of a job: those of its PMI servers, the start and end of each rank, and spawned process groups.
 */
export type JobEvent =
  | (Exclude<PmiEvent, SpawnEvent | MissedEvent> & OfGroup)
  | StartedEvent
  | ExitedEvent
  | SpawnedEvent
  | SpawnRefusedEvent
  | GroupEndedEvent
  | HostStartedEvent
  | StartedSinglyEvent
  | HostLostEvent
  | UnlistedEvent
  | PrintedEvent
  | MissedEvent<RepeatedJobEventType>;

const jobEventTypes = [
  ...pmiEventTypes.filter((type) => type !== 'spawn'),
  'started',
  'exited',
  'spawned',
  'spawn-refused',
  'group-ended',
  'host-started',
  'started-singly',
  'host-lost',
  'unlisted',
  'printed',
];

/** The streams of a job that were requested as pipes. */
export interface JobStreams {
  stdout?: Readable | undefined;
  stderr?: Readable | undefined;
  rankStdout?: readonly Readable[] | undefined;
  rankStderr?: readonly Readable[] | undefined;
}

/** A running job. Its processes are children of wireup-agent, which ends all of them if this process ends. */
export class Job implements AsyncDisposable {
  /**
   * Resolves when no process of the job is left, also if the job failed. It rejects only with
   * `ERR_PMI_INTERNAL`, if an internal error prevents the result.
   */
  readonly result: Promise<JobResult>;
  /** How many ranks were launched. */
  readonly size: number;
  /** The name of this host: the one in `hosts`, or what gethostname() returns. */
  readonly host: string;
  /** The host of each rank. */
  readonly hosts: readonly string[];
  /** The process id of wireup-agent on this host. */
  readonly agentPid: number;
  /**
   * Resolves with the process id of each rank when all have been started. Rejects with `ERR_PMI_CLOSED` if
   * not all were.
   */
  readonly started: Promise<readonly number[]>;
  /** With `stdout: 'pipe'`: the output of all ranks. If the reader stops reading, the ranks block. */
  readonly stdout: Readable | undefined;
  /** With `stderr: 'pipe'`: the error output of all ranks. If the reader stops reading, the ranks block. */
  readonly stderr: Readable | undefined;
  /** With `stdout: 'pipe-per-rank'`: each rank's output. */
  readonly rankStdout: readonly Readable[] | undefined;
  /** With `stderr: 'pipe-per-rank'`: each rank's error output. */
  readonly rankStderr: readonly Readable[] | undefined;
  /** With `trace`: resolves when the job has ended and the recording is written, or cannot be written any more. */
  readonly traced: Promise<TraceSummary> | undefined;
  readonly #handle: JobHandle;
  readonly #hub: EventHub<JobEvent>;
  readonly #grace: number;

  /** @internal */
  constructor(
    handle: JobHandle,
    hub: EventHub<JobEvent>,
    parts: {
      size: number;
      agentPid: number;
      host: string;
      hosts: readonly string[];
      grace: number;
      streams: JobStreams;
      started: Promise<readonly number[]>;
      result: Promise<JobResult>;
      traced: Promise<TraceSummary> | undefined;
    },
  ) {
    this.#handle = handle;
    this.#hub = hub;
    this.host = parts.host;
    this.agentPid = parts.agentPid;
    this.size = parts.size;
    this.hosts = parts.hosts;
    this.#grace = parts.grace;
    this.started = parts.started;
    this.result = parts.result;
    this.traced = parts.traced;
    this.stdout = parts.streams.stdout;
    this.stderr = parts.streams.stderr;
    this.rankStdout = parts.streams.rankStdout;
    this.rankStderr = parts.streams.rankStderr;
  }

  /**
   * The events from now on, until the job has ended. To get all events, call this as soon as launch()
   * resolves. Events that wait for a slow reader are kept in memory. Of the types that ranks can repeat
   * without end only 4,096 are kept, and a `missed` event counts the others.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  events<T extends JobEvent['type'] = JobEvent['type']>(
    options: EventOptions<T> = {},
  ): AsyncIterableIterator<EventsOf<JobEvent, T>> {
    return readEvents(this.#hub, options, jobEventTypes) as AsyncIterableIterator<EventsOf<JobEvent, T>>;
  }

  /**
   * The current state of the ranks.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` if the job has ended
   */
  status(): Promise<PmiStatus> {
    return this.#handle.status();
  }

  /**
   * What the processes of ranks of process group 0 do: their states, system calls and processor time, and their stacks if
   * that is asked for. The agent of each rank's host looks at them. Ranks without a process are left out.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, or `ERR_PMI_CLOSED` if the job has ended
   */
  async inspect(options: InspectOptions = {}): Promise<RankFacts[]> {
    const { ranks, stacks } = checkInspectOptions(options, this.size);
    const wanted = ranks ?? Array.from({ length: this.size }, (_, rank) => rank);
    return toRankFacts(await this.#handle.inspect(wanted, stacks), this.hosts, stacks);
  }

  /**
   * What is counted about the ranks and their PMI messages. {@link registerMetrics} passes it to Prometheus.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` if the job has ended
   */
  metrics(): Promise<PmiMetrics> {
    return this.#handle.metrics(this.#hub);
  }

  /**
   * Sends a signal to the POSIX process groups of ranks that still run. SIGTSTP is sent as SIGSTOP. While
   * other hosts are being started, there are no ranks: SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGKILL then stop the job, and
   * others do nothing.
   *
   * @param ranks the ranks; all by default; none if the array is empty
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  kill(signal: NodeJS.Signals, ranks?: readonly number[]): void {
    const number = signalNumber('signal', signal);
    if (ranks !== undefined && !isArray(ranks)) throw optionError('ranks', 'an array of ranks', ranks);
    for (const rank of ranks ?? []) checkInteger('rank', rank, 0, this.size - 1);
    if (ranks?.length === 0) return;
    native.signal(this.#handle.id, number, [...(ranks ?? [])]);
  }

  /**
   * Shows a status line on the terminal to which the ranks' stderr goes, in place of the previous one. When ranks
   * write there, the line disappears, an event `printed` reports it, and further calls do nothing. The call
   * also does nothing if stderr is not a terminal or its lines are not merged.
   *
   * @param line without control characters; empty: remove the line
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  showStatus(line: string): void {
    if (printable(checkString('line', line)) !== line)
      throw optionError('line', 'a line without control characters', line);
    native.showStatus(this.#handle.id, line);
  }

  /**
   * Ends the job: SIGTERM to all ranks, and SIGKILL to those left after the grace period. Their exits are not
   * failures. The result has `stopped` and exit code 143 (128 + SIGTERM), unless the job was already over.
   *
   * @param options.grace milliseconds; the job's `killTimeout` by default. If the job is already being ended,
   * this can only shorten the grace period
   * @returns the job's result
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`
   */
  async stop(options: { grace?: number } = {}): Promise<JobResult> {
    checkOptions('options', options, ['grace']);
    native.stop(this.#handle.id, checkInteger('grace', options.grace ?? this.#grace, 0, MAX_MILLISECONDS));
    return this.result;
  }

  /** Calls {@link Job.stop}, and waits for the end of the job. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Array.isArray() for a value of a declared type, which it would turn into `any[]`. */
function isArray(value: unknown): boolean {
  return Array.isArray(value);
}
