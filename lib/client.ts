import { resolveAddresses } from './address';
import { describeRequest, Singleton, type Backend, type Ready } from './backend';
import { Connection } from './connection';
import { readClientEnvironment, type Environment } from './env';
import { PmiError } from './errors';
import { MAX_RANKS } from './limits';
import { native, type NativeConnectOptions, type NativeOperation } from './native';
import {
  checkBoolean,
  checkInteger,
  checkOptions,
  checkPmiId,
  checkSignal,
  checkString,
  checkStrings,
  optionError,
} from './options';
import { checkTimeout, untilAborted, waitFor, type Waiting } from './wait';
import { checkKey, checkKeys, checkPairs, checkValue, type Room } from './words';

/** Largest sizes in bytes, each with the terminator that a C client needs. */
export interface PmiMaxes {
  /** Of the name of a key-value space. */
  kvsname: number;
  /** Of a key. */
  key: number;
  /** Of a value. */
  value: number;
}

export interface Connecting extends Waiting {
  /** Milliseconds until the handshake must be complete, the look-up of a name included; 0 waits for ever. 10,000 by default. */
  timeout?: number | undefined;
  /**
   * Says puts and gets that are under way at once (getMany, putMany, calls that were not awaited) without waiting for
   * the answer to each: a bounded number of them, in order. By default it does so with servers that are known to bear
   * it, wireup's and Hydra's. RFC 13 lets a server insist on one at a time, and with Slurm's a second one hangs.
   */
  pipeline?: boolean | undefined;
  /**
   * What the client offers the server: PMI 1.1, 1.2 (barriers of groups; a server that knows 1.1 only may refuse it) or 2
   * (attributes of nodes and jobs). 1.1 by default.
   */
  version?: PmiVersion | undefined;
}

/** 1 is 1.1. */
export type PmiVersion = 1 | 1.1 | 1.2 | 2;

/** The ranks of a barrier: those of the caller's node, or the ones that are named. */
export type BarrierGroup = 'node' | readonly number[];

/** What {@link PmiClient.spawn} is to start of one program. */
export interface SpawnProgram {
  /** The program's name or path; the server decides where it is searched. */
  program: string;
  /** Without the program. */
  args?: readonly string[];
  /** How many processes: 1 to 1,048,576; 1 by default. */
  ranks?: number;
  /** What MPI_Info says of it: `wdir`, `path`, `host`, `soft`, ...; a server ignores what it does not know. */
  info?: Record<string, string>;
}

/** A job that {@link PmiClient.spawn} has started. */
export interface Spawned {
  /** Its kvsname, where the server says it: PMI 2 does. */
  kvsname?: string;
  /** One a process, in the order of the programs: 0, or why it was not started (`soft`). */
  errcodes: number[];
}

/** Milliseconds for a handshake, which takes a few; a server under load may take seconds. */
const defaultTimeout = 10_000;

function checkVersion(options: Connecting): Pick<NativeConnectOptions, 'version' | 'subversion'> {
  const version = options.version ?? 1;
  if (![1, 1.1, 1.2, 2].includes(version)) throw optionError('version', '1, 1.1, 1.2 or 2', version);
  return version === 2 ? { version: 2 } : { version: 1, subversion: version === 1.2 ? 2 : 1 };
}

function checkPipeline(options: Connecting): NativeConnectOptions['pipeline'] {
  if (options.pipeline === undefined) return 'auto';
  return checkBoolean('pipeline', options.pipeline) ? 'always' : 'never';
}

/** In the grammar of the wire. */
function groupText(group: BarrierGroup | undefined, size: number): string {
  if (group === undefined) return 'WORLD';
  if (group === 'node') return 'NODE';
  if (!Array.isArray(group) || group.length === 0)
    throw optionError('group', "'node' or an array of ranks", group);
  return [...new Set(group.map((rank: unknown, i) => checkInteger(`group[${i}]`, rank, 0, size - 1)))].join(
    ',',
  );
}

