// Unmodified MPICH programs under `wireup run`, over every transport and at every size.

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 150_000 });
// 64 ranks of MPICH on two processors spend most of their time waiting for each other's turn.
const deadline = 120_000;

const sizes = [1, 2, 4, 16, 64];
// In one job: what they ask of a process manager is in MPI_Init and MPI_Finalize, and is the same.
const patterns = ['allreduce', 'ring', 'onesided', 'shared', 'alltoall'];

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`MPICH programs${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(
      sizes.flatMap(
        (size) =>
          [
            [size, ['hello']],
            [size, patterns],
          ] as const,
      ),
    )('-n %d: %j', async (size, names) => {
      const command = names[0] === 'hello' ? [program('hello')] : [program('patterns'), ...names];
      const result = await run(wireupRun(size, transport, ...command), { deadline });
      expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
      const finished = lines(result.stdout).filter((line) => line.endsWith(' ok'));
      const expected = names.flatMap((name) =>
        Array.from({ length: size }, (_, rank) => `${name}: rank ${rank} of ${size} ok`),
      );
      expect(finished.sort()).toEqual(expected.sort());
    });
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`PMI_process_mapping${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(sizes)('-n %d: every rank is told that all share one node', async (size) => {
      const result = await run(wireupRun(size, transport, program('raw_mapping')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      const form = /^rank (\d+) of (\d+) mapping (.*)$/;
      const said = lines(result.stdout).map((line) => form.exec(line)?.slice(1) ?? [line]);
      const ranks = said.map(([rank]) => Number(rank)).sort((a, b) => a - b);
      expect(ranks).toEqual(Array.from({ length: size }, (_, rank) => rank));
      for (const [, total, mapping] of said) {
        expect(total).toBe(String(size));
        // One node, number 0; a block repeats while ranks remain, so any count of ranks in it covers them all.
        expect(mapping).toMatch(/^\(vector,\(0,1,[1-9]\d*\)\)$/);
      }
    });
  });
});
