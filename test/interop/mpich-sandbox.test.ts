// Unmodified MPICH over a unix socket. Each rank runs in a sandbox with its own namespaces, which passes on no fds.

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, wireup } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });

const size = 8;
const namespaces = ['user', 'pid', 'mnt'];
// MPICH uses shared memory between ranks of one node, so the sandboxes of a job share a /dev/shm. It is not that of the
// machine, because the pids in the sandboxes are those of ranks of other jobs too.
const bwrap = (shm: string): string[] => [
  '--unshare-user',
  '--unshare-pid',
  '--ro-bind',
  '/',
  '/',
  '--dev',
  '/dev',
  '--bind',
  shm,
  '/dev/shm',
  '--proc',
  '/proc',
];
// UCX cannot access the memory of a process by a pid of another namespace and uses TCP instead. Over TCP its
// MPI_Finalize sometimes hangs, under mpiexec without any sandbox too (UCX_TLS=tcp,self mpiexec -n 8). System V
// segments need no pid.
const environment = { UCX_TLS: 'sysv,self' };
const show = `${namespaces.map((name) => `echo $(readlink /proc/self/ns/${name}) of a rank`).join('; ')}; exec "$@"`;

const peers = needs('bwrap', 'mpicc');
describe.skipIf(peers.missing)(`MPICH behind wireup-exec in bubblewrap${peers.note}`, () => {
  it.each([
    ['hello', 'hello'],
    ['allreduce', 'patterns', 'allreduce'],
  ])('runs %s', async (name, source, ...args) => {
    const shim = join(root, 'build/Release/wireup-exec');
    const shm = mkdtempSync('/dev/shm/wireup-test-');
    const rank = [installed('bwrap'), ...bwrap(shm), 'sh', '-c', show, 'sh', shim, program(source), ...args];
    const result = await run(wireup('run', '-n', String(size), '--pmi', 'unix', '--no-exec-shim', ...rank), {
      deadline: 60_000,
      environment,
    }).finally(() => rmSync(shm, { recursive: true }));
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
    const finished = lines(result.stdout).filter((line) => line.startsWith(name) && line.endsWith(' ok'));
    expect(finished.sort()).toEqual(
      Array.from({ length: size }, (_, i) => `${name}: rank ${i} of ${size} ok`),
    );
    for (const namespace of namespaces) {
      const ids = lines(result.stdout).filter(
        (line) => line.startsWith(`${namespace}:`) && line.endsWith(' of a rank'),
      );
      expect(new Set(ids).size, namespace).toBe(size);
    }
  });
});
