/** The most ranks of one job: far above what one machine holds, far below what PMI's 31-bit numbers can say. */
export const MAX_RANKS = 1 << 20;

/** Timers count milliseconds in 31 bits: almost 25 days. */
export const MAX_MILLISECONDS = 2 ** 31 - 1;
