/** Which names belong to the host that this process runs on. */
import { hostname, networkInterfaces } from 'node:os';
import { expect, test } from 'vitest';
import { findOwnHosts, resolveByGetent } from '../../lib/own-host';

const addresses: Record<string, string[]> = {
  alias: ['127.0.0.1', '::1'],
  shared: ['127.0.0.1', '192.0.2.1'],
  other: ['192.0.2.1'],
};
const resolve = (name: string): Promise<string[]> => Promise.resolve(addresses[name] ?? []);

const own = async (...names: string[]): Promise<string[]> => [
  ...(await findOwnHosts(names, { lookUp: true, resolve })),
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
    lookUp: false,
    resolve: fail,
  });
  expect([...found]).toEqual(['N2', 'localhost']);
});

test('look-ups that do not end are ended', async () => {
  const ended: string[] = [];
  const hang = (name: string, signal: AbortSignal): Promise<string[]> =>
    new Promise((fulfil) =>
      signal.addEventListener('abort', () => {
        ended.push(name);
        fulfil([]);
      }),
    );
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  const found = await findOwnHosts([...names, 'localhost'], { lookUp: true, resolve: hang, timeout: 1 });
  expect([...found]).toEqual(['localhost']);
  // As many as run at a time; the others do not begin.
  expect(ended).toHaveLength(8);
});

test('the look-up by getent', async () => {
  const signal = AbortSignal.timeout(10_000);
  expect(await resolveByGetent('localhost', signal)).toEqual(
    expect.arrayContaining([expect.stringMatching(/^(127\.|::1$)/)]),
  );
  expect(await resolveByGetent('nothing.invalid', signal)).toEqual([]);
});

test('a look-up by getent ends with its signal', async () => {
  expect(await resolveByGetent('localhost', AbortSignal.abort())).toEqual([]);
});
