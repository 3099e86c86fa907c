/**
 * The socket on which a job answers other processes of its user: `wireup ps`, `status` and `attach`, and lib/jobs.ts in
 * other programs. A connection sends one line, the question as JSON, and receives lines of JSON. The native part
 * (native/runtime/job_socket.h) admits only this user and bounds the connections.
 */
import { runtimeFolder } from './address';
import { follow } from './dispatch';
import { formatIdset, parseIdset } from './idset';
import type { RankFacts } from './inspect';
import type { Job } from './job';
import { native } from './native';
import type { NativeNotice } from './native-notices';
import { describeFailure, type JobResult } from './result';
import type { PmiStatus } from './status';

/** A program of a job and the ranks that run it. */
export interface JobProgram {
  /** The program and its arguments. Bytes that are not UTF-8 are U+FFFD. */
  command: string[];
  /** How many ranks run it. */
  ranks: number;
}

/** The ranks of a job on one host. */
export interface JobHost {
  /** The name of the host. */
  name: string;
  /** The ranks on it, as an idset. */
  ranks: string;
}

/** What a job reports of itself. */
export interface JobDescription {
  /** The process that launched it. */
  pid: number;
  /** Milliseconds since 1970: when it was launched. */
  launched: number;
  /** `starting` until the process of every rank has been started. */
  state: 'starting' | 'running';
  /** How many ranks were launched. */
  size: number;
  /** Its programs, in the order of the ranks. */
  programs: JobProgram[];
  /** Its hosts, in the order of their first ranks. */
  hosts: JobHost[];
  /** The working directory of the process that launched it. */
  directory: string;
}

/** A job at one moment. */
export interface JobStatus {
  /** The job. */
  job: JobDescription;
  /** Where its ranks are in PMI. */
  status: PmiStatus;
  /** The ranks whose processes have ended, as an idset. */
  exited: string;
  /** The process id of each rank on its host; 0 if it has not been started. */
  pids: number[];
}

/** How a job has ended. */
export interface JobEnd {
  /** The exit code of the job. */
  exitCode: number;
  /** What {@link describeFailure} returns; absent if the job has not failed. */
  failure?: string;
}

/** @internal A question. */
export interface JobQuestion {
  ask: 'describe' | 'status' | 'inspect' | 'follow';
  /** For `inspect`: the ranks as an idset; absent: all. */
  ranks?: string;
  /** For `inspect`. */
  stacks?: boolean;
}

/** @internal A line of an answer. */
export type JobAnswer = Partial<JobStatus> & { inspected?: RankFacts[]; end?: JobEnd; error?: string };

/** Folders in which sockets of jobs may be, the one for new jobs first. TMPDIR is not used: it differs between sessions. */
export function jobFolders(): string[] {
  const own = runtimeFolder();
  const usual = `/run/user/${process.geteuid!()}`;
  return [...new Set([...(own === undefined ? [] : [own]), usual, '/tmp'])];
}

/**
 * How old a job is when it gets its socket. People do not look earlier, and a shorter job costs nothing. The folder and the
 * socket take a millisecond of processor time on a loaded machine, which the start of the ranks needs itself.
 */
const LISTED_AFTER_MS = 100;

/** Between two looks at a job that is followed. */
const PERIOD_MS = 250;

/** Text for people; a lone surrogate stands for a byte that is not UTF-8. */
const readable = (text: string): string => text.replace(/\p{Cs}/gu, '\ufffd');

function hostsOf(names: readonly string[]): JobHost[] {
  const ranks = new Map<string, number[]>();
  names.forEach((name, rank) => {
    const there = ranks.get(name);
    if (there === undefined) ranks.set(name, [rank]);
    else there.push(rank);
  });
  return [...ranks].map(([name, there]) => ({ name, ranks: formatIdset(there) }));
}

/** What the socket needs to know of the launch. */
export interface JobFacts {
  programs: readonly { args: readonly string[] }[];
  /** How many ranks run each program. */
  sizes: readonly number[];
  /** The host of each rank. */
  hosts: readonly string[];
  /** The process id of each rank that has been started. It grows. */
  pids: readonly (number | undefined)[];
}

/** The socket of one job. */
export class JobSocket {
  readonly #facts: JobFacts;
  readonly #launched = Date.now();
  readonly #exited = new Set<number>();
  /** Undefined if no socket can be made. The job then goes on without one. */
  #handle: number | undefined;
  #job: Job | undefined;
  #running = false;
  #early: (() => void)[] = [];
  readonly #followers = new Set<number>();
  readonly #opening: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #shown = '';

