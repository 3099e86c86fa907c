/** Distributes events to any number of readers. Each reader has its own bounded queue. */
import { MAX_WAITING_EVENTS } from './limits';

/**
 * A slow reader has lost events. This event stands in place of the first of them. Only events that peers can
 * cause without end are dropped, if more than 4,096 of a type wait.
 */
export interface MissedEvent<Type extends string = string> {
  /** Which event it is. */
  type: 'missed';
  /** The type of the events that were dropped. */
  of: Type;
  /** How many of them. */
  count: number;
}

interface Entry<E> {
  event: E;
  /** Peers can cause any number of such events. */
  repeats: boolean;
}

/**
 * The queue of a reader. At most MAX_WAITING_EVENTS repeatable events of each type wait. Further ones are
 * counted in a `missed` event in place of the first of them.
 */
class Backlog<E extends { type: string }> {
  #entries: Entry<E | MissedEvent>[] = [];
  #first = 0;
  readonly #waiting = new Map<string, { count: number; missed: MissedEvent | undefined }>();
  readonly #onMissed: (count: number) => void;

  /** @param onMissed called with the number of events that this reader does not get */
  constructor(onMissed: (count: number) => void) {
    this.#onMissed = onMissed;
  }

  get length(): number {
    return this.#entries.length - this.#first;
  }

  push(entry: Entry<E>): void {
    if (!entry.repeats) return void this.#entries.push(entry);
    const waiting = this.#waitingOf(entry.event.type);
    if (waiting.count >= MAX_WAITING_EVENTS) return this.miss(entry.event.type, 1);
    waiting.count++;
    waiting.missed = undefined;
    this.#entries.push(entry);
  }

  miss(type: string, count: number): void {
    this.#onMissed(count);
    const waiting = this.#waitingOf(type);
    if (waiting.missed !== undefined) {
      waiting.missed.count += count;
    } else {
      waiting.missed = { type: 'missed', of: type, count };
      this.#entries.push({ event: waiting.missed, repeats: false });
    }
  }

  /** Must not be called on an empty queue. */
  shift(): Entry<E | MissedEvent> {
    const entry = this.#entries[this.#first++]!;
    // Array.shift() would move all remaining elements each time.
    if (this.#first * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first);
      this.#first = 0;
    }
    const { event, repeats } = entry;
    if (repeats) this.#waitingOf(event.type).count--;
    if (isMissed(event)) {
      const waiting = this.#waitingOf(event.of);
      if (waiting.missed === event) waiting.missed = undefined;
    }
    return entry;
  }

  #waitingOf(type: string): { count: number; missed: MissedEvent | undefined } {
    let waiting = this.#waiting.get(type);
    if (waiting === undefined) this.#waiting.set(type, (waiting = { count: 0, missed: undefined }));
    return waiting;
  }
}

const isMissed = (event: { type: string }): event is MissedEvent => event.type === 'missed';

interface Reader<E extends { type: string }> {
  /** undefined: all types. */
  types: ReadonlySet<string> | undefined;
  backlog: Backlog<E>;
  wake(): void;
}

const wants = ({ types }: { types: ReadonlySet<string> | undefined }, type: string): boolean =>
  types === undefined || types.has(type);

export interface HubOptions<E> {
  /**
   * Called with each event that no reader gets, also if its only reader leaves before it has read the event.
   */
  onUnread?: (event: E) => void;
  /** Called with the types that readers want, whenever they change; undefined: all types. */
  onInterest?: (types: ReadonlySet<string> | undefined) => void;
}

/**
 * Distributes events. A reader gets every event of the types that it wants, in order, from its read() call to
 * the end, or a `missed` event in place of those it lost. Without a reader events are dropped. Before open(),
 * and in the turn of the event loop in which it is called, events are kept, so that a reader that starts in
 * that turn gets them all.
 */
export class EventHub<E extends { type: string }> {
  readonly #readers = new Set<Reader<E>>();
  readonly #onUnread: (event: E) => void;
  readonly #onInterest: (types: ReadonlySet<string> | undefined) => void;
  /** How many events readers have lost. */
  missed = 0;
  readonly #countMissed = (count: number): void => void (this.missed += count);
  // What is missed while events are kept is counted when they are passed on.
  #held: Backlog<E> | undefined = new Backlog(() => {});
  #ended = false;
  #failure: Error | undefined;
  /** What onInterest was called with last. */
  #interest = 'all';

