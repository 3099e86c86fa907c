/** Where launch() and `wireup run` start ranks, and by which commands. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { findHosts, placeRanks, ranksByDefault } from '../../lib/cli/hosts';
import { readRun, readText } from '../../lib/cli/mpiexec-args';
import type { LaunchOptions } from '../../lib/launch-options';
import { planLaunch } from '../../lib/launch-plan';
import { shortHostList } from '../../lib/host-command';
import { adviceOnStart } from '../../lib/host-advice';
import { parseHostList } from '../../lib/host-list';
import { agentPath } from '../../lib/native';
import { describeFailure, type JobFailure } from '../../lib/result';

beforeEach(() => {
  for (const name of Object.keys(process.env))
    if (/^(SLURM|HYDRA|PBS|LSB|PE_HOST|FLUX)/.test(name)) vi.stubEnv(name, undefined);
});
afterEach(() => vi.unstubAllEnvs());

const plan = async (options: Partial<LaunchOptions>) =>
  (await planLaunch({ program: 'a.out', ranks: 4, ...options })).native;

describe('launch()', () => {
  test('without hosts all ranks are on this one', async () => {
    expect(await plan({})).toMatchObject({ hosts: [], nodeHosts: [], nodeNames: [], nodes: [] });
  });

  test('this host has the number 0, by any of its names, and needs no command', async () => {
    const { hosts, ...places } = await plan({
      hosts: ['n1.invalid', 'localhost', { name: '127.0.0.1' }, 'n2.invalid'],
      launcher: 'ssh',
    });
    expect(places).toMatchObject({
      nodes: [0, 1, 2, 3],
      nodeNames: ['n1.invalid', '', '', 'n2.invalid'],
      nodeHosts: [1, 0, 0, 2],
    });
    expect(hosts.map(({ name }) => name)).toEqual(['', 'n1.invalid', 'n2.invalid']);
    expect(hosts[0]).toMatchObject({ command: [], stage: '' });
    // Without others, its names are as they are under Hydra.
    const alone = await plan({ hosts: ['localhost', hostname()], launcher: 'ssh' });
    expect(alone).toMatchObject({ nodeNames: ['localhost', hostname()], nodeHosts: [0, 0] });
  });

  test('this host has the name by which other hosts may know it', async () => {
    const nameOf = async (...hosts: string[]) => {
      const { hostName, native } = await planLaunch({ program: 'a', ranks: hosts.length, hosts });
      return [hostName, native.hosts[0]!.name];
    };
    const upper = hostname().toUpperCase();
    expect(await nameOf('n1.invalid', 'localhost', upper, hostname())).toEqual([upper, upper]);
    // Every host is known to itself by these.
    expect(await nameOf('n1.invalid', 'localhost', '127.0.0.1')).toEqual([hostname(), '']);
  });

  test('without allowedUids each agent allows its own user, and a PmiServer this one', async () => {
    expect((await plan({})).allowedUids).toEqual([]);
    expect((await plan({ allowedUids: [5, [7, 9]] })).allowedUids).toEqual([
      [5, 5],
      [7, 9],
    ]);
  });

  test.each([
    ['ib0', ['MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE=ib0'], true],
    ['eth0.7', ['MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE=eth0.7'], true],
    // MPICH cannot choose an interface by its network.
    ['10.0.0.0/8', [], false],
    ['fe80::/10', [], false],
    [undefined, [], false],
  ])('iface %j is the interface of MPICH too', async (iface, set, replaces) => {
    const { programs } = await plan(iface === undefined ? {} : { iface });
    const { environment } = programs[0]!;
    expect(environment.set.filter((variable) => variable.includes('IFACE'))).toEqual(set);
    expect(environment.unset.includes('MPIR_CVAR_CH3_INTERFACE_HOSTNAME')).toBe(replaces);
  });

  test('wireup-exec is that of each host', async () => {
    const shims = async (options: Partial<LaunchOptions>) =>
      (await plan({ hosts: ['n1'], ...options })).programs.map(({ execShim }) => execShim);
    expect(await shims({ pmi: 'unix', agentPath: '/a' })).toEqual([true]);
    expect(await shims({ pmi: 'unix', execShim: false, stage: true })).toEqual([false]);
    expect(await shims({ pmi: 'tcp', stage: true })).toEqual([false]);
  });

  test.each([
    ['ssh', {}, ['ssh', '-x', '-T'], ['n1', `exec ${agentPath} link`]],
    [{ ssh: ['/opt/ssh', '-v'] }, {}, ['/opt/ssh', '-v', '-x'], ['n1', `exec ${agentPath} link`]],
    ['ssh', { agentPath: "/a'b/c d" }, ['ssh'], ['n1', "exec '/a'\\''b/c d' link"]],
    ['ssh', { agentPath: 'wireup-agent' }, ['ssh'], ['n1', 'exec wireup-agent link']],
    ['slurm', {}, ['srun', '-N1', '-n1', '-w', 'n1'], [agentPath, 'link']],
    [{ slurm: ['srun', '--qos=x'] }, {}, ['srun', '-N1'], ['--qos=x', agentPath, 'link']],
    ['fork', {}, [agentPath, 'link'], ['link', 'same-host']],
    [{ exec: ['docker', 'exec', '-i'] }, {}, ['docker', 'exec', '-i'], ['-i', 'n1', agentPath, 'link']],
    [
      { exec: ['kubectl', 'exec', '-i', 'pod/{host}', '--'] },
      { agentPath: '/a' },
      ['kubectl'],
      ['-i', 'pod/n1', '--', '/a', 'link'],
    ],
    // The name is no pattern of a replacement.
    [
      { exec: ['enter', '{host}'] },
      { agentPath: '/a', hosts: [{ name: "$&$$$'" }] },
      ['enter', "$&$$$'"],
      ['/a', 'link'],
    ],
    [{ exec: ['enter'] }, { stage: true }, ['enter', 'n1', 'sh', '-c'], []],
  ] as const)('the command of %j with %j', async (launcher, options, begin, end) => {
    const { hosts } = await plan({ hosts: ['n1'], launcher, ...options });
    const { command, stage } = hosts[1]!;
    const sent = 'stage' in options;
    expect(command.slice(0, begin.length)).toEqual(
      sent ? [begin[0], begin[1], expect.stringMatching(/sh$/), '-c'] : begin,
    );
    expect(command.slice(command.length - end.length)).toEqual(end);
    expect(command.join(' ').includes('%s')).toBe(sent);
    expect(stage).toBe(sent ? agentPath : '');
  });

  test('many hosts start one another, if their commands are on all hosts', async () => {
    const width = async (hosts: number, options: Partial<LaunchOptions>) =>
      (await plan({ ranks: hosts, hosts: [`n[1-${hosts}].invalid`], ...options })).treeWidth;
    expect(await width(64, { launcher: 'ssh' })).toBe(0);
    expect(await width(65, { launcher: 'ssh' })).toBe(32);
    // One srun starts them, and the width is that of the tree of links.
    expect(await width(2, { launcher: 'slurm' })).toBe(32);
    expect(await width(2, { launcher: 'slurm', treeWidth: 3 })).toBe(3);
    expect(await width(65, { launcher: { exec: ['podman', 'exec', '-i'] } })).toBe(0);
    expect(await width(65, { launcher: 'fork' })).toBe(0);
    expect(await width(65, { launcher: 'slurm', treeWidth: 0 })).toBe(0);
    expect(await width(2, { launcher: 'fork', treeWidth: 1 })).toBe(1);
  });

  test('one srun starts the hosts that have ranks', async () => {
    const together = async (options: Partial<LaunchOptions>) =>
      (await plan({ ranks: 4, hosts: ['n[1-3].invalid', 'm1', 'm2'], launcher: 'slurm', ...options }))
        .together;
    expect(await together({ launcher: { slurm: ['/opt/srun', '--qos=x'] } })).toEqual({
      command: [
        ...['/opt/srun', '-N', '4', '-n', '4', '--ntasks-per-node=1'],
        ...['-w', 'n1.invalid,n2.invalid,n3.invalid,m1', '--kill-on-bad-exit=0'],
        ...['--mpi=none', '--cpu-bind=none', '--unbuffered', '--qos=x', agentPath, 'join'],
      ],
      iface: '',
      insecure: false,
    });
    expect(await together({ agentPath: '/a', iface: 'ib0', insecureLinks: true })).toMatchObject({
      command: expect.arrayContaining(['/a', 'join']) as string[],
      iface: 'ib0',
      insecure: true,
    });
    // This host needs no srun, and one other host has its own.
    expect(await together({ hosts: ['localhost', 'n1', 'n2'] })).toMatchObject({
      command: expect.arrayContaining(['n[1-2]']) as string[],
    });
    expect(await together({ ranks: 2, hosts: ['localhost', 'n1'] })).toBeUndefined();
    for (const options of [
      { launcher: 'ssh' },
      { stage: true },
      { treeWidth: 0 },
      { launcher: 'fork' },
    ] as const)
      expect(await together(options)).toBeUndefined();
  });

  test.each([
    [['n1', 'n2', 'n3'], 'n[1-3]'],
    [['n08', 'n09', 'n10', 'n12'], 'n[08-10],n12'],
    [['n9', 'n10'], 'n9,n10'],
    [['r1n1', 'r1n2', 'r2n1'], 'r1n[1-2],r2n1'],
    [['login', 'n1'], 'login,n1'],
    [['n2', 'n1'], 'n2,n1'],
    [['7', '8'], '[7-8]'],
  ])('%j is short for srun', (names, list) => {
    expect(shortHostList(names)).toBe(list);
    expect(parseHostList(list).map(({ name }) => name)).toEqual(names);
  });

  test('a user is passed to ssh, and makes this host another one', async () => {
    const { hosts } = await plan({ hosts: ['bob@n1', { name: 'localhost', user: 'eve' }] });
    expect(hosts.slice(1).map(({ command }) => command.slice(-4, -1))).toEqual([
      ['-l', 'bob', 'n1'],
      ['-l', 'eve', 'localhost'],
    ]);
  });

  test.each([
    // It takes a slot of this host, if that is one of the hosts.
    [['n1:2', 'localhost:3'], 'localhost', '', 3],
    [['n1:2'], hostname(), hostname(), 0],
  ])('a program that runs already is on this host: %j', async (hosts, name, nodeName, slots) => {
    const options = { program: 'a.out', ranks: 1, singleton: { port: 1, pid: 1 }, launcher: 'ssh' } as const;
    const { native, spawnHosts } = await planLaunch({ ...options, hosts });
    expect(native).toMatchObject({ nodes: [0], nodeHosts: [0], nodeNames: [nodeName] });
    expect(spawnHosts).toEqual([
      { name, slots, number: 0 },
      { name: 'n1', slots: 2, number: 1 },
    ]);
    await expect(planLaunch({ ...options, hosts, nodes: [0] })).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
    });
  });

  test('advice has the command by which the host is reached', async () => {
    const { advise } = await planLaunch({
      program: 'a.out',
      ranks: 2,
      hosts: ['bob@n1.invalid', 'n2.invalid'],
      launcher: { ssh: ['ssh', '-p', '22 00'] },
    });
    expect(advise('n1.invalid', 'Permission denied (publickey).')).toContain(
      "'ssh -p '22 00' -o BatchMode=yes bob@n1.invalid true' must work, for",
    );
    expect(advise('n2.invalid', 'Host key verification failed.')).toContain(
      "run 'ssh -p '22 00' n2.invalid true' once, and",
    );
    // Another host has tried it.
    expect(advise('n2.invalid', 'from n1.invalid: ssh n2: Host key verification failed.')).toContain(
      "n2.invalid true' once on n1.invalid, and",
    );
    expect(advise('n2.invalid', 'Connection refused')).toBeUndefined();
    const { advise: alone } = await planLaunch({ program: 'a.out', ranks: 1 });
    expect(alone('n2.invalid', 'Host key verification failed.')).toBeUndefined();
  });

  test('slots, several programs, and indices', async () => {
    const apps = [
      { program: 'a', ranks: 1 },
      { program: 'b', ranks: 4 },
    ];
    expect((await planLaunch({ apps, hosts: ['n[1-2]:2'], launcher: 'fork' })).native).toMatchObject({
      nodes: [0, 0, 1, 1, 0],
      nodeHosts: [1, 2],
    });
    // A host without ranks is no node. It waits for spawned ranks.
    const { native, spawnHosts } = await planLaunch({
      program: 'a.out',
      ranks: 4,
      hosts: ['n[1-2]:3', 'localhost:2', 'n3'],
      nodes: [3, 0, 3, 0],
      launcher: 'fork',
    });
    expect(native).toMatchObject({ nodes: [1, 0, 1, 0], nodeNames: ['n1', 'n3'], nodeHosts: [1, 2] });
    expect(native.hosts.map(({ name }) => name)).toEqual(['', 'n1', 'n3', 'n2']);
    expect(spawnHosts).toEqual([
      { name: 'n1', slots: 3, number: 1 },
      { name: 'n3', slots: 1, number: 2 },
      { name: 'n2', slots: 3, number: 3 },
      { name: 'localhost', slots: 2, number: 0 },
    ]);
  });

  test("srun's variables are removed or replaced", async () => {
    vi.stubEnv('SLURM_LABELIO', '1');
    vi.stubEnv('SLURM_OVERLAP', '0');
    vi.stubEnv('SOME_VARIABLE', 'x=y');
    const { hostEnvironment } = await plan({ hosts: ['n1'], launcher: 'slurm' });
    expect(hostEnvironment).toContain('SOME_VARIABLE=x=y');
    expect(hostEnvironment.filter((entry) => entry.startsWith('SLURM_'))).toEqual(['SLURM_OVERLAP=1']);
  });

  test("Slurm's name of this host", async () => {
    vi.stubEnv('SLURMD_NODENAME', 'n2');
    expect(await plan({ hosts: ['n[1-2]'], launcher: 'slurm' })).toMatchObject({ nodeHosts: [1, 0] });
    expect(await plan({ hosts: ['n[1-2]'], launcher: 'fork' })).toMatchObject({ nodeHosts: [1, 2] });
  });

  test.each<[Partial<LaunchOptions>, string]>([
    [{ hosts: [] }, 'hosts: expected an array of hosts, got []'],
    [{ hosts: ['n[1-'] }, "hosts[0]: expected a number at character 5, got 'n[1-'"],
    [
      { hosts: [{ name: '-x' }] },
      "hosts[0].name: expected a name that has no blanks and control characters, and does not begin with '-', got '-x'",
    ],
    [
      { hosts: [{ name: 'é'.repeat(128) }] },
      `hosts[0].name: expected a name of up to 255 bytes, got '${'é'.repeat(120)}'... 8 more characters`,
    ],
    [
      { hosts: [{ name: 'a', slots: 0 }] },
      'hosts[0].slots: expected a whole number from 1 to 1048576, got 0',
    ],
    [{ hosts: [{ name: 'a', user: '-x' }] }, "hosts[0].user: expected the name of a user, got '-x'"],
    [
      { hosts: ['x@a', 'a'] },
      "hosts: expected one user in all places that name the host a, got [ 'x@a', 'a' ]",
    ],
    [{ hosts: ['a'], allowedUids: [] }, 'allowedUids: expected at least one uid, got []'],
    [
      { hosts: ['a'], launcher: 'fork', stage: true },
      'stage: expected false, because the launcher fork needs this host only, got true',
    ],
    [
      { hosts: ['a'], pmi: 'unix', stage: true },
      "stage: expected execShim: false (--no-exec-shim) or another pmi beside it, because pmi 'unix' needs wireup-exec, which is not sent, got true",
    ],
    [
      { hosts: ['a'.repeat(65)], launcher: 'fork' },
      `hosts: expected names of up to 64 bytes, got [ '${'a'.repeat(65)}' ]`,
    ],
    [
      { hosts: ['a'], nodes: [0], ranks: 1, singleton: { port: 1, pid: 1 } },
      'nodes: expected nothing beside singleton, got [ 0 ]',
    ],
    [
      { debugger: { command: ['gdb'], ranks: [0] }, ranks: 1, singleton: { port: 1, pid: 1 } },
      'debugger: expected nothing beside singleton, got { command: [Array], ranks: [Array] }',
    ],
    [
      { hosts: ['x@a'], launcher: 'slurm' },
      "hosts: expected no user, because the launcher slurm cannot change it, got 'x'",
    ],
    [{ hosts: ['a'], ranksPerNode: 1 }, 'ranksPerNode: expected nothing beside hosts, got 1'],
    [{ hosts: ['a'], nodes: [0, 0, 0, 1] }, 'nodes[3]: expected a whole number from 0 to 0, got 1'],
    [
      { hosts: ['a,a'], nodes: [0, 0, 0, 1] },
      "hosts: expected hosts that differ, beside nodes, got [ 'a', 'a' ]",
    ],
    [{ launcher: 'rsh' as 'ssh' }, "launcher: expected 'ssh' or 'slurm' or 'fork', got 'rsh'"],
    [{ launcher: {} as 'ssh' }, 'launcher: expected one of ssh, slurm and exec, got {}'],
    [{ launcher: { exec: [] } }, 'launcher.exec: expected the words of a command, got []'],
    [
      { agentPath: 'bin/agent' },
      "agentPath: expected an absolute path, or a name without a slash, got 'bin/agent'",
    ],
    [{ agentPath: '/a', stage: true }, "agentPath: expected nothing beside stage, got '/a'"],
    [
      { hosts: ['a'], iface: 'a b' },
      "iface: expected the name of a network interface, or a network such as 10.0.0.0/8, got 'a b'",
    ],
    [{ treeWidth: -1 }, 'treeWidth: expected a whole number from 0 to 65536, got -1'],
    [{ startTimeout: 0 }, 'startTimeout: expected a whole number from 1 to 2147483647, got 0'],
  ])('%j is refused', async (options, message) => {
    await expect(plan(options)).rejects.toMatchObject({ code: 'ERR_PMI_OPTION', message });
  });
});

describe('wireup run', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hosts-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const file = (text: string): string => {
    writeFileSync(join(folder, 'hosts'), text);
    return join(folder, 'hosts');
  };

  /** `n1*2 n2`: where the ranks are; the launcher. */
  function place(...words: string[]): { ranks: string; launcher: unknown } {
    const { job, programs } = readRun([...words, 'a.out']);
    const found = findHosts(job, programs, readText);
    const apps = programs.map(({ program, options }, i) => ({
      program,
      ranks: options.ranks ?? ranksByDefault(job, found.ofPrograms[i]!, programs.length === 1),
    }));
    const { nodes = [], hosts = [], launcher } = placeRanks(job, apps, found);
    const names = hosts.map((host) => (typeof host === 'string' ? host : host.name));
    return { ranks: nodes.map((node) => names[node]).join(' '), launcher };
  }

  const ssh = { ssh: ['ssh'] };
  const srun = { slurm: ['srun'] };

  test.each([
    [['-n', '3', '--hosts', 'n[1-2]'], 'n1 n2 n1', ssh],
    [['-host', 'a:2,b'], 'a a b', ssh],
    [['-hosts', 'a:2,b', '-ppn', '1', '-n', '3'], 'a b a', ssh],
    [['-n', '1', '-host', 'a', 'x', ':', '-n', '2', '-host', 'b'], 'a b b', ssh],
    [['-n', '1', '-host', 'a', 'x', ':', '-n', '2'], 'a a a', ssh],
    [['-n', '1', 'x', ':', '-n', '1', '-host', 'b'], `${hostname()} b`, ssh],
    [['--launcher', 'slurm', '-host', 'a'], 'a', srun],
    [
      ['-bootstrap', 'ssh', '-bootstrap-exec', 'ssh -p 2222', '-host', 'a'],
      'a',
      { ssh: ['ssh', '-p', '2222'] },
    ],
    [
      ['-launcher', 'exec', '-launcher-exec', 'docker exec -i', '-host', 'a'],
      'a',
      { exec: ['docker', 'exec', '-i'] },
    ],
    [['--launcher', 'fork', '-host', 'a,b'], 'a b', 'fork'],
    [['--map', 'block:2', '-n', '4', '--launcher', 'ssh'], 'node0 node0 node1 node1', 'fork'],
    [['-n', '4'], '', undefined],
    [['-f', 'HYDRA_USE_LOCALHOST'], hostname(), ssh],
  ])('%j', (words, ranks, launcher) => expect(place(...words)).toEqual({ ranks, launcher }));

  test('a file of hosts', () => {
    expect(place('-f', file('a:2\nb user=bob\n'))).toEqual({ ranks: 'a a b', launcher: ssh });
    expect(() => place('-f', file('a b'))).toThrow(/^--hostfile .*\/hosts:1: expected user=NAME/);
    expect(() => place('-f', '/nonexistent')).toThrow('--hostfile /nonexistent: no such file or directory');
    expect(() => place('-f', file('a'), '-host', 'b')).toThrow(
      '--hosts and --hostfile: expected one of them',
    );
  });

  test("Hydra's variables", () => {
    vi.stubEnv('HYDRA_HOST_FILE', file('a:2\nb\n'));
    expect(place()).toEqual({ ranks: 'a a b', launcher: ssh });
    expect(place('-host', 'c')).toEqual({ ranks: 'c', launcher: ssh });
    expect(place('--launcher', 'fork', '-n', '2')).toEqual({ ranks: '', launcher: undefined });
    expect(place('--map', 'block:1', '-n', '1').ranks).toBe('node0');
    vi.stubEnv('HYDRA_BOOTSTRAP', 'slurm');
    expect(place().launcher).toEqual(srun);
    vi.stubEnv('HYDRA_LAUNCHER', 'ssh');
    vi.stubEnv('HYDRA_LAUNCHER_EXEC', '/opt/ssh');
    vi.stubEnv('HYDRA_LAUNCHER_EXTRA_ARGS', '-p  2222');
    expect(place().launcher).toEqual({ ssh: ['/opt/ssh', '-p', '2222'] });
    vi.stubEnv('HYDRA_LAUNCHER', 'll');
    expect(() => place()).toThrow('HYDRA_LAUNCHER=ll: expected ssh, slurm, fork, exec, lsf or sge');
  });

  test.each([
    ['HYDRA_LAUNCHER', 'rsh', 'HYDRA_LAUNCHER=rsh: expected ssh'],
    ['HYDRA_BOOTSTRAP', 'll', 'HYDRA_BOOTSTRAP=ll: expected ssh'],
    ['HYDRA_LAUNCHER', 'exec', '--launcher exec needs --launcher-exec'],
    ['HYDRA_LAUNCHER_EXEC', ' ', 'HYDRA_LAUNCHER_EXEC= : expected a command'],
  ])('%s=%s matters only if other hosts are named', (name, value, message) => {
    vi.stubEnv(name, value);
    for (const words of [
      ['-n', '2'],
      ['--map', 'block:2', '-n', '2'],
      ['--node-per-rank', '-n', '2'],
    ])
      place(...words);
    place('-host', 'a', '--launcher', 'fork');
    expect(() => place('-host', 'a')).toThrow(message);
    vi.stubEnv('SLURM_JOB_NODELIST', 'a');
    expect(() => place('-n', '2')).toThrow(message);
  });

  test('the variables of Slurm matter only if they decide where ranks are', () => {
    vi.stubEnv('SLURM_JOB_NODELIST', 'n[1');
    vi.stubEnv('SLURM_TASKS_PER_NODE', 'many');
    expect(place('-host', 'a')).toEqual({ ranks: 'a', launcher: srun });
    expect(place('-n', '1', '--map', 'block:1').ranks).toBe('node0');
    expect(place('-n', '1', '--launcher', 'fork').ranks).toBe('');
    expect(() => place('-n', '1')).toThrow('SLURM_TASKS_PER_NODE=many: expected counts');
  });

  test('the allocations of other managers', () => {
    vi.stubEnv('LSB_MCPU_HOSTS', 'a 2 b 1');
    expect(place()).toEqual({ ranks: 'a a b', launcher: { exec: ['blaunch'] } });
    expect(place('--launcher', 'ssh')).toEqual({ ranks: 'a a b', launcher: ssh });
    expect(place('--launcher-exec', 'blaunch -no-shell').launcher).toEqual({
      exec: ['blaunch', '-no-shell'],
    });
    expect(place('-rmk', 'user', '-n', '1')).toEqual({ ranks: '', launcher: undefined });
    vi.stubEnv('PE_HOSTFILE', file('c 2 all.q@c UNDEFINED\n'));
    expect(place('-rmk', 'sge')).toEqual({ ranks: 'c c', launcher: { exec: ['qrsh', '-inherit'] } });
    expect(place('-rmk', 'sge', '-launcher', 'lsf').launcher).toEqual({ exec: ['blaunch'] });
    vi.stubEnv('PBS_NODEFILE', file('d\nd\ne\n'));
    expect(place('-rmk', 'pbs')).toEqual({ ranks: 'd d e', launcher: ssh });
    expect(() => place('-rmk', 'slurm')).toThrow('--rmk slurm: expected the variable SLURM_JOB_NODELIST');
    expect(() => place('-rmk', 'cobalt')).toThrow(
      "-rmk: expected flux, slurm, pbs, lsf, sge or user, got 'cobalt'",
    );
  });

  test('HYDRA_RMK does no harm outside of the jobs of its manager', () => {
    for (const manager of ['slurm', 'cobalt', 'user']) {
      vi.stubEnv('HYDRA_RMK', manager);
      vi.stubEnv('PBS_NODEFILE', '/none');
      expect(place('-n', '1')).toEqual({ ranks: '', launcher: undefined });
    }
    vi.stubEnv('HYDRA_RMK', 'pbs');
    vi.stubEnv('PBS_NODEFILE', file('d\n'));
    vi.stubEnv('SLURM_JOB_NODELIST', 'a');
    expect(place()).toEqual({ ranks: 'd', launcher: ssh });
  });

  test('a Slurm allocation', () => {
    vi.stubEnv('SLURM_JOB_NODELIST', 'n[1-2]');
    vi.stubEnv('SLURM_TASKS_PER_NODE', '2,1');
    expect(place()).toEqual({ ranks: 'n1 n1 n2', launcher: srun });
    expect(place('-ppn', '1', '-n', '3').ranks).toBe('n1 n2 n1');
    expect(place('-host', 'a')).toEqual({ ranks: 'a', launcher: srun });
    expect(place('--launcher', 'ssh').launcher).toEqual(ssh);
    expect(place('--launcher', 'fork', '-n', '1').ranks).toBe('');
    expect(place('--node-per-rank', '-n', '1').ranks).toBe('');
    vi.stubEnv('HYDRA_HOST_FILE', file('a'));
    expect(place().ranks).toBe('a');
  });

  test.each([
    [['-host', 'n[1'], "--hosts: expected ',' or ']' at character 4, got 'n[1'"],
    [['-host', 'x@a,y@a'], '--hosts: expected one user in all places that name the host a'],
    [['-launcher', 'exec', '-host', 'a'], '--launcher exec needs --launcher-exec'],
    [['-launcher', 'rsh'], "--launcher exec --launcher-exec 'rsh ...'"],
    [['-host', 'a', '--map', 'block:1'], '--hosts and --map: each of them places ranks'],
    [['-agent-path', '/a', '-stage'], '--agent-path and --stage: expected one of them'],
  ])('%j is refused', (words, message) => expect(() => place(...words)).toThrow(message));
});

