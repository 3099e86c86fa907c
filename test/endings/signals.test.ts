// Signals to `wireup run`: they reach every rank, ^C twice ends the job, and a stopped job goes on.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { installed, needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, Run, toolLines, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** In milliseconds: the deadline of what is not timed here, on a busy machine. */
const patience = 20_000;
const deadline = 55_000;

const compiler = needs('cc');

describe('signals', () => {
  const deaf = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; while :; do sleep 0.05; done";

  it('INT is passed on, the second ends the job, the third kills it', async () => {
    const job = new Run(wireupRun(1, 'fd', '--kill-timeout', '1000', 'sh', '-c', deaf));
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout === 'ready\nINT\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout.endsWith('TERM\n'));
    job.kill('SIGINT');
    const { code, stderr } = await job.done;
    expect(code).toBe(130);
    expect(toolLines(stderr)).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGWINCH'] as const)(
    '%s reaches the group of every rank',
    async (signal) => {
      const name = signal.slice(3);
      // The shell waits for a child that is in its group, and dies of the signal unless the trap is there.
      const script = `trap 'echo got' ${name}; sh -c "trap 'echo got; exit' ${name}; echo ready; while :; do sleep 0.05; done"; exit 7`;
      const job = new Run(wireupRun(2, 'fd', '--on-failure', 'wait', 'sh', '-c', script));
      await job.until(() => lines(job.stdout).length === 2);
      job.kill(signal);
      const { code, stdout } = await job.done;
      expect(code).toBe(7);
      expect(lines(stdout).filter((line) => line === 'got')).toHaveLength(4);
    },
  );

  function state(pid: number): string | undefined {
    return /^State:\s*(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  }

  const nohup = needs('nohup');
  it.skipIf(nohup.missing)(`under nohup a HUP ends nothing${nohup.note}`, async () => {
    const script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    const job = new Run([
      installed('nohup'),
      join(root, 'dist', 'wireup'),
      'run',
      '-n',
      '2',
      'sh',
      '-c',
      script,
    ]);
    await job.until(() => lines(job.stdout).length === 2);
    const ranks = job
      .processes()
      .filter(({ name }) => name === 'sh')
      .map(({ pid }) => pid);
    for (const pid of [job.pid, ...ranks]) process.kill(pid, 'SIGHUP');
    job.kill('SIGUSR1');
    expect((await job.done).code).toBe(5);
  });

  it.skipIf(compiler.missing)(`on a terminal, ^C reaches the ranks once, by us${compiler.note}`, async () => {
    const script = "trap 'echo got INT' INT; trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done";
    const job = new Run([program('on_terminal'), 'foreground', ...wireupRun(2, 'fd', 'sh', '-c', script)]);
    await job.until(() => job.stdout.split('ready').length === 3);
    job.kill('SIGUSR1');
    await job.until(() => job.stdout.split('got INT').length === 3);
    job.kill('SIGTERM');
    const { code, stdout } = await job.done;
    expect(code).toBe(6);
    expect(stdout.split('got INT')).toHaveLength(3);
  });

  it.skipIf(compiler.missing).each(['background', 'tostop'])(
    `in the %s of a terminal nothing stops`,
    async (how) => {
      // Rank 0 reads the terminal, as far as it may, and all write to it.
      const script =
        "[ $PMI_RANK = 1 ] && { echo ready; exit 0; }; trap 'echo end; exit 0' TERM; echo ready; exec 3<&0; cat <&3 & wait";
      const job = new Run([program('on_terminal'), how, ...wireupRun(2, 'fd', 'sh', '-c', script)]);
      await job.until(() => job.stdout.split('ready').length === 3);
      job.kill('SIGTERM');
      const { code, stdout } = await job.done;
      expect(stdout.replace(/\r/g, '')).toBe('ready\nready\nend\n');
      expect(code).toBe(0);
    },
  );

  it('TSTP stops ranks and tool, CONT lets all go on', async () => {
    // A shell that starts something as it is stopped waits for what has stopped, which is another state.
    const job = new Run(wireupRun(2, 'fd', 'sh', '-c', 'echo $$; exec tail -f /dev/null'));
    await job.until(() => job.stdout.endsWith('\n') && lines(job.stdout).length === 2);
    const ranks = lines(job.stdout).map(Number);
    job.kill('SIGTSTP');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) === 'T'), patience)).toBe(
      true,
    );
    job.kill('SIGCONT');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) !== 'T'), patience)).toBe(
      true,
    );
    job.kill('SIGUSR1');
    expect((await job.done).code).toBe(138);
  });
});

describe('^C', () => {
  it('that the ranks do not end by is explained, once', async () => {
    const job = new Run(
      wireupRun(1, 'fd', 'sh', '-c', "trap 'echo INT' INT; echo ready; while :; do sleep 0.05; done"),
      { deadline },
    );
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stderr.includes('\n'));
    expect(job.stderr).toBe(
      'wireup: the ranks got SIGINT and continue; ^C twice within 2 s ends the job, a third ^C kills it\n',
    );
    // The second ends the job. One that is later than two seconds after the last is a first one, which the rank prints.
    for (let printed = 1; printed < lines(job.stdout).length;) {
      printed = lines(job.stdout).length;
      job.kill('SIGINT');
      const prints = job.until(({ stdout }) => lines(stdout).length > printed);
      await Promise.race([prints, job.done]).catch(() => undefined);
    }
    const result = await job.done;
    expect(result.code).toBe(130);
    expect(toolLines(result.stderr).slice(1)).toEqual([]);
  });

  it('that ends the job needs no words but its failure', async () => {
    const job = new Run(wireupRun(2, 'fd', 'sh', '-c', 'echo ready; exec tail -f /dev/null'), { deadline });
    await job.until(() => job.stdout === 'ready\nready\n');
    job.kill('SIGINT');
    const result = await job.done;
    expect(result.code).toBe(130);
    expect(toolLines(result.stderr)).toEqual([expect.stringMatching(/was killed by SIGINT/)]);
  });
});
