import { closeSync } from 'node:fs';
import { resolveUnixAddress, toListenOptions } from './address';
import { placeOf, toRecord } from './env';
import { fromNative, fromThrown, PmiError } from './errors';
import { EventHub } from './event-hub';
import {
  pmiEventTypes,
  pushNative,
  readEvents,
  reportInterest,
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
import type { PmiMetrics } from './metrics';
import { native, type NativeServerOptions } from './native';
import { checkInteger, checkKvsname, checkOptions } from './options';
import type { PmiStatus } from './status';
import { checkTrace, TraceWriter, type TraceSetting, type TraceSummary } from './trace/writer';
import { deferred } from './wait';
import { checkPairs } from './words';

/** Options of {@link PmiServer.listen}. */
export interface PmiServerOptions extends AdmissionOptions, KvsOptions, WireOptions, TraceSetting {
  /** How many ranks the process group has: 1 to 1,048,576. */
  size: number;
  /**
   * The address on which the server listens for ranks (PMI_PORT): `host:port` or `tcp://host:port` (port 0:
   * the kernel chooses), `unix:///path`, `/path`, `unix://@name`; or `tcp` (127.0.0.1 and a free port) or
   * `unix` (a socket in a new private folder in $XDG_RUNTIME_DIR, $TMPDIR or /tmp, the first in which no
   * other user can interfere, or else an abstract name). Without an address, ranks can only connect by {@link
   * PmiServer.channel}.
   *
   * If a host name has several addresses, an IPv4 one is preferred, because MPICH can read no other in
   * PMI_PORT. If the server listens on all addresses (`0.0.0.0:0`, `[::]:0`), ranks get 127.0.0.1 in
   * PMI_PORT, or, with `allowHosts`, this host's name.
   */
  address?: string;
  /** The universe size that the server reports to ranks, at least `size`; `size` by default. */
  universeSize?: number;
  /**
   * How many ranks share a node; all by default. Ranks of one node may use shared memory. Ranks that do not
   * share a /dev/shm, for example in containers, need a node each: 1.
   */
  ranksPerNode?: number;
  /**
   * The unix address of a {@link NameServer}, which keeps the names that ranks publish, and shares them with
   * other jobs. Without it, names are private to this server. The names are removed when this server is
   * closed or this process ends.
   */
  nameServer?: string;
  /** Keys and values that exist from the start, as a {@link SpawnEvent} requires; none by default. */
  preput?: Record<string, string>;
  /**
   * The kvsname of the process group that has spawned this one. The ranks then see that they were spawned.
   */
  spawner?: string;
}

/** A connection that a rank's process inherits (PMI_FD). */
export interface PmiChannel extends Disposable {
  /** The fd, here. Pass it on (`stdio` of child_process), then close(). */
  readonly fd: number;
  /** Closes it here. Without that the server cannot see the rank's end. Idempotent. */
  close(): void;
}

/**
 * The PMI server of one process group, for launchers that start the ranks themselves.
 *
 * A separate thread serves the ranks, so JavaScript never delays them. The server keeps the process alive
 * until it is closed.
 */
export class PmiServer implements AsyncDisposable {
  /** How many ranks the process group has. */
  readonly size: number;
  /** The name of its key-value space. */
  readonly kvsname: string;
  /** With `trace`: resolves when the server is closed and the recording is written, or cannot be written any more. */
  readonly traced: Promise<TraceSummary> | undefined;
  readonly #job: NativeServerOptions;
  readonly #handle: JobHandle;
  readonly #hub: EventHub<PmiEvent>;
  readonly #address: string | undefined;
  readonly #pmiPort: string | undefined;
  #closing = false;

  private constructor(
    job: NativeServerOptions,
    handle: JobHandle,
    hub: EventHub<PmiEvent>,
    address: string,
    pmiPort: string,
    traced: Promise<TraceSummary> | undefined,
  ) {
    this.traced = traced;
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
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_ADDRESS`, `ERR_PMI_ADDRESS_IN_USE`,
   * `ERR_PMI_LISTEN`, `ERR_PMI_NAME_SERVER`
   */
  static async listen(options: PmiServerOptions): Promise<PmiServer> {
    checkOptions('options', options, [
      'size',
      'address',
      'universeSize',
      'ranksPerNode',
      'pmiSubversion',
      'strict',
      'nameServer',
      'preput',
      'spawner',
      'kvsLimit',
      'trace',
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

    const { allowedUids = [process.geteuid!()] } = options;
    const group = makeGroupOptions(size, universe, options.ranksPerNode, { ...options, allowedUids });
    const job: NativeServerOptions = {
      ...group,
      pmiIds: native.makePmiIds(size, group.pmiId),
      preput: checkPairs('preput', options.preput ?? {}, {
        key: MAX_KEY,
        value: MAX_VALUE,
        semicolons: true,
      }),
      spawner: options.spawner === undefined ? '' : checkKvsname('spawner', options.spawner),
    };
    const plan = checkTrace(options.trace, size);
    const trace = plan && new TraceWriter(plan);
    let handle: JobHandle;
    const hub = new EventHub<PmiEvent>({
      onUnread: (event) => {
        if (event.type === 'spawn') event.reject(-1, 'not_supported');
      },
      onInterest: reportInterest(() => handle.id),
    });
    const opened = deferred<{ address: string; pmiPort: string }>();
    let failure: PmiError | undefined;
    try {
      handle = new JobHandle(
        () =>
          native.openServer({
            ...job,
            ...listen,
            ...names,
            ...(plan === undefined ? {} : { trace: plan.native }),
          }),
        (notice) => {
          if (notice.type === 'opened') {
            hub.open();
            opened.resolve(notice);
          } else if (notice.type === 'error') {
            failure = fromNative(notice);
            opened.reject(failure);
          } else if (notice.type === 'event' || notice.type === 'missed') pushNative(hub, notice, toPmiEvent);
          else if (notice.type === 'namesLost') hub.push({ type: 'name-server-lost', time: notice.time });
          else if (notice.type === 'spawn') {
            hub.push(toSpawnEvent(notice, (answer) => native.answerSpawn(handle.id, notice.id, answer)));
          } else if (notice.type === 'trace') trace?.push(notice);
          else if (notice.type === 'closed') {
            trace?.end();
            hub.end(failure);
          }
        },
      );
    } catch (error) {
      trace?.end();
      throw fromThrown('ERR_PMI_LISTEN', error);
    }
    const { address, pmiPort } = await opened.promise;
    return new PmiServer(job, handle, hub, address, pmiPort, trace?.finished);
  }

  /** The address on which it listens, as a URI with the actual port; undefined if it does not listen. */
  get address(): string | undefined {
    return this.#address;
  }

  /**
   * The environment variables by which a rank connects to this server. Add them to an environment that {@link
   * scrubEnvironment} has cleaned.
   *
   * @param options.fd the descriptor under which the rank's process sees its channel (PMI_FD). Without it,
   * the rank connects by PMI_PORT and PMI_ID. PMI_ID is the rank's secret: pass it in an environment and
   * never on a command line, which other users can read
   * @throws {@link PmiError} `ERR_PMI_OPTION`, also if there is neither an address nor `options.fd`
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
      throw new PmiError('ERR_PMI_OPTION', 'env: the server has no address. Give it one, or pass { fd }');
    }
    return { ...toRecord(native.portEnvironment(place, this.#pmiPort, this.#job.pmiIds[rank]!)), ...spawned };
  }

  /**
   * Makes a new channel for a rank. A rank can have one connection. If it has one, the server closes the
   * channel at once, reports an event `rejected`, and `status()` counts it.
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
   * The events from now on, until the server is closed. To get all events, call this as soon as listen()
   * resolves. Every iterator gets every event. Events that wait for a slow reader are kept in memory. Of the
   * types that peers can repeat without end only 4,096 are kept, and a `missed` event counts the others.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`; the iteration throws `ERR_PMI_INTERNAL` if an error inside wireup has closed
   * the server
   */
  events<T extends PmiEvent['type'] = PmiEvent['type']>(
    options: EventOptions<T> = {},
  ): AsyncIterableIterator<EventsOf<PmiEvent, T>> {
    return readEvents(this.#hub, options, pmiEventTypes) as AsyncIterableIterator<EventsOf<PmiEvent, T>>;
  }

  /**
   * The current state of the ranks.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` if the server is closed
   */
  status(): Promise<PmiStatus> {
    return this.#handle.status();
  }

  /**
   * What is counted about the ranks and their PMI messages. {@link registerMetrics} passes it to Prometheus.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_CLOSED` if the server is closed
   */
  metrics(): Promise<PmiMetrics> {
    return this.#handle.metrics(this.#hub);
  }

  /** Closes all connections and stops listening. Resolves when that is done. Further calls do nothing. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      native.closeServer(this.#handle.id);
    }
    return this.#handle.closed;
  }

  /** Calls {@link PmiServer.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
