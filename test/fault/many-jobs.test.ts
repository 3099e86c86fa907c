// Many jobs in one process, of which a tenth end in each way: nothing of them is left in that process.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
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

/** Jobs until the memory of V8 and malloc has grown to what the work needs; half as many are measured. */
const count = long ? 2000 : 800;

const compiler = needs('cc');
it.skipIf(compiler.missing)(`fds, threads, children and memory stay as they are${compiler.note}`, () => {
  const programs = ['raw_abort', 'raw_drop', 'raw_stage'].map(program);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', join(__dirname, 'many-jobs.cjs'), `${count}`, ...programs],
    {
      encoding: 'utf8',
      timeout: limit,
    },
  );
  expect(stderr).toBe('');
  const { before, after } = JSON.parse(stdout) as { before: Traces; after: Traces };
  expect({ ...after, memory: 0 }).toEqual({ ...before, memory: 0 });
  expect(after.children).toBe(0);
  // In the long form twelve kilobytes that each job leaves are found, in the short form thirty.
  expect(after.memory - before.memory, stdout).toBeLessThan(12 << 20);
});
