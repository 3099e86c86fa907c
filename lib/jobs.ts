/** The jobs of this user on this machine, launched by any process with the option `listed`. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { PmiError } from './errors';
import {
  jobFolders,
  type JobAnswer,
  type JobDescription,
  type JobEnd,
  type JobQuestion,
  type JobStatus,
} from './job-socket';
import { formatIdset } from './idset';
import { checkInspectOptions, type InspectOptions, type RankFacts } from './inspect';
import { native } from './native';
import { checkOptions } from './options';
import { checkTimeout } from './wait';

/** How long to wait for a job's answer by default. A busy machine needs less. */
const ANSWER_MS = 2000;

/** The private folders of wireup, and the sockets of jobs in them; see native/runtime/job_socket.h. */
const folderName = /^wireup-(\w{6})$/;
const socketName = /^pmi-job(\d+)$/;

/** A job of this user on this machine. */
export class RunningJob {
  /** The process that launched it. */
  readonly pid: number;
  /** Distinguishes the jobs of one process: six letters and digits. */
  readonly id: string;
  /** The socket on which it answers. */
  readonly #socket: string;

  /** @internal */
  constructor(pid: number, id: string, socket: string) {
    this.pid = pid;
    this.id = id;
    this.#socket = socket;
  }

  /**
   * The state of the process that launched the job. `stopped`: a signal has stopped it (^Z in a shell). It answers nothing
   * then, but its ranks may run.
   */
  processState(): 'running' | 'stopped' | 'gone' {
    const state = /\) (\w)/.exec(readProc(this.pid, 'stat') ?? '')?.[1];
    if (state === undefined || state === 'Z' || state === 'X') return 'gone';
    return state === 'T' || state === 't' ? 'stopped' : 'running';
  }

  /** The command line of the process that launched it; empty if that has ended. */
  get commandLine(): string[] {
    return (readProc(this.pid, 'cmdline') ?? '').split('\0').slice(0, -1);
  }

  /**
   * What the job reports of itself.
   *
   * @param options.timeout milliseconds to wait for the answer; 2,000 by default; 0: no limit
   * @throws rejects with {@link PmiError} `ERR_PMI_JOB`, `ERR_PMI_TIMEOUT`, `ERR_PMI_OPTION`
   */
  async describe(options: { timeout?: number } = {}): Promise<JobDescription> {
    const { job } = await this.#ask({ ask: 'describe' }, options);
    return job!;
  }

  /** Where the ranks of the job are. `options` and errors are those of {@link RunningJob.describe}. */
  async status(options: { timeout?: number } = {}): Promise<JobStatus> {
    return (await this.#ask({ ask: 'status' }, options)) as JobStatus;
  }

  /**
   * What the processes of ranks do, as {@link Job.inspect} returns it. With `stacks` there is no time limit for the answer. Errors
   * are those of {@link RunningJob.describe}.
   */
  async inspect(options: InspectOptions = {}): Promise<RankFacts[]> {
    const { size } = await this.describe();
    const { ranks, stacks } = checkInspectOptions(options, size);
    const which = ranks === undefined ? {} : { ranks: formatIdset(ranks) };
    const limits = stacks ? { timeout: 0 } : {};
    return (await this.#ask({ ask: 'inspect', ...which, stacks }, limits)).inspected!;
  }

  /**
   * The status now and after each change, at most four times a second, and the end of the job as the last value. If the
   * iteration is ended early, the job goes on.
   *
   * @throws the iteration throws {@link PmiError} `ERR_PMI_JOB` if the job cannot be reached, or its launcher is killed
   */
  async *follow(): AsyncGenerator<JobStatus | JobEnd, void, void> {
    const socket = this.#connect({ ask: 'follow' });
    try {
      for await (const answer of this.#answers(socket)) {
        if (answer.end !== undefined) return yield answer.end;
        yield answer as JobStatus;
      }
    } finally {
      socket.destroy();
    }
    throw this.#gone('it has ended without a result');
  }

  async #ask(question: JobQuestion, options: { timeout?: number }): Promise<JobAnswer> {
    checkOptions('options', options, ['timeout']);
    const limit = checkTimeout(options.timeout, ANSWER_MS);
    const socket = this.#connect(question);
    let late = false;
    const timer =
      limit === 0
        ? undefined
        : setTimeout(() => {
            late = true;
            socket.destroy();
          }, limit);
    try {
      for await (const answer of this.#answers(socket)) return answer;
    } catch (error) {
      if (!late) throw error;
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
    if (late) throw new PmiError('ERR_PMI_TIMEOUT', `job ${this.pid}: no answer within ${limit} ms`);
    throw this.#gone('it has closed the connection');
  }

  #connect(question: JobQuestion): Socket {
    // Loaded only if it is used, because it takes as long to load as a rank takes to start.
    const socket = process.getBuiltinModule('node:net').createConnection(this.#socket);
    // The reader of the answers reports errors.
    socket.on('error', () => undefined);
    socket.write(`${JSON.stringify(question)}\n`);
    return socket;
  }

  async *#answers(socket: Socket): AsyncGenerator<JobAnswer, void, void> {
    const { createInterface } = process.getBuiltinModule('node:readline');
    let fault: Error | undefined;
    socket.once('error', (error) => (fault = error));
    for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
      let answer: JobAnswer;
      try {
        answer = JSON.parse(line) as JobAnswer;
      } catch {
        throw this.#gone('its answer is incomplete');
      }
      if (answer.error !== undefined) throw this.#gone(answer.error);
      yield answer;
    }
    if (fault !== undefined) throw this.#gone(fault.message);
  }

  #gone(why: string): PmiError {
    return new PmiError('ERR_PMI_JOB', `job ${this.pid}: ${why}`);
  }
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}

/** Empty if the folder does not exist, or this user must not read it. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isOwn(folder: string): boolean {
  try {
    const { uid, mode } = lstatSync(folder);
    return uid === process.geteuid!() && (mode & 0o077) === 0;
  } catch {
    return false;
  }
}

/**
 * The jobs of this user on this machine whose launchers have the option `listed`, as all jobs of `wireup run` have, in the
 * order of their process ids. Jobs whose launchers were killed are not among them, and what they have left is removed.
 */
export function listJobs(): RunningJob[] {
  const jobs = jobFolders().flatMap((parent) => {
    native.removeDeadJobs(parent);
    return namesIn(parent)
      .filter((name) => folderName.test(name) && isOwn(join(parent, name)))
      .flatMap((name) => {
        const folder = join(parent, name);
        const id = folderName.exec(name)![1]!;
        return namesIn(folder).flatMap((file) => {
          const pid = socketName.exec(file)?.[1];
          return pid === undefined ? [] : [new RunningJob(Number(pid), id, join(folder, file))];
        });
      });
  });
  return jobs.sort((a, b) => a.pid - b.pid);
}
