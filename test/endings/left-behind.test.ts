// No process of a job remains when several of its processes are stopped or killed together, or where /proc shows
// another pid namespace.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { guardOf, ownAgentOf } from '../support/agents';
import { eventually, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, run, Run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 2;
const waitTimeout = 20_000;

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
  `no process remains of a job whose ranks have orphans in sessions of their own${compiler.note}`,
  () => {
    /** Also returns the guard and the agent. */
    async function running(): Promise<{ job: Run; guard: Process; agent: Process }> {
      const job = new Run(wireupRun(ranks, 'fd', program('raw_stage'), 'running'));
      await job.until(() => lines(job.stdout).length === ranks);
      expect(await eventually(() => job.processes().length >= 3 + 2 * ranks, waitTimeout)).toBe(true);
      const agents = job.processes().filter(({ name }) => name === 'wireup-agent');
      const [guard, agent] = agents.sort(
        (a, b) => Number(field(b, 1) === `${job.pid}`) - Number(field(a, 1) === `${job.pid}`),
      );
      return { job, guard: guard!, agent: agent! };
    }
    const stopped = (process: Process): boolean => field(process, 0) === 'T';

    it('if the guard is stopped and then the agent killed', async () => {
      const { job, guard, agent } = await running();
      process.kill(guard.pid, 'SIGSTOP');
      expect(await eventually(() => stopped(guard), waitTimeout)).toBe(true);
      process.kill(agent.pid, 'SIGKILL');
      const { code, stderr } = await job.done;
      expect(code).toBe(1);
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
      ]);
    });

    it('if every process is stopped and then the wireup command killed', async () => {
      const { job } = await running();
      const all = job.processes();
      for (const { pid } of all) process.kill(pid, 'SIGSTOP');
      expect(await eventually(() => all.every(stopped), waitTimeout)).toBe(true);
      job.kill('SIGKILL');
      expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
    });
  },
);

/** Waits without the event loop, because the guard sleeps for a second only. */
function untilAsleep(pid: number): void {
  const end = performance.now() + waitTimeout;
  while (!readFileSync(`/proc/${pid}/wchan`, 'latin1').includes('nanosleep'))
    if (performance.now() > end) throw new Error('it does not sleep');
}

it('a job runs on if its processes were stopped, and the guard continues before its agent', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'stopped-'));
  const go = join(folder, 'go');
  const job = new Run(
    wireupRun(1, 'fd', 'sh', '-c', `echo ready; until [ -e '${go}' ]; do sleep 0.05; done`),
  );
  await job.until(({ stdout }) => stdout === 'ready\n');
  const agent = ownAgentOf(job);
  const guard = guardOf(agent);
  // The command would kill a stopped guard.
  job.kill('SIGSTOP');
  process.kill(agent, 'SIGSTOP');
  untilAsleep(guard);
  process.kill(guard, 'SIGSTOP');
  const since = performance.now();
  // Longer than an agent may be stopped.
  expect(await eventually(() => performance.now() > since + 1500, waitTimeout)).toBe(true);
  process.kill(guard, 'SIGCONT');
  untilAsleep(guard);
  process.kill(agent, 'SIGCONT');
  job.kill('SIGCONT');
  writeFileSync(go, '');
  const result = await job.done.finally(() => rmSync(folder, { recursive: true }));
  expect(result).toMatchObject({ code: 0, stderr: '' });
});

const namespaces = needs('unshare', 'cc');
const mayMount = process.getuid?.() === 0;
describe.skipIf(namespaces.missing || !mayMount)(
  `where /proc shows the parent pid namespace${namespaces.note}${mayMount ? '' : ' (needs root)'}`,
  () => {
    it('no process of a job remains', async () => {
      const leaveOrphan = 'setsid sleep 1000 > /dev/null & echo $! > "$TMPDIR/pid"';
      // /sys is hidden so that there are no cgroups. The shell outlives `wireup`, so the end of the namespace's first
      // process cannot be what ends the orphan.
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
        ...wireup('run', '-n', '1', 'sh', '-c', leaveOrphan),
      ];
      expect(await run(inside)).toMatchObject({ code: 0, stdout: 'nothing is left\n' });
    });

    it('the ranks are identified as processes of the job', async () => {
      // 16 ranks, because some of their pids also exist in the other namespace.
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
