/**
 * `wireup check server` with the servers of others. Their known deviations are the expectation: docs/conformance.md has
 * the lines.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { check, knownServers, rulesWith, type CheckResult, type KnownPeer } from '../support/conformance';
import { needsRoot } from '../support/hostile-clients';
import { installed, needs } from '../support/installed';
import { Slurm } from '../support/slurm';

vi.setConfig({ testTimeout: 120_000 });

const hydra = needs('mpiexec');
const port = needs('mpiexec', 'hostname');

/** The check ends with exit code 1, because each of these servers breaks a MUST. */
function expectKnown(result: CheckResult, { failed, notOffered }: KnownPeer): void {
  expect(rulesWith(result, 'failed')).toEqual(failed);
  expect(rulesWith(result, 'not-offered')).toEqual(notOffered);
  expect(result.code).toBe(1);
}

describe.skipIf(hydra.missing)(`mpiexec.hydra${hydra.note}`, () => {
  it('over PMI_FD', async () => {
    const result = await check(['server', '--destructive', 'all', '--', installed('mpiexec'), '-n', '4']);
    expectKnown(result, knownServers.hydra);
  });
});

describe.skipIf(port.missing)(`mpiexec.hydra -pmi-port${port.note}`, () => {
  it('over PMI_PORT', async () => {
    const words = [
      '--destructive',
      'PORT-REFUSE-1,PORT-REFUSE-2',
      '--',
      installed('mpiexec'),
      '-pmi-port',
      '-n',
      '4',
    ];
    const result = await check(['server', ...words]);
    expectKnown(result, knownServers.hydraPort);
  });
});

const peers = needs('munged', 'slurmctld', 'slurmd', 'srun', 'unshare');
const asRoot = needsRoot();

describe.skipIf(peers.missing || asRoot.missing)(`srun --mpi=pmi2${peers.note}${asRoot.note}`, () => {
  let slurm: Slurm;
  beforeAll(async () => {
    slurm = await Slurm.start(2);
  });
  afterAll(() => slurm[Symbol.asyncDispose]());

  it('over PMI_FD', async () => {
    const srun = [installed('srun'), '--quiet', '--mpi=pmi2', '--nodes=2', '--ntasks=4'];
    const result = await check(['server', '--', ...srun], { environment: slurm.environment });
    expectKnown(result, knownServers.slurm);
  });
});
