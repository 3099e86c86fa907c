// Unmodified MPICH programs and a plain PMI client under `wireup run`, over every transport and at several sizes.

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun, type Transport } from '../support/run';

vi.setConfig({ testTimeout: 150_000 });
// MPICH's ranks poll while they wait: 64 of them on two processors take half a minute for the patterns.
const deadline = 120_000;

/** In one job: what each asks of a process manager is in MPI_Init and MPI_Finalize, and is the same. */
const patterns = ['allreduce', 'ring', 'onesided', 'shared', 'alltoall'];
/** The many MPICH ranks run one program; their scale is that of the plain client. */
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
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(sizes.hello)('-n %d: hello', async (size) => {
      await expectOk(size, transport, [program('hello')], ['hello']);
    });

    it.each(sizes.patterns)(`-n %d: ${patterns.join(', ')}`, async (size) => {
      await expectOk(size, transport, [program('patterns'), ...patterns], patterns);
    });
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`a plain client${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(sizes.plain)('-n %d: puts its card and gets those of all ranks', async (size) => {
      await expectOk(size, transport, [program('raw_exchange')], ['raw_exchange']);
    });

    it.each([1, 2, 4, 16, 64])('-n %d: the process mapping puts all ranks on one node', async (size) => {
      const result = await run(wireupRun(size, transport, program('raw_mapping')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      const form = /^rank (\d+) of (\d+) mapping (.*)$/;
      const rows = lines(result.stdout).map((line) => form.exec(line)?.slice(1) ?? [line]);
      const ranks = rows.map(([rank]) => Number(rank)).sort((a, b) => a - b);
      expect(ranks).toEqual(Array.from({ length: size }, (_, rank) => rank));
      for (const [, total, mapping] of rows) {
        expect(total).toBe(String(size));
        // One node, number 0. A block repeats while ranks remain, so any count of ranks in it covers them all.
        expect(mapping).toMatch(/^\(vector,\(0,1,[1-9]\d*\)\)$/);
      }
    });
  });
});
