/** Lists of hosts, files of hosts, and Slurm's allocations. */
import { describe, expect, test } from 'vitest';
import { parseHostFile } from '../../lib/cli/host-file';
import { HostListError, parseHostList } from '../../lib/host-list';
import { MAX_HOSTS } from '../../lib/limits';

const names = (list: string): string[] => parseHostList(list).map(({ name }) => name);

describe('a list of hosts', () => {
  test.each([
    ['a', ['a']],
    ['a,b', ['a', 'b']],
    [',a,,b,', ['a', 'b']],
    ['n[1-4]', ['n1', 'n2', 'n3', 'n4']],
    ['n[1-3,08-10]', ['n1', 'n2', 'n3', 'n08', 'n09', 'n10']],
    ['n[098-101]', ['n098', 'n099', 'n100', 'n101']],
    ['n[8-11].example.org', ['n8.example.org', 'n9.example.org', 'n10.example.org', 'n11.example.org']],
    ['rack[1-2]n[1-3]', ['rack1n1', 'rack1n2', 'rack1n3', 'rack2n1', 'rack2n2', 'rack2n3']],
    ['n[5]', ['n5']],
    ['n[0]', ['n0']],
    ['[1-2]a', ['1a', '2a']],
    ['127.0.0.1', ['127.0.0.1']],
    ['pod/a-0,hôte', ['pod/a-0', 'hôte']],
  ])('%s', (list, expected) => expect(names(list)).toEqual(expected));

  test('slots and users', () => {
    expect(parseHostList('a:4,bob@n[1-2]:2,c')).toEqual([
      { name: 'a', slots: 4 },
      { name: 'n1', slots: 2, user: 'bob' },
      { name: 'n2', slots: 2, user: 'bob' },
      { name: 'c', slots: 1 },
    ]);
  });

  test.each([
    ['', 'a host at character 1'],
    [',', 'a host at character 2'],
    ['a:', 'a number at character 3'],
    ['a:x', 'a number at character 3'],
    ['a:0', 'a number of slots from 1 to 1048576 at character 3'],
    ['a:2:3', "a comma or ':slots' at character 4"],
    ...(
      [
        ['fe80::1', 1],
        ['a,bob@[::1]:4', 7],
        ['1:2:3:4:5:6:7:8', 1],
      ] as const
    ).map(([list, at]): [string, string] => [
      list,
      `a name for the IPv6 address, such as that of a Host in ~/.ssh/config, at character ${at}`,
    ]),
    ['a b', "a comma or ':slots' at character 2"],
    ['a,:3', 'the name of a host at character 3'],
    ['bob@', 'the name of a host at character 5'],
    ['-oProxyCommand=x', "the name of a host that does not begin with '-', at character 1"],
    ['a,bob@-x', "the name of a host that does not begin with '-', at character 7"],
    ['n[', 'a number at character 3'],
    ['n[]', 'a number at character 3'],
    ['n[1-]', 'a number at character 5'],
    ['n[1', "',' or ']' at character 4"],
    ['n[1-2-3]', "',' or ']' at character 6"],
    ['n]', "a comma or ':slots' at character 2"],
    ['n[4-2]', 'a range that does not run backwards at character 3'],
    ['n[1,1234567890]', 'a number of up to 9 digits at character 5'],
    ['n[1-999999999]', `at most ${MAX_HOSTS} hosts in all at character 3`],
    ['n[1-999]n[1-999]', `at most ${MAX_HOSTS} hosts in all at character 17`],
    [`a,n[1-${MAX_HOSTS}]`, `at most ${MAX_HOSTS} hosts in all at character 5`],
    ['a'.repeat(256), 'the name of a host, up to 255 bytes at character 1'],
  ])('%s is refused', (list, expected) =>
    expect(() => parseHostList(list)).toThrow(new HostListError(expected)),
  );

  test('65,536 names of 100,000 characters are not made before they are refused', () =>
    expect(() => parseHostList(`n[1-${MAX_HOSTS}]${'[1]a'.repeat(50_000)}`)).toThrow(
      new HostListError('the name of a host, up to 255 bytes at character 1'),
    ));

  test('the longest list', () => {
    expect(parseHostList(`n[1-${MAX_HOSTS}]`)).toHaveLength(MAX_HOSTS);
    expect(() =>
      parseHostList(
        Array(MAX_HOSTS + 1)
          .fill('a')
          .join(),
      ),
    ).toThrow('hosts in all');
  });
});

describe('a file of hosts', () => {
  test('comments, blank lines, slots and users', () => {
    const text = '# hosts\n\n  n1:2\nn2 user=bob  # the fast one\n\tn[3-4]:8\tuser=eve\nn5\n';
    expect(parseHostFile('hosts', text)).toEqual({
      hosts: [
        { name: 'n1', slots: 2 },
        { name: 'n2', slots: 1, user: 'bob' },
        { name: 'n3', slots: 8, user: 'eve' },
        { name: 'n4', slots: 8, user: 'eve' },
        { name: 'n5', slots: 1 },
      ],
      ignored: [],
    });
  });

  test('what cannot be followed is reported', () => {
    expect(parseHostFile('hosts', 'a\nb:2 binding=user:0,1\n')).toEqual({
      hosts: [
        { name: 'a', slots: 1 },
        { name: 'b', slots: 2 },
      ],
      ignored: ['hosts:2: binding=user:0,1 is ignored; use --bind-to'],
    });
  });

  test.each([
    ['# nothing', 'f: expected at least one host'],
    ['a\nb:x', "f:2: expected a number at character 3, got 'b:x'"],
    ['a max=3', "f:1: expected user=NAME after the host, got 'max=3'"],
    ['a user=', "f:1: expected user=NAME after the host, got 'user='"],
    ['a user=-l', "f:1: expected the name of a user, got '-l'"],
    ['a user=x user=y', "f:1: expected one user, got 'user=y' too"],
    ['a slots=4', "f:1: 'slots=4' belongs to Open MPI; write a:4"],
    [`n[1-${MAX_HOSTS}]\na`, `f:2: expected at most ${MAX_HOSTS} hosts in all`],
  ])('%s is refused', (text, message) => expect(() => parseHostFile('f', text)).toThrow(new Error(message)));

  test('four thousand million hosts are not made before they are refused', () =>
    expect(() => parseHostFile('f', `n[1-${MAX_HOSTS}]\n`.repeat(MAX_HOSTS))).toThrow(
      new Error(`f:2: expected at most ${MAX_HOSTS} hosts in all`),
    ));
});
