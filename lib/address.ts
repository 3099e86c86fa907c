/** Addresses in the grammar of PMI_PORT: checks them and resolves host names for the addon. */
import { PmiError } from './errors';
import { native, type NativeListenOptions } from './native';
import { checkString, optionError } from './options';
import { transports, type PmiTransport } from './transports';

/**
 * Resolves the host name of an address. Returns a URI with a numeric host for each address of the host, in
 * the order of the resolver, or a unix address unchanged.
 *
 * @param name the option's name, for errors
 * @throws rejects with {@link PmiError} `ERR_PMI_ADDRESS`
 */
export async function resolveAddresses(name: string, value: unknown): Promise<[string, ...string[]]> {
  const text = checkString(name, value);
  const parsed = native.parseAddress(text);
  if ('error' in parsed) {
    const { part, reason } = parsed.error;
    throw new PmiError(
      'ERR_PMI_ADDRESS',
      `${name} '${text}': ${part === '' ? reason : `${part}: ${reason}`}`,
    );
  }
  const { host } = parsed;
  if (host === undefined) return [parsed.uri];
  // Loaded only if an address is given, because launch() normally does not need it.
  const { lookup } = await import('node:dns/promises');
  try {
    const found = await lookup(host, { all: true });
    const uris = found.map(
      ({ address, family }) => `tcp://${family === 6 ? `[${address}]` : address}:${parsed.port}`,
    );
    return uris as [string, ...string[]];
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new PmiError(
      'ERR_PMI_ADDRESS',
      `${name} '${text}': the host name ${host} cannot be resolved (${code})`,
      { cause },
    );
  }
}

/** The user's private folder for sockets ($XDG_RUNTIME_DIR), if there is one. */
export function runtimeFolder(): string | undefined {
  return process.env.XDG_RUNTIME_DIR || undefined;
}

/**
 * Folders in which a private folder for a socket may be made, the best one first, each with the variable that
 * names it.
 */
export function privateParents(): [variable: string, path: string][] {
  const named = ['XDG_RUNTIME_DIR', 'TMPDIR'].flatMap((variable): [string, string][] => {
    const path = process.env[variable];
    return path ? [[variable, path]] : [];
  });
  return [...named, ['', '/tmp']];
}

/** Checks a unix address and returns its URI. */
export async function resolveUnixAddress(name: string, value: unknown): Promise<string> {
  const parsed = native.parseAddress(checkString(name, value));
  if ('transport' in parsed && parsed.transport !== 'unix')
    throw optionError(name, 'a unix address: unix:///path, /path or unix://@name', value);
  return (await resolveAddresses(name, value))[0];
}

/**
 * The addon's options for a listener. `tcp` means 127.0.0.1 and a port that the kernel chooses. `unix` means
 * a socket in a new folder of mode 0700 in $XDG_RUNTIME_DIR, $TMPDIR or /tmp, the first in which no other
 * user can interfere, or else an abstract name. Everything else is an address.
 */
export async function toListenOptions(address: string): Promise<NativeListenOptions> {
  const place = Object.hasOwn(transports, address) ? transports[address as PmiTransport].listen : undefined;
  if (place !== undefined)
    return place === 'private' ? { privateParents: privateParents() } : { address: place };
  const found = await resolveAddresses('address', address);
  // MPICH cannot parse [::1] in PMI_PORT, so an IPv4 address is preferred.
  return { address: found.find((uri) => !uri.startsWith('tcp://[')) ?? found[0] };
}
