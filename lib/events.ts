import type { NativeEvent, NativeSpawn, NativeSpawnAnswer } from './native';
import { checkInteger, checkKvsname, checkOptions, checkString, optionError } from './options';

/** Who is at the other end of a connection, as the kernel tells. */
export interface Peer {
  transport: 'fd' | 'unix' | 'tcp';
  /** User id of the process that connected; absent where the kernel does not tell it. */
  uid?: number;
  /** Its process id, as seen here; absent where the kernel does not tell it. */
  pid?: number;
  /** For people: `127.0.0.1:40000`, or `unix` for an unnamed unix socket. */
  address: string;
}

/** One of the programs that a rank asks to be started. */
export interface SpawnCommand {
  program: string;
  /** Without the program. */
  args: string[];
  /** How many processes of it. */
  ranks: number;
  /** What MPI_Info says of it: `wdir`, `path`, `host`, `soft`, ... */
  info: Record<string, string>;
}

/** What has become of a spawn that was accepted. */
export interface SpawnedJob {
  /** Of the new job; PMI-2 hands it to whoever has asked. */
  kvsname?: string;
  /** One a process, in the order of the commands; 0 for all by default. */
  errcodes?: readonly number[];
}

/**
 * A rank asks for processes (MPI_Comm_spawn), and waits for the answer: one call of accept() or reject(); another does
 * nothing. Where nobody reads the events, it is refused.
 */
