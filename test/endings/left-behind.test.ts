// What is left when several of a job's processes are stopped or killed together, and where /proc shows another pid namespace:
// nothing.

import { readFileSync } from 'node:fs';

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { eventually, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, run, Run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 2;
const patience = 20_000;

function field(process: Process, index: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${process.pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[index];
  } catch {
    return undefined;
  }
}

const compiler = needs('cc');
describe.skipIf(compiler.missing)(
  `a job whose ranks have left orphans in sessions of their own${compiler.note}`,
  () => {
    /** With guard and agent, in this order. */
    async function running(): Promise<{ job: Run; guard: Process; agent: Process }> {
      const job = new Run(wireupRun(ranks, 'fd', program('raw_stage'), 'running'));
      await job.until(() => lines(job.stdout).length === ranks);
      expect(await eventually(() => job.processes().length >= 3 + 2 * ranks, patience)).toBe(true);
      const agents = job.processes().filter(({ name }) => name === 'wireup-agent');
      const [guard, agent] = agents.sort(
        (a, b) => Number(field(b, 1) === `${job.pid}`) - Number(field(a, 1) === `${job.pid}`),
      );
      return { job, guard: guard!, agent: agent! };
    }
    const stopped = (process: Process): boolean => field(process, 0) === 'T';

    it('the guard is stopped, then the agent killed', async () => {
      const { job, guard, agent } = await running();
      process.kill(guard.pid, 'SIGSTOP');
      expect(await eventually(() => stopped(guard), patience)).toBe(true);
      process.kill(agent.pid, 'SIGKILL');
      const { code, stderr } = await job.done;
      expect(code).toBe(1);
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
      ]);
    });

    it('everything is stopped, then the tool killed', async () => {
      const { job } = await running();
      const all = job.processes();
      for (const { pid } of all) process.kill(pid, 'SIGSTOP');
      expect(await eventually(() => all.every(stopped), patience)).toBe(true);
      job.kill('SIGKILL');
      expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
    });
  },
);

const namespaces = needs('unshare', 'cc');
const mayMount = process.getuid?.() === 0;
describe.skipIf(namespaces.missing || !mayMount)(
  `where /proc is that of the pid namespace above${namespaces.note}${mayMount ? '' : ' (needs root)'}`,
  () => {
    it('nothing is left', async () => {
      const litter = 'setsid sleep 1000 > /dev/null & echo $! > "$TMPDIR/pid"';
      // Without cgroups. The shell outlives the tool: what the tool leaves does not end with the namespace's first process.
      const script = `mount -t tmpfs none /sys && "$@" && pid=$(cat "$TMPDIR/pid") && rm "$TMPDIR/pid" && ! kill -0 $pid 2>/dev/null && echo nothing is left`;
      const inside = [
        installed('unshare'),
        '--pid',
        '--fork',
        '--mount',
        'sh',
        '-c',
        script,
        'sh',
        ...wireup('run', '-n', '1', 'sh', '-c', litter),
      ];
      expect(await run(inside)).toMatchObject({ code: 0, stdout: 'nothing is left\n' });
    });

    it('a rank is not taken for a stranger', async () => {
      // The numbers of several processes, some of which the other namespace has too.
      const inside = [
        installed('unshare'),
        '--pid',
        '--fork',
        ...wireupRun(16, 'unix', program('raw_mapping')),
      ];
      expect(await run(inside)).toMatchObject({ code: 0, stderr: '' });
    });
  },
);
