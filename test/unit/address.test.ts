/** The choice among the addresses that a host name resolves to. */
import { lookup } from 'node:dns/promises';
import { expect, test, vi } from 'vitest';
import { resolveAddresses, toListenOptions } from '../../lib/address';
import { native } from '../../lib/native';
import { transportNames, transports } from '../../lib/transports';

vi.mock('node:dns/promises', () => ({ lookup: vi.fn() }));

function mockLookup(...addresses: string[]): void {
  vi.mocked(lookup).mockResolvedValue(
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })) as never,
  );
}

test('a server listens on an IPv4 address if the name has one, because every MPI can parse IPv4', async () => {
  mockLookup('::1', '127.0.0.1', '127.0.0.2');
  expect(await toListenOptions('localhost:0')).toEqual({ address: 'tcp://127.0.0.1:0' });
  mockLookup('::1', '::2');
  expect(await toListenOptions('ip6-localhost:0')).toEqual({ address: 'tcp://[::1]:0' });
});

test('a client tries every address, in the order of the resolver', async () => {
  mockLookup('::1', '127.0.0.1');
  expect(await resolveAddresses('address', 'localhost:5000')).toEqual([
    'tcp://[::1]:5000',
    'tcp://127.0.0.1:5000',
  ]);
});

test('each transport to which ranks connect has addresses of its name in the core', async () => {
  const names = transportNames.filter((name) => !transports[name].inherited);
  const places = await Promise.all(names.map((name) => toListenOptions(name)));
  expect(
    places.map(({ address = 'unix:///in/a/private/folder' }) => native.parseAddress(address)),
  ).toMatchObject(names.map((transport) => ({ transport })));
});
