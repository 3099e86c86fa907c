/** Finds out which hosts of a list are the one that this process runs on. */
import { hostname } from 'node:os';
import { native } from './native';

/** In milliseconds, for all look-ups together. A name that is not resolved by then is taken for another host. */
const LOOK_UP_TIMEOUT = 1000;

/** What to compare names with. */
export interface OwnHostOptions {
  /** Names of this host, beside hostname() and localhost. */
  readonly names?: readonly string[];
  /** Names and addresses to compare. These names are not looked up. */
  readonly more?: readonly string[];
  /** Whether addresses count, and names that are none of this host's are looked up. */
  readonly byAddress: boolean;
}

const LOOPBACK_NAMES = ['localhost', 'localhost.localdomain'];

/** Whether every host has this name or address for itself. */
export function isLoopback(name: string): boolean {
  return LOOPBACK_NAMES.includes(name.toLowerCase()) || name === '::1' || /^127(\.\d+){3}$/.test(name);
}

/** Whether it may be an address in digits. No name of a host consists of digits and dots, or has a colon. */
function isAddress(name: string): boolean {
  return /^[\d.]+$|:/.test(name);
}

/**
 * Returns those of the names that belong to this host. It takes a bounded time: look-ups run in parallel, and what is not
 * resolved in time counts as another host. A name with several addresses is this host if all of them are.
 *
 * The addon looks names up. dns.lookup() cannot be cancelled: with a dead DNS server it would hold up the other work of
 * libuv's threads, and the end of this process, for the resolver's own timeouts.
 *
 * @param candidates names that are looked up if they are none of this host's
 */
export async function findOwnHosts(
  candidates: readonly string[],
  { names = [], more = [], byAddress }: OwnHostOptions,
): Promise<Set<string>> {
  const known = new Set([hostname(), ...LOOPBACK_NAMES, ...names].map((name) => name.toLowerCase()));
  const all = [...new Set([...candidates, ...more])];
  const own = new Set(all.filter((name) => known.has(name.toLowerCase())));
  const lookedUp = new Set(candidates);
  const queue = all.filter((name) => byAddress && !own.has(name) && (lookedUp.has(name) || isAddress(name)));
  if (queue.length === 0) return own;
  const found = await native.ownNames(queue, LOOK_UP_TIMEOUT);
  queue.filter((_, i) => found[i]).forEach((name) => own.add(name));
  return own;
}
