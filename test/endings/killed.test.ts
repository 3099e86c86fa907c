// `kill -9` of the `wireup` command, of the agent or of its guard, and `kill -STOP` of the latter two, at each stage of
// a job: within two seconds all processes of the job are gone, orphans that ignore signals included, and the survivor
// reports it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually, parentOf } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, toolLines, transports, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;

// The test recognizes the first two stages itself. The ranks print the others.
const announced = ['connected', 'barrier', 'running', 'finalizing'];
const stages = ['started', 'spawning', ...announced];

const folder = mkdtempSync(join(tmpdir(), 'killed-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** In milliseconds: how long to wait until a job has reached a stage, on a busy machine. */
const waitTimeout = 20_000;

type ProcessRole = 'tool' | 'agent' | 'guard';

// The guard and the agent share a name. The guard is the child of the command, the agent the child of the guard.
function find(run: Run, victim: ProcessRole): number | undefined {
  if (victim === 'tool') return run.pid;
  const agents = run.processes().filter(({ name }) => name === 'wireup-agent');
  return agents.find((process) => {
    const parent = parentOf(process);
    return parent !== undefined && (parent === run.pid) === (victim === 'guard');
  })?.pid;
}

/**
 * The lines of `wireup` about the end of the job. If the agent is killed while it starts a rank with wireup-exec, that
 * rank has another parent by the time it sends its PMI_ID. It is refused, which is reported too.
 */
function endReports(stderr: string, stage: string, transport: string): string[] {
  const orphaned =
    /^wireup: refused (\d+ more, the last: refused )?a connection \(uid \d+, pid \d+\): pid \d+ (was not started by the agent|is neither rank \d+'s process) \(pid \d+\)/;
  const mayBeOrphaned = transport === 'unix' && !announced.includes(stage);
  return toolLines(stderr).filter((line) => !(mayBeOrphaned && orphaned.test(line)));
}

async function runTo(stage: string, transport: (typeof transports)[number]): Promise<Run> {
  if (announced.includes(stage)) {
    const run = new Run(wireupRun(ranks, transport, program('raw_stage'), stage));
    await run.until(() => lines(run.stdout).filter((line) => line === `rank at ${stage}`).length === ranks);
    // The command, the guard, the agent, and each rank with its orphan.
    expect(await eventually(() => run.processes().length >= 3 + 2 * ranks, waitTimeout)).toBe(true);
    return run;
  }
  const script = 'echo started; exec tail -f /dev/null';
  if (stage === 'started') {
    // With --configfile the launch starts its own agent. Without it, the command starts an agent in advance, and
    // replaces it if it is killed before the launch.
    const file = join(folder, transport);
    writeFileSync(file, `-n ${ranks} sh -c '${script}'\n`);
    // A command that is killed between making the socket's folder and sending its path to the agent leaves the folder.
    const run = new Run(wireup('run', `--pmi=${transport}`, `--configfile=${file}`), { mayLeaveFiles: true });
    expect(await eventually(() => find(run, 'agent') !== undefined, waitTimeout)).toBe(true);
    return run;
  }
  // More ranks than the launcher requests in one batch.
  const run = new Run(wireupRun(80, transport, 'sh', '-c', script));
  await run.until(() => run.stdout !== '');
  return run;
}

async function signalProcess(run: Run, victim: ProcessRole, signal: NodeJS.Signals): Promise<void> {
  let pid: number | undefined;
  expect(await eventually(() => (pid = find(run, victim)) !== undefined, waitTimeout)).toBe(true);
  process.kill(pid!, signal);
}

async function expectGone(run: Run, milliseconds: number): Promise<void> {
  await eventually(() => run.processes().length === 0, milliseconds);
  expect(run.processes()).toEqual([]);
}

const limit = 2000;
const compiler = needs('cc');
describe.skipIf(compiler.missing)(`of a job${compiler.note}`, () => {
  describe.each(transports)('with --pmi %s', (transport) => {
    describe.each(stages)('at the stage "%s"', (stage) => {
      it('no process remains after kill -9 of the wireup command', async () => {
        const run = await runTo(stage, transport);
        await signalProcess(run, 'tool', 'SIGKILL');
        await expectGone(run, limit);
        expect(await run.done).toMatchObject({ signal: 'SIGKILL' });
      });

      it('no process remains after kill -9 of the agent, which is reported', async () => {
        const run = await runTo(stage, transport);
        await signalProcess(run, 'agent', 'SIGKILL');
        await expectGone(run, limit);
        const result = await run.done;
        expect(result).toMatchObject({ code: 1 });
        expect(endReports(result.stderr, stage, transport)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
        ]);
      });

      it('no process remains after kill -9 of the guard, which is reported', async () => {
        const run = await runTo(stage, transport);
        await signalProcess(run, 'guard', 'SIGKILL');
        await expectGone(run, limit);
        const result = await run.done;
        expect(result).toMatchObject({ code: 1 });
        expect(endReports(result.stderr, stage, transport)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
        ]);
      });
    });
  });

  // The guard notices a stopped agent at once. The launcher checks the guard only from time to time.
  describe.each(stages)('at the stage "%s"', (stage) => {
    it.each(['agent', 'guard'] as const)(
      'no process remains after kill -STOP of the %s, which is reported',
      async (victim) => {
        const run = await runTo(stage, 'fd');
        await signalProcess(run, victim, 'SIGSTOP');
        await expectGone(run, victim === 'agent' ? limit : 2 * limit);
        const result = await run.done;
        expect(result).toMatchObject({ code: 1 });
        expect(toolLines(result.stderr)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was stopped by a signal/),
        ]);
      },
    );
  });
});
