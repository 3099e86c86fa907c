import { closeSync } from 'node:fs';
import { resolveUnixAddress, toListenOptions } from './address';
import { placeOf, toRecord } from './env';
import { fromNative, fromThrown, PmiError } from './errors';
import { EventHub } from './event-hub';
import {
  pmiEventTypes,
  pushNative,
  readEvents,
  tellNative,
  toPmiEvent,
  toSpawnEvent,
  type EventOptions,
  type EventsOf,
  type PmiEvent,
} from './events';
import { JobHandle } from './handle';
import {
  admissionOptionNames,
  makeGroupOptions,
  type AdmissionOptions,
  type KvsOptions,
  type WireOptions,
} from './identity';
import { MAX_KEY, MAX_RANKS, MAX_VALUE } from './limits';
import { native, type NativeProcessGroupOptions } from './native';
import { checkInteger, checkKvsname, checkOptions } from './options';
import type { PmiStatus } from './status';
import { deferred } from './wait';
import { checkPairs } from './words';

export interface PmiServerOptions extends AdmissionOptions, KvsOptions, WireOptions {
  /** How many ranks the job has: 1 to 1,048,576. */
  size: number;
  /**
   * Where ranks connect by PMI_PORT: `host:port` or `tcp://host:port` (port 0: the kernel chooses),
   * `unix:///path`, `/path`, `unix://@name`; or `tcp` (127.0.0.1, a free port) or `unix` (a socket in a fresh
   * private folder in $XDG_RUNTIME_DIR, $TMPDIR or /tmp: the first where no other user can interfere; where there is none,
   * under an abstract name). Absent: nowhere; ranks come by {@link PmiServer.channel} only. Of a name's addresses an IPv4 one
   * is taken, if there is one: MPICH reads no other in PMI_PORT. On every address (`0.0.0.0:0`, `[::]:0`) ranks are
   * handed 127.0.0.1, or, with `allowHosts`, this host's name.
   */
  address?: string;
  /** What `get_universe_size` answers; the size by default. */
  universeSize?: number;
  /**
   * How many ranks share a node; all by default. Ranks of one node may use shared memory, so ranks that have a
   * /dev/shm each (containers) need a node each: 1.
   */
  ranksPerNode?: number;
  /**
   * The unix address of a {@link NameServer}: names that ranks publish are kept there and seen by other jobs; without it
   * they are this job's own. They go when the server is closed, or this process ends.
   */
  nameServer?: string;
  /** Keys that are there from the start: what {@link SpawnEvent} wants its new job to have. */
  preput?: Record<string, string>;
  /** The kvsname of the job whose rank has spawned this one; its ranks then know that they were spawned. */
  spawner?: string;
}

/** The end of a rank's pre-connected channel that its process is to inherit. */
export interface PmiChannel extends Disposable {
  /** The fd, here. Pass it on (`stdio` of child_process), then close(). */
  readonly fd: number;
  /** Closes it here. Without that the server cannot see the rank's end. Idempotent. */
  close(): void;
}

/**
 * The PMI server of one job, for launchers of one's own.
 *
 * It serves on a thread of its own: what JavaScript does never delays a rank. It keeps the process alive until it
 * is closed.
 */
export class PmiServer implements AsyncDisposable {
  /** How many ranks the job has. */
  readonly size: number;
  /** The name of the job's key-value space. */
  readonly kvsname: string;
  readonly #job: NativeProcessGroupOptions;
  readonly #handle: JobHandle;
  readonly #hub: EventHub<PmiEvent>;
  readonly #address: string | undefined;
  readonly #pmiPort: string | undefined;
  #closing = false;

  private constructor(
    job: NativeProcessGroupOptions,
    handle: JobHandle,
    hub: EventHub<PmiEvent>,
    address: string,
    pmiPort: string,
  ) {
    this.size = job.size;
    this.kvsname = job.kvsname;
    this.#job = job;
    this.#handle = handle;
    this.#hub = hub;
    this.#address = address === '' ? undefined : address;
    this.#pmiPort = pmiPort === '' ? undefined : pmiPort;
  }

