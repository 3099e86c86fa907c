/** Whether the server releases a rank from a barrier before all have entered it. */
import type { Memory } from './judge-requests';

/** Ranks, and barriers of a rank, that are followed. */
const MAX_RANKS = 1 << 20;
const MAX_BARRIERS = 1 << 20;

/** What a rank takes of the memory of the judge. */
const RANK_LETTERS = 64;

/** The barriers of all ranks of one process group, on one clock. */
export class Barriers {
  readonly #memory: Memory;
  /** How many barriers each rank has entered. */
  readonly #entered = new Map<number, number>();
  /** How many ranks have entered this many barriers or more: element 0 counts those that are known. */
  readonly #reached: number[] = [0];
  readonly #inside = new Set<number>();
  #removed = false;
  /** A rank has joined after another one has left, so the numbers of barriers differ. */
  #mixed = false;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** The rank has a connection. */
  add(rank: number): void {
    if (this.#entered.has(rank) || this.#entered.size >= MAX_RANKS || this.#memory.left < RANK_LETTERS)
      return;
    this.#memory.left -= RANK_LETTERS;
    this.#mixed ||= this.#removed;
    this.#entered.set(rank, 0);
    this.#reached[0]!++;
  }

  enter(rank: number): void {
    this.add(rank);
    const before = this.#entered.get(rank);
    if (before === undefined || before >= MAX_BARRIERS || this.#inside.has(rank)) return;
    this.#inside.add(rank);
    this.#entered.set(rank, before + 1);
    this.#reached[before + 1] = (this.#reached[before + 1] ?? 0) + 1;
  }

  /** The rank leaves a barrier without an error. Returns how many ranks have not entered it. */
  leave(rank: number): number {
    this.#inside.delete(rank);
    const entered = this.#entered.get(rank) ?? 0;
    return this.#mixed ? 0 : this.#reached[0]! - (this.#reached[entered] ?? 0);
  }

  /** The rank's connection has ended, or it has finalized: it enters no further barrier. */
  remove(rank: number): void {
    const entered = this.#entered.get(rank);
    if (entered === undefined) return;
    this.#removed = true;
    this.#entered.delete(rank);
    this.#memory.left += RANK_LETTERS;
    this.#inside.delete(rank);
    for (let i = 0; i <= entered; ++i) this.#reached[i]!--;
  }
}