  constructor({ onUnread = () => {}, onInterest = () => {} }: HubOptions<E> = {}) {
    this.#onUnread = onUnread;
    this.#onInterest = onInterest;
  }

  /** How many events wait for the reader that is behind the most. */
  get waiting(): number {
    const lengths = [...this.#readers].map(({ backlog }) => backlog.length);
    return Math.max(this.#held?.length ?? 0, ...lengths);
  }

  open(): void {
    setImmediate(() => {
      const held = this.#held;
      this.#held = undefined;
      while (held !== undefined && held.length > 0) {
        const { event, repeats } = held.shift();
        if (isMissed(event)) this.miss(event.of, event.count);
        else this.push(event, repeats);
      }
      if (this.#ended) return this.#endReaders();
      this.#reportInterest();
    });
  }

  /** @param repeats peers can cause any number of such events */
  push(event: E, repeats = false): void {
    const entry = { event, repeats };
    if (this.#held !== undefined) return this.#held.push(entry);
    let read = false;
    for (const reader of this.#readers) {
      if (!wants(reader, event.type)) continue;
      read = true;
      reader.backlog.push(entry);
      reader.wake();
    }
    if (!read) this.#onUnread(event);
  }

  /** Counts events of a type that the addon has dropped. */
  miss(type: string, count: number): void {
    if (this.#held !== undefined) return this.#held.miss(type, count);
    for (const reader of this.#readers) {
      if (!wants(reader, type)) continue;
      reader.backlog.miss(type, count);
      reader.wake();
    }
  }

  /** @param failure what every reader's iteration throws after the last event */
  end(failure?: Error): void {
    this.#ended = true;
    this.#failure = failure;
    if (this.#held === undefined) this.#endReaders();
  }

  #endReaders(): void {
    for (const reader of this.#readers) reader.wake();
    this.#readers.clear();
  }

  /** A reader has left: its remaining events are unread if no other reader wants them. */
  #leaveUnread(backlog: Backlog<E>): void {
    while (backlog.length > 0) {
      const { event } = backlog.shift();
      if (!isMissed(event) && ![...this.#readers].some((reader) => wants(reader, event.type)))
        this.#onUnread(event);
    }
  }

  #reportInterest(): void {
    if (this.#held !== undefined || this.#ended) return;
    const readers = [...this.#readers];
    const all = readers.some(({ types }) => types === undefined);
    const types = new Set(readers.flatMap((reader) => [...(reader.types ?? [])]));
    const interest = all ? 'all' : [...types].sort().join();
    if (interest === this.#interest) return;
    this.#interest = interest;
    this.#onInterest(all ? undefined : types);
  }

  /** @param types the types to read; all by default */
  read(signal?: AbortSignal, types?: readonly string[]): AsyncIterableIterator<E | MissedEvent> {
    const backlog = new Backlog<E>(this.#countMissed);
    // Several, if next() is called again before the last call has settled.
    let waiting: (() => void)[] = [];
    const reader: Reader<E> = {
      types: types && new Set(types),
      backlog,
      wake: () => {
        const woken = waiting;
        waiting = [];
        for (const resolve of woken) resolve();
      },
    };
    // Events that are still kept come before the end.
    let left = this.#ended && this.#held === undefined;
    if (!left) {
      this.#readers.add(reader);
      this.#reportInterest();
    }
    const onAbort = (): void => reader.wake();
    signal?.addEventListener('abort', onAbort, { once: true });
    const leave = (): void => {
      left = true;
      if (this.#readers.delete(reader)) {
        this.#reportInterest();
        this.#leaveUnread(backlog);
      }
      signal?.removeEventListener('abort', onAbort);
      reader.wake();
    };
    const ended = (): boolean => left || !this.#readers.has(reader);
    /** The iteration has returned or thrown, so it throws no more. */
    let over = false;
    const failure = (): Error | undefined => this.#failure;
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        for (;;) {
          if (signal?.aborted) {
            leave();
            throw signal.reason;
          }
          if (backlog.length > 0) return { done: false, value: backlog.shift().event };
          if (ended()) {
            leave();
            const reason = over ? undefined : failure();
            over = true;
            if (reason !== undefined) throw reason;
            return { done: true, value: undefined };
          }
          await new Promise<void>((resolve) => waiting.push(resolve));
        }
      },
      async return() {
        over = true;
        leave();
        return { done: true, value: undefined };
      },
    };
  }
}
