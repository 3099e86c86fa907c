// Many jobs in one process, a tenth of them with each ending, leave nothing in the process.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';

// In milliseconds. vitest cannot interrupt a synchronous call.
const limit = 600_000;
vi.setConfig({ testTimeout: limit + 10_000 });

interface Resources {
  fds: number;
  threads: number;
  children: number;
  memory: number;
}

/**
 * The jobs before the first measurement, until the memory of V8 and malloc has grown. Half as many follow before the
 * second.
 */
const count = long ? 2000 : 800;

const compiler = needs('cc');
it.skipIf(compiler.missing)(`many jobs leave no fds, threads, children or memory${compiler.note}`, () => {
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
  const { before, after } = JSON.parse(stdout) as { before: Resources; after: Resources };
  expect({ ...after, memory: 0 }).toEqual({ ...before, memory: 0 });
  expect(after.children).toBe(0);
  // This finds a leak of 12 KB a job in the long form, and of 30 KB in the short form.
  expect(after.memory - before.memory, stdout).toBeLessThan(12 << 20);
});
