/** The hosts that resource managers have allocated. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { managerNames } from '../../lib/cli/allocation';
import { findAllocation, type AllocationSources } from '../../lib/cli/allocation';
import { MAX_HOSTS } from '../../lib/limits';

/** How each message about an allocation ends. */
const advice = '; name the hosts by --hosts, or use -rmk user';

afterEach(() => void vi.unstubAllEnvs());

type Manager = (typeof managerNames)[number];

/** `n1*4 n2*1`: the hosts with their slots. `text` is what files contain and commands print. */
function allocation(environment: AllocationSources['environment'], text = '', manager?: Manager) {
  const found = findAllocation(manager, { environment, readText: () => text, output: () => text });
  const hosts = found?.hosts().map(({ name, slots }) => `${name}*${slots}`);
  return found && { launcher: found.launcher, hosts: hosts!.join(' ') };
}

describe('Slurm', () => {
  test.each([
    ['n[1-3]', '1(x2),2', 'n1*1 n2*1 n3*2'],
    ['n[1-3]', '16(x3)', 'n1*16 n2*16 n3*16'],
    ['n1', '8', 'n1*8'],
    // srun -N1 in an allocation of three hosts.
    ['n[1-3]', '4', 'n1*4 n2*1 n3*1'],
    ['n[1-2]', undefined, 'n1*1 n2*1'],
  ])('%s with %s', (list, tasks, hosts) =>
    expect(allocation({ SLURM_JOB_NODELIST: list, SLURM_TASKS_PER_NODE: tasks })).toEqual({
      launcher: 'slurm',
      hosts,
    }),
  );

  test('the first component of a heterogeneous job', () => {
    // salloc has set them.
    const environment = {
      SLURM_HET_SIZE: '2',
      SLURM_JOB_NODELIST_HET_GROUP_0: 'n[1-2]',
      SLURM_JOB_NODELIST_HET_GROUP_1: 'n3',
      SLURM_TASKS_PER_NODE_HET_GROUP_0: '4(x2)',
      SLURM_TASKS_PER_NODE_HET_GROUP_1: '1',
    };
    const noteOf = (variables: AllocationSources['environment']) =>
      findAllocation(undefined, { environment: variables, readText: () => '' })!.note;
    expect(allocation(environment)).toEqual({ launcher: 'slurm', hosts: 'n1*4 n2*4' });
    expect(noteOf(environment)).toBe(
      'this job of Slurm has 2 components; wireup uses the hosts of the first one, as srun does',
    );
    expect(noteOf({ SLURM_JOB_NODELIST: 'n1' })).toBeUndefined();
  });

  test.each([
    ['n[1-', '1', 'SLURM_JOB_NODELIST=n[1-: expected a number at character 5'],
    ['n1', '1(y2)', 'SLURM_TASKS_PER_NODE=1(y2): expected counts such as 4(x2),3'],
    ['n1', '0', 'SLURM_TASKS_PER_NODE=0: expected counts such as 4(x2),3'],
    ['n1', '1(x999999999)', 'SLURM_TASKS_PER_NODE=1(x999999999): expected counts such as 4(x2),3'],
    [
      'n[1-1000000000]',
      undefined,
      'SLURM_JOB_NODELIST=n[1-1000000000]: expected a number of up to 9 digits at character 5',
    ],
    [
      `${'n'.repeat(130)}[`,
      undefined,
      `SLURM_JOB_NODELIST=${'n'.repeat(120)}...: expected a number at character 132`,
    ],
  ])('%s with %s is refused', (list, tasks, message) =>
    expect(() => allocation({ SLURM_JOB_NODELIST: list, SLURM_TASKS_PER_NODE: tasks })).toThrow(
      new Error(message + advice),
    ),
  );
});

describe('PBS', () => {
  const hostsOf = (text: string) => allocation({ PBS_NODEFILE: '/f' }, text);

  test.each([
    ['n1\nn1\nn2\n', 'n1*2 n2*1'],
    // Ranks take turns if the file does.
    ['n1.x.org\r\nn2\n\nn1.x.org', 'n1.x.org*1 n2*1 n1.x.org*1'],
  ])('%j', (text, hosts) => expect(hostsOf(text)).toEqual({ launcher: 'ssh', hosts }));

  test.each([
    ['n1 4', "PBS_NODEFILE /f:1: expected a host alone, got 'n1 4'"],
    [
      'n1\n-oX',
      "PBS_NODEFILE /f:2: expected the name of a host that does not begin with '-', at character 1",
    ],
    ['n[1-2]', "PBS_NODEFILE /f:1: expected a host, got 'n[1-2]'"],
    ['n1:4', "PBS_NODEFILE /f:1: expected a host, got 'n1:4'"],
    [`n ${'x'.repeat(200)}`, `PBS_NODEFILE /f:1: expected a host alone, got 'n ${'x'.repeat(118)}...'`],
    [`${'n'.repeat(200)}:4`, `PBS_NODEFILE /f:1: expected a host, got '${'n'.repeat(120)}...'`],
    ['\n', 'PBS_NODEFILE=/f: expected at least one host'],
  ])('%j is refused', (text, message) => expect(() => hostsOf(text)).toThrow(new Error(message + advice)));
});

