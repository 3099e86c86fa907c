// If the agent has no fds left for a request, the rank gets an error reply, and nothing else is affected.

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { lines, Run, toolLines, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const peers = needs('cc', 'prlimit');
describe.skipIf(peers.missing)(
  `if two ranks each spawn more than the limit of open files allows${peers.note}`,
  () => {
    // With 300, there are none for the sockets of the ranks. With 1024, there are none for their output.
    it.each([300, 1024])(
      'both requests are refused with a limit of %d files, and a small spawn still works',
      async (files) => {
        const job = new Run(
          [
            installed('prlimit'),
            `--nofile=${files}:${files}`,
            ...wireupRun(2, 'fd', program('raw_spawn'), '400'),
          ],
          { deadline: 50_000 },
        );
        await job.until(() => lines(job.stdout).length === 3);
        expect(lines(job.stdout).sort()).toEqual([
          'spawn of 1: rc=0',
          'spawn of 400: rc=-1',
          'spawn of 400: rc=-1',
        ]);
        job.kill('SIGTERM');
        const { code, stderr } = await job.done;
        expect(code).toBe(143);
        expect(stderr).not.toMatch(/wireup-agent \(pid/);
        expect(
          toolLines(stderr).filter((line) =>
            /rank [01] could not spawn: 400 ranks need \d+ open files in wireup-agent, but the limit is/.test(
              line,
            ),
          ),
          stderr,
        ).toHaveLength(2);
      },
    );
  },
);