  readonly #onFault: (fault: string) => void;

  /** @param onFault called with the reason if there is no socket */
  constructor(facts: JobFacts, onFault: (fault: string) => void) {
    this.#facts = facts;
    this.#onFault = onFault;
    this.#opening = setTimeout(() => this.#open(), LISTED_AFTER_MS);
  }

  #open(): void {
    const parents = jobFolders().map((path): [string, string] => ['', path]);
    try {
      this.#handle = follow(
        () => native.openJobSocket(parents),
        (notice) => this.#take(notice),
      );
    } catch (error) {
      this.#onFault((error as Error).message);
    }
  }

  /** The job can be asked now. */
  attach(job: Job): void {
    this.#job = job;
    job.started.then(
      () => (this.#running = true),
      () => undefined,
    );
    for (const answer of this.#early) answer();
    this.#early = [];
  }

  /** The process of the rank has ended. */
  exited(rank: number): void {
    this.#exited.add(rank);
  }

  /** Reports the end to the processes that follow the job, and closes the socket. */
  close(result?: JobResult): void {
    clearTimeout(this.#opening);
    clearTimeout(this.#timer);
    if (this.#handle === undefined) return;
    if (result !== undefined) {
      const failure = describeFailure(result);
      const end: JobEnd = { exitCode: result.exitCode, ...(failure === undefined ? {} : { failure }) };
      for (const connection of this.#followers) this.#send(connection, { end }, true);
    }
    native.closeServer(this.#handle);
    this.#handle = undefined;
  }

  #take(notice: NativeNotice): void {
    if (notice.type === 'error') {
      this.#onFault(notice.message);
      this.#handle = undefined;
    } else if (notice.type === 'askerGone') {
      this.#followers.delete(notice.connection);
    } else if (notice.type === 'question') {
      const { connection, question } = notice;
      const answer = (): void => void this.#answer(connection, question);
      if (this.#job === undefined) this.#early.push(answer);
      else answer();
    }
  }

  async #answer(connection: number, text: string): Promise<void> {
    try {
      const { ask, ranks, stacks = false } = JSON.parse(text) as JobQuestion;
      switch (ask) {
        case 'describe':
          return this.#send(connection, { job: this.#describe() }, true);
        case 'status':
          return this.#send(connection, await this.#status(), true);
        case 'inspect': {
          const which = ranks === undefined ? {} : { ranks: parseIdset(ranks) };
          return this.#send(connection, { inspected: await this.#job!.inspect({ ...which, stacks }) }, true);
        }
        case 'follow':
          this.#send(connection, await this.#status(), false);
          this.#followers.add(connection);
          if (this.#timer === undefined) this.#lookLater();
          return;
        default:
          throw new Error('this job does not know the question');
      }
    } catch (error) {
      this.#send(connection, { error: (error as Error).message }, true);
    }
  }

  #send(connection: number, answer: JobAnswer, last: boolean): void {
    if (this.#handle === undefined) return;
    native.answerQuestion(this.#handle, connection, `${JSON.stringify(answer)}\n`, last);
  }

  #describe(): JobDescription {
    const { programs, sizes, hosts } = this.#facts;
    return {
      pid: process.pid,
      launched: this.#launched,
      state: this.#running ? 'running' : 'starting',
      size: hosts.length,
      programs: programs.map(({ args }, i) => ({ command: args.map(readable), ranks: sizes[i]! })),
      hosts: hostsOf(hosts),
      directory: process.cwd(),
    };
  }

  async #status(): Promise<JobStatus> {
    const status = await this.#job!.status();
    const { hosts, pids } = this.#facts;
    return {
      job: this.#describe(),
      status,
      exited: formatIdset([...this.#exited].sort((a, b) => a - b)),
      pids: hosts.map((_, rank) => pids[rank] ?? 0),
    };
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => void this.#look(), PERIOD_MS);
  }

  /** Sends the status to the processes that follow the job, if it has changed. */
  async #look(): Promise<void> {
    let now: JobStatus;
    try {
      now = await this.#status();
    } catch {
      // The job has ended, which close() reports.
      return;
    }
    if (this.#handle === undefined) return;
    const text = JSON.stringify(now);
    if (text !== this.#shown) for (const connection of this.#followers) this.#send(connection, now, false);
    this.#shown = text;
    this.#timer = undefined;
    if (this.#followers.size > 0) this.#lookLater();
  }
}