describe('the failure of a host', () => {
  const adviceOf = ({ started, message }: Partial<JobFailure>): string | undefined =>
    started === false ? adviceOnStart({ name: 'n3', ssh: ['ssh'] }, message!) : undefined;
  const text = (failure: Partial<JobFailure>, advice: string | undefined, ended = 0): string =>
    describeFailure({
      exitCode: 1,
      stopped: false,
      failure: {
        ...{ reason: 'host', host: 'n3', started: true, ...failure },
        ...(advice === undefined ? {} : { advice }),
      },
      ended,
      begun: 0,
      duration: 1,
      barriers: { count: 0, times: [] },
      host: 'here',
      apps: [],
      ranks: [],
      spawned: 0,
    })!;

  test.each<[Partial<JobFailure>, number, string]>([
    [
      { message: 'no sign for 5 s', barrier: 2, ranks: '8-11' },
      4,
      'host n3 was lost (no sign for 5 s, last seen in barrier 2); ranks 8-11 were on it; 4 ranks were ended',
    ],
    [
      { message: 'killed by SIGKILL', ranks: '8' },
      0,
      'host n3 was lost (killed by SIGKILL); rank 8 was on it',
    ],
    [
      { started: false, message: 'ssh: connect to host n3 port 22: Connection refused', ranks: '8' },
      0,
      'host n3 could not be started: ssh: connect to host n3 port 22: Connection refused',
    ],
    [
      { started: false, message: 'srun cannot be executed: No such file or directory', ranks: '8' },
      0,
      "host n3 could not be started: srun cannot be executed: No such file or directory (the launcher's program is not on this host: install it, or choose another one by launcher (--launcher, --launcher-exec))",
    ],
    [
      { started: false, message: 'Host key verification failed.', ranks: '8' },
      0,
      "host n3 could not be started: Host key verification failed. (ssh does not know the host's key: run 'ssh n3 true' once, and compare and accept the key)",
    ],
    ...[
      'bash: line 1: /x/wireup-agent: No such file or directory',
      'sh: 1: exec: wireup-agent: not found',
      'fish: Unknown command: wireup-agent',
      'OCI runtime exec failed: exec: "/x/wireup-agent": stat /x/wireup-agent: no such file or directory',
    ].map((message): [Partial<JobFailure>, number, string] => [
      { started: false, message },
      0,
      `host n3 could not be started: ${message} (wireup-agent must be on the host under the same path as here; name another path by agentPath (--agent-path), or send the program by stage (--stage))`,
    ]),
    ...[
      'bash: line 1: exec: /x/agent: cannot execute: Is a directory',
      'bash: line 1: /x/agent: Permission denied; bash: line 1: exec: /x/agent: cannot execute: Permission denied',
      'sh: 1: exec: /x/agent: Permission denied',
      'slurmstepd: error: execve(): /x/agent: Permission denied; srun: error: n3: task 0: Exited with exit code 13',
    ].map((message): [Partial<JobFailure>, number, string] => [
      { started: false, message },
      0,
      `host n3 could not be started: ${message} (the file is not a program that this user may execute there: correct the path by agentPath (--agent-path), or send the program by stage (--stage))`,
    ]),
    ...['bash: /etc/profile.d/x.sh: No such file or directory', 'Error: pod n3 not found'].map(
      (message): [Partial<JobFailure>, number, string] => [
        { started: false, message },
        0,
        `host n3 could not be started: ${message}`,
      ],
    ),
  ])('%j', (failure, ended, expected) => expect(text(failure, adviceOf(failure), ended)).toBe(expected));
});
