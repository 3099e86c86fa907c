// `wireup status` and its --stacks show what a missing rank of MPICH does, and so does job.inspect().

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { describeProcess, launch } from '../../dist/index.js';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, Run, run, wireup } from '../support/run';

vi.setConfig({ testTimeout: 240_000 });

/** In milliseconds. */
const deadline = 200_000;
const size = long ? 64 : 4;
const late = long ? 17 : 2;
const others = long ? '0-16,18-63' : '0-1,3';

const base = mkdtempSync(join(tmpdir(), 'inspect-'));
afterAll(() => rmSync(base, { recursive: true }));
let count = 0;

const tools = needs('mpicc', 'gdb');

/** A job in which the late rank is where the program's arguments say, and the environment in which it is found. */
async function start(
  where: string,
  what: string,
): Promise<{ job: Run; environment: Record<string, string> }> {
  const folder = join(base, `${++count}`);
  mkdirSync(folder, { mode: 0o700 });
  const environment = { XDG_RUNTIME_DIR: folder };
  const words = ['run', '-n', `${size}`, program('stuck'), `${late}`, where, what];
  const job = new Run(wireup(...words), { deadline, environment });
  await job.until(({ stdout }) => lines(stdout).length === size);
  return { job, environment };
}

/** Repeats the command until its output fits: the ranks need time to come where they wait. */
async function until(
  job: { job: Run; environment: Record<string, string> },
  fits: (text: string) => boolean,
  ...options: string[]
): Promise<string> {
  const end = performance.now() + deadline / 2;
  for (;;) {
    const { stdout, stderr } = await run(wireup('status', `${job.job.pid}`, ...options), {
      deadline,
      environment: job.environment,
    });
    if (fits(stdout)) return stdout;
    if (performance.now() > end) throw new Error(`not as expected:\n${stdout}\n${stderr}`);
  }
}

describe.skipIf(tools.missing)(`a rank that the others wait for in MPI_Init${tools.note}`, () => {
  it.each([
    ['sleep', 'waits in clock_nanosleep()', 'clock_nanosleep'],
    ['spin', 'computes (', 'block'],
    ['read', 'waits in read() of pipe:[', 'read'],
    ['stop', 'is stopped by a signal', undefined],
  ])('is named with what it does: %s', async (what, shown, call) => {
    const job = await start('init', what);
    const row = (text: string): string | undefined =>
      lines(text).find((line) => new RegExp(`^ *${late}  `).test(line));
    const text = await until(
      job,
      (seen) => seen.includes('\nmissing ') && row(seen)?.includes(shown) === true,
    );
    expect(text).toMatch(new RegExp(`\nin barrier 0 +${size - 1}  ${others}\nmissing +1  ${late}\n`));
    expect(row(text)).toContain(' stuck-');
    // gdb leaves a stopped process stopped, and shows what it was doing.
    const stacks = await until(job, (seen) => seen.includes(' in MPI_Init: '), '--stacks');
    expect(stacks).toMatch(
      new RegExp(`${size - 1} ranks in MPI_Init: ${others}\n    MPI_Init\n(    start\n)?    main\n`),
    );
    if (call !== undefined) expect(stacks).toContain(`1 rank in ${call}(): ${late}\n    ${call}\n`);
    if (what === 'stop') expect(row(stacks)).toContain(shown);
    job.job.kill('SIGKILL');
    await job.job.done;
  });
});

describe.skipIf(tools.missing)(`a rank that the others wait for in MPI_Barrier${tools.note}`, () => {
  it('is named by --stacks: its stack is another one', async () => {
    const job = await start('barrier', 'read');
    const text = await until(job, (seen) => seen.includes(`${size - 1} ranks in MPI_Barrier: `), '--stacks');
    expect(text).toContain(`${size - 1} ranks in MPI_Barrier: ${others}\n    MPI_Barrier\n    main\n`);
    expect(text).toMatch(new RegExp(`1 rank in read\\(\\): ${late}\n(    read\n)+    block\n    main\n`));
    expect(text).toMatch(new RegExp(`\ninitialized +${size}  `));
    job.job.kill('SIGTERM');
    await job.job.done;
  });
});

describe.skipIf(tools.missing)(`job.inspect()${tools.note}`, () => {
  it('looks at the ranks that are asked for', async () => {
    await using job = await launch({
      program: 'sh',
      args: ['-c', 'sleep 1000; :'],
      ranks: 3,
      stdout: 'ignore',
    });
    await job.started;
    let [facts] = await job.inspect({ ranks: [1] });
    // The shell is replaced by the only child that it waits for.
    while (facts!.process!.name !== 'sleep') [facts] = await job.inspect({ ranks: [1] });
    expect(facts).toMatchObject({
      rank: 1,
      process: { state: 'waiting', systemCall: 'clock_nanosleep', load: 0 },
    });
    expect(facts!.process!.pid).not.toBe(facts!.pid);
    expect(describeProcess(facts!.process!)).toBe('waits in clock_nanosleep()');
    expect((await job.inspect()).map(({ rank }) => rank)).toEqual([0, 1, 2]);
    await expect(job.inspect({ ranks: [3] })).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
    const stacks = await job.inspect({ ranks: [0], stacks: true });
    expect(stacks[0]!.stack!.frames.join()).toMatch(/clock_nanosleep/);
  });
});
