/**
 * The name server: several launches of one user share published names (MPI_Publish_name), so that their jobs
 * can connect to each other.
 */
import { join } from 'node:path';
import { privateParents, resolveUnixAddress, runtimeFolder } from './address';
import { follow } from './dispatch';
import { fromNative, fromThrown, type PmiError } from './errors';
import { EventHub, type MissedEvent } from './event-hub';
import { pushNative, reportInterest, toPmiEvent, type RejectedEvent } from './events';
import { native, type NativeListenOptions } from './native';
import { checkOptions, checkSignal } from './options';
import { deferred, waitFor, type Waiting } from './wait';

/** The events of a name server: refused connections, and how many of these events a slow reader has lost. */
export type NameServerEvent = RejectedEvent | MissedEvent<'rejected'>;

/** Options of {@link NameServer.listen}. */
export interface NameServerOptions {
  /**
   * A unix address: `unix:///path`, `/path` or `unix://@name`. By default `wireup-names` in $XDG_RUNTIME_DIR.
   * If other users could change that folder, or it does not exist, a socket in a new private folder.
   */
  address?: string;
}

/** A published name, as {@link listNames} returns it. */
export interface PublishedName {
  /** The name. */
  service: string;
  /** The port that was published under the name, as MPI_Open_port returned it. */
  port: string;
  /**
   * Process id of the launcher whose job has published it; absent if it is in a pid namespace that the server
   * cannot see.
   */
  pid?: number;
  /** The name of that job's key-value space. */
  kvsname: string;
}

/** @internal The default address of a name server; undefined without $XDG_RUNTIME_DIR. */
export function defaultNameServer(): string | undefined {
  const folder = runtimeFolder();
  return folder === undefined ? undefined : join(folder, 'wireup-names');
}

async function whereToListen(address: string | undefined): Promise<NativeListenOptions> {
  const folder = runtimeFolder();
  const place =
    address ??
    (folder !== undefined && native.folderProblem(folder) === '' ? defaultNameServer() : undefined);
  return place === undefined
    ? { privateParents: privateParents() }
    : { address: await resolveUnixAddress('address', place) };
}

/**
 * A server of published names for launches with the option `nameServer`. Only processes of the same user can
 * connect. If the connection of a launch ends, the server removes its names. It keeps up to 16,384 names,
 * until it is closed.
 *
 * A separate thread serves the connections. The server keeps the process alive until it is closed.
 */
export class NameServer implements AsyncDisposable {
  /** The address on which it listens, as a URI. */
  readonly address: string;
  readonly #handle: number;
  readonly #hub: EventHub<NameServerEvent>;
  readonly #closed: Promise<void>;
  #closing = false;

  private constructor(
    address: string,
    handle: number,
    hub: EventHub<NameServerEvent>,
    closed: Promise<void>,
  ) {
    this.address = address;
    this.#handle = handle;
    this.#hub = hub;
    this.#closed = closed;
  }

  /**
   * Starts a name server. The socket of a name server that was killed is replaced.
   *
   * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_ADDRESS`, `ERR_PMI_ADDRESS_IN_USE`,
   * `ERR_PMI_LISTEN`
   */
  static async listen(options: NameServerOptions = {}): Promise<NameServer> {
    checkOptions('options', options, ['address']);
    const where = await whereToListen(options.address);
    const hub = new EventHub<NameServerEvent>({ onInterest: reportInterest(() => handle) });
    const opened = deferred<string>();
    const closed = deferred<void>();
    let failure: PmiError | undefined;
    let handle: number;
    try {
      handle = follow(
        () => native.openNameServer(where),
        (notice) => {
          if (notice.type === 'opened') {
            hub.open();
            opened.resolve(notice.address);
          } else if (notice.type === 'error') {
            failure = fromNative(notice);
            opened.reject(failure);
          } else if (notice.type === 'event' || notice.type === 'missed')
            pushNative(hub, notice, (event) => toPmiEvent(event) as NameServerEvent);
          else if (notice.type === 'closed') {
            hub.end(failure);
            closed.resolve();
          }
        },
      );
    } catch (error) {
      throw fromThrown('ERR_PMI_LISTEN', error);
    }
    return new NameServer(await opened.promise, handle, hub, closed.promise);
  }

  /**
   * The connections that are refused from now on, until the server is closed.
   *
   * @param options.signal ends the iteration with its reason
   * @throws {@link PmiError} `ERR_PMI_OPTION`; the iteration throws `ERR_PMI_INTERNAL` if an error inside wireup has
   * closed the server
   */
  events(options: { signal?: AbortSignal } = {}): AsyncIterableIterator<NameServerEvent> {
    checkOptions('options', options, ['signal']);
    return this.#hub.read(checkSignal(options.signal)) as AsyncIterableIterator<NameServerEvent>;
  }

  /** Removes all names and stops listening. Resolves when that is done. Further calls do nothing. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      native.closeServer(this.#handle);
    }
    return this.#closed;
  }

  /** Calls {@link NameServer.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Lists the names of a name server, in the byte order of the names.
 *
 * @param address the name server's unix address
 * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_ADDRESS`, `ERR_PMI_NAME_SERVER`,
 * `ERR_PMI_TIMEOUT`, or with the signal's reason
 */
export async function listNames(address: string, waiting: Waiting = {}): Promise<PublishedName[]> {
  const uri = await resolveUnixAddress('address', address);
  const listed = deferred<PublishedName[]>();
  try {
    follow(
      () => native.listNames(uri),
      (notice) => {
        if (notice.type === 'names') listed.resolve(notice.names);
        else if (notice.type === 'error') listed.reject(fromNative(notice));
      },
    );
  } catch (error) {
    throw fromThrown('ERR_PMI_NAME_SERVER', error);
  }
  return waitFor(listed.promise, waiting, `name server ${uri}`);
}
