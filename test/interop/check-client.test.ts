/** `wireup check client` with the clients of others. docs/conformance.md has the lines of what they break. */
import { describe, expect, it, vi } from 'vitest';

import { check, knownClients, rulesWith, type CheckResult, type KnownPeer } from '../support/conformance';
import { dynamicMpich, installed, needs } from '../support/installed';
import { compile, program } from '../support/programs';

vi.setConfig({ testTimeout: 120_000 });

function expectKnown(result: CheckResult, { failed, notOffered }: KnownPeer): void {
  expect(rulesWith(result, 'failed')).toEqual(failed);
  expect(rulesWith(result, 'not-offered')).toEqual(notOffered);
  expect(result.code).toBe(failed.length > 0 ? 1 : 0);
}

const mpich = needs('mpicc');
const ch3 = dynamicMpich();
const slurm = needs('cc', 'libpmi2');

describe.skipIf(mpich.missing)(`MPICH${mpich.note}`, () => {
  it.each(['fd', 'tcp'])('--pmi %s', async (transport) => {
    const result = await check(['client', '--pmi', transport, '--', program('hello')]);
    expectKnown(result, knownClients.mpich);
  });
});

it.skipIf(ch3.missing)(`MPICH with ch3${ch3.note}`, async () => {
  expectKnown(await check(['client', '--', compile('hello', ch3.mpicc)]), knownClients.mpich);
});

it.skipIf(slurm.missing)(`Slurm's libpmi2${slurm.note}`, async () => {
  const words = [program('pmi2_calls'), installed('libpmi2'), 'exchange'];
  expectKnown(await check(['client', '--', ...words]), knownClients.slurm);
});
