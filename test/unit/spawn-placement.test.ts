/** On which hosts spawned ranks run. */
import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { placeOnFreeSlots, SpawnHosts, type SpawnHost } from '../../lib/spawn-placement';

describe('without a name, ranks fill free slots', () => {
  test.each([
    ['free slots come first', [2, 2], [2, 0], 2, [1, 1]],
    ['in the order of the hosts', [2, 3], [1, 1], 3, [0, 1, 1]],
    ['then every host gets as many more as it has slots', [2, 1], [2, 1], 4, [0, 0, 1, 0]],
    ['a host with too many ranks gets none until others have as many', [1, 1], [3, 0], 4, [1, 1, 1, 0]],
    ['of a job that has not begun', [1, 2, 1], [0, 0, 0], 5, [0, 1, 1, 2, 0]],
    ['a host without slots gets none', [0, 1], [1, 0], 3, [1, 1, 1]],
  ])('%s', (_, slots, running, ranks, expected) => {
    const before = [...running];
    expect(
      placeOnFreeSlots(
        ranks,
        slots.map((count) => ({ slots: count })),
        running,
      ),
    ).toEqual(expected);
    expect(running).toEqual(before.map((count, host) => count + expected.filter((at) => at === host).length));
  });
});

describe('the hosts of a job', () => {
  const listed: SpawnHost[] = [
    { name: 'n1', slots: 2, number: 1 },
    { name: 'here', slots: 1, number: 0 },
    { name: 'n2', user: 'bob', slots: 1, number: 2 },
  ];
  const place = (
    ranks: number,
    named?: string,
    running = [1, 0, 0],
    hosts = new SpawnHosts(listed),
  ): number[] => hosts.place(ranks, named, running, 0);

  test('are used by their free slots', () => {
    expect(place(3)).toEqual([0, 1, 2]);
  });

  test('are used by their names, in turn, as often as the list says', () => {
    expect(place(3, 'n2')).toEqual([2, 2, 2]);
    expect(place(3, 'n2,n1')).toEqual([2, 0, 2]);
    expect(place(6, 'n[1-2]')).toEqual([0, 2, 0, 2, 0, 2]);
    expect(place(4, 'n1:2,bob@n2')).toEqual([0, 0, 2, 0]);
  });

  test('count ranks that are placed by name', () => {
    const running = [0, 0, 0];
    const hosts = new SpawnHosts(listed);
    expect([place(2, 'n1', running, hosts), place(2, undefined, running, hosts)]).toEqual([
      [0, 0],
      [1, 2],
    ]);
  });

  test('are known by the names that they have by themselves, unless several have the same', () => {
    const hosts = new SpawnHosts(listed);
    hosts.started(1, 'rack1-n1');
    expect(place(1, 'rack1-n1', [0, 0, 0], hosts)).toEqual([0]);
    hosts.started(2, 'rack1-n1');
    expect(() => place(1, 'rack1-n1', [0, 0, 0], hosts)).toThrow(/is not a host of this job/);
    for (const name of ['localhost', hostname()]) expect(place(1, name)).toEqual([1]);
  });

  test.each([
    ['n3', 'unknown_host', 'host=n3 is not a host of this job (n1, here, n2)'],
    ['n1,n3', 'unknown_host', 'host=n3 is not a host of this job (n1, here, n2)'],
    ['eve@n2', 'unknown_host', 'host=eve@n2 is not a host of this job (n1, here, n2)'],
    ['n2,bob@n2', 'malformed_host', 'host=n2,bob@n2: expected one user in all places that name the host n2'],
    ['n[1-', 'malformed_host', 'host=n[1-: expected a number at character 5'],
    ['', 'malformed_host', 'host=: expected a host at character 1'],
  ])('refuse "%s"', (name, word, message) => {
    expect(() => place(1, name)).toThrow(expect.objectContaining({ word, message }));
  });

  test('that are lost get no ranks', () => {
    const hosts = new SpawnHosts(listed);
    hosts.lose(1);
    expect(place(3, undefined, [0, 0, 0], hosts)).toEqual([1, 2, 1]);
    expect(() => place(1, 'n1', [0, 0, 0], hosts)).toThrow('host=n1 is lost');
    hosts.lose(2);
    expect(place(2, undefined, [0, 0, 0], hosts)).toEqual([1, 1]);
  });
});

describe('in a job on this host alone', () => {
  const hosts = new SpawnHosts([]);

  test('ranks run on the node of their parent, or are placed by a name of this host', () => {
    expect(hosts.place(2, undefined, [], 3)).toEqual([3, 3]);
    expect(hosts.place(2, 'localhost', [], 3)).toEqual([0, 0]);
    expect(() => hosts.place(1, 'n1', [], 0)).toThrow(`host=n1 is not a host of this job (${hostname()})`);
  });
});
