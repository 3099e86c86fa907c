/** What a replay of one rank must know of the others: which spawn has started which process group, and which rank has ended the job. */
import { isFailure, parseMessage } from './answers';
import { isMessage, type MessageRecord, type RecordingHeader, type TraceRecord } from './format';
import { labelOf } from './messages';
import { textOf } from './wire-reader';
import { isSpawnAnswer } from './replay-spawn';

/** A spawn and its outcome. */
interface Spawn {
  rank: string;
  succeeded: boolean;
}

/** Spawns that are remembered. */
const MAX_SPAWNS = 65_536;

/**
 * Collects spawns and process groups. A recording does not contain which spawn has started which group, but the groups are
 * numbered in the order of the spawns.
 */
export class SpawnedGroups {
  readonly #spawns: Spawn[] = [];
  readonly #open = new Map<string, Spawn>();
  readonly #groups = new Set<number>();

  /** Adds a record. They must be in order. */
  add(record: RecordingHeader | TraceRecord): void {
    if ('wireupTrace' in record) return;
    if (record.group > 0 && this.#groups.size < MAX_SPAWNS) this.#groups.add(record.group);
    if (isMessage(record) && record.rank !== undefined) this.#addMessage(record, labelOf(record));
  }

  #addMessage(record: MessageRecord, rank: string): void {
    const message = parseMessage(record.wire, textOf(record));
    if (record.dir === 'C' && message.command === 'spawn') {
      if (this.#open.has(rank) || this.#spawns.length >= MAX_SPAWNS) return;
      const spawn = { rank, succeeded: false };
      this.#open.set(rank, spawn);
      this.#spawns.push(spawn);
    } else if (isSpawnAnswer(record)) {
      const spawn = this.#open.get(rank);
      if (spawn !== undefined) spawn.succeeded = !isFailure(message);
      this.#open.delete(rank);
    }
  }

  /**
   * The group that the spawn of this rank has started, of which `index` have succeeded before. Undefined if the recording does
   * not have all spawned groups.
   */
  of(rank: string, index: number): number | undefined {
    const succeeded = this.#spawns.filter((spawn) => spawn.succeeded);
    const numbers = [...this.#groups].sort((a, b) => a - b);
    if (succeeded.length !== numbers.length) return undefined;
    const own = succeeded.filter((spawn) => spawn.rank === rank)[index];
    return own === undefined ? undefined : numbers[succeeded.indexOf(own)];
  }
}

/** Ranks whose ends are remembered. */
const MAX_RANKS = 1 << 20;

/** Collects how ranks have ended. */
export class JobEnds {
  /** Ranks between init and finalize. */
  readonly #active = new Set<string>();
  /** When the connections of ranks were closed. */
  readonly #closed = new Map<string, number>();
  /** When ranks have aborted the job, or were lost. */
  readonly #failed = new Map<string, number>();

  /** @param at in microseconds */
  add(record: TraceRecord, at: number): void {
    if (record.rank === undefined) return;
    const rank = labelOf(record);
    if (!isMessage(record)) {
      if (record.event !== 'closed' || this.#closed.size >= MAX_RANKS) return;
      this.#closed.set(rank, at);
      if (this.#active.has(rank)) this.#fail(rank, at);
    } else if (record.dir === 'C') {
      const { command } = parseMessage(record.wire, textOf(record));
      if (command === 'init' && this.#active.size < MAX_RANKS) this.#active.add(rank);
      if (command === 'finalize') this.#active.delete(rank);
      if (command === 'abort') this.#fail(rank, at);
    }
  }

  #fail(rank: string, at: number): void {
    if (this.#failed.size < MAX_RANKS && !this.#failed.has(rank)) this.#failed.set(rank, at);
  }

  /** Whether another rank has failed before the connection of this one was closed. */
  isBefore(rank: string): boolean {
    const own = this.#closed.get(rank) ?? Infinity;
    return [...this.#failed].some(([other, at]) => other !== rank && at <= own);
  }
}
