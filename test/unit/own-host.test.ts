/** Which names belong to the host that this process runs on. test/native/os/name_lookup_test.cpp has slow resolvers. */
import { hostname, networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { findOwnHosts, isLoopback } from '../../lib/own-host';

const own = async (...names: string[]): Promise<string[]> => [
  ...(await findOwnHosts(names, { byAddress: true })),
];

test('its names and addresses', async () => {
  const all = Object.values(networkInterfaces()).flatMap((list) => list!.map(({ address }) => address));
  const names = [
    'localhost',
    'LOCALHOST',
    hostname(),
    hostname().toUpperCase(),
    '127.0.0.1',
    '127.9.9.9',
    '::1',
  ];
  const expected = [...new Set([...names, ...all])];
  expect((await own(...expected)).sort()).toEqual(expected.sort());
});

test('other addresses, and names that do not resolve', async () => {
  expect(await own('nothing.invalid', '192.0.2.1', '2001:db8::1', '::g')).toEqual([]);
});

test('without look-ups only names count', async () => {
  const found = await findOwnHosts(['n1', 'N2', 'localhost', '127.0.0.1'], {
    names: ['n2'],
    byAddress: false,
  });
  expect([...found]).toEqual(['N2', 'localhost']);
});

test('names that are not looked up', async () => {
  const found = await findOwnHosts(['nothing.invalid'], {
    more: ['localhost4', 'LOCALHOST', '127.0.0.1', '192.0.2.1'],
    byAddress: true,
  });
  expect([...found]).toEqual(['LOCALHOST', '127.0.0.1']);
});

test('names that every host has for itself', () => {
  const names = [
    'localhost',
    'LocalHost.localdomain',
    '127.0.0.1',
    '127.1.2.3',
    '::1',
    'n127.0.0.1',
    '192.0.2.1',
    'local',
  ];
  expect(names.filter(isLoopback)).toEqual(names.slice(0, 5));
});
