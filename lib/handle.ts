import { follow } from './dispatch';
import { PmiError } from './errors';
import { native, type NativeNotice, type NativeStatus } from './native';
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

/** The part that servers and launches share: a native handle, questions for its status, and its end. */
export class JobHandle {
  readonly id: number;
  /** Resolves when the native side is gone. */
  readonly closed: Promise<void>;
  readonly #questions = new Map<number, Deferred<PmiStatus>>();
  #lastQuestion = 0;
  #gone = false;

  constructor(open: () => number, onNotice: (notice: NativeNotice) => void) {
    const end = deferred<void>();
    this.closed = end.promise;
    this.id = follow(open, (notice) => {
      if (notice.type === 'status') return this.#answer(notice);
      onNotice(notice);
      if (notice.type === 'closed') {
        this.#gone = true;
        for (const question of this.#questions.values())
          question.reject(new PmiError('ERR_PMI_CLOSED', 'the job is closed'));
        this.#questions.clear();
        end.resolve();
      }
    });
  }

  status(): Promise<PmiStatus> {
    const question = deferred<PmiStatus>();
    if (this.#gone) {
      question.reject(new PmiError('ERR_PMI_CLOSED', 'the job is closed'));
    } else {
      this.#questions.set(++this.#lastQuestion, question);
      native.status(this.id, this.#lastQuestion);
    }
    return question.promise;
  }

  #answer(notice: NativeStatus): void {
    this.#questions.get(notice.request)?.resolve(withSpawned(notice));
    this.#questions.delete(notice.request);
  }
}
