/** Finds out which hosts of a list are the one that this process runs on. */
import { hostname, networkInterfaces } from 'node:os';

/** In milliseconds, for all look-ups together. A name that is not resolved by then is taken for another host. */
const LOOK_UP_TIMEOUT = 1000;

/** How many look-ups run at a time: Node warns if a signal has more than ten listeners. */
const LOOK_UPS = 8;

/** What to compare names with. */
export interface OwnHostOptions {
  /** Names of this host, beside hostname() and localhost. */
  readonly names?: readonly string[];
  /** Whether a name is looked up that is none of these, and its addresses are compared with those of this host. */
  readonly lookUp: boolean;
  /** Resolves a name to its addresses; to none if that fails. It must end when the signal is aborted. */
  readonly resolve?: (name: string, signal: AbortSignal) => Promise<readonly string[]>;
  /** In milliseconds. */
  readonly timeout?: number;
}

/**
 * Resolves a name as all programs of the host do (hosts file, DNS, LDAP).
 *
 * dns.lookup() cannot be cancelled: with a dead DNS server it would hold up the other work of libuv's threads, and the end of
 * this process, for the resolver's own timeouts. A process can be killed.
 */
export function resolveByGetent(name: string, signal: AbortSignal): Promise<readonly string[]> {
  // Loaded only if it is used: it takes as long to load as a rank takes to start.
  const { execFile } = process.getBuiltinModule('node:child_process');
  return new Promise((fulfil) => {
    execFile('getent', ['ahosts', name], { signal, killSignal: 'SIGKILL' }, (error, stdout) => {
      const addresses = stdout.split('\n').map((line) => line.split(/\s/)[0]!);
      fulfil(error === null ? [...new Set(addresses)].filter((address) => address !== '') : []);
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

/**
 * Returns those of the names that belong to this host. It takes a bounded time: look-ups run in parallel, and what is not
 * resolved in time counts as another host. A name with several addresses is this host if all of them are.
 */
export async function findOwnHosts(
  names: readonly string[],
  { names: more = [], lookUp, resolve = resolveByGetent, timeout = LOOK_UP_TIMEOUT }: OwnHostOptions,
): Promise<Set<string>> {
  const known = new Set(
    [hostname(), 'localhost', 'localhost.localdomain', ...more].map((name) => name.toLowerCase()),
  );
  const own = new Set(names.filter((name) => known.has(name.toLowerCase())));
  const others = [...new Set(names)].filter((name) => !own.has(name));
  if (!lookUp || others.length === 0) return own;
  const isOwnAddress = makeAddressCheck();
  const queue = others.filter((name) => {
    const found = isOwnAddress(name);
    if (found) own.add(name);
    return found === undefined;
  });
  const signal = AbortSignal.timeout(timeout);
  const work = async (): Promise<void> => {
    for (let name = queue.shift(); name !== undefined && !signal.aborted; name = queue.shift()) {
      const addresses = await resolve(name, signal);
      if (addresses.length > 0 && addresses.every((address) => isOwnAddress(address))) own.add(name);
    }
  };
  await Promise.all(Array.from({ length: LOOK_UPS }, work));
  return own;
}
