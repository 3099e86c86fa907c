/** Which names belong to the host that this process runs on. */
import { hostname, networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { findOwnHosts, isLoopback, resolveByGetent } from '../../lib/own-host';

const addresses: Record<string, string[]> = {
  alias: ['127.0.0.1', '::1'],
  shared: ['127.0.0.1', '192.0.2.1'],
  other: ['192.0.2.1'],
};
const resolve = (names: readonly string[]): Promise<string[]> =>
  Promise.resolve(names.flatMap((name) => addresses[name] ?? []));

const own = async (...names: string[]): Promise<string[]> => [
  ...(await findOwnHosts(names, { byAddress: true, resolve })),
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
  expect((await own(...expected, 'alias')).sort()).toEqual([...expected, 'alias'].sort());
});

test('other names and addresses, and those that do not resolve', async () => {
  expect(await own('other', 'shared', 'n1', '192.0.2.1', '2001:db8::1')).toEqual([]);
});

test('without look-ups names count only', async () => {
  const fail = (): never => {
    throw new Error('looked up');
  };
  const found = await findOwnHosts(['alias', 'n1', 'N2', 'localhost', '127.0.0.1'], {
    names: ['n2'],
    byAddress: false,
    resolve: fail,
  });
  expect([...found]).toEqual(['N2', 'localhost']);
});

test('names that are not looked up', async () => {
  const asked: string[] = [];
  const found = await findOwnHosts(['other'], {
    more: ['alias', 'LOCALHOST', '127.0.0.1'],
    byAddress: true,
    resolve: (names) => {
      asked.push(...names);
      return resolve(names);
    },
  });
  expect([...found]).toEqual(['LOCALHOST', '127.0.0.1']);
  expect(asked).toEqual(['other']);
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

test('look-ups that do not end are ended', async () => {
  const ended: string[] = [];
  const hang = (names: readonly string[], signal: AbortSignal): Promise<string[]> =>
    new Promise((fulfil) =>
      signal.addEventListener('abort', () => {
        ended.push(...names);
        fulfil([]);
      }),
    );
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  const found = await findOwnHosts([...names, 'localhost'], { byAddress: true, resolve: hang, timeout: 1 });
  expect([...found]).toEqual(['localhost']);
  expect(ended).toEqual(names);
});

test('one look-up is of several names, and at most eight run at a time', async () => {
  const asked: string[][] = [];
  const record = (names: readonly string[]): Promise<string[]> => {
    asked.push([...names]);
    return resolve(names);
  };
  expect([...(await findOwnHosts(['n1', 'n2', 'n3', 'n4'], { byAddress: true, resolve: record }))]).toEqual(
    [],
  );
  expect(asked).toEqual([['n1', 'n2', 'n3', 'n4']]);
  // Only a look-up of one name shows whose addresses these are.
  asked.length = 0;
  const mixed = ['n1', 'shared', 'alias', 'other', 'n2'];
  expect([...(await findOwnHosts(mixed, { byAddress: true, resolve: record }))]).toEqual(['alias']);
  expect(asked).toEqual([mixed.slice(0, 4), ['n2'], ['n1'], ['shared'], ['alias'], ['other']]);
  asked.length = 0;
  const many = Array.from({ length: 100 }, (_, i) => `n${i}`);
  await findOwnHosts(many, { byAddress: true, resolve: record });
  expect(asked).toHaveLength(8);
  expect(asked.flat()).toEqual(many);
});

test('the look-up by getent', async () => {
  const signal = AbortSignal.timeout(10_000);
  const own = expect.arrayContaining([expect.stringMatching(/^(127\.|::1$)/)]) as string[];
  expect(await resolveByGetent(['localhost'], signal)).toEqual(own);
  expect(await resolveByGetent(['nothing.invalid', 'localhost'], signal)).toEqual(own);
  expect(await resolveByGetent(['nothing.invalid'], signal)).toEqual([]);
});

test('a look-up by getent ends with its signal', async () => {
  expect(await resolveByGetent(['localhost'], AbortSignal.abort())).toEqual([]);
});
