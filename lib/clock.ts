/** One moment by two clocks. */
export interface Moment {
  /** Milliseconds since 1970, with a fraction. The clock of all dates in results and recordings. */
  since1970: number;
  /** Whole microseconds of CLOCK_MONOTONIC, which the addon uses. */
  monotonic: number;
}

const monotonic = (): number => Number(process.hrtime.bigint() / 1000n);

/**
 * The date at which the monotonic clock was 0. It is read once: this process can lose its processor between the readings of
 * the two clocks, and the differences between dates must be those of the monotonic clock.
 */
const origin = Date.now() - monotonic() / 1000;

/** This moment. */
export function moment(): Moment {
  const now = monotonic();
  return { since1970: origin + now / 1000, monotonic: now };
}