/** What can be said in lines: without NUL, newline, and PMI 2's semicolon. */
function checkField(name: string, value: unknown, room: Room): string {
  const text = checkString(name, value);
  if (text.includes('\n') || (!room.semicolons && text.includes(';')))
    throw optionError(name, `a string without newlines${room.semicolons ? '' : ' and semicolons'}`, value);
  return text;
}

/** MPI_Info's keys may hold blanks. */
function checkInfo(name: string, value: unknown, room: Room): [string, string][] {
  if (typeof value !== 'object' || value === null) throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([key, text]) => [
    checkField(name, key, room),
    checkField(`${name}.${key}`, text, room),
  ]);
}

/**
 * One rank's connection to its PMI server.
 *
 * Requests are answered in the order in which they are made. A wait that ends early, by its timeout or its signal, takes
 * nothing back: the request stands, and its answer may still come. Until it has come, every other request, finalize() too,
 * rejects at once with `ERR_PMI_PENDING`, since its own answer could only come behind that one: a barrier that was given up
 * is still open, and this rank still in it. What was asked before the wait was given up goes on waiting. close() and
 * abort() need no answer.
 *
 * The connection is served by a thread of its own, so a server in the same process is no deadlock. It keeps the
 * process alive until it is closed.
 */
export class PmiClient implements AsyncDisposable {
  /** This process's rank. */
  readonly rank: number;
  /** How many ranks the process group has. */
  readonly size: number;
  /** True in a group of ranks that another PMI program spawned. */
  readonly spawned: boolean;
  /** Which application of an MPMD job this rank belongs to. */
  readonly appnum: number;
  /** How many ranks the job could grow to; -1 when the server does not say. */
  readonly universeSize: number;
  /** The name of the process group's key-value space. */
  readonly kvsname: string;
  /** The server's limits. */
  readonly maxes: PmiMaxes;
  /** What client and server speak: `1.1`, `1.2` or `2.0`. */
  readonly version: string;
  /** Where the server is, for people: `PMI_FD=3`, `tcp://127.0.0.1:4000`, `unix:///path`; undefined for a singleton. */
  readonly server: string | undefined;
  /** True without a server: this process is a job of size 1. */
  readonly singleton: boolean;
  readonly #backend: Backend;
  /** Requests that were given up and have not been answered, for people. */
  readonly #abandoned = new Map<Promise<unknown>, string>();
  readonly #room: Room;
  #over = false;

  private constructor(backend: Backend, ready: Ready) {
    this.#backend = backend;
    this.singleton = backend instanceof Singleton;
    this.rank = ready.rank;
    this.size = ready.size;
    this.spawned = ready.spawned;
    this.appnum = ready.appnum;
    this.universeSize = ready.universeSize;
    this.kvsname = ready.kvsname;
    this.maxes = { kvsname: ready.kvsnameMax, key: ready.keyMax, value: ready.valueMax };
    this.version = `${ready.version}.${ready.subversion}`;
    this.server = ready.server;
    this.#room = { key: ready.keyMax, value: ready.valueMax, semicolons: ready.version < 2 };
  }

