/** Finds out which hosts of a list are the one that this process runs on. */
import { hostname, networkInterfaces } from 'node:os';

/** In milliseconds, for all look-ups together. A name that is not resolved by then is taken for another host. */
const LOOK_UP_TIMEOUT = 1000;

/** How many look-ups run at a time: Node warns if a signal has more than ten listeners. */
const MAX_LOOK_UPS = 8;

/** Names of one look-up, unless there are too many: starting a process takes as long as resolving a few names. */
const NAMES_EACH = 4;

/** What to compare names with. */
export interface OwnHostOptions {
  /** Names of this host, beside hostname() and localhost. */
  readonly names?: readonly string[];
  /** Names to compare that are not looked up. */
  readonly more?: readonly string[];
  /** Whether addresses count, and names that are none of this host's are looked up. */
  readonly byAddress: boolean;
  /**
   * Resolves names, and returns the addresses of all of them; none if it fails. It must end when the signal is aborted. A name
   * without address does no harm to the others.
   */
  readonly resolve?: (names: readonly string[], signal: AbortSignal) => Promise<readonly string[]>;
  /** In milliseconds. */
  readonly timeout?: number;
}

/**
 * Resolves names as all programs of the host do (hosts file, DNS, LDAP).
 *
 * dns.lookup() cannot be cancelled: with a dead DNS server it would hold up the other work of libuv's threads, and the end of
 * this process, for the resolver's own timeouts. A process can be killed.
 */
export function resolveByGetent(names: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  // Loaded only if it is used: it takes as long to load as a rank takes to start.
  const { execFile } = process.getBuiltinModule('node:child_process');
  return new Promise((fulfil) => {
    // The exit code is not 0 if one of the names has no address.
    execFile('getent', ['ahosts', ...names], { signal, killSignal: 'SIGKILL' }, (_, stdout) => {
      // What a killed process has written may be incomplete.
      const addresses = signal.aborted ? [] : stdout.split('\n').map((line) => line.split(/\s/)[0]!);
      fulfil([...new Set(addresses)].filter((address) => address !== ''));
    });
  });
}

/** Returns whether a text is an address of this host: true, false, or undefined if it is no address. */
function makeAddressCheck(): (text: string) => boolean | undefined {
  const { BlockList, isIP } = process.getBuiltinModule('node:net');
  const own = new BlockList();
  own.addSubnet('127.0.0.0', 8);
  own.addAddress('::1', 'ipv6');
  for (const { address, family } of Object.values(networkInterfaces()).flatMap((list) => list ?? []))
    own.addAddress(address, family === 'IPv6' ? 'ipv6' : 'ipv4');
  return (text) => {
    const family = isIP(text);
    return family === 0 ? undefined : own.check(text, family === 6 ? 'ipv6' : 'ipv4');
  };
}

const LOOPBACK_NAMES = ['localhost', 'localhost.localdomain'];

/** Whether every host has this name or address for itself. */
export function isLoopback(name: string): boolean {
  return LOOPBACK_NAMES.includes(name.toLowerCase()) || name === '::1' || /^127(\.\d+){3}$/.test(name);
}

/**
 * Returns those of the names that belong to this host. It takes a bounded time: look-ups run in parallel, and what is not
 * resolved in time counts as another host. A name with several addresses is this host if all of them are.
 *
 * @param candidates names that are looked up if they are none of this host's
 */
export async function findOwnHosts(
  candidates: readonly string[],
  { names = [], more = [], byAddress, resolve = resolveByGetent, timeout = LOOK_UP_TIMEOUT }: OwnHostOptions,
): Promise<Set<string>> {
  const known = new Set([hostname(), ...LOOPBACK_NAMES, ...names].map((name) => name.toLowerCase()));
  const all = new Set([...candidates, ...more]);
  const own = new Set([...all].filter((name) => known.has(name.toLowerCase())));
  if (!byAddress || own.size === all.size) return own;
  const isOwnAddress = makeAddressCheck();
  for (const name of all) if (isOwnAddress(name)) own.add(name);
  const queue = [...new Set(candidates)].filter((name) => !own.has(name) && isOwnAddress(name) === undefined);
  if (queue.length === 0) return own;
  const signal = AbortSignal.timeout(timeout);
  const lookUp = async (names: readonly string[]): Promise<void> => {
    if (signal.aborted) return;
    const addresses = await resolve(names, signal);
    const count = addresses.filter((address) => isOwnAddress(address)).length;
    if (count === 0) return;
    // It is unknown to which of the names the addresses belong.
    if (names.length > 1) for (const name of names) await lookUp([name]);
    else if (count === addresses.length) own.add(names[0]!);
  };
  const each = Math.max(NAMES_EACH, Math.ceil(queue.length / MAX_LOOK_UPS));
  const parts = Array.from({ length: Math.ceil(queue.length / each) }, (_, i) =>
    queue.slice(i * each, (i + 1) * each),
  );
  await Promise.all(parts.map(lookUp));
  return own;
}
