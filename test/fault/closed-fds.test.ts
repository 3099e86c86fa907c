// MPI ranks behind a wrapper that closes inherited fds: which transports work, and what is reported where they do not.

import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, toolLines, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const mpich = needs('mpicc', 'cc');
const exec = join(root, 'build/Release/wireup-exec');

describe.skipIf(mpich.missing)(`a rank of MPICH behind a wrapper that closes fds${mpich.note}`, () => {
  it.each([
    ['--pmi tcp', 'tcp', [], []],
    ['--pmi unix, with wireup-exec behind the wrapper', 'unix', ['--no-exec-shim'], [exec]],
  ] as const)('works with %s', async (_, transport, options, behind) => {
    const { code, stdout } = await run(
      wireupRun(2, transport, ...options, program('close_fds'), ...behind, program('hello')),
    );
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual([0, 1].map((rank) => `hello: rank ${rank} of 2 ok`));
  });

  it.each(['fd', 'unix'] as const)('fails with --pmi %s, and a line gives the reason', async (transport) => {
    // One rank, because a second one would be killed while MPICH prints its lines.
    const { code, stderr } = await run(wireupRun(1, transport, program('close_fds'), program('hello')));
    expect(code).toBe(15);
    expect(toolLines(stderr)).toEqual([
      expect.stringMatching(/^wireup: rank 0 .* exited with code 15/),
      expect.stringMatching(
        /^wireup: rank 0 never used PMI_FD; does a wrapper .* close inherited fds\? Then use --pmi tcp$/,
      ),
    ]);
  });

  it.each([
    ['another code', 'exit 16', 'fd'],
    ['no inherited fd', 'exit 15', 'tcp'],
  ] as const)('a failure with %s is not attributed to a wrapper', async (_, script, transport) => {
    const { stderr } = await run(wireupRun(2, transport, 'sh', '-c', script));
    expect(toolLines(stderr)).toEqual([
      expect.stringMatching(/^wireup: rank [01] .* exited with code 1[56]/),
    ]);
  });
});
