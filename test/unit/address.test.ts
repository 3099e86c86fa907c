/** Which of a name's addresses a server listens on. */
import { lookup } from 'node:dns/promises';
import { expect, test, vi } from 'vitest';
import { resolveAddresses, toListenOptions } from '../../lib/address';

vi.mock('node:dns/promises', () => ({ lookup: vi.fn() }));

function stands(...addresses: string[]): void {
  vi.mocked(lookup).mockResolvedValue(
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })) as never,
  );
}

test('a server prefers IPv4, which every MPI can read', async () => {
  stands('::1', '127.0.0.1', '127.0.0.2');
  expect(await toListenOptions('localhost:0')).toEqual({ address: 'tcp://127.0.0.1:0' });
  stands('::1', '::2');
  expect(await toListenOptions('ip6-localhost:0')).toEqual({ address: 'tcp://[::1]:0' });
});

test('a client tries all, in the order of the resolver', async () => {
  stands('::1', '127.0.0.1');
  expect(await resolveAddresses('address', 'localhost:5000')).toEqual([
    'tcp://[::1]:5000',
    'tcp://127.0.0.1:5000',
  ]);
});
