import { resolveAddresses } from './address';
import { describeRequest, Singleton, type Backend, type Ready } from './backend';
import { Connection } from './connection';
import { readClientEnvironment, type Environment } from './env';
import { PmiError } from './errors';
import { native, type NativeConnectOptions, type NativeOperation } from './native';
import { checkBoolean, checkInteger, checkOptions, checkPmiId, checkSignal, checkString, checkStrings, optionError } from './options';
import { checkTimeout, untilAborted, waitFor, type Waiting } from './wait';

/** Largest sizes in bytes, each with the terminator that a C client needs. */
export interface PmiMaxes {
  kvsname: number;
  key: number;
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
  if (!Array.isArray(group) || group.length === 0) throw optionError('group', "'node' or an array of ranks", group);
  return [...new Set(group.map((rank: unknown, i) => checkInteger(`group[${i}]`, rank, 0, size - 1)))].join(',');
}

/**
 * One rank's connection to its PMI server.
 *
 * The connection is served by a thread of its own, so a server in the same process is no deadlock. It keeps the
 * process alive until it is closed.
 */
export class PmiClient implements AsyncDisposable {
  readonly rank: number;
  readonly size: number;
  /** True in a group of ranks that another PMI program spawned. */
  readonly spawned: boolean;
  /** Which application of an MPMD job this rank belongs to. */
  readonly appnum: number;
  /** How many ranks the job could grow to; -1 when the server does not say. */
  readonly universeSize: number;
  readonly kvsname: string;
  readonly maxes: PmiMaxes;
  /** What client and server speak: `1.1`, `1.2` or `2.0`. */
  readonly version: string;
  /** Where the server is, for people: `PMI_FD=3`, `tcp://127.0.0.1:4000`, `unix:///path`; undefined for a singleton. */
  readonly server: string | undefined;
  /** True without a server: this process is a job of size 1. */
  readonly singleton: boolean;
  readonly #backend: Backend;
  /** Answers that nobody waits for any more and that have not come. */
  readonly #abandoned = new Set<Promise<unknown>>();
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
        const { fd, rank, size, spawned } = target;
        return PmiClient.#open(`PMI_FD=${fd}`, [{ fd, rank, size, spawned }], options);
      }
      case 'port':
        return PmiClient.#dial('PMI_PORT', target.address, { pmiId: target.id, spawned: target.spawned }, options);
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

  static async #dial(name: string, address: string, identity: { pmiId: string; spawned?: boolean }, options: Connecting): Promise<PmiClient> {
    checkSignal(options.signal);
    const timeout = checkTimeout(options.timeout, defaultTimeout);
    checkPipeline(options);
    checkVersion(options);
    const begin = performance.now();
    const looking = resolveAddresses(name, address);
    const found = await waitFor(looking, { signal: options.signal, timeout }, `looking up ${name} '${address}'`);
    // What is left of the time; 0 would be for ever.
    const left = timeout === 0 ? 0 : Math.max(1, Math.ceil(timeout - (performance.now() - begin)));
    return PmiClient.#open(address, found.map((uri) => ({ address: uri, ...identity })), { ...options, timeout: left });
  }

  /** Tries the targets in turn: a name may stand for several addresses, and nobody may listen at the first. */
  static async #open(server: string, targets: Omit<NativeConnectOptions, 'timeout' | 'pipeline'>[], options: Connecting): Promise<PmiClient> {
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
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT`, `ERR_PMI_TIMEOUT` and the codes of a lost connection
   */
  async put(key: string, value: string, options: Waiting = {}): Promise<void> {
    await this.#ask('put', [checkString('key', key), checkString('value', value)], 1, options);
  }

  /**
   * Puts many, pipelined. The first that fails is what it rejects with; the others may have been put.
   *
   * @param entries keys and values, as an object or as pairs (a Map)
   */
  async putMany(entries: Record<string, string> | Iterable<readonly [string, string]>, options: Waiting = {}): Promise<void> {
    if (typeof entries !== 'object' || entries === null) throw optionError('entries', 'an object or pairs', entries);
    const pairs = Symbol.iterator in entries ? [...(entries as Iterable<readonly [string, string]>)] : Object.entries(entries);
    const words = checkStrings('entries', pairs.flat());
    if (words.length !== 2 * pairs.length) throw optionError('entries', 'pairs of a key and a value', entries);
    await this.#ask('put', words, pairs.length, options);
  }

  /** @throws rejects with {@link PmiError} `ERR_PMI_RESULT` (no such key) and as {@link PmiClient.put} */
  async get(key: string, options: Waiting = {}): Promise<string> {
    const [value] = await this.#ask('get', [checkString('key', key)], 1, options);
    return value!;
  }

  /** The values of many keys, in their order, pipelined. Rejects when one of them cannot be had. */
  async getMany(keys: readonly string[], options: Waiting = {}): Promise<string[]> {
    return this.#ask('get', checkStrings('keys', keys), keys.length, options);
  }

  /**
   * Resolves when every rank has called it, or every one of the group.
   *
   * @param options.group needs PMI 1.2 at both sides (`version`); it rejects when a rank of the group has left the job
   * @param options.tag tells barriers of one group apart: 0 to 2^31 - 1
   */
  async barrier(options: Waiting & { group?: BarrierGroup | undefined; tag?: number | undefined } = {}): Promise<void> {
    checkOptions('options', options, ['group', 'signal', 'tag', 'timeout']);
    const { group, tag, ...waiting } = options;
    if (group === undefined && tag === undefined) return void (await this.#ask('barrier', [], 1, waiting));
    const number = checkInteger('tag', tag ?? 0, 0, 2 ** 31 - 1);
    await this.#ask('barrier', [`${groupText(group, this.size)}:${number}`], 1, waiting);
  }

  /**
   * Puts an attribute for the ranks of this rank's node to see, at once. Needs PMI 2 (`version`).
   *
   * @throws rejects as {@link PmiClient.put}
   */
  async putNodeAttribute(key: string, value: string, options: Waiting = {}): Promise<void> {
    await this.#ask('putNodeAttribute', [checkString('key', key), checkString('value', value)], 1, options);
  }

  /**
   * An attribute of this rank's node. Needs PMI 2 (`version`).
   *
   * @param options.wait until a rank of the node has put it. Nothing else is asked on this connection meanwhile.
   * @throws rejects as {@link PmiClient.get}
   */
  async getNodeAttribute(key: string, options: Waiting & { wait?: boolean | undefined } = {}): Promise<string> {
    checkOptions('options', options, ['signal', 'timeout', 'wait']);
    const { wait, ...waiting } = options;
    const operation = checkBoolean('wait', wait ?? false) ? 'waitNodeAttribute' : 'getNodeAttribute';
    const [value] = await this.#ask(operation, [checkString('key', key)], 1, waiting);
    return value!;
  }

  /** An attribute of the job: `PMI_process_mapping`, `universeSize`, ... Needs PMI 2 (`version`). */
  async getJobAttribute(key: string, options: Waiting = {}): Promise<string> {
    const [value] = await this.#ask('getJobAttribute', [checkString('key', key)], 1, options);
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
    await this.#ask('publish', [checkString('service', service), checkString('port', port)], 1, options);
  }

  async unpublish(service: string, options: Waiting = {}): Promise<void> {
    await this.#ask('unpublish', [checkString('service', service)], 1, options);
  }

  /** The port that was published under this name. */
  async lookup(service: string, options: Waiting = {}): Promise<string> {
    const [port] = await this.#ask('lookup', [checkString('service', service)], 1, options);
    return port!;
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
        return await (this.version.startsWith('2') ? this.getJobAttribute(key, options) : this.get(key, options));
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
    throw new PmiError('ERR_PMI_PROTOCOL', this.server === undefined ? ranks : `${this.server}: ${ranks}`, { rank: this.rank });
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

  async #ask(operation: NativeOperation, words: readonly string[], count: number, options: Waiting): Promise<string[]> {
    checkOptions('options', options, ['signal', 'timeout']);
    checkTimeout(options.timeout, 0);
    checkSignal(options.signal)?.throwIfAborted();
    if (this.#over) throw new PmiError('ERR_PMI_CLOSED', 'the client is closed', { rank: this.rank });
    const where = this.server === undefined ? '' : `${this.server}: `;
    const what = count === 1 ? describeRequest(operation, words, 0) : `${operation} of ${count}`;
    const answer = this.#backend.ask(operation, words, count);
    let answered = false;
    const settle = (): void => {
      answered = true;
      this.#abandoned.delete(answer);
    };
    answer.then(settle, settle);
    try {
      return await waitFor(answer, options, `${where}${what}`);
    } finally {
      if (!answered) this.#abandoned.add(answer);
    }
  }
}
