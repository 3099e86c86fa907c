/** What a PmiClient sends its requests to: a server, or the singleton in this file. */
import { PmiError } from './errors';
import { MAX_KEY, MAX_KVSNAME, MAX_VALUE } from './limits';
import type { ClientRequest, NativeOperation } from './native';
import type { NativeReady, NativeSpawnRequest } from './native-notices';

export interface Ready extends Omit<NativeReady, 'type'> {
  /** The server's address, for messages; undefined for a singleton. */
  server: string | undefined;
}

/** Describes the i-th request of a batch for messages: `get key-3`. */
export function describeRequest(operation: ClientRequest, words: readonly string[], i: number): string {
  const word = words[['put', 'publish', 'putNodeAttribute'].includes(operation) ? 2 * i : i];
  return word === undefined ? operation : `${operation} ${word}`;
}

/**
 * Keys with this prefix belong to the server, and clients cannot put them. A missing one has an empty value
 * (RFC 13).
 */
const RESERVED = 'PMI_';

/** What executes the requests of a client. */
export interface Backend {
  /**
   * Sends `count` requests, one for each key or service. Resolves with their values, for operations that have
   * values.
   */
  request(operation: NativeOperation, words: readonly string[], count: number): Promise<string[]>;
  /**
   * Resolves with the new kvsname (empty if the server does not send it) and an error code for each process
   * (empty: all are 0).
   */
  spawn(request: NativeSpawnRequest): Promise<{ kvsname: string; errcodes: number[] }>;
  abort(exitCode: number, message: string): void;
  close(): Promise<void>;
  /** True if the connection is lost, so that every request fails. */
  readonly failed: boolean;
}

/** The singleton of RFC 13: a process without a server is a process group of size 1. */
export class Singleton implements Backend {
  readonly failed = false;
  readonly ready: Ready = {
    server: undefined,
    rank: 0,
    size: 1,
    spawned: false,
    appnum: 0,
    universeSize: 1,
    version: 1,
    subversion: 1,
    kvsname: 'singleton',
    kvsnameMax: MAX_KVSNAME,
    keyMax: MAX_KEY,
    valueMax: MAX_VALUE,
  };
  readonly #values = new Map<string, string>([['PMI_process_mapping', '(vector,(0,1,1))']]);

  async request(operation: NativeOperation, words: readonly string[]): Promise<string[]> {
    const fail = (i: number, message: string): never => {
      throw new PmiError('ERR_PMI_RESULT', `${describeRequest(operation, words, i)}: ${message}`, {
        rc: -1,
        rank: 0,
      });
    };
    switch (operation) {
      case 'barrier':
      case 'finalize':
        return [];
      case 'put':
        for (let i = 0; i < words.length; i += 2) {
          if (words[i]!.startsWith(RESERVED)) fail(i / 2, 'reserved_key');
          this.#values.set(words[i]!, words[i + 1]!);
        }
        return [];
      case 'get':
        return words.map(
          (key, i) => this.#values.get(key) ?? (key.startsWith(RESERVED) ? '' : fail(i, 'key_not_found')),
        );
      default:
        return fail(0, 'not supported without a PMI server');
    }
  }

  async spawn(): Promise<never> {
    throw new PmiError('ERR_PMI_RESULT', 'spawn: not supported without a PMI server', {
      rc: -1,
      rank: 0,
    });
  }

  abort(): void {}

  async close(): Promise<void> {}
}
