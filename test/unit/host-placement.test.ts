/** Which rank is on which host. */
import { expect, test } from 'vitest';
import { parseHostList } from '../../lib/host-list';
import { countSlots, placeOnHosts } from '../../lib/host-placement';

/** The host of each rank. */
function place(programs: readonly (readonly [ranks: number, hosts: string])[], ppn?: number): string {
  const placed = programs.map(([ranks, list]) => ({ ranks, hosts: parseHostList(list) }));
  const { nodes, hosts } = placeOnHosts(placed, ppn);
  return nodes.map((node) => hosts[node]!.name).join(' ');
}

test.each([
  [3, 'a,b', undefined, 'a b a'],
  [6, 'a:2,b:1', undefined, 'a a b a a b'],
  [5, 'a:4,b:4', undefined, 'a a a a b'],
  [6, 'a:4,b', 2, 'a a b b a a'],
  [8, 'a:2,b,a', undefined, 'a a b a a a b a'],
  [2, 'n[1-9]', undefined, 'n1 n2'],
])('%i ranks on %s, --ppn %s', (ranks, list, ppn, expected) => {
  expect(place([[ranks, list]], ppn)).toBe(expected);
});

test('a program with the same hosts continues where the one before has stopped', () => {
  expect(
    place([
      [1, 'a:2,b'],
      [3, 'a:2,b'],
      [1, 'b'],
      [2, 'a:2,b'],
    ]),
  ).toBe('a a b a b a b');
});

test('each host is there once, with all its slots, and hosts without ranks are the last', () => {
  const { nodes, hosts } = placeOnHosts([{ ranks: 2, hosts: parseHostList('a,a:2,x@b,c') }]);
  expect(nodes).toEqual([0, 0]);
  expect(hosts).toEqual([
    { name: 'a', slots: 3 },
    { name: 'b', slots: 1, user: 'x' },
    { name: 'c', slots: 1 },
  ]);
  expect(
    placeOnHosts([
      { ranks: 1, hosts: parseHostList('b:2,a') },
      { ranks: 2, hosts: parseHostList('a:3,c') },
    ]).hosts,
  ).toEqual([
    { name: 'b', slots: 2 },
    { name: 'a', slots: 3 },
    { name: 'c', slots: 1 },
  ]);
});

test('a program has as many ranks as its hosts have slots', () => {
  expect(countSlots(parseHostList('a:4,b'))).toBe(5);
  expect(countSlots(parseHostList('a:4,b'), 2)).toBe(4);
});

test('a host can have one user', () => {
  const place = (...lists: string[]) =>
    placeOnHosts(lists.map((list) => ({ ranks: 1, hosts: parseHostList(list) })));
  expect(place('x@a,b,x@a').hosts).toHaveLength(2);
  for (const lists of [['x@a,b,y@a'], ['a,x@a'], ['a,b', 'x@b']])
    expect(() => place(...lists)).toThrow(
      `expected one user in all places that name the host ${lists[1] === undefined ? 'a' : 'b'}`,
    );
});
