/** The most ranks of one job: far above what one machine holds, far below what PMI's 31-bit numbers can say. */
export const MAX_RANKS = 1 << 20;

/** Of a kvsname, a key and a value, in bytes, the terminator of each included: what PMI-1 servers announce. */
export const MAX_KVSNAME = 256;
export const MAX_KEY = 64;
export const MAX_VALUE = 1024;

/** Bytes that the keys and values of a job may take: 65,536 ranks may put 16 KiB each. */
export const DEFAULT_KVS_LIMIT = 2 ** 30;

/** Events of one type that wait for a slow reader, where peers can make as many as they like: a megabyte of them. */
export const MAX_WAITING_EVENTS = 4096;

/** What no line can have in a key. */
export const KEY = /^[^\0\n \t=]+$/;

/** What a whole job may take, in milliseconds: a century, within the 64 bits of nanoseconds that the core's clock has. */
export const MAX_TIME_LIMIT = 36_525 * 86_400_000;

/** Timers count milliseconds in 31 bits: almost 25 days. */
export const MAX_MILLISECONDS = 2 ** 31 - 1;
