// Jobs under a debugger, and jobs inside a rank of another job, whose PMI variables must not reach the inner job.

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun, type Transport } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });
const deadline = 60_000;

function helloLines(jobs: number, size: number): string[] {
  return Array.from({ length: jobs * size }, (_, i) => `hello: rank ${i % size} of ${size} ok`).sort();
}

const debuggers = needs('mpicc', 'gdb');
describe.skipIf(debuggers.missing)(`an MPI program under gdb${debuggers.note}`, () => {
  it.each([1, 2, 4])('runs with %d ranks over TCP', async (size) => {
    const gdb = [installed('gdb'), '-nx', '-batch', '-ex', 'run', '--args', program('hello')];
    const result = await run(wireupRun(size, 'tcp', ...gdb), { deadline });
    expect(result).toMatchObject({ code: 0, signal: null });
    // The program and the debugger write to the same output, line by line.
    expect(result.stdout.match(/hello: rank \d+ of \d+ ok/g)?.sort()).toEqual(helloLines(1, size));
    expect(result.stdout.match(/exited normally/g)).toHaveLength(size);
  });
});

const hydra = needs('mpicc', 'mpiexec', 'hostname');
describe.skipIf(hydra.missing)(`wireup run inside a rank of mpiexec${hydra.note}`, () => {
  const modes: [string, string[]][] = [
    ['PMI_FD', []],
    ['PMI_PORT', ['-pmi-port']],
  ];
  describe.each(modes)('that has %s', (_, options) => {
    it.each(transports)('runs a job over %s', async (transport) => {
      const inner = wireupRun(2, transport, program('hello'));
      const result = await run([installed('mpiexec'), ...options, '-n', '2', ...inner], { deadline });
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(lines(result.stdout).sort()).toEqual(helloLines(2, 2));
    });
  });
});

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`wireup run inside a rank of wireup run${mpich.note}`, () => {
  const pairs = transports.flatMap((outer) =>
    transports.map((inner): [Transport, Transport] => [outer, inner]),
  );
  it.each(pairs)('runs a job, with --pmi %s around --pmi %s', async (outer, inner) => {
    const result = await run(wireupRun(2, outer, ...wireupRun(2, inner, program('hello'))), { deadline });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(helloLines(2, 2));
  });
});