  /**
   * Connects as the environment says: PMI_FD with PMI_RANK and PMI_SIZE, else PMI_PORT (`host:port`,
   * `tcp://host:port`, `unix:///path`, `/path`, `unix://@name`) with PMI_ID, else nobody: a singleton of size 1.
   *
   * Before PMI_ID is sent, the kernel is asked who serves the address: on this machine it must be our own user or root.
   * Of a server on another machine it does not know.
   *
   * @param options.env the environment; `process.env` by default
   * @throws rejects with {@link PmiError} `ERR_PMI_ENVIRONMENT`, `ERR_PMI_ADDRESS`, `ERR_PMI_CONNECT`,
   * `ERR_PMI_SERVER_UID`, `ERR_PMI_TIMEOUT`, `ERR_PMI_REFUSED`, `ERR_PMI_HUNG_UP`, `ERR_PMI_PROTOCOL`
   */
  static async fromEnv(options: Connecting & { env?: Environment } = {}): Promise<PmiClient> {
    checkOptions('options', options, ['env', 'pipeline', 'signal', 'timeout', 'version']);
    const target = readClientEnvironment(options.env ?? process.env);
    switch (target.kind) {
      case 'singleton': {
        const backend = new Singleton();
        return new PmiClient(backend, backend.ready);
      }
      case 'fd': {
        const { kind: _, ...identity } = target;
        return PmiClient.#open(`PMI_FD=${identity.fd}`, [identity], options);
      }
      case 'port': {
        const { kind: _, address, id, ...identity } = target;
        return PmiClient.#dial('PMI_PORT', address, { pmiId: id, ...identity }, options);
      }
    }
  }

  /**
   * Connects to a server's address.
   *
   * @param options.address where the server listens, in any form of PMI_PORT
   * @param options.id the rank's PMI_ID
   * @throws as {@link PmiClient.fromEnv}; `ERR_PMI_OPTION`
   */
  static async connect(options: Connecting & { address: string; id: string }): Promise<PmiClient> {
    checkOptions('options', options, ['address', 'id', 'pipeline', 'signal', 'timeout', 'version']);
    const pmiId = checkPmiId('id', options.id);
    return PmiClient.#dial('address', options.address, { pmiId }, options);
  }

