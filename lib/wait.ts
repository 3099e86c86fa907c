import { PmiError } from './errors';
import { MAX_MILLISECONDS } from './limits';
import { checkInteger } from './options';

/** How long to wait for an answer. */
export interface Waiting {
  /** Stops waiting, with its reason; what was asked for may still happen. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the wait fails with `ERR_PMI_TIMEOUT`, as with `signal`; 0, the default, waits for ever. */
  timeout?: number | undefined;
}

/** A promise with its ends in hand. */
export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  // Whoever waits sees the rejection; nobody waiting is no unhandled rejection.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** `promise`, unless `signal` is aborted first: then a rejection with its reason. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** The option `timeout`, checked. */
export function checkTimeout(value: unknown, byDefault: number): number {
  return checkInteger('timeout', value ?? byDefault, 0, MAX_MILLISECONDS);
}

/** `promise`, unless the signal is aborted or the time is over first. `what` begins the message of the timeout. */
export function waitFor<T>(promise: Promise<T>, { signal, timeout }: Waiting, what: string): Promise<T> {
  const limit = checkTimeout(timeout, 0);
  if (limit === 0) return untilAborted(promise, signal);
  const late = deferred<never>();
  const timer = setTimeout(
    () => late.reject(new PmiError('ERR_PMI_TIMEOUT', `${what}: no answer within ${limit} ms`)),
    limit,
  );
  return untilAborted(Promise.race([promise, late.promise]), signal).finally(() => clearTimeout(timer));
}
