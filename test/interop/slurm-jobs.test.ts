// `wireup run` in jobs of Slurm whose shape is odd: GPUs that are counted by tasks, and several components.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { hostNeeds } from '../support/hosts';
import { lines, run, wireup, type Result } from '../support/run';
import { Slurm } from '../support/slurm';

vi.setConfig({ testTimeout: 60_000 });

const tools = hostNeeds.slurm();
describe.skipIf(tools.missing)(`in a job of Slurm${tools.note}`, () => {
  let slurm: Slurm;
  beforeAll(async () => {
    slurm = await Slurm.start(3, { gpus: 4 });
  });
  afterAll(() => slurm?.[Symbol.asyncDispose]());

  /** Runs a command with the variables that salloc sets. */
  const inJob = (shape: readonly string[], ...command: string[]): Promise<Result> =>
    run(['salloc', '--quiet', ...shape, ...command], { environment: slurm.environment });

  const showGpus = ['sh', '-c', 'echo "$PMI_RANK $(hostname) $CUDA_VISIBLE_DEVICES"'];

  it.each([
    ['--gpus-per-node=2', [], '0,1'],
    ['--gpus-per-node=2', ['--tree-width', '0'], '0,1'],
    ['--gpus-per-node=4 --gpu-bind=single:1', [], '0,1,2,3'],
    ['--gpus-per-node=4 --cpus-per-gpu=1', [], '0,1,2,3'],
    ['--gpus-per-task=1', ['--launcher-exec', 'srun --gpus-per-node=2'], '0,1'],
    ['--gpus=8 --ntasks-per-gpu=1', ['--launcher-exec', 'srun --gpus-per-node=4'], '0,1,2,3'],
    ['--gpus-per-node=4', ['-genv', 'CUDA_VISIBLE_DEVICES', '3'], '3'],
    ['', [], ''],
  ])('with %s, ranks see the GPUs of their hosts %j', async (shape, options, gpus) => {
    const words = shape.split(' ').filter((word) => word !== '');
    const { code, stdout, stderr } = await inJob(
      ['--nodes=2', ...(shape.includes('tasks-per-gpu') ? [] : ['--ntasks-per-node=2']), ...words],
      ...wireup('run', ...options, '-ppn', '1', ...showGpus),
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual([`0 n1 ${gpus}`, `1 n2 ${gpus}`]);
  });

  it('of several components, ranks are on the hosts of the first one', async () => {
    const components = ['--nodes=2', '--ntasks-per-node=2', ':', '--nodes=1'];
    const { code, stdout, stderr } = await inJob(components, ...wireup('run', 'hostname'));
    expect(lines(stderr)).toEqual([
      'wireup: this job of Slurm has 2 components; wireup uses the hosts of the first one, as srun does',
    ]);
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual(['n1', 'n1', 'n2', 'n2']);
  });

  it.each([
    ['no node', ['--nodes=2'], 'n1,n2,none'],
    ['in another component', ['--nodes=2', ':', '--nodes=1'], 'n1,n2,n3'],
  ])('advises on lists with a host that is %s, which srun does not name', async (_, shape, list) => {
    const { code, stderr } = await inJob(shape, ...wireup('run', '--hosts', list, 'true'));
    expect(stderr).toMatch(
      /^wireup: host n1 could not be started: srun ended with code \d+: .*\(the host, or another one of the list, is no node/,
    );
    expect(code).toBe(1);
  });

  it('advises on GPUs that Slurm cannot divide over the hosts', async () => {
    const { code, stderr } = await inJob(
      ['--nodes=2', '--ntasks=6', '--gpus=6'],
      ...wireup('run', '-ppn', '1', ...showGpus),
    );
    expect(stderr).toMatch(/^wireup: host n1 could not be started: .*GRES.*srun --gpus-per-node=4/);
    expect(code).toBe(1);
  });
});