  /**
   * Starts a server.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`; rejects with `ERR_PMI_ADDRESS`, `ERR_PMI_ADDRESS_IN_USE`,
   * `ERR_PMI_LISTEN`, `ERR_PMI_NAME_SERVER`
   */
  static async listen(options: PmiServerOptions): Promise<PmiServer> {
    checkOptions('options', options, [
      'size',
      'address',
      'universeSize',
      'ranksPerNode',
      'pmiSubversion',
      'nameServer',
      'preput',
      'spawner',
      'kvsLimit',
      ...admissionOptionNames,
    ]);
    const size = checkInteger('size', options.size, 1, MAX_RANKS);
    const universe = options.universeSize;
    if (universe !== undefined) checkInteger('universeSize', universe, size, 2 ** 31 - 1);
    const listen = options.address === undefined ? {} : await toListenOptions(options.address);
    const names =
      options.nameServer === undefined
        ? {}
        : { nameServer: await resolveUnixAddress('nameServer', options.nameServer) };

    const job: NativeProcessGroupOptions = {
      ...makeGroupOptions(size, universe, options.ranksPerNode, options),
      preput: checkPairs('preput', options.preput ?? {}, {
        key: MAX_KEY,
        value: MAX_VALUE,
        semicolons: true,
      }),
      spawner: options.spawner === undefined ? '' : checkKvsname('spawner', options.spawner),
    };
    let handle: JobHandle;
    const hub = new EventHub<PmiEvent>({
      onUnread: (event) => {
        if (event.type === 'spawn') event.reject(-1, 'not_supported');
      },
      onInterest: tellNative(() => handle.id),
    });
    const opened = deferred<{ address: string; pmiPort: string }>();
    try {
      handle = new JobHandle(
        () => native.openServer({ ...job, ...listen, ...names }),
        (notice) => {
          if (notice.type === 'opened') {
            hub.open();
            opened.resolve(notice);
          } else if (notice.type === 'error') opened.reject(fromNative(notice));
          else if (notice.type === 'event' || notice.type === 'missed') pushNative(hub, notice, toPmiEvent);
          else if (notice.type === 'namesLost') hub.push({ type: 'name-server-lost', time: notice.time });
          else if (notice.type === 'spawn') {
            hub.push(toSpawnEvent(notice, (answer) => native.answerSpawn(handle.id, 0, notice.id, answer)));
          } else if (notice.type === 'closed') hub.end();
        },
      );
    } catch (error) {
      throw fromThrown('ERR_PMI_LISTEN', error);
    }
    const { address, pmiPort } = await opened.promise;
    return new PmiServer(job, handle, hub, address, pmiPort);
  }

  /** Where it listens, as a URI with the real port; absent when it listens nowhere. */
  get address(): string | undefined {
    return this.#address;
  }

  /**
   * The variables by which `rank` finds this server, to be set over an environment that {@link scrubEnvironment}
   * has cleaned.
   *
   * @param options.fd the number under which the rank will see its channel (PMI_FD); absent: it connects
   * (PMI_PORT and PMI_ID). PMI_ID is the rank's secret: pass it in an environment, never on a command line.
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  env(rank: number, options: { fd?: number } = {}): Record<string, string> {
    checkInteger('rank', rank, 0, this.size - 1);
    checkOptions('options', options, ['fd']);
    const place = placeOf(rank, this.size, this.#job.ranksPerNode);
    const spawned: Record<string, string> = this.#job.spawner === '' ? {} : { PMI_SPAWNED: '1' };
    if (options.fd !== undefined) {
      return {
        ...toRecord(native.channelEnvironment(place, checkInteger('fd', options.fd, 0, 2 ** 31 - 1))),
        ...spawned,
      };
    }
    if (this.#pmiPort === undefined) {
      throw new PmiError(
        'ERR_PMI_OPTION',
        'env: the server listens nowhere: give it an address, or { fd } here',
      );
    }
    return { ...toRecord(native.portEnvironment(place, this.#pmiPort, this.#job.pmiIds[rank]!)), ...spawned };
  }

  /**
   * A new pre-connected channel for `rank`. A rank has one connection: while one stands, another channel is hung up
   * on at once, which a `rejected` event says and `status()` counts.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_FD_LIMIT`, `ERR_PMI_CLOSED`
   */
  channel(rank: number): PmiChannel {
    checkInteger('rank', rank, 0, this.size - 1);
    if (this.#closing) throw new PmiError('ERR_PMI_CLOSED', 'the server is closed', { rank });
    let fd: number;
    try {
      fd = native.openChannel(this.#handle.id, rank);
    } catch (error) {
      throw fromThrown('ERR_PMI_FD_LIMIT', error);
    }
    let open = true;
    const close = (): void => {
      if (!open) return;
      open = false;
      closeSync(fd);
    };
    return { fd, close, [Symbol.dispose]: close };
  }

  /**
   * What happens from now on, until the server is closed; everything, when it is called as soon as listen()
   * resolves. Every iterator gets every event. One that is not read keeps them in memory, up to a bound: of what peers can
   * repeat without end it is then told how many it has missed.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  events<T extends PmiEvent['type'] = PmiEvent['type']>(
    options: EventOptions<T> = {},
  ): AsyncIterableIterator<EventsOf<PmiEvent, T>> {
    return readEvents(this.#hub, options, pmiEventTypes) as AsyncIterableIterator<EventsOf<PmiEvent, T>>;
  }

  /**
   * Where the ranks are at this moment.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_CLOSED`
   */
  status(): Promise<PmiStatus> {
    return this.#handle.status();
  }

  /** Hangs up on every rank and stops listening. Resolves when nothing is left of it. Idempotent. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      native.closeServer(this.#handle.id);
    }
    return this.#handle.closed;
  }

  /** close() */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
