// Many jobs in one process, as many with each ending, leave nothing in the process.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';

// In milliseconds. vitest cannot interrupt a synchronous call.
const limit = 900_000;
vi.setConfig({ testTimeout: limit + 10_000 });

interface Resources {
  fds: number;
  threads: number;
  children: number;
  memory: number;
}

const compiler = needs('cc');

/**
 * Runs `count` jobs before the first measurement, until the memory of V8 and malloc has grown, and half as many before the
 * second.
 */
function expectNothingLeft(count: number, hosts: number): void {
  const programs = ['raw_abort', 'raw_drop', 'raw_stage'].map(program);
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', join(__dirname, 'many-jobs.cjs'), `${count}`, `${hosts}`, ...programs],
    { encoding: 'utf8', timeout: limit },
  );
  expect(stderr).toBe('');
  const { before, after } = JSON.parse(stdout) as { before: Resources; after: Resources };
  expect({ ...after, memory: 0 }).toEqual({ ...before, memory: 0 });
  expect(after.children).toBe(0);
  expect(after.memory - before.memory, stdout).toBeLessThan(12 << 20);
}

describe.skipIf(compiler.missing)(
  `many jobs leave no fds, threads, children or memory${compiler.note}`,
  () => {
    // The limit of memory finds a leak of 12 KB a job in the long form, and of 30 KB in the short form.
    it('on one host', () => expectNothingLeft(long ? 2000 : 800, 0));

    // And of 24 KB a job in the long form. The short form finds fds, threads and children.
    it('over three hosts', () => expectNothingLeft(long ? 1000 : 44, 3));
  },
);
