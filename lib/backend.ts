/** What stands behind a PmiClient: a connection to a server, or the singleton here. */
import { PmiError } from './errors';
import { KEY, MAX_KEY, MAX_KVSNAME, MAX_VALUE } from './limits';
import type { NativeOperation, NativeReady } from './native';

export interface Ready extends Omit<NativeReady, 'type'> {
  /** For people. */
  server: string | undefined;
}

/** One of the requests that were made together, for people: `get key-3`. */
export function describeRequest(operation: NativeOperation, words: readonly string[], i: number): string {
  const word = words[['put', 'publish', 'putNodeAttribute'].includes(operation) ? 2 * i : i];
  return word === undefined ? operation : `${operation} ${word}`;
}

/** Where requests go. */
export interface Backend {
  /** `count` requests, one a key (or service), answered together; the values, of those that have one. */
  ask(operation: NativeOperation, words: readonly string[], count: number): Promise<string[]>;
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
      throw new PmiError('ERR_PMI_RESULT', `${describeRequest(operation, words, i)}: ${message}`, { rc: -1, rank: 0 });
    };
    switch (operation) {
      case 'barrier':
      case 'finalize':
        return [];
      case 'put':
        for (let i = 0; i < words.length; i += 2) {
          const [key, value] = [words[i]!, words[i + 1]!];
          if (!KEY.test(key)) fail(i / 2, 'the key is empty, or holds a blank, a newline or "="');
          if (Buffer.byteLength(key) >= this.ready.keyMax) fail(i / 2, 'the key is too long');
          if (value.includes('\n')) fail(i / 2, 'the value holds a newline');
          if (Buffer.byteLength(value) >= this.ready.valueMax) fail(i / 2, 'the value is too long');
          this.#values.set(key, value);
        }
        return [];
      case 'get':
        return words.map((key, i) => this.#values.get(key) ?? fail(i, 'no such key'));
      case 'putNodeAttribute':
      case 'getNodeAttribute':
      case 'waitNodeAttribute':
      case 'getJobAttribute':
        return fail(0, 'there is no server that keeps attributes');
      default:
        return fail(0, 'there is no server that keeps names');
    }
  }

  abort(): void {}

  async close(): Promise<void> {}
}