test('too many hosts are refused', () =>
  expect(() => allocation({ PBS_NODEFILE: '/f' }, 'a\nb\n'.repeat(MAX_HOSTS))).toThrow(
    new Error(`PBS_NODEFILE /f:${MAX_HOSTS + 1}: expected at most ${MAX_HOSTS} hosts${advice}`),
  ));

describe('LSF', () => {
  test.each([
    ['n1 4 n2 8', 'n1*4 n2*8'],
    [' n1  1 n1 2 ', 'n1*3'],
  ])('%j', (text, hosts) => expect(allocation({ LSB_MCPU_HOSTS: text })).toEqual({ launcher: 'lsf', hosts }));

  test.each([
    ['n1', "LSB_MCPU_HOSTS=n1: expected a number of slots after the host, got ''"],
    ['n1 x', "LSB_MCPU_HOSTS=n1 x: expected a number of slots after the host, got 'x'"],
    [
      `n1 ${'9'.repeat(200)}`,
      `LSB_MCPU_HOSTS=n1 ${'9'.repeat(117)}...: expected a number of slots after the host, got '${'9'.repeat(120)}...'`,
    ],
    ['n1 0', "LSB_MCPU_HOSTS=n1 0: expected a number of slots after the host, got '0'"],
    [' ', 'LSB_MCPU_HOSTS= : expected at least one host'],
  ])('%j is refused', (text, message) =>
    expect(() => allocation({ LSB_MCPU_HOSTS: text })).toThrow(new Error(message + advice)),
  );
});

describe('Grid Engine', () => {
  test('a file of hosts', () =>
    expect(allocation({ PE_HOSTFILE: '/f' }, 'n1 4 all.q@n1 UNDEFINED\nn2 2 all.q@n2 <NULL>\n')).toEqual({
      launcher: 'sge',
      hosts: 'n1*4 n2*2',
    }));

  test('a file without slots is refused', () =>
    expect(() => allocation({ PE_HOSTFILE: '/f' }, 'n1')).toThrow(
      new Error("PE_HOSTFILE /f:1: expected a number of slots after the host, got ''" + advice),
    ));
});

describe('Flux', () => {
  test('the hosts that its command prints', () => {
    const asked: unknown[] = [];
    const found = findAllocation(undefined, {
      environment: { FLUX_URI: 'local:///x', SLURM_JOB_NODELIST: 'a' },
      readText: () => '',
      output: (command, args) => {
        asked.push([command, ...args]);
        return 'n[1-2]\n';
      },
    });
    // Its command takes long, so it runs only if the hosts are needed.
    expect(asked).toEqual([]);
    expect(found!.hosts()).toEqual([
      { name: 'n1', slots: 1 },
      { name: 'n2', slots: 1 },
    ]);
    expect(asked).toEqual([['flux', 'hostlist', 'local']]);
  });

  test('a missing command is named', () => {
    vi.stubEnv('PATH', '/nowhere');
    const found = findAllocation(undefined, { environment: { FLUX_URI: 'x' }, readText: () => '' })!;
    expect(() => found.hosts()).toThrow(`flux hostlist local: flux is not in PATH${advice}`);
  });

  test('no hosts are refused', () =>
    expect(() => allocation({ FLUX_URI: 'x' }, '\n')).toThrow("flux hostlist: '': expected a host"));
});

describe('which manager', () => {
  const both = { PBS_NODEFILE: '/f', SLURM_JOB_NODELIST: 'a' };

  test('none', () => {
    expect(allocation({ SLURM_TASKS_PER_NODE: '1' })).toBeUndefined();
    expect(allocation({ SLURM_JOB_NODELIST: '', PE_HOSTFILE: undefined })).toBeUndefined();
    expect(allocation(both, 'b', 'user')).toBeUndefined();
  });

  test('the one that is named', () => {
    expect(allocation(both, 'b')).toEqual({ launcher: 'slurm', hosts: 'a*1' });
    expect(allocation(both, 'b', 'pbs')).toEqual({ launcher: 'ssh', hosts: 'b*1' });
    expect(() => allocation(both, 'b', 'lsf')).toThrow(
      '--rmk lsf: expected the variable LSB_MCPU_HOSTS, which this manager sets in its jobs',
    );
  });
});
