// `wireup exchange` is a rank of any PMI-1 launcher: one client, two servers.

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { run, transports, wireup, wireupRun, type Result } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

function expectAllRanks(result: Result, size: number): void {
  expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
  for (let rank = 0; rank < size; ++rank) {
    expect(result.stdout, `rank ${rank}`).toMatch(new RegExp(`^rank ${rank} of ${size}\\b`, 'm'));
  }
}

const hydra = needs('mpiexec', 'hostname');
describe.skipIf(hydra.missing)(`wireup exchange under mpiexec${hydra.note}`, () => {
  const modes: [string, string[]][] = [
    ['PMI_FD', []],
    ['PMI_PORT', ['-pmi-port']],
  ];
  it.each(modes)('exchanges business cards with %s', async (_, options) => {
    expectAllRanks(await run([installed('mpiexec'), ...options, '-n', '4', ...wireup('exchange')]), 4);
  });
});

describe('wireup exchange under wireup run', () => {
  it.each(transports)('exchanges business cards over %s', async (transport) => {
    expectAllRanks(await run(wireupRun(4, transport, ...wireup('exchange'))), 4);
  });
});
