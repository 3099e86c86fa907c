// Jobs whose agents one srun has started end whole, whatever happens to a host, to srun, or to Slurm's job: the failure is named,
// and nothing is left. The nodes share this machine's processes and files, so each run checks that.

import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { hostNeeds, SlurmHosts, wireupOn } from '../support/hosts';
import { lines, Run } from '../support/run';

vi.setConfig({ testTimeout: 120_000 });
const deadline = 100_000;
/** In milliseconds. Slurm ends what is left of a step by itself. */
const exitTimeout = 15_000;
const hostCount = 3;

const tools = hostNeeds.slurm();
describe.skipIf(tools.missing)(`a job of one srun${tools.note}`, () => {
  let hosts: SlurmHosts;
  beforeAll(async () => {
    hosts = await SlurmHosts.start(hostCount, { allocation: true });
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());

  /** Starts a rank on each host, and waits until all run. */
  async function start(...options: string[]): Promise<Run> {
    const words = [...options, 'sh', '-c', 'echo "$PMI_RANK $PPID"; exec sleep 1000'];
    const job = new Run(wireupOn(hosts, 1, ...words), {
      deadline,
      exitTimeout,
      environment: hosts.environment,
    });
    await job.until(({ stdout }) => lines(stdout).length === hostCount);
    return job;
  }

  /** The pid of the agent of a rank. */
  const agentOf = ({ stdout }: Run, rank: number): number =>
    Number(lines(stdout).flatMap((line) => new RegExp(`^${rank} (\\d+)$`).exec(line) ?? [])[1]);
  const srunOf = (job: Run): number => job.processes().find(({ name }) => name === 'srun')!.pid;

  it.each([
    ['SIGKILL', '32'],
    ['SIGKILL', '1'],
    ['SIGSTOP', '32'],
  ] as const)('names the host whose agent gets %s, with --tree-width %s', async (signal, width) => {
    const job = await start('--tree-width', width);
    process.kill(agentOf(job, 1), signal);
    const { code, stderr } = await job.done;
    expect(stderr).toMatch(/^wireup: host n2 was lost \(.*\); rank 1 was on it/m);
    expect(code).toBe(1);
  });

  it('names srun if it is killed', async () => {
    const job = await start();
    process.kill(srunOf(job), 'SIGKILL');
    const { code, stderr } = await job.done;
    expect(stderr).toMatch(/^wireup: host n\d was lost \(.*srun was killed by signal 9 \(Killed\)/m);
    expect(code).toBe(1);
  });

  it("shows srun's words if the step is cancelled", async () => {
    const job = await start();
    const environment = { ...process.env, ...hosts.environment };
    const steps = spawnSync('squeue', ['--steps', '--noheader', '--format=%i'], { env: environment });
    // A step whose srun was killed may still be there.
    const numbers = lines(steps.stdout.toString()).flatMap((line) => /^\d+\.(\d+)$/.exec(line)?.[1] ?? []);
    const step = `${hosts.environment['SLURM_JOB_ID']}.${Math.max(...numbers.map(Number))}`;
    expect(spawnSync('scancel', [step], { env: environment }).status).toBe(0);
    const { code, stderr } = await job.done;
    expect(stderr).toMatch(/^(srun: |slurmstepd).*(CANCELLED|aborted)/m);
    expect(stderr).toMatch(/^wireup: (host|rank) /m);
    expect(code).not.toBe(0);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)('leaves nothing behind if the tool gets %s', async (signal) => {
    const job = await start('--tree-width', '1');
    job.kill(signal);
    await job.done;
  });
});
