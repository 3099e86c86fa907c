// Unmodified MPICH programs and a raw PMI client under `wireup run`, over every transport and with several sizes.

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun, type Transport } from '../support/run';

vi.setConfig({ testTimeout: 150_000 });
// MPICH's ranks poll while they wait, so 64 of them need half a minute for the patterns on two processors.
const deadline = 120_000;

/** All in one job, because their use of PMI is the same: MPI_Init and MPI_Finalize. */
const patterns = ['allreduce', 'ring', 'onesided', 'shared', 'alltoall'];
/** The largest MPICH jobs run one program only. The raw client tests larger sizes. */
const sizes = {
  patterns: long ? [1, 2, 4, 8, 16, 64] : [1, 2, 8],
  hello: [1, 2, 8, 64],
  plain: [1, 2, 8, 64, 256],
};

async function expectOk(
  size: number,
  transport: Transport,
  command: string[],
  names: string[],
): Promise<void> {
  const result = await run(wireupRun(size, transport, ...command), { deadline });
  expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
  const finished = lines(result.stdout).filter((line) => line.endsWith(' ok'));
  const expected = names.flatMap((name) =>
    Array.from({ length: size }, (_, rank) => `${name}: rank ${rank} of ${size} ok`),
  );
  expect(finished.sort()).toEqual(expected.sort());
}

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`MPICH programs${mpich.note}`, () => {
  describe.each(transports)('over %s', (transport) => {
    it.each(sizes.hello)('run hello with %d ranks', async (size) => {
      await expectOk(size, transport, [program('hello')], ['hello']);
    });

    it.each(sizes.patterns)(`run ${patterns.join(', ')} with %d ranks`, async (size) => {
      await expectOk(size, transport, [program('patterns'), ...patterns], patterns);
    });
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`a raw client${compiler.note}`, () => {
  describe.each(transports)('over %s', (transport) => {
    it.each(sizes.plain)(
      'puts its business card and gets those of all ranks, with %d ranks',
      async (size) => {
        await expectOk(size, transport, [program('raw_exchange')], ['raw_exchange']);
      },
    );

    it.each([1, 2, 4, 16, 64])(
      'gets a process mapping with all ranks on one node, with %d ranks',
      async (size) => {
        const result = await run(wireupRun(size, transport, program('raw_mapping')));
        expect(result).toMatchObject({ code: 0, stderr: '' });
        const form = /^rank (\d+) of (\d+) mapping (.*)$/;
        const rows = lines(result.stdout).map((line) => form.exec(line)?.slice(1) ?? [line]);
        const ranks = rows.map(([rank]) => Number(rank)).sort((a, b) => a - b);
        expect(ranks).toEqual(Array.from({ length: size }, (_, rank) => rank));
        for (const [, total, mapping] of rows) {
          expect(total).toBe(String(size));
          // One node, number 0. Blocks repeat while ranks remain, so a block of any size covers all ranks.
          expect(mapping).toMatch(/^\(vector,\(0,1,[1-9]\d*\)\)$/);
        }
      },
    );
  });
});
