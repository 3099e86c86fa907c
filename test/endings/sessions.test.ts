// Each rank leads a session of its own, which gives it its own share of a busy machine. No process of a job remains
// when the job is over, whatever ranks do to escape from the signals of their launcher.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, places, Run, run, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'sessions-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
const ranks = 3;

describe('a rank', () => {
  it('leads a session of its own', async () => {
    const { stdout } = await run(
      wireupRun(ranks, 'fd', 'sh', '-c', 'read -r _ _ _ _ _ session _ < /proc/$$/stat; echo $$ $session'),
    );
    expect(lines(stdout)).toHaveLength(ranks);
    for (const line of lines(stdout)) {
      const [pid, session] = line.split(' ');
      expect(session).toBe(pid);
    }
  });

  // The file exists if the kernel was built with CONFIG_SCHED_AUTOGROUP, even if the feature is disabled.
  const hasAutogroups = existsSync('/proc/self/autogroup');
  it.skipIf(!hasAutogroups)(
    `has a scheduler group of its own${hasAutogroups ? '' : ' (needs a kernel with autogroups)'}`,
    async () => {
      const { stdout } = await run(wireupRun(ranks, 'fd', 'cat', '/proc/self/autogroup'));
      expect(new Set(lines(stdout)).size).toBe(ranks);
    },
  );

  it.skipIf(compiler.missing)(
    `cannot open a terminal, and is not stopped if it tries${compiler.note}`,
    async () => {
      const script = 'if cat < /dev/tty; then exit 8; else exit 7; fi';
      const { code, stdout } = await run([
        program('on_terminal'),
        'foreground',
        ...wireupRun(2, 'fd', '--on-failure', 'wait', 'sh', '-c', script),
      ]);
      expect(code, stdout).toBe(7);
    },
  );
});

describe.skipIf(compiler.missing).each(places)(
  `ranks that escape %s leave no process${compiler.note}`,
  (_, place) => {
    /** A running job whose ranks have escaped. */
    async function escaped(method: string, ...options: string[]): Promise<{ job: Run; go: string }> {
      const own = mkdtempSync(join(folder, `${method}-`));
      const job = new Run(
        wireupRun(ranks, 'fd', ...place, '--kill-timeout', '0.3', ...options, program('escape'), method, own),
        { deadline: 15_000 },
      );
      await job.until(() => lines(job.stdout).filter((line) => line === 'ready').length === ranks);
      return { job, go: join(own, 'go') };
    }

    const methods = ['session', 'rank', 'agent', 'dead', 'vfork', 'ignore'];
    // The agent of every host ends processes in the same way.
    const some = ['dead', 'vfork'];
    describe.each(place.length === 0 || long ? methods : some)('%s', (method) => {
      it('after another rank has exited with 3', async () => {
        const { job, go } = await escaped(method);
        writeFileSync(go, '');
        expect(await job.done).toMatchObject({ code: 3 });
      });

      it('after --timeout', async () => {
        const { job } = await escaped(method, '--timeout', '5');
        expect(await job.done).toMatchObject({ code: 124 });
      });

      it('after repeated ^C', async () => {
        const { job } = await escaped(method);
        let over = false;
        const done = job.done.finally(() => (over = true));
        while (!over) {
          job.kill('SIGINT');
          await Promise.race([done, new Promise((next) => setTimeout(next, 100))]);
        }
        expect(await done).toMatchObject({ code: 130 });
      });

      it('after kill -9 of the wireup command', async () => {
        const { job } = await escaped(method);
        job.kill('SIGKILL');
        expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
      });
    });
  },
);