export interface SpawnEvent {
  type: 'spawn';
  rank: number;
  commands: SpawnCommand[];
  /** Keys that the new job's server is to have from the start. */
  preput: Record<string, string>;
  /** The processes are started. @throws {@link PmiError} `ERR_PMI_OPTION` */
  accept(job?: SpawnedJob): void;
  /**
   * They are not. `rc` is what the rank's PMI call returns, not 0. The message reaches the rank as one word, with `_` for
   * what a word cannot hold. @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  reject(rc: number, message?: string): void;
}

/** What happens in a job, as its PMI server sees it. */
export type PmiEvent =
  /** A connection is known to be that rank's. */
  | { type: 'connected'; rank: number; peer: Peer }
  /** The rank said init; version is what both sides agreed on. */
  | { type: 'initialized'; rank: number; version: number; subversion: number }
  /** Every rank has entered, and been let out of, the barrier of that number (from 0). */
  | { type: 'barrier'; number: number }
  | { type: 'finalized'; rank: number }
  /** The rank asked for the end of the job. */
  | { type: 'aborted'; rank: number; exitCode: number; message: string }
  /** The rank's connection ended. `lost`: between init and finalize. */
  | { type: 'disconnected'; rank: number; lost: boolean }
  /** Somebody was refused. */
  | { type: 'rejected'; peer: Peer; reason: string }
  /** Ranks wait in the barrier for a rank that has left, so it can never complete; told once, unless that rank comes back. */
  | { type: 'stuck'; rank: number; number: number }
  /** The name server has gone: what ranks publish or look up from now on fails, and what they had published is gone. */
  | { type: 'name-server-lost' }
  | SpawnEvent
  /** Bad input on a connection; `rank` is absent before it is known. The connection may live on. */
  | { type: 'protocol-error'; rank?: number; message: string };

export function toPmiEvent(event: NativeEvent): Exclude<PmiEvent, SpawnEvent> {
  const { rank } = event;
  switch (event.event) {
    case 'connected':
      return { type: 'connected', rank, peer: event.peer };
    case 'initialized':
      return { type: 'initialized', rank, version: event.version, subversion: event.subversion };
    case 'barrier':
      return { type: 'barrier', number: event.barrier };
    case 'finalized':
      return { type: 'finalized', rank };
    case 'aborted':
      return { type: 'aborted', rank, exitCode: event.exitCode, message: event.message };
    case 'disconnected':
      return { type: 'disconnected', rank, lost: event.lost };
    case 'rejected':
      return { type: 'rejected', peer: event.peer, reason: event.message };
    case 'stuck':
      return { type: 'stuck', rank, number: event.barrier };
    case 'protocol_error':
      return { type: 'protocol-error', ...(rank >= 0 ? { rank } : {}), message: event.message };
  }
}

export function toSpawnEvent(spawn: NativeSpawn, answer: (answer: NativeSpawnAnswer) => void): SpawnEvent {
  const { rank, commands, preput } = spawn;
  const processes = commands.reduce((sum, command) => sum + command.ranks, 0);
  let open = true;
  const answerOnce = (said: NativeSpawnAnswer): void => {
    if (open) answer(said);
    open = false;
  };
  return {
    type: 'spawn',
    rank,
    commands: commands.map((command) => ({ ...command, info: Object.fromEntries(command.info) })),
    preput: Object.fromEntries(preput),
    accept(job = {}) {
      checkOptions('job', job, ['kvsname', 'errcodes']);
      const kvsname = job.kvsname === undefined ? '' : checkKvsname('kvsname', job.kvsname);
      const { errcodes = new Array<number>(processes).fill(0) } = job;
      if (!Array.isArray(errcodes) || errcodes.length !== processes) throw optionError('errcodes', `an array of ${processes} numbers`, errcodes);
      for (const [i, code] of errcodes.entries()) checkInteger(`errcodes[${i}]`, code, -(2 ** 31), 2 ** 31 - 1);
      answerOnce({ rc: 0, message: '', kvsname, errcodes });
    },
    reject(rc, message = '') {
      if (checkInteger('rc', rc, -(2 ** 31), 2 ** 31 - 1) === 0) throw optionError('rc', 'a number that is not 0', rc);
      answerOnce({ rc, message: checkString('message', message), kvsname: '', errcodes: [] });
    },
  };
}

/** First in, first out. Array's shift() moves all that is left: of 100,000 events, each time. */
class Queue<T> {
  #items: T[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Not of an empty one. */
  shift(): T {
    const item = this.#items[this.#first++]!;
    if (this.#first * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }
}

/**
 * Events for any number of readers. A reader gets every event from its read() call to the end, in order; without a
 * reader events are dropped. Nothing is dropped before open(), nor in the turn of the event loop that called it:
 * who reads at once misses nothing.
 */
export class EventHub<T> {
  readonly #readers = new Set<(event: T | undefined) => void>();
  readonly #onUnread: (event: T) => void;
  #held: (T | undefined)[] | undefined = [];
  #ended = false;

  /** @param onUnread is given what no reader gets */
  constructor(onUnread: (event: T) => void = () => {}) {
    this.#onUnread = onUnread;
  }

  open(): void {
    setImmediate(() => {
      const held = this.#held ?? [];
      this.#held = undefined;
      for (const event of held) this.#pass(event);
    });
  }

  push(event: T): void {
    if (this.#held !== undefined) this.#held.push(event);
    else this.#pass(event);
  }

  end(): void {
    if (this.#held !== undefined) this.#held.push(undefined);
    else this.#pass(undefined);
  }

  #pass(event: T | undefined): void {
    if (event !== undefined && this.#readers.size === 0) this.#onUnread(event);
    for (const reader of this.#readers) reader(event);
    if (event !== undefined) return;
    this.#ended = true;
    this.#readers.clear();
  }

  read(signal?: AbortSignal): AsyncIterableIterator<T> {
    const queue = new Queue<T>();
    let ended = this.#ended;
    // More than one where next() is called again before the last call has settled.
    let waiting: (() => void)[] = [];
    const wake = (): void => {
      const woken = waiting;
      waiting = [];
      for (const resolve of woken) resolve();
    };
    const reader = (event: T | undefined): void => {
      if (event === undefined) ended = true;
      else queue.push(event);
      wake();
    };
    if (!ended) this.#readers.add(reader);
    const onAbort = (): void => wake();
    signal?.addEventListener('abort', onAbort, { once: true });
    const leave = (): void => {
      ended = true;
      this.#readers.delete(reader);
      signal?.removeEventListener('abort', onAbort);
      wake();
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        for (;;) {
          if (signal?.aborted) {
            leave();
            throw signal.reason;
          }
          if (queue.length > 0) return { done: false, value: queue.shift() };
          if (ended) {
            leave();
            return { done: true, value: undefined };
          }
          await new Promise<void>((resolve) => waiting.push(resolve));
        }
      },
      async return() {
        leave();
        return { done: true, value: undefined };
      },
    };
  }
}
