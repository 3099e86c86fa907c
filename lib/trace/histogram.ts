/** Counts durations in bounded memory. A median is exact below 32 µs, and otherwise within 2 percent. */

/** Buckets for each power of two. */
const STEPS = 32;

export class Durations {
  count = 0;
  /** The sum in microseconds. */
  sum = 0;
  /** The longest, and the rank that it belongs to. */
  slowest = 0;
  slowestRank = '';
  readonly #buckets = new Map<number, number>();

  /** @param time microseconds. Less than 0 counts as 0: the records of a recording may be in another order than their times */
  add(time: number, rank: string): void {
    const us = Math.max(0, time);
    this.count++;
    this.sum += us;
    if (us >= this.slowest) {
      this.slowest = us;
      this.slowestRank = rank;
    }
    const bucket = us < STEPS ? us : Math.floor(Math.log2(us) * STEPS);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  /** In microseconds; 0 if there are none. */
  get median(): number {
    let left = Math.ceil(this.count / 2);
    for (const bucket of [...this.#buckets.keys()].sort((a, b) => a - b)) {
      left -= this.#buckets.get(bucket)!;
      // The middle of the bucket.
      if (left <= 0) return bucket < STEPS ? bucket : Math.min(this.slowest, 2 ** ((bucket + 0.5) / STEPS));
    }
    return 0;
  }
}
