/**
 * The maximum number of ranks: far more than one machine can run, and far below the 31 bits of PMI's numbers.
 */
export const MAX_RANKS = 1 << 20;

/** The maximum number of hosts: each costs the launcher's host a process. */
export const MAX_HOSTS = 1 << 16;

/**
 * Maximum sizes of a kvsname, a key and a value in bytes, with a terminator, as PMI-1 servers announce them.
 */
export const MAX_KVSNAME = 256;
export const MAX_KEY = 64;
export const MAX_VALUE = 1024;

/** The default limit of the memory of keys and values in bytes: 65,536 ranks can put 16 KiB each. */
export const DEFAULT_KVS_LIMIT = 2 ** 30;

/**
 * How many events of one type wait for a slow reader, if peers can cause any number of them: about a
 * megabyte.
 */
export const MAX_WAITING_EVENTS = 4096;

/** The keys that a line can carry. */
export const KEY = /^[^\0\n \t=]+$/;

/**
 * The largest time limit of a job in milliseconds: a century. The core's clock has 64 bits of nanoseconds.
 */
export const MAX_TIME_LIMIT = 36_525 * 86_400_000;

/** The largest time of other options in milliseconds, almost 25 days: Node's timers have 31 bits. */
export const MAX_MILLISECONDS = 2 ** 31 - 1;

/** How many barriers have times in a result: kMaxBarrierTimes of the core. */
export const MAX_BARRIER_TIMES = 64;
