// A thousand jobs in one process, a tenth of them failing in each way: nothing of them stays in the owner.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';

// vitest cannot interrupt what is run synchronously.
const limit = 600_000;
vi.setConfig({ testTimeout: limit + 10_000 });

interface Traces {
  fds: number;
  threads: number;
  children: number;
  memory: number;
}

const compiler = needs('cc');
it.skipIf(compiler.missing)(`fds, threads, children and memory stay as they are${compiler.note}`, () => {
  const programs = ['raw_abort', 'raw_drop', 'raw_stage'].map(program);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', join(__dirname, 'thousand-jobs.cjs'), ...programs],
    {
      encoding: 'utf8',
      timeout: limit,
    },
  );
  expect(stderr).toBe('');
  const { before, after } = JSON.parse(stdout) as { before: Traces; after: Traces };
  expect({ ...after, memory: 0 }).toEqual({ ...before, memory: 0 });
  expect(after.children).toBe(0);
  // What a job leaves would show a thousandfold: twelve kilobytes of each are found.
  expect(after.memory - before.memory, stdout).toBeLessThan(12 << 20);
});
