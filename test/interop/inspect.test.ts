// `wireup status` and its --stacks show what a missing rank of MPICH does, and so does job.inspect().

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { describeProcess, launch, type RankFacts } from '../../dist/index.js';
import { hostNeeds, SshHosts, wireupOn } from '../support/hosts';
import { installed, needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, Run, run, wireup } from '../support/run';

vi.setConfig({ testTimeout: long ? 900_000 : 240_000 });

/** In milliseconds. */
const deadline = long ? 800_000 : 200_000;
const size = long ? 64 : 8;
const late = long ? 17 : 5;
const others = long ? '0-16,18-63' : '0-4,6-7';
/** As idsets in a finding of a timeline. */
const [all, waiting] = [`0-${size - 1}`, `ranks ${others}`];

const base = mkdtempSync(join(tmpdir(), 'inspect-'));
afterAll(() => rmSync(base, { recursive: true }));
let count = 0;

const tools = needs('mpicc', 'eu-stack');

interface Job {
  job: Run;
  environment: Record<string, string>;
  timeline: string;
}

/** A job with its own folder, in which it is found. */
function startJob(words: readonly string[], more: Record<string, string> = {}): Job {
  const folder = join(base, `${++count}`);
  mkdirSync(folder, { mode: 0o700 });
  const environment = { ...more, XDG_RUNTIME_DIR: folder };
  return { job: new Run(words, { deadline, environment }), environment, timeline: join(folder, 't.html') };
}

/** A job of MPICH in which the late rank is where the program's arguments say. */
async function start(where: string, what: string): Promise<Job> {
  const timeline = join(base, `${count + 1}`, 't.html');
  const started = startJob(
    wireup('run', '-n', `${size}`, '--timeline', timeline, program('stuck'), `${late}`, where, what),
  );
  await started.job.until(({ stdout }) => lines(stdout).length === size);
  return started;
}

/** Ends the job. Returns the findings of its timeline. */
async function end({ job, timeline }: Job): Promise<string> {
  job.kill('SIGTERM');
  await job.done;
  return /<ul id="findings">([^]*?)<\/ul>/.exec(readFileSync(timeline, 'utf8'))![1]!;
}

/** Repeats the command until its output fits: the ranks need time to come where they wait. */
async function until(
  { job, environment }: Job,
  fits: (text: string) => boolean,
  ...options: string[]
): Promise<string> {
  const limit = performance.now() + deadline / 2;
  for (;;) {
    const { stdout, stderr } = await run(wireup('status', `${job.pid}`, ...options), {
      deadline,
      environment,
    });
    if (fits(stdout)) return stdout;
    if (performance.now() > limit) throw new Error(`not as expected:\n${stdout}\n${stderr}`);
  }
}

const rowOf = (text: string, rank: number): string =>
  lines(text).find((line) => new RegExp(`^ *${rank}  `).test(line)) ?? '';

describe.skipIf(tools.missing)(`a rank that the others wait for in MPI_Init${tools.note}`, () => {
  it.each([
    ['sleep', 'waits in clock_nanosleep()', 'clock_nanosleep'],
    ['spin', 'computes (', 'block'],
    ['read', 'waits in read() of pipe:[', 'read'],
    ['stop', 'is stopped by a signal', undefined],
  ])('is named with what it does: %s', async (what, shown, call) => {
    const job = await start('init', what);
    const text = await until(job, (seen) => seen.includes('\nmissing ') && rowOf(seen, late).includes(shown));
    expect(text).toMatch(new RegExp(`\nin barrier 0 +${size - 1}  ${others}\nmissing +1  ${late}\n`));
    expect(rowOf(text, late)).toMatch(/ stuck-\w* +no init +/);
    // A debugger leaves a stopped process stopped, and shows what it was doing.
    const stacks = await until(job, (seen) => seen.includes(`${size - 1} ranks in MPI_Init: `), '--stacks');
    expect(stacks).toMatch(
      new RegExp(`${size - 1} ranks in MPI_Init: ${others}\n    MPI_Init\n(    start\n)?    main\n`),
    );
    if (call !== undefined) expect(stacks).toContain(`1 rank in ${call}(): ${late}\n    ${call}\n`);
    if (what === 'stop') expect(rowOf(stacks, late)).toContain(shown);
    const findings = await end(job);
    expect(findings).toContain(`Barrier 0 did not complete: ${waiting} waited in it for rank ${late}.`);
    expect(findings).toContain(`Rank ${late} never sent PMI init.`);
  });
});

