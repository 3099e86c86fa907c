/** What stands behind a PmiClient: a connection to a server, or the singleton here. */
import { PmiError } from './errors';
import { MAX_KEY, MAX_KVSNAME, MAX_VALUE } from './limits';
import type { ClientRequest, NativeOperation, NativeReady, NativeSpawnRequest } from './native';

export interface Ready extends Omit<NativeReady, 'type'> {
  /** For people. */
  server: string | undefined;
}

/** One of the requests that were made together, for people: `get key-3`. */
export function describeRequest(operation: ClientRequest, words: readonly string[], i: number): string {
  const word = words[['put', 'publish', 'putNodeAttribute'].includes(operation) ? 2 * i : i];
  return word === undefined ? operation : `${operation} ${word}`;
}

/** The server's own keys, which no client can put. One that is not there has an empty value (RFC 13). */
const RESERVED = 'PMI_';

/** Where requests go. */
export interface Backend {
  /** `count` requests, one a key (or service), answered together; the values, of those that have one. */
  ask(operation: NativeOperation, words: readonly string[], count: number): Promise<string[]>;
  /** Resolves with the new job's kvsname, where the server says it, and an error code a process, or none: all 0. */
  spawn(request: NativeSpawnRequest): Promise<{ kvsname: string; errcodes: number[] }>;
  abort(exitCode: number, message: string): void;
  close(): Promise<void>;
  /** True when nothing can be asked any more. */
  readonly failed: boolean;
}

/** What a client without a server answers to itself: RFC 13's singleton of size 1. */
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

  async ask(operation: NativeOperation, words: readonly string[]): Promise<string[]> {
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
          (key, i) => this.#values.get(key) ?? (key.startsWith(RESERVED) ? '' : fail(i, 'no such key')),
        );
      default:
        return fail(0, 'there is no server that keeps names');
    }
  }

  async spawn(): Promise<never> {
    throw new PmiError('ERR_PMI_RESULT', 'spawn: there is no server that starts processes', {
      rc: -1,
      rank: 0,
    });
  }

  abort(): void {}

  async close(): Promise<void> {}
}
