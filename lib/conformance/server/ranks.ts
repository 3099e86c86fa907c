/**
 * What the ranks of a check do together. Rank 0 checks the server; the others take part in barriers, and report to rank 0
 * through the server's own key-value space what they have seen.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isUnsigned } from '../wire';

/** The key-value space of a session of either version. All functions fail by an exception. */
export interface Space {
  put(key: string, value: string): Promise<void>;
  /** Undefined: the server reports that the key does not exist. */
  get(key: string): Promise<string | undefined>;
  /** Resolves when the server has released this rank. */
  barrier(): Promise<void>;
}

/** What a rank has seen. */
export interface Sighting {
  readonly rank: number;
  /** Distinguishes the clocks of hosts. */
  readonly clock: string;
  /** When the rank sent its barrier_in and received barrier_out, in milliseconds of that clock. */
  readonly entered: number;
  readonly left: number;
  /** The rank whose key was not there after the barrier, or -1. */
  readonly missing: number;
  readonly kvsname: string;
}

/** What all ranks have seen. */
export interface Gathered {
  readonly sightings: readonly Sighting[];
  /** A rank whose number another process has too. */
  readonly twin: number | undefined;
}

/** How many keys of other ranks each rank gets. */
const MAX_PEERS = 16;

/** The bytes of a part of a report, far below any server's limit for values, which a rank may not know. */
const PART = 60;

/** Between two looks for a report of another rank, in milliseconds. */
const RETRY_MS = 20;

const now = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

function clockOfHost(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8);
}

const keyOf = (rank: number): string => `check-${rank}`;

/** Where a process of this number stays visible to the others of the number. */
const keyOfProcess = (rank: number): string => `check-${rank}-process`;

/** The key by which a process reports that another one has its number. */
const TWIN = 'check-twin';

/** Puts a key, enters a barrier, and gets the keys of others. */
export async function meet(space: Space, rank: number, size: number, kvsname: string): Promise<Sighting> {
  await space.put(keyOf(rank), String(rank));
  const own = randomBytes(8).toString('hex');
  await space.put(keyOfProcess(rank), own);
  const entered = now();
  await space.barrier();
  const left = now();
  // Of two processes with the same number, one has replaced the key of the other one.
  const process = await space.get(keyOfProcess(rank));
  if (process !== undefined && process !== own) await space.put(TWIN, String(rank));
  let missing = -1;
  for (let i = 1; i < size && i <= MAX_PEERS; ++i) {
    const other = (rank + i) % size;
    if ((await space.get(keyOf(other))) !== String(other)) missing = other;
  }
  return { rank, clock: clockOfHost(), entered, left, missing, kvsname };
}

/** Passes the sightings of all ranks to rank 0. Returns them there, and those that have come if the time is over. */
export async function gather(space: Space, own: Sighting, size: number, timeout: number): Promise<Gathered> {
  if (own.rank !== 0) {
    const text = Buffer.from(JSON.stringify(own)).toString('base64url');
    const parts = text.match(new RegExp(`.{1,${PART}}`, 'g'))!;
    for (const [i, part] of parts.entries()) await space.put(`check-${own.rank}-${i}`, part);
    await space.put(`check-${own.rank}-parts`, String(parts.length));
    await space.barrier();
    return { sightings: [own], twin: undefined };
  }
  await space.barrier();
  const reported = await space.get(TWIN);
  // A server may have a value for every key.
  const twin = isUnsigned(reported) && Number(reported) < size ? Number(reported) : undefined;
  const all = [own];
  // If two ranks have the same number, no rank has another number, and its report does not come.
  const end = twin === undefined ? now() + timeout : now();
  for (let rank = 1; rank < size; ++rank) {
    const count = await eventually(space, `check-${rank}-parts`, end);
    if (count === undefined) continue;
    const parts: string[] = [];
    for (let i = 0; i < Number(count); ++i)
      parts.push((await eventually(space, `check-${rank}-${i}`, end)) ?? '');
    const sighting = readSighting(parts.join(''));
    if (sighting !== undefined) all.push(sighting);
  }
  return { sightings: all, twin };
}

/** A server may have changed it. */
function readSighting(text: string): Sighting | undefined {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as Sighting;
  } catch {
    return undefined;
  }
}

/** A server may break the rule that keys are there after a barrier. */
async function eventually(space: Space, key: string, end: number): Promise<string | undefined> {
  for (;;) {
    const value = await space.get(key);
    if (value !== undefined || now() > end) return value;
    await delay(RETRY_MS);
  }
}

/** The ranks of which one had left the barrier before the other one entered it. */
export function releasedEarly(sightings: readonly Sighting[]): [early: Sighting, late: Sighting] | undefined {
  for (const late of sightings) {
    const early = sightings.find((other) => other.clock === late.clock && other.left < late.entered);
    if (early !== undefined) return [early, late];
  }
  return undefined;
}
