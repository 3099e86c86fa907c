/** Addresses in the grammar of PMI_PORT, made ready for the addon: checked, names looked up. */
import { PmiError } from './errors';
import { native, type NativeListenOptions } from './native';
import { checkString, optionError } from './options';

/** The same address with its host in digits: one for each that the name stands for, in the resolver's order. */
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
  if (parsed.kind === 'unix') return [parsed.uri];
  // Loaded for who names an address: a launch needs none.
  const { lookup } = await import('node:dns/promises');
  try {
    const found = await lookup(parsed.host, { all: true });
    const uris = found.map(
      ({ address, family }) => `tcp://${family === 6 ? `[${address}]` : address}:${parsed.port}`,
    );
    return uris as [string, ...string[]];
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new PmiError(
      'ERR_PMI_ADDRESS',
      `${name} '${text}': host ${parsed.host} cannot be looked up (${code})`,
      { cause },
    );
  }
}

/** The user's own folder for sockets, where the system made one. */
export function runtimeFolder(): string | undefined {
  return process.env.XDG_RUNTIME_DIR || undefined;
}

/** Where a private folder for a socket may be made, the best place first. */
export function privateParents(): [variable: string, path: string][] {
  const named = ['XDG_RUNTIME_DIR', 'TMPDIR'].flatMap((variable): [string, string][] => {
    const path = process.env[variable];
    return path ? [[variable, path]] : [];
  });
  return [...named, ['', '/tmp']];
}

/** The URI of an address that must be a unix one. */
export async function resolveUnixAddress(name: string, value: unknown): Promise<string> {
  const parsed = native.parseAddress(checkString(name, value));
  if ('kind' in parsed && parsed.kind === 'tcp')
    throw optionError(name, 'a unix address: unix:///path, /path or unix://@name', value);
  return (await resolveAddresses(name, value))[0];
}

/**
 * Where a server listens. `tcp`: 127.0.0.1 and a port that the kernel chooses. `unix`: a socket in a fresh folder
 * of mode 0700 in $XDG_RUNTIME_DIR, $TMPDIR or /tmp, the first where no other user can interfere, else under an abstract
 * name. Anything else is an address.
 */
export async function toListenOptions(address: string): Promise<NativeListenOptions> {
  if (address === 'tcp') return { address: 'tcp://127.0.0.1:0' };
  if (address === 'unix') return { privateParents: privateParents() };
  const found = await resolveAddresses('address', address);
  // MPICH cannot read [::1] in PMI_PORT.
  return { address: found.find((uri) => !uri.startsWith('tcp://[')) ?? found[0] };
}
