// Ranks that an inherited fd does not reach: in sandboxes with namespaces of their own, behind a wrapper that closes
// every fd above 2, as podman does. And a process that a rank starts is not a rank.

import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });
const deadline = 60_000;

const tools = needs('cc', 'bwrap');
const shim = join(root, 'build/Release/wireup-exec');

/** A sandbox with its own `/dev`, and so its own /dev/shm. */
function sandbox(...options: string[]): string[] {
  return [program('close_fds'), installed('bwrap'), ...options, '--ro-bind', '/', '/', '--dev', '/dev'];
}

/** Binds the folder of the server's socket into a sandbox, which has nothing else of its parent folder. */
const boundFolder = [
  'sh',
  '-c',
  'folder=$(dirname "${PMI_PORT#unix://}"); parent=$(dirname "$folder"); ' +
    'tool=$1; shift; exec "$tool" "$@" --tmpfs "$parent" --bind "$folder" "$folder" "$SHIM" "$PROGRAM"',
  'sh',
];

function finished(name: string, stdout: string): string[] {
  return lines(stdout)
    .filter((line) => line.startsWith(`${name}: `) && line.endsWith(' ok'))
    .sort();
}

function expected(name: string, size: number): string[] {
  return Array.from({ length: size }, (_, rank) => `${name}: rank ${rank} of ${size} ok`).sort();
}

// The ranks are not MPI programs. Debian's MPICH uses UCX, which looks for shared memory regardless of the process
// mapping. With TCP alone its MPI_Finalize sometimes hangs, under its own mpiexec without a sandbox too.
const raw = { environment: { SHIM: shim, PROGRAM: tools.missing ? '' : program('raw_mapping') }, deadline };
const size = 8;
const inSandboxes = (pmi: string, ...rest: string[]): string[] =>
  wireup('run', '-n', `${size}`, '--pmi', pmi, '--node-per-rank', ...rest);

function expectMappings(stdout: string): void {
  const expected = Array.from(
    { length: size },
    (_, rank) => `rank ${rank} of ${size} mapping (vector,(0,${size},1))`,
  );
  expect(lines(stdout).sort()).toEqual(expected.sort());
}

describe.skipIf(tools.missing)(`8 ranks in bubblewrap, each with its own /dev and node${tools.note}`, () => {
  it('run with --unshare-all --share-net over --pmi tcp', async () => {
    const result = await run(
      inSandboxes('tcp', ...sandbox('--unshare-all', '--share-net'), program('raw_mapping')),
      raw,
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expectMappings(result.stdout);
  });

  it('run with --unshare-user --unshare-pid over --pmi unix, with wireup-exec inside', async () => {
    const [close, ...inside] = sandbox('--unshare-user', '--unshare-pid');
    const result = await run(inSandboxes('unix', '--no-exec-shim', close!, ...boundFolder, ...inside), raw);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expectMappings(result.stdout);
  });

  it('fail with --pmi fd, because they do not inherit the fd', async () => {
    const result = await run(
      wireup('run', '-n', '1', ...sandbox('--unshare-all'), program('raw_mapping')),
      raw,
    );
    expect(result.code).not.toBe(0);
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`--node-per-rank${compiler.note}`, () => {
  it('gives the ranks a process mapping and local ranks of one rank a node', async () => {
    const result = await run(wireup('run', '-n', '4', '--node-per-rank', program('raw_mapping')));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(
      [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 mapping (vector,(0,4,1))`),
    );
    const local = await run(
      wireup('run', '-n', '3', '--node-per-rank', 'sh', '-c', 'echo $MPI_LOCALRANKID $MPI_LOCALNRANKS'),
    );
    expect(local.stdout).toBe('0 1\n0 1\n0 1\n');
  });
});

const mpich = needs('mpicc');
const many = long ? 64 : 8;
describe.skipIf(mpich.missing)(`MPICH${mpich.note}`, () => {
  it('is refused in a child of a rank that has inherited PMI_PORT and PMI_ID, and the rank goes on', async () => {
    const result = await run(wireupRun(4, 'tcp', program('mpi_in_child'), program('hello')), { deadline });
    expect(result.code).toBe(0);
    expect(finished('mpi_in_child', result.stdout)).toEqual(expected('mpi_in_child', 4));
    expect(finished('hello', result.stdout)).toEqual([]);
    expect(toolLines(result.stderr).join('\n')).toMatch(
      /^wireup: refused 127\.0\.0\.1:\d+ \(uid \d+\): rank 0 has a connection already/,
    );
  });

  it.each(['rank', 'number'])('runs with --pmi-id=%s over --pmi tcp', async (kind) => {
    const result = await run(wireup('run', '-n', '4', '--pmi', 'tcp', '--pmi-id', kind, program('hello')), {
      deadline,
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
  });

  it.each(['rank', 'long'])('runs with --pmi-id=%s over --pmi unix, behind wireup-exec', async (kind) => {
    const result = await run(wireup('run', '-n', '4', '--pmi', 'unix', '--pmi-id', kind, program('hello')), {
      deadline,
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
  });

  it(`runs with ${many} ranks over --pmi unix, behind wireup-exec, without PMI_RANK and PMI_SIZE`, async () => {
    const inside = ['env', '-u', 'PMI_RANK', '-u', 'PMI_SIZE', shim, program('hello')];
    const result = await run(wireupRun(many, 'unix', '--no-exec-shim', ...inside), { deadline });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(finished('hello', result.stdout)).toEqual(expected('hello', many));
  });

  it(`runs with ${many} ranks over --pmi tcp without PMI_RANK and PMI_SIZE`, async () => {
    const result = await run(
      wireupRun(many, 'tcp', 'env', '-u', 'PMI_RANK', '-u', 'PMI_SIZE', program('hello')),
      { deadline },
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(finished('hello', result.stdout)).toEqual(expected('hello', many));
  });
});
