// `kill -9` of the tool, of the agent, of its guard, and `kill -STOP` of these two, at each stage of a job's life: two
// seconds later nothing of the job is left, deaf orphans included, and whoever is left to tell says what happened.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, toolLines, transports, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;

// The stages before a rank has said anything, by what the test then sees, and those that the ranks announce.
const announced = ['connected', 'barrier', 'running', 'finalizing'];
const stages = ['started', 'spawning', ...announced];

const folder = mkdtempSync(join(tmpdir(), 'killed-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** How long a loaded machine may take to get there. */
const patience = 20_000;

type Victim = 'tool' | 'agent' | 'guard';

function parentOf(process: Process): number {
  const stat = readFileSync(`/proc/${process.pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

// Two processes have the agent's name; the guard is the tool's child, the agent the guard's.
function find(run: Run, victim: Victim): number | undefined {
  if (victim === 'tool') return run.pid;
  const agents = run.processes().filter(({ name }) => name === 'wireup-agent');
  return agents.find((process) => {
    try {
      return (parentOf(process) === run.pid) === (victim === 'guard');
    } catch {
      return false;
    }
  })?.pid;
}

/**
 * What the tool says of the job's end. A rank of wireup-exec that was being started when its agent went is somebody
 * else's child by the time it says its PMI_ID: refused, and told too.
 */
function verdict(stderr: string, stage: string, transport: string): string[] {
  const orphaned =
    /^wireup: refused (\d+ more, the last: refused )?a connection \(uid \d+, pid \d+\): pid \d+ (was not started by the agent|is neither rank \d+'s process) \(pid \d+\)/;
  const mayBeOrphaned = transport === 'unix' && !announced.includes(stage);
  return toolLines(stderr).filter((line) => !(mayBeOrphaned && orphaned.test(line)));
}

async function at(stage: string, transport: (typeof transports)[number]): Promise<Run> {
  if (announced.includes(stage)) {
    const run = new Run(wireupRun(ranks, transport, program('raw_stage'), stage));
    await run.until(() => lines(run.stdout).filter((line) => line === `rank at ${stage}`).length === ranks);
    // The tool, the guard, the agent, and each rank with its orphan.
    expect(await eventually(() => run.processes().length >= 3 + 2 * ranks, patience)).toBe(true);
    return run;
  }
  const script = 'echo started; exec tail -f /dev/null';
  if (stage === 'started') {
    // The program comes from a file, so that the launch starts its agent: one that was started ahead and is killed before
    // that is replaced.
    const file = join(folder, transport);
    writeFileSync(file, `-n ${ranks} sh -c '${script}'\n`);
    // A tool that dies between making its socket's folder and telling its agent leaves it.
    const run = new Run(wireup('run', `--pmi=${transport}`, `--configfile=${file}`), { mayLeaveFiles: true });
    expect(await eventually(() => find(run, 'agent') !== undefined, patience)).toBe(true);
    return run;
  }
  // More than the owner asks for at once.
  const run = new Run(wireupRun(80, transport, 'sh', '-c', script));
  await run.until(() => run.stdout !== '');
  return run;
}

async function strike(run: Run, victim: Victim, signal: NodeJS.Signals): Promise<void> {
  let pid: number | undefined;
  expect(await eventually(() => (pid = find(run, victim)) !== undefined, patience)).toBe(true);
  process.kill(pid!, signal);
}

async function nothingLeft(run: Run, milliseconds: number): Promise<void> {
  await eventually(() => run.processes().length === 0, milliseconds);
  expect(run.processes()).toEqual([]);
}

const limit = 2000;
const compiler = needs('cc');
describe.skipIf(compiler.missing)(`a job${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    describe.each(stages)('at the stage "%s"', (stage) => {
      it('kill -9 of the tool', async () => {
        const run = await at(stage, transport);
        await strike(run, 'tool', 'SIGKILL');
        await nothingLeft(run, limit);
        expect(await run.done).toMatchObject({ signal: 'SIGKILL' });
      });

      it('kill -9 of the agent', async () => {
        const run = await at(stage, transport);
        await strike(run, 'agent', 'SIGKILL');
        await nothingLeft(run, limit);
        const result = await run.done;
        expect(result).toMatchObject({ code: 1 });
        expect(verdict(result.stderr, stage, transport)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
        ]);
      });

      it('kill -9 of the agent’s guard', async () => {
        const run = await at(stage, transport);
        await strike(run, 'guard', 'SIGKILL');
        await nothingLeft(run, limit);
        const result = await run.done;
        expect(result).toMatchObject({ code: 1 });
        expect(verdict(result.stderr, stage, transport)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
        ]);
      });
    });
  });

  // The guard looks at the agent at once, the owner at the guard from time to time.
  describe.each(stages)('at the stage "%s"', (stage) => {
    it.each(['agent', 'guard'] as const)('kill -STOP of the %s', async (victim) => {
      const run = await at(stage, 'fd');
      await strike(run, victim, 'SIGSTOP');
      await nothingLeft(run, victim === 'agent' ? limit : 2 * limit);
      const result = await run.done;
      expect(result).toMatchObject({ code: 1 });
      expect(toolLines(result.stderr)).toEqual([
        expect.stringMatching(/wireup-agent \(pid \d+\) was stopped by a signal/),
      ]);
    });
  });
});