  static async #dial(
    name: string,
    address: string,
    identity: { pmiId: string; spawned?: boolean; jobId?: string },
    options: Connecting,
  ): Promise<PmiClient> {
    checkSignal(options.signal);
    const timeout = checkTimeout(options.timeout, defaultTimeout);
    checkPipeline(options);
    checkVersion(options);
    const begin = performance.now();
    const looking = resolveAddresses(name, address);
    const found = await waitFor(
      looking,
      { signal: options.signal, timeout },
      `looking up ${name} '${address}'`,
    );
    // What is left of the time; 0 would be for ever.
    const left = timeout === 0 ? 0 : Math.max(1, Math.ceil(timeout - (performance.now() - begin)));
    return PmiClient.#open(
      address,
      found.map((uri) => ({ address: uri, ...identity })),
      { ...options, timeout: left },
    );
  }

  /** Tries the targets in turn: a name may stand for several addresses, and nobody may listen at the first. */
  static async #open(
    server: string,
    targets: Omit<NativeConnectOptions, 'timeout' | 'pipeline'>[],
    options: Connecting,
  ): Promise<PmiClient> {
    checkSignal(options.signal)?.throwIfAborted();
    const timeout = checkTimeout(options.timeout, defaultTimeout);
    const pipeline = checkPipeline(options);
    const version = checkVersion(options);
    let failure: unknown;
    for (const target of targets) {
      const connection = new Connection({ ...target, ...version, timeout, pipeline });
      try {
        const ready = await untilAborted(connection.ready, options.signal);
        return new PmiClient(connection, { ...ready, server: target.address ?? server });
      } catch (error) {
        await connection.close();
        failure = error;
        if ((error as PmiError).code !== 'ERR_PMI_CONNECT') break;
      }
    }
    throw failure;
  }

  /**
   * Puts a value for the other ranks to see after the next barrier.
   *
   * @param key without blanks, `=` and newlines; shorter than `maxes.key` bytes
   * @param value without newlines; shorter than `maxes.value` bytes
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION` for what cannot be said, before the server is asked;
   * `ERR_PMI_RESULT`, `ERR_PMI_TIMEOUT`, `ERR_PMI_PENDING` and the codes of a lost connection
   */
  async put(key: string, value: string, options: Waiting = {}): Promise<void> {
    await this.#ask(
      'put',
      [checkKey('key', key, this.#room), checkValue('value', value, this.#room)],
      1,
      options,
    );
  }

  /**
   * Puts many, pipelined. The first that the server refuses is what it rejects with; the others may have been put.
   *
   * @param entries keys and values, as an object or as pairs (a Map)
   */
  async putMany(
    entries: Record<string, string> | Iterable<readonly [string, string]>,
    options: Waiting = {},
  ): Promise<void> {
    if (typeof entries !== 'object' || entries === null)
      throw optionError('entries', 'an object or pairs', entries);
    const pairs =
      Symbol.iterator in entries
        ? [...(entries as Iterable<readonly [string, string]>)]
        : Object.entries(entries);
    if (pairs.some((pair: unknown) => !Array.isArray(pair) || pair.length !== 2))
      throw optionError('entries', 'pairs of a key and a value', entries);
    const words = pairs.flat();
    for (const [i, word] of words.entries()) {
      if (i % 2 === 0) checkKey('entries', word, this.#room);
      else checkValue(`entries.${words[i - 1]}`, word, this.#room);
    }
    await this.#ask('put', words, pairs.length, options);
  }

  /**
   * The value of a key. One of the server's own keys (`PMI_...`) that is not there has an empty value in PMI 1, as RFC 13
   * has it.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` (no such key) and as {@link PmiClient.put}
   */
  async get(key: string, options: Waiting = {}): Promise<string> {
    const [value] = await this.#ask('get', [checkKey('key', key, this.#room)], 1, options);
    return value!;
  }

  /** The values of many keys, in their order, pipelined. Rejects when one of them cannot be had. */
  async getMany(keys: readonly string[], options: Waiting = {}): Promise<string[]> {
    if (!Array.isArray(keys)) throw optionError('keys', 'an array of strings', keys);
    return this.#ask('get', checkKeys('keys', keys, this.#room), keys.length, options);
  }

  /**
   * Resolves when every rank has called it, or every one of the group. A wait that is given up leaves this rank inside: the
   * others may pass, and until they have, requests of this client reject with `ERR_PMI_PENDING`.
   *
   * @param options.group needs PMI 1.2 at both sides (`version`); it rejects when a rank of the group has left the job
   * @param options.tag tells barriers of one group apart: 0 to 2^31 - 1
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION` for a group over a connection that does not speak PMI 1.2, and
   * as {@link PmiClient.put}
   */
  async barrier(
    options: Waiting & { group?: BarrierGroup | undefined; tag?: number | undefined } = {},
  ): Promise<void> {
    checkOptions('options', options, ['group', 'signal', 'tag', 'timeout']);
    const { group, tag, ...waiting } = options;
    if (group === undefined && tag === undefined) return void (await this.#ask('barrier', [], 1, waiting));
    const number = checkInteger('tag', tag ?? 0, 0, 2 ** 31 - 1);
    this.#needs('1.2', 'barriers of groups');
    await this.#ask('barrier', [`${groupText(group, this.size)}:${number}`], 1, waiting);
  }

  /**
   * Puts an attribute for the ranks of this rank's node to see, at once. Needs PMI 2 (`version`).
   *
   * @throws rejects as {@link PmiClient.put}
   */
  async putNodeAttribute(key: string, value: string, options: Waiting = {}): Promise<void> {
    this.#needs('2.0', 'attributes');
    await this.#ask(
      'putNodeAttribute',
      [checkKey('key', key, this.#room), checkValue('value', value, this.#room)],
      1,
      options,
    );
  }

  /**
   * An attribute of this rank's node. Needs PMI 2 (`version`).
   *
   * @param options.wait until a rank of the node has put it. Nothing else is asked on this connection meanwhile.
   * @throws rejects as {@link PmiClient.get}
   */
  async getNodeAttribute(
    key: string,
    options: Waiting & { wait?: boolean | undefined } = {},
  ): Promise<string> {
    checkOptions('options', options, ['signal', 'timeout', 'wait']);
    const { wait, ...waiting } = options;
    const operation = checkBoolean('wait', wait ?? false) ? 'waitNodeAttribute' : 'getNodeAttribute';
    this.#needs('2.0', 'attributes');
    const [value] = await this.#ask(operation, [checkKey('key', key, this.#room)], 1, waiting);
    return value!;
  }

  /** An attribute of the job: `PMI_process_mapping`, `universeSize`, ... Needs PMI 2 (`version`). */
  async getJobAttribute(key: string, options: Waiting = {}): Promise<string> {
    this.#needs('2.0', 'attributes');
    const [value] = await this.#ask('getJobAttribute', [checkKey('key', key, this.#room)], 1, options);
    return value!;
  }

  /**
   * Tells other programs where this one is: `lookup(service)` gives them `port`.
   *
   * @param service without blanks, `=` and newlines
   * @param port any text without newlines, as MPI_Open_port gave it
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT`, also where the server keeps no names
   */
  async publish(service: string, port: string, options: Waiting = {}): Promise<void> {
    const name = this.#service(service);
    // Both stand in one line.
    const room = { ...this.#room, value: this.#room.value - Buffer.byteLength(name) };
    await this.#ask('publish', [name, checkValue('port', port, room)], 1, options);
  }

  /**
   * Takes back a name that this job has published.
   *
   * @throws rejects as {@link PmiClient.publish}; the server also refuses names that this job has not published
   */
  async unpublish(service: string, options: Waiting = {}): Promise<void> {
    await this.#ask('unpublish', [this.#service(service)], 1, options);
  }

  /** The port that was published under this name. */
  async lookup(service: string, options: Waiting = {}): Promise<string> {
    const [port] = await this.#ask('lookup', [this.#service(service)], 1, options);
    return port!;
  }

  /** No server says a limit for names: it is that of a value. */
  #service(service: string): string {
    return checkKey('service', service, { ...this.#room, key: this.#room.value });
  }

  /**
   * Starts processes as a job of their own (MPI_Comm_spawn), all of them or none.
   *
   * @param programs one or more, and how many processes of each
   * @param options.preput keys that the new job finds in its key-value space
   * @returns when all have been started; as PMI has it, this does not tell how they end
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` where the server starts none, and as {@link PmiClient.put}
   */
  async spawn(
    programs: readonly SpawnProgram[],
    options: Waiting & { preput?: Record<string, string> | undefined } = {},
  ): Promise<Spawned> {
    checkOptions('options', options, ['preput', 'signal', 'timeout']);
    if (!Array.isArray(programs) || programs.length === 0)
      throw optionError('programs', 'an array of programs', programs);
    const room = this.#room;
    const commands = programs.map((entry: SpawnProgram, i) => {
      const where = `programs[${i}]`;
      const {
        program,
        args = [],
        ranks = 1,
        info = {},
      } = checkOptions(where, entry, ['program', 'args', 'ranks', 'info']);
      if (program === '') throw optionError(`${where}.program`, 'the name of a program', program);
      return {
        program: checkField(`${where}.program`, program, room),
        args: checkStrings(`${where}.args`, args).map((arg, j) =>
          checkField(`${where}.args[${j}]`, arg, room),
        ),
        ranks: checkInteger(`${where}.ranks`, ranks, 1, MAX_RANKS),
        info: checkInfo(`${where}.info`, info, room),
      };
    });
    const { preput: keys = {}, ...waiting } = options;
    const preput = checkPairs('preput', keys, room);
    const processes = commands.reduce((sum, { ranks }) => sum + ranks, 0);
    const { kvsname, errcodes } = await this.#wait(
      `spawn ${commands[0]!.program}`,
      () => this.#backend.spawn({ commands, preput }),
      waiting,
    );
    return {
      ...(kvsname === '' ? {} : { kvsname }),
      errcodes: errcodes.length === 0 ? Array<number>(processes).fill(0) : errcodes,
    };
  }

  /**
   * The ranks on this rank's node, itself among them, as the server's PMI_process_mapping says, or its flux.taskmap;
   * this rank alone where the server has neither.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_PROTOCOL` where what the server says cannot be read
   */
  async cliqueRanks(options: Waiting = {}): Promise<number[]> {
    const valueOf = async (key: string): Promise<string> => {
      try {
        // Slurm's PMI-2 has it as an attribute of the job, and not among the keys.
        return await (this.version.startsWith('2')
          ? this.getJobAttribute(key, options)
          : this.get(key, options));
      } catch (error) {
        // A key that is not there says nothing.
        if ((error as PmiError).code === 'ERR_PMI_RESULT') return '';
        throw error;
      }
    };
    const mapping = await valueOf('PMI_process_mapping');
    const taskmap = mapping === '' ? await valueOf('flux.taskmap') : '';
    const ranks = native.cliqueRanks(mapping, taskmap, this.rank, this.size);
    if (typeof ranks !== 'string') return ranks;
    throw new PmiError('ERR_PMI_PROTOCOL', this.server === undefined ? ranks : `${this.server}: ${ranks}`, {
      rank: this.rank,
    });
  }

  /** Leaves the job in good order and closes the connection. A rank that leaves without it is a failed one. */
  async finalize(options: Waiting = {}): Promise<void> {
    await this.#ask('finalize', [], 1, options);
    await this.close();
  }

  /**
   * Asks for the end of the whole job and closes the connection. The process manager ends this process too.
   *
   * @param exitCode what the launcher exits with: 1 to 255
   * @param message for people, without newlines
   */
  async abort(exitCode: number, message = ''): Promise<void> {
    checkInteger('exitCode', exitCode, 1, 255);
    checkString('message', message);
    this.#backend.abort(exitCode, message);
    await this.close();
  }

  /** Hangs up. Without finalize() before, the server takes this rank for lost. Idempotent. */
  async close(): Promise<void> {
    this.#over = true;
    await this.#backend.close();
  }

  /**
   * finalize(), where the connection still stands. After a wait that was given up, whose answer has not come yet,
   * close(): behind a barrier that others never enter, finalize() would wait for ever.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over) return;
    if (this.#backend.failed || this.#abandoned.size > 0) await this.close();
    else await this.finalize();
  }

  /** What the option `version` and the server have not made of this connection. */
  #needs(version: string, what: string): void {
    if (Number(this.version) < Number(version))
      throw optionError('version', `PMI ${version} at both sides for ${what}`, this.version);
  }

  #ask(
    operation: NativeOperation,
    words: readonly string[],
    count: number,
    options: Waiting,
  ): Promise<string[]> {
    const what = count === 1 ? describeRequest(operation, words, 0) : `${operation} of ${count}`;
    return this.#wait(what, () => this.#backend.ask(operation, words, count), options);
  }

  async #wait<T>(what: string, ask: () => Promise<T>, options: Waiting): Promise<T> {
    checkOptions('options', options, ['signal', 'timeout']);
    checkTimeout(options.timeout, 0);
    checkSignal(options.signal)?.throwIfAborted();
    if (this.#over) throw new PmiError('ERR_PMI_CLOSED', 'the client is closed', { rank: this.rank });
    const where = this.server === undefined ? '' : `${this.server}: `;
    for (const open of this.#abandoned.values()) {
      throw new PmiError(
        'ERR_PMI_PENDING',
        `${where}${what}: ${open} was given up and is still open, and answers come in order: wait, or close()`,
        { rank: this.rank },
      );
    }
    const answer = ask();
    let answered = false;
    const settle = (): void => {
      answered = true;
      this.#abandoned.delete(answer);
    };
    answer.then(settle, settle);
    try {
      return await waitFor(answer, options, `${where}${what}`);
    } finally {
      if (!answered) this.#abandoned.set(answer, what);
    }
  }
}
