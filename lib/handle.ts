import { follow } from './dispatch';
import { PmiError } from './errors';
import { native } from './native';
import type { NativeNotice, NativeStatus } from './native-notices';
import { toPmiMetrics, type PmiMetrics, type QueueState } from './metrics';
import { toPmiStatus, type PmiStatus } from './status';
import { deferred, type Deferred } from './wait';

function withSpawned(notice: NativeStatus): PmiStatus {
  const status = toPmiStatus(notice);
  if (notice.spawned.length === 0) return status;
  return {
    ...status,
    spawned: notice.spawned.map((group) => ({ ...toPmiStatus(group), group: group.group })),
  };
}

/** What servers and launches have in common: the handle, requests for the status, and the end. */
export class JobHandle {
  readonly id: number;
  /** Resolves when the native object has ended. */
  readonly closed: Promise<void>;
  readonly #requests = new Map<number, Deferred<NativeStatus>>();
  #lastRequest = 0;
  #gone = false;

  constructor(open: () => number, onNotice: (notice: NativeNotice) => void) {
    const end = deferred<void>();
    this.closed = end.promise;
    this.id = follow(open, (notice) => {
      if (notice.type === 'status') return this.#answer(notice);
      onNotice(notice);
      if (notice.type === 'closed') {
        this.#gone = true;
        for (const request of this.#requests.values())
          request.reject(new PmiError('ERR_PMI_CLOSED', 'the job is closed'));
        this.#requests.clear();
        end.resolve();
      }
    });
  }

  async status(): Promise<PmiStatus> {
    return withSpawned(await this.#query());
  }

  async metrics(events: QueueState): Promise<PmiMetrics> {
    return toPmiMetrics(await this.#query(), events);
  }

  #query(): Promise<NativeStatus> {
    const request = deferred<NativeStatus>();
    if (this.#gone) {
      request.reject(new PmiError('ERR_PMI_CLOSED', 'the job is closed'));
    } else {
      this.#requests.set(++this.#lastRequest, request);
      native.status(this.id, this.#lastRequest);
    }
    return request.promise;
  }

  #answer(notice: NativeStatus): void {
    this.#requests.get(notice.request)?.resolve(notice);
    this.#requests.delete(notice.request);
  }
}
