// Signals to `wireup run` reach every rank. ^C twice ends the job. A stopped job can continue.

import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { installed, needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, places, Run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** In milliseconds: how long to wait for an event, and for the end of a run, on a busy machine. */
const waitTimeout = 20_000;
const deadline = 55_000;

const compiler = needs('cc');

function state(pid: number): string | undefined {
  return /^State:\s*(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
}

describe.each(places)('signals to wireup run %s', (_, place) => {
  const ignoring = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; while :; do sleep 0.05; done";

  it('the first INT is passed on, the second ends the job, the third kills it', async () => {
    const job = new Run(wireupRun(1, 'fd', ...place, '--kill-timeout', '1000', 'sh', '-c', ignoring));
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
    '%s reaches the POSIX process group of every rank',
    async (signal) => {
      const name = signal.slice(3);
      // The child of the shell is in the same POSIX process group. The shell waits for it, and has a trap, or the
      // signal would end it.
      const script = `trap 'echo got' ${name}; sh -c "trap 'echo got; exit' ${name}; echo ready; while :; do sleep 0.05; done"; exit 7`;
      const job = new Run(wireupRun(2, 'fd', ...place, '--on-failure', 'wait', 'sh', '-c', script));
      await job.until(() => lines(job.stdout).length === 2);
      job.kill(signal);
      const { code, stdout } = await job.done;
      expect(code).toBe(7);
      expect(lines(stdout).filter((line) => line === 'got')).toHaveLength(4);
    },
  );

  it('TSTP stops the ranks and the wireup command, and CONT continues them', async () => {
    // exec, because a shell that is just starting a program when it is stopped is in another state.
    const job = new Run(wireupRun(2, 'fd', ...place, 'sh', '-c', 'echo $$; exec tail -f /dev/null'));
    await job.until(() => job.stdout.endsWith('\n') && lines(job.stdout).length === 2);
    const ranks = lines(job.stdout).map(Number);
    job.kill('SIGTSTP');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) === 'T'), waitTimeout)).toBe(
      true,
    );
    job.kill('SIGCONT');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) !== 'T'), waitTimeout)).toBe(
      true,
    );
    job.kill('SIGUSR1');
    expect((await job.done).code).toBe(138);
  });
});

describe('the terminal', () => {
  const nohup = needs('nohup');
  it.skipIf(nohup.missing)(`HUP ends nothing under nohup${nohup.note}`, async () => {
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

  it.skipIf(compiler.missing)(
    `^C on a terminal reaches the ranks once, from wireup${compiler.note}`,
    async () => {
      const script = "trap 'echo got INT' INT; trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done";
      const job = new Run([program('on_terminal'), 'foreground', ...wireupRun(2, 'fd', 'sh', '-c', script)]);
      await job.until(() => job.stdout.split('ready').length === 3);
      job.kill('SIGUSR1');
      await job.until(() => job.stdout.split('got INT').length === 3);
      job.kill('SIGTERM');
      const { code, stdout } = await job.done;
      expect(code).toBe(6);
      expect(stdout.split('got INT')).toHaveLength(3);
    },
  );

  it.skipIf(compiler.missing).each(['background', 'tostop'])(
    `a job on a terminal (%s) is not stopped`,
    async (how) => {
      // Rank 0 reads from the terminal, as far as the kernel permits it, and all ranks write to it.
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
});

describe('^C', () => {
  it('that the ranks ignore is explained once', async () => {
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
    // The second INT ends the job. An INT more than two seconds after the last counts as the first again, and the rank
    // prints it.
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

  it('that ends the job is reported only as its failure', async () => {
    const job = new Run(wireupRun(2, 'fd', 'sh', '-c', 'echo ready; exec tail -f /dev/null'), { deadline });
    await job.until(() => job.stdout === 'ready\nready\n');
    job.kill('SIGINT');
    const result = await job.done;
    expect(result.code).toBe(130);
    expect(toolLines(result.stderr)).toEqual([expect.stringMatching(/was killed by SIGINT/)]);
  });
});

describe('while the wireup command waits for the writer of a file of hosts', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s ends it', async (signal) => {
    const folder = mkdtempSync(join(tmpdir(), 'hosts-'));
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const job = new Run(wireup('run', '-f', fifo, 'true'), { deadline });
    // A FIFO can be opened so if another process has it open for reading.
    let writer = -1;
    const isOpened = await eventually(() => {
      try {
        writer = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
      } catch {
        return false;
      }
      return true;
    }, waitTimeout);
    job.kill(signal);
    const result = await job.done.finally(() => {
      if (isOpened) closeSync(writer);
      rmSync(folder, { recursive: true });
    });
    expect(isOpened).toBe(true);
    expect(result).toMatchObject({ signal, stdout: '', stderr: '' });
  });
});
