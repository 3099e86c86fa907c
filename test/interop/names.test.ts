// MPI_Comm_connect between two launches that share a name server: with an MPICH that can open ports, which
// test/interop/build-mpich.sh builds.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { listNames, NameServer } from '../../dist/index.js';
import { compile, dynamicMpich, lines, Run, transports, wireupRun } from './helpers';

vi.setConfig({ testTimeout: 100_000 });
const deadline = 90_000;

const mpich = dynamicMpich();

describe.skipIf(mpich.missing)(`MPI_Comm_connect between two launches${mpich.note}`, () => {
  it.each(transports)('--pmi %s', async (transport) => {
    const folder = mkdtempSync(join(tmpdir(), 'names-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    await using names = await NameServer.listen({ address: join(folder, 'names') });
    const job = (ranks: number, ...args: string[]): Run =>
      new Run(
        wireupRun(ranks, transport, '--name-server', names.address, compile('names', mpich.mpicc), ...args),
        { deadline },
      );
    const accepts = job(2, 'accept', 'ocean');
    await accepts.until(({ stdout }) => stdout.includes('published'));
    expect(await listNames(names.address)).toMatchObject([{ service: 'ocean', pid: accepts.pid }]);
    const connects = job(3, 'connect', 'ocean');
    for (const run of [accepts, connects]) {
      const { code, stdout, stderr } = await run.done;
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lines(stdout)).toContain('together: 5');
    }
    expect(await listNames(names.address)).toEqual([]);
  });
});
