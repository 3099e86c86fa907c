import { PmiError } from './errors';
import { MAX_MILLISECONDS } from './limits';
import { checkInteger } from './options';

/** How long to wait for an answer. A wait that ends early does not cancel the request. */
export interface Waiting {
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the promise rejects with `ERR_PMI_TIMEOUT`; 0, the default: no limit. */
  timeout?: number | undefined;
}

/** A promise and the functions that settle it. */
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
  // Prevents an unhandled rejection if no caller waits. A caller that waits still gets the rejection.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** Returns `promise`, or a rejection with the signal's reason if `signal` is aborted first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Checks the option `timeout` in milliseconds. */
export function checkTimeout(value: unknown, byDefault: number): number {
  return checkInteger('timeout', value ?? byDefault, 0, MAX_MILLISECONDS);
}

/** Like untilAborted(), and rejects with `ERR_PMI_TIMEOUT` after the timeout. `what` begins that message. */
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
