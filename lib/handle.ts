import { follow } from './dispatch';
import { PmiError } from './errors';
import { native } from './native';
import type { NativeInspectedRank, NativeInspection, NativeNotice, NativeStatus } from './native-notices';
import { toPmiMetrics, type PmiMetrics, type QueueState } from './metrics';
import { toPmiStatus, type PmiStatus } from './status';
import { deferred, type Deferred } from './wait';

function withSpawned(notice: NativeStatus): PmiStatus {
  const status = toPmiStatus(notice, notice.awaited);
  if (notice.spawned.length === 0) return status;
  return {
    ...status,
    spawned: notice.spawned.map((group) => ({ ...toPmiStatus(group), group: group.group })),
  };
}

type Answer = NativeStatus | NativeInspection;

/** What servers and launches have in common: the handle, requests, and the end. */
export class JobHandle {
  readonly id: number;
  /** Resolves when the native object has ended. */
  readonly closed: Promise<void>;
  readonly #requests = new Map<number, Deferred<Answer>>();
  #lastRequest = 0;
  #gone = false;

  constructor(open: () => number, onNotice: (notice: NativeNotice) => void) {
    const end = deferred<void>();
    this.closed = end.promise;
    this.id = follow(open, (notice) => {
      if (notice.type === 'status' || notice.type === 'inspected') return this.#answer(notice);
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
    return withSpawned(await this.#status());
  }

  async metrics(events: QueueState): Promise<PmiMetrics> {
    return toPmiMetrics(await this.#status(), events);
  }

  /** Of a launch. @param ranks in ascending order */
  async inspect(ranks: number[], stacks: boolean): Promise<NativeInspectedRank[]> {
    const answer = await this.#ask((request) => native.inspect(this.id, request, ranks, stacks));
    return (answer as NativeInspection).ranks;
  }

  async #status(): Promise<NativeStatus> {
    return (await this.#ask((request) => native.status(this.id, request))) as NativeStatus;
  }

  #ask(send: (request: number) => void): Promise<Answer> {
    const request = deferred<Answer>();
    if (this.#gone) {
      request.reject(new PmiError('ERR_PMI_CLOSED', 'the job is closed'));
    } else {
      this.#requests.set(++this.#lastRequest, request);
      send(this.#lastRequest);
    }
    return request.promise;
  }

  #answer(notice: Answer): void {
    this.#requests.get(notice.request)?.resolve(notice);
    this.#requests.delete(notice.request);
  }
}
