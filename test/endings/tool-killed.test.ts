// Within two seconds after `kill -9` of the `wireup` command all processes of the job are gone, also those that ranks
// have started.

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually, isAlive, processOf, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;
const limit = 2000;

// Starts a job, kills the command once every rank has printed its line of pids, and checks that all processes end.
async function expectNothingLeft(argv: string[]): Promise<void> {
  const job = new Run(argv);
  const printed = () => lines(job.stdout).filter((line) => /^(\[\d+\] )?rank /.test(line));
  await job.until(() => job.stdout.endsWith('\n') && printed().length === ranks);

  const printedPids = printed().flatMap((line) => (line.split('pid ')[1] ?? '').split(' ').map(Number));
  const running = new Map<number, Process>();
  for (const process of [...job.processes(), ...printedPids.map(processOf)]) {
    if (process !== undefined) running.set(process.pid, process);
  }
  for (const pid of printedPids) expect([...running.keys()], job.stdout).toContain(pid);
  // The command, its agent, and the printed ones.
  expect(running.size).toBeGreaterThanOrEqual(printedPids.length + 2);

  job.kill('SIGKILL');
  const alive = () => [...running.values()].filter(isAlive);
  await eventually(() => alive().length === 0, limit);
  expect(alive()).toEqual([]);
  expect(await job.done).toMatchObject({ code: null, signal: 'SIGKILL' });
}

describe.each(transports)('kill -9 of the wireup command with --pmi %s', (transport) => {
  const mpich = needs('mpicc');
  it.skipIf(mpich.missing)(`ends MPI ranks that wait${mpich.note}`, async () => {
    // No rank has the number 99, so all wait.
    await expectNothingLeft(wireupRun(ranks, transport, program('exit_before_finalize'), '99', '0'));
  });

  it.each([[], ['-l']].map((options): [string, string[]] => [options.join(''), options]))(
    'ends shells and their background children %s',
    async (_, options) => {
      const script = 'sleep 100 & echo "rank $PMI_RANK pid $$ $!"; wait';
      await expectNothingLeft(wireupRun(ranks, transport, ...options, 'sh', '-c', script));
    },
  );

  const setsid = needs('setsid');
  it.skipIf(setsid.missing)(
    `ends orphans in sessions of their own that ignore signals${setsid.note}`,
    async () => {
      // The middle shell exits and so makes the last one an orphan. A command substitution returns the orphan's pid; it
      // does not wait for the orphan, whose stdout is /dev/null.
      const ignoring = `trap "" TERM HUP INT QUIT; while :; do sleep 100; done`;
      const script = `trap '' TERM HUP INT QUIT
      orphan=$(setsid env -i PATH="$PATH" sh -c '${ignoring}' </dev/null >/dev/null 2>&1 & echo $!)
      echo "rank $PMI_RANK pid $$ $orphan"
      while :; do sleep 100; done`;
      await expectNothingLeft(wireupRun(ranks, transport, 'sh', '-c', script));
    },
  );
});
