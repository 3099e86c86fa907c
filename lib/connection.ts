import { describeRequest, type Backend } from './backend';
import { follow } from './dispatch';
import { fromNative, fromThrown, PmiError } from './errors';
import { native, type ClientRequest, type NativeConnectOptions, type NativeOperation } from './native';
import type { NativeNotice, NativeReady, NativeSpawnRequest } from './native-notices';
import { deferred, type Deferred } from './wait';

/** Requests of one call. Its promise resolves when all of them are answered. */
interface Batch {
  readonly operation: ClientRequest;
  readonly words: readonly string[];
  readonly count: number;
  readonly values: string[];
  /** Of a spawn only. */
  errcodes: readonly number[];
  readonly answer: Deferred<string[]>;
}

/** A client's connection to a server, through the addon. */
export class Connection implements Backend {
  readonly #handle: number;
  readonly #ready = deferred<NativeReady>();
  readonly #closed = deferred<void>();
  /**
   * By the number of their first request. Answers come in the order of the requests, so one batch is complete
   * before the next begins.
   */
  readonly #batches = new Map<number, Batch>();
  #nextRequest = 1;
  #answered: Batch | undefined;
  #failure: PmiError | undefined;
  #rank: number | undefined;

  constructor(options: NativeConnectOptions) {
    try {
      this.#handle = follow(
        () => native.connect(options),
        (notice) => this.#onNotice(notice),
      );
    } catch (error) {
      throw fromThrown('ERR_PMI_CONNECT', error);
    }
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  get ready(): Promise<NativeReady> {
    return this.#ready.promise;
  }

  async request(operation: NativeOperation, words: readonly string[], count: number): Promise<string[]> {
    if (this.#failure !== undefined) throw this.#failure;
    if (count === 0) return [];
    const { first, batch } = this.#open(operation, words, count);
    native.request(this.#handle, first, operation, words);
    return batch.answer.promise;
  }

  async spawn(request: NativeSpawnRequest): Promise<{ kvsname: string; errcodes: number[] }> {
    if (this.#failure !== undefined) throw this.#failure;
    const { first, batch } = this.#open('spawn', [request.commands[0]!.program], 1);
    native.requestSpawn(this.#handle, first, request);
    const [kvsname] = await batch.answer.promise;
    return { kvsname: kvsname!, errcodes: [...batch.errcodes] };
  }

  #open(operation: ClientRequest, words: readonly string[], count: number): { first: number; batch: Batch } {
    const first = this.#nextRequest;
    this.#nextRequest += count;
    const batch: Batch = { operation, words, count, values: [], errcodes: [], answer: deferred() };
    this.#batches.set(first, batch);
    return { first, batch };
  }

  abort(exitCode: number, message: string): void {
    native.abort(this.#handle, exitCode, message);
  }

  close(): Promise<void> {
    native.closeClient(this.#handle);
    return this.#closed.promise;
  }

  #onNotice(notice: NativeNotice): void {
    switch (notice.type) {
      case 'ready':
        this.#rank = notice.rank;
        return this.#ready.resolve(notice);
      case 'answers':
        for (const [i, value] of notice.values.entries()) this.#onAnswer(notice.first + i, value);
        return;
      case 'answer':
        return this.#onAnswer(notice.request, notice.value, notice);
      case 'failed': {
        const code =
          notice.reason === 'refused'
            ? 'ERR_PMI_REFUSED'
            : notice.reason === 'protocol'
              ? 'ERR_PMI_PROTOCOL'
              : 'ERR_PMI_HUNG_UP';
        return this.#fail(new PmiError(code, notice.message, { rank: this.#rank }));
      }
      case 'error':
        return this.#fail(fromNative(notice, this.#rank));
      case 'closed':
        this.#fail(new PmiError('ERR_PMI_CLOSED', 'the client is closed', { rank: this.#rank }));
        return this.#closed.resolve();
    }
  }

  #onAnswer(request: number, value: string, more?: Extract<NativeNotice, { type: 'answer' }>): void {
    const batch = (this.#answered ??= this.#batches.get(request));
    if (batch === undefined) return;
    const { operation, words, values, answer } = batch;
    if (more !== undefined) {
      const { rc, message, local, errcodes } = more;
      batch.errcodes = errcodes;
      const text = `${describeRequest(operation, words, values.length)}: ${message === '' ? `rc ${rc}` : message}`;
      if (local) answer.reject(new PmiError('ERR_PMI_OPTION', text, { rank: this.#rank }));
      else if (rc !== 0) answer.reject(new PmiError('ERR_PMI_RESULT', text, { rc, rank: this.#rank }));
    }
    values.push(value);
    if (values.length < batch.count) return;
    answer.resolve(values);
    this.#batches.delete(request - batch.count + 1);
    this.#answered = undefined;
  }

  #fail(error: PmiError): void {
    this.#failure ??= error;
    this.#ready.reject(this.#failure);
    for (const batch of this.#batches.values()) batch.answer.reject(this.#failure);
    this.#batches.clear();
  }
}
