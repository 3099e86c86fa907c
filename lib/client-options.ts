/** The options of PmiClient, and their checks. */
import type { NativeConnectOptions } from './native';
import { checkBoolean, checkInteger, checkString, optionError } from './options';
import type { Waiting } from './wait';
import type { WireLimits } from './words';

/** The largest sizes that the server accepts, in bytes with a terminator. */
export interface PmiMaxes {
  /** The largest kvsname. */
  kvsname: number;
  /** The largest key. */
  key: number;
  /** The largest value. */
  value: number;
}

/** Options of {@link PmiClient.fromEnv} and {@link PmiClient.connect}. */
export interface Connecting extends Waiting {
  /** Milliseconds for the resolution of the host name and the handshake; 10,000 by default; 0: no limit. */
  timeout?: number | undefined;
  /**
   * True: send several puts and gets (of getMany(), putMany(), or calls without await) before the first reply
   * arrives, up to a fixed number and in order. False: one at a time. By default the client pipelines only if
   * the server is known to support it, as wireup's and Hydra's do. RFC 13 does not require it of servers, and
   * Slurm's never replies to a second request.
   */
  pipeline?: boolean | undefined;
  /**
   * The version of PMI that the client requests: 1.1, 1.2 (barrier groups; a server that only knows 1.1 may
   * refuse it) or 2 (attributes of nodes and jobs). 1.1 by default.
   */
  version?: PmiVersion | undefined;
}

/** A version of PMI that a client can request. 1 means 1.1. */
export type PmiVersion = 1 | 1.1 | 1.2 | 2;

/** The ranks of a barrier: those of the caller's node, or a list of ranks. */
export type BarrierGroup = 'node' | readonly number[];

/** A program for {@link PmiClient.spawn}, and how many processes of it to start. */
export interface SpawnProgram {
  /** The program's name or path. The server decides where it is searched. */
  program: string;
  /** The arguments, without the program; none by default. */
  args?: readonly string[];
  /** How many processes to start: 1 to 1,048,576; 1 by default. */
  ranks?: number;
  /**
   * Keys and values of MPI_Info: `wdir`, `path`, `host`, `soft` and others. A server ignores keys that it
   * does not know.
   */
  info?: Record<string, string>;
}

/** The process group that {@link PmiClient.spawn} has started. */
export interface Spawned {
  /** Its kvsname; absent if the server does not send it. PMI-2 servers do. */
  kvsname?: string;
  /**
   * One error code for each process, in the order of the programs. 0: it was started. Otherwise it was not
   * (`soft`).
   */
  errcodes: number[];
}

/**
 * The default limit of a handshake in milliseconds. It takes a few, but a server under load may need seconds.
 */
export const defaultTimeout = 10_000;

export function checkVersion(options: Connecting): Pick<NativeConnectOptions, 'version' | 'subversion'> {
  const version = options.version ?? 1;
  if (![1, 1.1, 1.2, 2].includes(version)) throw optionError('version', '1, 1.1, 1.2 or 2', version);
  return version === 2 ? { version: 2 } : { version: 1, subversion: version === 1.2 ? 2 : 1 };
}

export function checkPipeline(options: Connecting): NativeConnectOptions['pipeline'] {
  if (options.pipeline === undefined) return 'auto';
  return checkBoolean('pipeline', options.pipeline) ? 'always' : 'never';
}

/** A barrier group in the grammar of PMI-1.2. */
export function groupText(group: BarrierGroup | undefined, size: number): string {
  if (group === undefined) return 'WORLD';
  if (group === 'node') return 'NODE';
  if (!Array.isArray(group) || group.length === 0)
    throw optionError('group', "'node' or an array of ranks", group);
  return [...new Set(group.map((rank: unknown, i) => checkInteger(`group[${i}]`, rank, 0, size - 1)))].join(
    ',',
  );
}

/** Checks a text of a spawn: without newlines, and in PMI-2 without semicolons. */
export function checkField(name: string, value: unknown, limits: WireLimits): string {
  const text = checkString(name, value);
  if (text.includes('\n') || (!limits.semicolons && text.includes(';')))
    throw optionError(name, `a string without newlines${limits.semicolons ? '' : ' and semicolons'}`, value);
  return text;
}

/** Checks MPI_Info, whose keys may contain blanks. */
export function checkInfo(name: string, value: unknown, limits: WireLimits): [string, string][] {
  if (typeof value !== 'object' || value === null) throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([key, text]) => [
    checkField(name, key, limits),
    checkField(`${name}.${key}`, text, limits),
  ]);
}