describe.skipIf(tools.missing)(`a rank that the others wait for in MPI_Barrier${tools.note}`, () => {
  it('is named by --stacks, its stack is another one, and by the timeline, its processor time is', async () => {
    const job = await start('barrier', 'read');
    const text = await until(job, (seen) => seen.includes(`${size - 1} ranks in MPI_Barrier: `), '--stacks');
    expect(text).toContain(`${size - 1} ranks in MPI_Barrier: ${others}\n    MPI_Barrier\n    main\n`);
    expect(text).toMatch(new RegExp(`1 rank in read\\(\\): ${late}\n(    read\n)+    block\n    main\n`));
    expect(text).toMatch(new RegExp(`\ninitialized +${size}  `));
    // The others poll.
    const times = (seen: string): number[] =>
      (JSON.parse(seen) as { inspected: RankFacts[] }).inspected.map(({ process }) => process!.processorTime);
    await until(
      job,
      (seen) => {
        const used = times(seen);
        const [own] = used.splice(late, 1);
        return used.sort((a, b) => a - b)[used.length >> 1]! > 5 * own! + 200;
      },
      ...['--json', '--rank', all],
    );
    expect(await end(job)).toContain(`Rank ${late} used less processor time than the others: `);
  });
});

const twoHosts = hostNeeds.ssh();
describe.skipIf(twoHosts.missing || tools.missing)(
  `ranks on hosts that are reached by ssh${twoHosts.note || tools.note}`,
  () => {
    it('are shown with what they do, and with stacks', async () => {
      await using hosts = await SshHosts.start(2);
      // A shell with two children stands for itself.
      const script = 'echo up; if [ $PMI_RANK = 3 ]; then sleep 1000 | sleep 1000; fi; exec sleep 1000';
      const job = startJob(wireupOn(hosts, 2, 'sh', '-c', script), hosts.environment);
      await job.job.until(({ stdout }) => lines(stdout).length === 4);
      const text = await until(
        job,
        (seen) =>
          rowOf(seen, 3).includes('wait4()') &&
          [0, 1, 2].every((rank) => rowOf(seen, rank).includes('nanosleep()')),
        ...['--stacks', '--rank', '0-3'],
      );
      for (const [rank, host] of ['n1', 'n1', 'n2', 'n2'].entries())
        expect(rowOf(text, rank)).toMatch(new RegExp(`^ *${rank}  ${host} +\\d+  (sleep|sh) `));
      expect(rowOf(text, 3)).toMatch(/no init +waits in wait4\(\)/);
      expect(text).toContain('3 ranks in clock_nanosleep(): 0-2\n');
      expect(text).toMatch(/1 rank in wait\w*\(\): 3\n/);
      job.job.kill('SIGTERM');
      await job.job.done;
    });

    it('are named by --startup-timeout with what they do, equal ones together', async () => {
      await using hosts = await SshHosts.start(2);
      const { job } = startJob(
        wireupOn(hosts, 2, '--startup-timeout', '5', 'sleep', '1000'),
        hosts.environment,
      );
      const { stderr } = await job.done;
      expect(stderr).toContain(
        'wireup: each of the ranks 0-3 (n1, n2) waits in clock_nanosleep(), no PMI init\n',
      );
    });
  },
);

const namespaces = needs('unshare', 'eu-stack');
const isRoot = process.getuid?.() === 0;
describe.skipIf(namespaces.missing || !isRoot)(
  `a host with processes of its own${namespaces.note}${isRoot ? '' : ' (needs root)'}`,
  () => {
    /** The agent runs in a pid namespace, with its /proc or with that of this machine. */
    const startThere = async (proc: boolean): Promise<Job> => {
      const enter = join(base, `enter-${proc}`);
      const words = [
        installed('unshare'),
        '--pid',
        '--fork',
        '--kill-child',
        ...(proc ? ['--mount-proc'] : []),
      ];
      writeFileSync(enter, `#!/bin/sh\nshift\nexec ${words.join(' ')} "$@"\n`);
      chmodSync(enter, 0o755);
      const job = startJob(
        wireup(
          ...['run', '-n', '1', '--launcher', 'exec', '--launcher-exec', enter, '--hosts', 'there'],
          ...['sh', '-c', 'echo up; exec sleep 1000'],
        ),
      );
      await job.job.until(({ stdout }) => stdout === 'up\n');
      return job;
    };

    it('is looked at by its own agent: its processes have no numbers here', async () => {
      const job = await startThere(true);
      const text = await until(
        job,
        (seen) => rowOf(seen, 0).includes('sleep'),
        ...['--rank', '0', '--stacks'],
      );
      const pid = Number(/^ *0 {2}there +(\d+)/.exec(rowOf(text, 0))![1]);
      expect(pid).toBeLessThan(100);
      expect(text).toContain('1 rank in clock_nanosleep(): 0\n');
      job.job.kill('SIGTERM');
      await job.job.done;
    });

    it('is not looked at if the agent sees the processes of another one', async () => {
      const job = await startThere(false);
      const text = await until(job, (seen) => rowOf(seen, 0) !== '', ...['--rank', '0', '--stacks']);
      expect(rowOf(text, 0)).toMatch(/no init +cannot be seen +-$/);
      job.job.kill('SIGTERM');
      await job.job.done;
    });
  },
);

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
      pmi: 'connected',
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
