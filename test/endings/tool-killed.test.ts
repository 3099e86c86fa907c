// `kill -9` of the tool: two seconds later nothing of the job is left, whatever the ranks have started.

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually, isAlive, processOf, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;
const limit = 2000;

// Starts a job, kills the tool once every rank has printed its line of pids, and looks.
async function expectNothingLeft(argv: string[]): Promise<void> {
  const job = new Run(argv);
  const printed = () => lines(job.stdout).filter((line) => /^(\[\d+\] )?rank /.test(line));
  await job.until(() => job.stdout.endsWith('\n') && printed().length === ranks);

  const told = printed().flatMap((line) => (line.split('pid ')[1] ?? '').split(' ').map(Number));
  const running = new Map<number, Process>();
  for (const process of [...job.processes(), ...told.map(processOf)]) {
    if (process !== undefined) running.set(process.pid, process);
  }
  for (const pid of told) expect([...running.keys()], job.stdout).toContain(pid);
  // The tool, its agent and what was printed.
  expect(running.size).toBeGreaterThanOrEqual(told.length + 2);

  job.kill('SIGKILL');
  const alive = () => [...running.values()].filter(isAlive);
  await eventually(() => alive().length === 0, limit);
  expect(alive()).toEqual([]);
  expect(await job.done).toMatchObject({ code: null, signal: 'SIGKILL' });
}

describe.each(transports)('--pmi %s', (transport) => {
  const mpich = needs('mpicc');
  it.skipIf(mpich.missing)(`MPI ranks that wait${mpich.note}`, async () => {
    // No rank has the number 99, so all wait.
    await expectNothingLeft(wireupRun(ranks, transport, program('exit_before_finalize'), '99', '0'));
  });

  it.each([[], ['-l']].map((options): [string, string[]] => [options.join(''), options]))(
    'shells with background children %s',
    async (_, options) => {
      const script = 'sleep 100 & echo "rank $PMI_RANK pid $$ $!"; wait';
      await expectNothingLeft(wireupRun(ranks, transport, ...options, 'sh', '-c', script));
    },
  );

  const setsid = needs('setsid');
  it.skipIf(setsid.missing)(`orphans in sessions of their own, deaf to signals${setsid.note}`, async () => {
    // The middle shell ends, so the last one is nobody's child. Its pid comes back through a substitution, that
    // must not wait for it: its stdout goes elsewhere.
    const deaf = `trap "" TERM HUP INT QUIT; while :; do sleep 100; done`;
    const script = `trap '' TERM HUP INT QUIT
      orphan=$(setsid env -i PATH="$PATH" sh -c '${deaf}' </dev/null >/dev/null 2>&1 & echo $!)
      echo "rank $PMI_RANK pid $$ $orphan"
      while :; do sleep 100; done`;
    await expectNothingLeft(wireupRun(ranks, transport, 'sh', '-c', script));
  });
});
