import { resolveAddresses } from './address';
import { describeRequest, Singleton, type Backend, type Ready } from './backend';
import {
  checkField,
  checkInfo,
  checkPipeline,
  checkVersion,
  defaultTimeout,
  groupText,
  type BarrierGroup,
  type Connecting,
  type PmiMaxes,
  type Spawned,
  type SpawnProgram,
} from './client-options';
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
import { checkKey, checkKeys, checkPairs, checkValue, type WireLimits } from './words';

/**
 * The connection of a rank to its PMI server.
 *
 * The server answers requests in the order in which they are made. A wait that ends early, by its timeout or
 * signal, does not cancel the request. Until the server has answered that request, every new request,
 * finalize() too, rejects at once with `ERR_PMI_PENDING`, because its answer could only come later. A barrier
 * whose wait was given up is still in progress, and this rank is still inside. Requests that were made before
 * continue to wait. close() and abort() are always possible.
 *
 * A separate thread serves the connection, so a client and its server can be in the same process. The
 * connection keeps the process alive until it is closed.
 */
export class PmiClient implements AsyncDisposable {
  /** This process's rank. */
  readonly rank: number;
  /** How many ranks the process group has. */
  readonly size: number;
  /** True if another PMI program has spawned this process group. */
  readonly spawned: boolean;
  /** The number of this rank's application in an MPMD job, from 0. */
  readonly appnum: number;
  /** How many ranks the job can have at most; -1 if the server does not report it. */
  readonly universeSize: number;
  /** The name of the process group's key-value space. */
  readonly kvsname: string;
  /** The server's limits. */
  readonly maxes: PmiMaxes;
  /** The agreed version of PMI: `1.1`, `1.2` or `2.0`. */
  readonly version: string;
  /**
   * The server, for messages: `PMI_FD=3`, `tcp://127.0.0.1:4000`, `unix:///path`; undefined for a singleton.
   */
  readonly server: string | undefined;
  /** True if there is no server: this process is a process group of size 1. */
  readonly singleton: boolean;
  readonly #backend: Backend;
  /** Requests whose wait was given up and that are not answered yet, with their descriptions. */
  readonly #abandoned = new Map<Promise<unknown>, string>();
  readonly #limits: WireLimits;
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
    this.#limits = { key: ready.keyMax, value: ready.valueMax, semicolons: ready.version < 2 };
  }

  /**
   * Connects as the environment determines: by PMI_FD with PMI_RANK and PMI_SIZE, or else by PMI_PORT (`host:port`,
   * `tcp://host:port`, `unix:///path`, `/path`, `unix://@name`) with PMI_ID. Without both, the client is a
   * singleton of size 1.
   *
   * Before it sends PMI_ID, the client checks which user owns the server's socket: on this machine that must
   * be this user or root. For a server on another machine the kernel does not report it.
   *
   * @param options.env the environment; `process.env` by default
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_ENVIRONMENT`, `ERR_PMI_ADDRESS`,
   * `ERR_PMI_CONNECT`, `ERR_PMI_SERVER_UID`, `ERR_PMI_TIMEOUT`, `ERR_PMI_REFUSED`, `ERR_PMI_HUNG_UP`,
   * `ERR_PMI_PROTOCOL`, or with the signal's reason
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
   * Connects to a server at an address.
   *
   * @param options.address the server's address, in any form of PMI_PORT
   * @param options.id the rank's PMI_ID
   * @throws rejects as {@link PmiClient.fromEnv} does, except `ERR_PMI_ENVIRONMENT`
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
    // The remaining time is at least 1 ms, because 0 means no limit.
    const left = timeout === 0 ? 0 : Math.max(1, Math.ceil(timeout - (performance.now() - begin)));
    return PmiClient.#open(
      address,
      found.map((uri) => ({ address: uri, ...identity })),
      { ...options, timeout: left },
    );
  }

  /**
   * Tries the targets in order. A host name may have several addresses, and the server may listen on only
   * one.
   */
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
   * Puts a key and a value. Other ranks can get it after the next barrier.
   *
   * @param key without blanks, `=` and newlines; shorter than `maxes.key` bytes
   * @param value without newlines; shorter than `maxes.value` bytes
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION` if PMI cannot carry the key or value (the server
   * is not asked), `ERR_PMI_RESULT`, `ERR_PMI_TIMEOUT`, `ERR_PMI_PENDING`, `ERR_PMI_HUNG_UP`,
   * `ERR_PMI_PROTOCOL`, `ERR_PMI_CLOSED`, or with the signal's reason
   */
  async put(key: string, value: string, options: Waiting = {}): Promise<void> {
    await this.#request(
      'put',
      [checkKey('key', key, this.#limits), checkValue('value', value, this.#limits)],
      1,
      options,
    );
  }

  /**
   * Puts many keys, pipelined if possible ({@link Connecting.pipeline}). If the server refuses some of them,
   * the promise rejects with the first error; the others may have been put.
   *
   * @param entries keys and values, as an object or as pairs (a Map)
   * @throws rejects as {@link PmiClient.put}
   */
  async putMany(
    entries: Record<string, string> | Iterable<readonly [string, string]>,
    options: Waiting = {},
  ): Promise<void> {
    if (typeof entries !== 'object' || entries === null)
      throw optionError('entries', 'an object or pairs', entries);
    const pairs = Symbol.iterator in entries ? [...entries] : Object.entries(entries);
    if (pairs.some((pair: unknown) => !Array.isArray(pair) || pair.length !== 2))
      throw optionError('entries', 'pairs of a key and a value', entries);
    const words = pairs.flat();
    for (const [i, word] of words.entries()) {
      if (i % 2 === 0) checkKey('entries', word, this.#limits);
      else checkValue(`entries.${words[i - 1]}`, word, this.#limits);
    }
    await this.#request('put', words, pairs.length, options);
  }

  /**
   * Gets the value of a key. In PMI-1 a missing key of the server's own (`PMI_...`) has an empty value, as
   * RFC 13 requires.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` if the key is missing, and as {@link
   * PmiClient.put}
   */
  async get(key: string, options: Waiting = {}): Promise<string> {
    const [value] = await this.#request('get', [checkKey('key', key, this.#limits)], 1, options);
    return value!;
  }

  /**
   * Gets the values of many keys, in the order of the keys, pipelined if possible ({@link
   * Connecting.pipeline}).
   *
   * @throws rejects as {@link PmiClient.get} if one of the keys fails
   */
  async getMany(keys: readonly string[], options: Waiting = {}): Promise<string[]> {
    if (!Array.isArray(keys)) throw optionError('keys', 'an array of strings', keys);
    return this.#request('get', checkKeys('keys', keys, this.#limits), keys.length, options);
  }

  /**
   * Enters a barrier. Resolves when every rank, or every rank of the group, has entered it. If the wait is
   * given up, this rank stays inside: the barrier can complete, and until then requests of this client reject
   * with `ERR_PMI_PENDING`.
   *
   * @param options.group only these ranks; needs PMI 1.2 at both sides ({@link Connecting.version}). Rejects
   * if a rank of the group has left the job
   * @param options.tag distinguishes barriers of the same group: 0 to 2^31 - 1; 0 by default
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION` for a group if the connection does not use PMI
   * 1.2, and as {@link PmiClient.put}
   */
  async barrier(
    options: Waiting & { group?: BarrierGroup | undefined; tag?: number | undefined } = {},
  ): Promise<void> {
    checkOptions('options', options, ['group', 'signal', 'tag', 'timeout']);
    const { group, tag, ...waiting } = options;
    if (group === undefined && tag === undefined) {
      await this.#request('barrier', [], 1, waiting);
      return;
    }
    const number = checkInteger('tag', tag ?? 0, 0, 2 ** 31 - 1);
    this.#needs('1.2', 'barriers of groups');
    await this.#request('barrier', [`${groupText(group, this.size)}:${number}`], 1, waiting);
  }

  /**
   * Puts an attribute of this rank's node. Other ranks of the node can get it at once. Needs PMI-2 ({@link
   * Connecting.version}).
   *
   * @throws rejects as {@link PmiClient.put}
   */
  async putNodeAttribute(key: string, value: string, options: Waiting = {}): Promise<void> {
    this.#needs('2.0', 'attributes');
    await this.#request(
      'putNodeAttribute',
      [checkKey('key', key, this.#limits), checkValue('value', value, this.#limits)],
      1,
      options,
    );
  }

  /**
   * Gets an attribute of this rank's node. Needs PMI-2 ({@link Connecting.version}).
   *
   * @param options.wait wait until a rank of the node has put the attribute; false by default. Other requests
   * of this client wait meanwhile
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
    const [value] = await this.#request(operation, [checkKey('key', key, this.#limits)], 1, waiting);
    return value!;
  }

  /**
   * Gets an attribute of the job: `PMI_process_mapping`, `universeSize` and others. Needs PMI-2 ({@link
   * Connecting.version}).
   *
   * @throws rejects as {@link PmiClient.get}
   */
  async getJobAttribute(key: string, options: Waiting = {}): Promise<string> {
    this.#needs('2.0', 'attributes');
    const [value] = await this.#request('getJobAttribute', [checkKey('key', key, this.#limits)], 1, options);
    return value!;
  }

  /**
   * Publishes a port under a name (MPI_Publish_name). Other programs get it by {@link PmiClient.lookup}.
   *
   * @param service the name, without blanks, `=` and newlines
   * @param port any text without newlines, as MPI_Open_port returns it
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` if the name is taken or the server keeps no names,
   * and as {@link PmiClient.put}
   */
  async publish(service: string, port: string, options: Waiting = {}): Promise<void> {
    const name = this.#service(service);
    // Name and port share one line.
    const limits = { ...this.#limits, value: this.#limits.value - Buffer.byteLength(name) };
    await this.#request('publish', [name, checkValue('port', port, limits)], 1, options);
  }

  /**
   * Removes a name that this job has published.
   *
   * @throws rejects as {@link PmiClient.publish}, also if this job has not published the name
   */
  async unpublish(service: string, options: Waiting = {}): Promise<void> {
    await this.#request('unpublish', [this.#service(service)], 1, options);
  }

  /**
   * Looks up the port that was published under a name.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` if the name is missing, and as {@link
   * PmiClient.put}
   */
  async lookup(service: string, options: Waiting = {}): Promise<string> {
    const [port] = await this.#request('lookup', [this.#service(service)], 1, options);
    return port!;
  }

  /** PMI defines no limit for names. A name may be as long as a value. */
  #service(service: string): string {
    return checkKey('service', service, { ...this.#limits, key: this.#limits.value });
  }

  /**
   * Starts a process group (MPI_Comm_spawn): all of its processes, or none.
   *
   * @param programs one or more programs, and how many processes of each
   * @param options.preput keys that the new process group has in its key-value space from the start
   * @returns when all processes have been started. As in MPI, nothing reports how they end
   * @throws rejects with {@link PmiError} `ERR_PMI_RESULT` if the server starts none, and as {@link
   * PmiClient.put}
   */
  async spawn(
    programs: readonly SpawnProgram[],
    options: Waiting & { preput?: Record<string, string> | undefined } = {},
  ): Promise<Spawned> {
    checkOptions('options', options, ['preput', 'signal', 'timeout']);
    if (!Array.isArray(programs) || programs.length === 0)
      throw optionError('programs', 'an array of programs', programs);
    const limits = this.#limits;
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
        program: checkField(`${where}.program`, program, limits),
        args: checkStrings(`${where}.args`, args).map((arg, j) =>
          checkField(`${where}.args[${j}]`, arg, limits),
        ),
        ranks: checkInteger(`${where}.ranks`, ranks, 1, MAX_RANKS),
        info: checkInfo(`${where}.info`, info, limits),
      };
    });
    const { preput: keys = {}, ...waiting } = options;
    const preput = checkPairs('preput', keys, limits);
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
   * The ranks on this rank's node, including itself, according to the server's PMI_process_mapping or
   * flux.taskmap. If the server has neither, the result is this rank only.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_PROTOCOL` if the server's value is malformed, and as
   * {@link PmiClient.get}
   */
  async cliqueRanks(options: Waiting = {}): Promise<number[]> {
    const valueOf = async (key: string): Promise<string> => {
      try {
        // Slurm's PMI-2 has these as job attributes and not as keys.
        return await (this.version.startsWith('2')
          ? this.getJobAttribute(key, options)
          : this.get(key, options));
      } catch (error) {
        // The server does not have the key.
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

  /**
   * Leaves the job and closes the connection. The server treats a rank that leaves without finalize as
   * failed.
   *
   * @throws rejects as {@link PmiClient.put}
   */
  async finalize(options: Waiting = {}): Promise<void> {
    await this.#request('finalize', [], 1, options);
    await this.close();
  }

  /**
   * Requests the end of the whole job and closes the connection. The process manager ends this process too.
   *
   * @param exitCode the exit code of the launcher: 1 to 255
   * @param message the reason, without newlines; none by default
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`
   */
  async abort(exitCode: number, message = ''): Promise<void> {
    checkInteger('exitCode', exitCode, 1, 255);
    checkString('message', message);
    this.#backend.abort(exitCode, message);
    await this.close();
  }

  /**
   * Closes the connection. Without finalize() before, the server treats this rank as lost. Further calls do
   * nothing.
   */
  async close(): Promise<void> {
    this.#over = true;
    await this.#backend.close();
  }

  /**
   * Calls finalize() if the connection is usable, else close(). It also calls close() if the wait for an
   * earlier request was given up and the server has not answered it: after a barrier that never completes,
   * finalize() would wait for ever.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over) return;
    if (this.#backend.failed || this.#abandoned.size > 0) await this.close();
    else await this.finalize();
  }

  /** Throws if the connection's version of PMI is older than `version`. */
  #needs(version: string, what: string): void {
    if (Number(this.version) < Number(version))
      throw optionError('version', `PMI ${version} at both sides for ${what}`, this.version);
  }

  #request(
    operation: NativeOperation,
    words: readonly string[],
    count: number,
    options: Waiting,
  ): Promise<string[]> {
    const what = count === 1 ? describeRequest(operation, words, 0) : `${operation} of ${count}`;
    return this.#wait(what, () => this.#backend.request(operation, words, count), options);
  }

  async #wait<T>(what: string, send: () => Promise<T>, options: Waiting): Promise<T> {
    checkOptions('options', options, ['signal', 'timeout']);
    checkTimeout(options.timeout, 0);
    checkSignal(options.signal)?.throwIfAborted();
    if (this.#over) throw new PmiError('ERR_PMI_CLOSED', 'the client is closed', { rank: this.rank });
    const where = this.server === undefined ? '' : `${this.server}: `;
    for (const open of this.#abandoned.values()) {
      throw new PmiError(
        'ERR_PMI_PENDING',
        `${where}${what}: the wait for ${open} was given up, and the server answers in order: wait until it has answered, or close()`,
        { rank: this.rank },
      );
    }
    const answer = send();
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
