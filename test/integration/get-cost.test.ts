/** The cost of a get on the server: the instructions of its thread in user space, which do not depend on the load. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { needs, installed } from '../support/installed';
import { root } from '../support/root';

/**
 * The number on x86-64 with g++ 12 and the flags of `npm install`. If you lower it, write the new number here and in
 * docs/performance.md. If you must raise it, give the reason there.
 */
const INSTRUCTIONS = 2_688;
/** A fraction, because compilers and C libraries differ a little. */
const SLACK = 1.1;

const tools = needs('valgrind', 'c++');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 100_000;

it.skipIf(tools.missing || process.arch !== 'x64')(
  `a get costs the server at most ${INSTRUCTIONS} instructions plus a tenth${tools.note}`,
  { timeout: 3 * timeout },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'wireup-get-cost-'));
    try {
      const program = join(folder, 'get-cost');
      const [core, requests] = ['core.a', 'requests.a'].map((file) =>
        join(root, 'build/Release/obj.target', file),
      ) as [string, string];
      execFileSync(
        installed('c++'),
        [
          '-std=c++20',
          '-O2',
          '-pthread',
          '-I',
          join(root, 'native'),
          join(root, 'test/bench/get-cost.cpp'),
          // Each needs the other.
          '-Wl,--start-group',
          core,
          requests,
          '-Wl,--end-group',
          '-o',
          program,
        ],
        { timeout },
      );
      const count = (gets: number): number => {
        const out = join(folder, `${gets}`);
        execFileSync(
          installed('valgrind'),
          [
            '-q',
            '--tool=callgrind',
            '--separate-threads=yes',
            `--callgrind-out-file=${out}`,
            program,
            `${gets}`,
          ],
          { timeout, stdio: ['ignore', 'ignore', 'pipe'] },
        );
        // The first thread is that of the server.
        return Number(/^totals: (\d+)$/m.exec(readFileSync(`${out}-01`, 'utf8'))![1]);
      };
      const each = (count(3000) - count(1000)) / 2000;
      console.log(`a get: ${each} instructions of the server`);
      expect(each).toBeLessThanOrEqual(INSTRUCTIONS * SLACK);
      // If the number is far above the cost, it must be lowered.
      expect(each).toBeGreaterThan(INSTRUCTIONS / SLACK);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
