/** What makes a job one's own: its name, who may join it, and the secret of each rank. */
import { DEFAULT_KVS_LIMIT, MAX_RANKS } from './limits';
import { native, type NativeProcessGroupOptions } from './native';
import { checkBoolean, checkInteger, checkOneOf, checkString, optionError } from './options';

/**
 * What a rank says to prove that it is that rank.
 *
 * `number`: a random number below 2^31, one a rank, which is what every MPI can send (MPICH sends PMI_ID through
 * atoi). `long`: 128 random bits in hexadecimal; only this package's clients (PmiClient, wireup-exec, libpmi) send
 * such a one. `rank`: the plain rank, for clients that take their rank from PMI_ID; then whoever passes the check of
 * user and host can be any rank, by accident too.
 */
export type PmiId = 'number' | 'long' | 'rank';

/** Who may join a job by the address that its server listens on. */
export interface AdmissionOptions {
  /**
   * The users of this machine whose processes may connect, by uid or range of uids (`[first, last]`, for what a user
   * namespace maps its users to); this process's own by default. Root only when 0 is among them.
   */
  allowedUids?: readonly (number | readonly [number, number])[];
  /**
   * The other machines that may connect over TCP: addresses in digits (`192.0.2.7`) or such with a count of bits
   * (`10.0.0.0/8`, `2001:db8::/32`); none by default. What they say travels in clear text, PMI_ID too.
   */
  allowHosts?: readonly string[];
  /** `number` by default. */
  pmiId?: PmiId;
  /**
   * Lets a rank whose connection has gone come back with the same PMI_ID (checkpoint and restart, a debugger's second
   * run): before its first completed barrier it may start anew, after that it goes on where it was and may not init
   * again. What that gives up: PMI_ID is no longer used once, so who learns it can take the place of a rank that has
   * gone; and a rank that is gone for good is not missed (`lost` is false). False by default.
   */
  reconnect?: boolean;
  /** Milliseconds that a connection has to say whose it is; 10,000 by default. */
  handshakeTimeout?: number;
}

/** How much ranks may store in the server. */
export interface KvsOptions {
  /**
   * Bytes that keys and values may take together: those of the key-value space, and PMI-2's attributes of nodes; in a
   * launch those of all groups that ranks spawn, too. Each entry counts with 128 bytes beside its key and its value, as it
   * takes in memory. A put over it is answered with an error (PMI_ERR_NOMEM), and one `protocol-error` event says so. 1 GiB
   * by default, which is 16 KiB for each of 65,536 ranks; 1 at least.
   */
  kvsLimit?: number;
}

/** What a job's PMI server speaks. */
export interface WireOptions {
  /**
   * The newest PMI-1 that clients are offered: 1.1, the default, or 1.2. MPICH's library of today says 1.1 and uses barriers
   * of groups (`PMI_Barrier_group`) where the answer is more; Flux's takes no other answer than 1.1. Clients that say
   * 1.2 get it with either.
   */
  pmiSubversion?: 1 | 2;
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

/** Random, each once in a job. */
function makePmiIds(size: number, kind: PmiId): string[] {
  if (kind === 'rank') return Array.from({ length: size }, (_, rank) => String(rank));
  const length = kind === 'long' ? 16 : 4;
  const pmiIds = new Set<string>();
  while (pmiIds.size < size) {
    const bytes = native.randomBytes((size - pmiIds.size) * length);
    for (let at = 0; at < bytes.length; at += length) {
      const pmiId = bytes.subarray(at, at + length);
      pmiIds.add(kind === 'long' ? pmiId.toString('hex') : String(pmiId.readUInt32LE() & 0x7fffffff));
    }
  }
  return [...pmiIds];
}

/** Checks what PmiServer and launch() have in common, and returns what the addon gets. */
function toAdmission(size: number, options: AdmissionOptions & KvsOptions & WireOptions) {
  return {
    /** The server answers every PMI-1 client with 1.2. */
    offerPmi12: checkInteger('pmiSubversion', options.pmiSubversion ?? 1, 1, 2) === 2,
    kvsLimit: checkInteger('kvsLimit', options.kvsLimit ?? DEFAULT_KVS_LIMIT, 1, Number.MAX_SAFE_INTEGER),
    /** The first and the last uid of each range. */
    allowedUids: checkUids(options.allowedUids ?? [process.geteuid!()]),
    allowHosts: checkHosts(options.allowHosts ?? []),
    /** PMI_ID of each rank. */
    pmiIds: makePmiIds(
      size,
      checkOneOf('pmiId', options.pmiId ?? 'number', ['number', 'long', 'rank'] as const),
    ),
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
    ...toAdmission(size, options),
  };
}
