/**
 * Options that servers and launches share: the kvsname, which peers may connect, and the PMI_ID of each rank.
 */
import { DEFAULT_KVS_LIMIT, MAX_RANKS } from './limits';
import { native, type NativeProcessGroupOptions } from './native';
import { checkBoolean, checkInteger, checkOneOf, checkString, optionError } from './options';

/**
 * The kind of PMI_ID by which a rank identifies itself.
 *
 * - `number`: a random number below 2^31 for each rank. Every MPI can send it (MPICH passes PMI_ID through
 *   atoi).
 * - `long`: 128 random bits in hexadecimal. Only wireup's clients (PmiClient, wireup-exec, libpmi) can send it.
 * - `rank`: the rank itself, for clients that take their rank from PMI_ID. Then every process that passes the
 *   check of user and host can identify itself as any rank, also by mistake.
 */
export type PmiId = 'number' | 'long' | 'rank';

/** Options about which peers may connect to a server, and how they identify themselves. */
export interface AdmissionOptions {
  /**
   * The uids, or ranges of uids (`[first, last]`, for the users of a user namespace), whose processes on this
   * machine may connect; this process's own uid by default, and on other hosts the uid of wireup-agent there. Root may
   * connect only if 0 is listed.
   */
  allowedUids?: readonly (number | readonly [number, number])[];
  /**
   * The other machines that may connect over TCP: numeric addresses (`192.0.2.7`), or networks with a count
   * of bits (`10.0.0.0/8`, `2001:db8::/32`); none by default. Their traffic is not encrypted, and includes
   * PMI_ID.
   */
  allowHosts?: readonly string[];
  /** The kind of PMI_ID; `number` by default. */
  pmiId?: PmiId;
  /**
   * Lets a rank connect again with the same PMI_ID after its connection has ended (checkpoint and restart, a
   * second run under a debugger). Before its first completed barrier it may start again. After that it
   * resumes where it was and must not send init again. The disadvantages: a process that learns a PMI_ID can
   * take the place of a rank whose connection has ended, and a rank that does not come back is not reported
   * as lost. False by default.
   */
  reconnect?: boolean;
  /** Milliseconds that a connection has to identify itself; 10,000 by default. */
  handshakeTimeout?: number;
}

/** Options about the memory of the key-value space. */
export interface KvsOptions {
  /**
   * The limit of the memory of all keys and values in bytes: those of the key-value space and PMI-2's node
   * attributes; in a launch also those of all spawned process groups. Each entry counts 128 bytes in addition
   * to its key and value. The server refuses a put over the limit with an error (PMI_ERR_NOMEM), and one
   * `protocol-error` event reports it. At least 1; 1 GiB by default, which is 16 KiB for each of 65,536
   * ranks.
   */
  kvsLimit?: number;
}

/** Options about the versions of PMI. */
export interface WireOptions {
  /**
   * The newest subversion of PMI-1 that the server offers to every client: 1, the default, or 2. MPICH's
   * current library requests 1.1 and uses barrier groups (`PMI_Barrier_group`) if the server offers 1.2.
   * Flux's library accepts only 1.1. A client that requests 1.2 gets it in both cases.
   */
  pmiSubversion?: 1 | 2;
  /**
   * The server does what RFC 13 demands, where it otherwise does what its clients expect (default: false): an
   * invalid message, such as an unknown command, ends the rank's connection, and `PMI_process_mapping` is
   * empty if it does not fit. docs/conformance.md has the reasons for the default.
   */
  strict?: boolean;
}

export const admissionOptionNames = [
  'allowedUids',
  'allowHosts',
  'pmiId',
  'reconnect',
  'handshakeTimeout',
] as const;

const MAX_UID = 2 ** 32 - 2;

function checkUids(value: unknown): [number, number][] {
  if (!Array.isArray(value)) throw optionError('allowedUids', 'an array of uids and [first, last]', value);
  return value.map((item: unknown, i) => {
    const name = `allowedUids[${i}]`;
    if (!Array.isArray(item)) {
      const uid = checkInteger(name, item, 0, MAX_UID);
      return [uid, uid];
    }
    if (item.length !== 2) throw optionError(name, 'a uid or [first, last]', item);
    const first = checkInteger(`${name}[0]`, item[0], 0, MAX_UID);
    return [first, checkInteger(`${name}[1]`, item[1], first, MAX_UID)];
  });
}

function checkHosts(value: unknown): string[] {
  if (!Array.isArray(value)) throw optionError('allowHosts', 'an array of addresses', value);
  return value.map((item: unknown, i) => {
    const text = checkString(`allowHosts[${i}]`, item);
    const error = native.hostRangeError(text);
    if (error !== undefined)
      throw optionError(`allowHosts[${i}]`, error.reason.replace(/^expected /, ''), text);
    return text;
  });
}

/** Checks what PmiServer and launch() have in common, and returns what the addon gets. */
function toAdmission(options: AdmissionOptions & KvsOptions & WireOptions) {
  return {
    /** The server answers every PMI-1 client with 1.2. */
    offerPmi12: checkInteger('pmiSubversion', options.pmiSubversion ?? 1, 1, 2) === 2,
    strict: checkBoolean('strict', options.strict ?? false),
    kvsLimit: checkInteger('kvsLimit', options.kvsLimit ?? DEFAULT_KVS_LIMIT, 1, Number.MAX_SAFE_INTEGER),
    /** The first and the last uid of each range. Empty in a launch: each agent's own uid. */
    allowedUids: checkUids(options.allowedUids ?? []),
    allowHosts: checkHosts(options.allowHosts ?? []),
    pmiId: checkOneOf('pmiId', options.pmiId ?? 'number', ['number', 'long', 'rank'] as const),
    reconnect: checkBoolean('reconnect', options.reconnect ?? false),
    handshakeTimeout: checkInteger('handshakeTimeout', options.handshakeTimeout ?? 10_000, 1, 2 ** 31 - 1),
  };
}

export type NativeAdmission = ReturnType<typeof toAdmission>;

export function makeGroupOptions(
  size: number,
  universeSize: number | undefined,
  ranksPerNode: number | undefined,
  options: AdmissionOptions & KvsOptions & WireOptions,
): NativeProcessGroupOptions {
  return {
    size,
    ranksPerNode:
      ranksPerNode === undefined ? size : checkInteger('ranksPerNode', ranksPerNode, 1, MAX_RANKS),
    nodes: [],
    appSizes: [],
    kvsname: `wireup-${native.randomBytes(8).toString('hex')}`,
    ...(universeSize === undefined ? {} : { universeSize }),
    ...toAdmission(options),
  };
}
