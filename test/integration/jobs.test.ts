// `wireup ps`, `wireup status` and `wireup attach`, and the sockets of jobs that they use.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';

import { launch } from '../../dist/index.js';
import { needsRoot, OTHER_UID, runHostileClient } from '../support/hostile-clients';
import { installed, needs } from '../support/installed';
import { long } from '../support/long';
import { eventually } from '../support/processes';
import { lines, Run, run, toolLines, wireup, type Result, type RunOptions } from '../support/run';

// A thousand jobs take minutes.
vi.setConfig({ testTimeout: long ? 1_200_000 : 120_000 });

/** In milliseconds. */
const deadline = long ? 1_000_000 : 100_000;

const base = mkdtempSync(join(tmpdir(), 'jobs-'));
afterAll(() => rmSync(base, { recursive: true }));
/** The XDG_RUNTIME_DIR of the jobs of one test. Jobs of other tests are in other folders. */
let folder: string;
let count = 0;
beforeEach(() => {
  folder = join(base, `${++count}`);
  mkdirSync(folder, { mode: 0o700 });
});

const here = (more: RunOptions = {}): RunOptions => ({
  deadline,
  environment: { XDG_RUNTIME_DIR: folder },
  ...more,
});
const tool = (...words: string[]): Promise<Result> => run(wireup(...words), here());

interface Row {
  pid: number;
  id: string;
  state: string;
  commandLine: string[];
  job?: { size: number; hosts: { name: string; ranks: string }[]; programs: { command: string[] }[] };
}
/** The jobs of this test, which ps lists together with others of this machine. */
async function listed(): Promise<Row[]> {
  const { jobs } = JSON.parse((await tool('ps', '--json')).stdout) as { jobs: Row[] };
  const ids = readdirSync(folder).map((name) => name.slice('wireup-'.length));
  return jobs.filter(({ id }) => ids.includes(id));
}

/** Waits until `fits` holds for the jobs of this test. */
async function untilListed(fits: (rows: Row[]) => boolean): Promise<Row[]> {
  const end = performance.now() + deadline / 2;
  for (;;) {
    const rows = await listed();
    if (fits(rows)) return rows;
    if (performance.now() > end) throw new Error(`not as expected: ${JSON.stringify(rows)}`);
  }
}

/** A job that is listed and whose ranks have all been started. */
async function startJob(ranks: number, script: string, ...options: string[]): Promise<Run> {
  const job = new Run(
    wireup('run', ...options, '-n', `${ranks}`, 'sh', '-c', `echo up; ${script}`),
    here({ mayLeaveFiles: true }),
  );
  await job.until(({ stdout }) => lines(stdout).filter((line) => line === 'up').length === ranks);
  await untilListed((rows) => rows.some(({ pid }) => pid === job.pid));
  return job;
}

/** Ends the job and waits for that. */
async function end(job: Run): Promise<void> {
  job.kill('SIGTERM');
  await job.done;
}

const forever = 'exec tail -f /dev/null';

describe('wireup ps', () => {
  it('shows a job with its age, ranks, host, state and command, and leaves nothing when it has ended', async () => {
    const job = await startJob(3, forever);
    const { code, stdout, stderr } = await tool('ps');
    expect([code, stderr]).toEqual([0, '']);
    const [head, ...rows] = lines(stdout);
    expect(head).toMatch(/^ *JOB +AGE +RANKS +HOST +STATE +COMMAND$/);
    expect(rows.find((row) => row.includes(`${job.pid} `))).toMatch(
      /^ *\d+ +\d+:\d\d +3 +\S+ +running +sh -c echo up; exec tail -f \/dev\/null$/,
    );
    expect((await listed()).map(({ pid }) => pid)).toEqual([job.pid]);
    const [own] = readdirSync(folder);
    expect(statSync(join(folder, own!)).mode & 0o777).toBe(0o700);
    await end(job);
    expect(readdirSync(folder)).toEqual([]);
    expect(await listed()).toEqual([]);
  });

  it('names the hosts of a job', async () => {
    const job = await startJob(4, forever, '--launcher', 'fork', '--hosts', 'node0,node1');
    const [row] = await listed();
    expect(row!.job!.hosts).toEqual([
      { name: 'node0', ranks: '0,2' },
      { name: 'node1', ranks: '1,3' },
    ]);
    const { stdout } = await tool('status', `${job.pid}`);
    expect(stdout).toMatch(/\nHOST +COUNT +RANKS\nnode0 +2 +0,2\nnode1 +2 +1,3\n/);
    await end(job);
  });

  it('shows a stopped job as stopped, with its command line', async () => {
    const job = await startJob(1, forever);
    process.kill(job.pid, 'SIGSTOP');
    let rows = await listed();
    while (rows[0]!.state !== 'stopped') rows = await listed();
    expect(rows[0]!.commandLine.slice(0, 4)).toEqual(['wireup', 'run', '-n', '1']);
    const { code, stderr } = await tool('status', `${job.pid}`);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `wireup: job ${job.pid} is stopped and cannot answer; SIGCONT continues it: kill -CONT ${job.pid}\n`,
    );
    process.kill(job.pid, 'SIGCONT');
    await end(job);
  });

  it('shows each of 50 jobs, also of one process', async () => {
    vi.stubEnv('XDG_RUNTIME_DIR', folder);
    onTestFinished(() => void vi.unstubAllEnvs());
    const jobs = await Promise.all(
      Array.from({ length: 50 }, () =>
        launch({ program: 'sh', args: ['-c', forever], ranks: 1, listed: true, stdout: 'ignore' }),
      ),
    );
    const rows = await untilListed((all) => all.length === 50);
    expect(new Set(rows.map(({ id }) => id)).size).toBe(50);
    expect(rows.every(({ pid }) => pid === process.pid)).toBe(true);
    const one = `${process.pid}/${rows[17]!.id}`;
    expect((await tool('ps')).stdout).toContain(one);
    expect((await tool('status', one)).stdout).toMatch(/^job \d+: 1 rank of sh /);
    const several = await tool('status', `${process.pid}`);
    expect(several.code).toBe(2);
    expect(several.stderr).toContain('there are 50 jobs, name one: ');
    await Promise.all(jobs.map((job) => job.stop()));
    // The sockets are closed right after the results.
    await eventually(() => readdirSync(folder).length === 0, 20_000);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('does not show jobs whose launcher was killed, and removes what they have left', async () => {
    const living = await startJob(1, forever);
    const killed = long ? 1000 : 24;
    for (let done = 0; done < killed; done += 8) {
      const jobs = await Promise.all(Array.from({ length: 8 }, () => startJob(1, forever)));
      for (const job of jobs) job.kill('SIGKILL');
      await Promise.all(jobs.map((job) => job.done));
    }
    expect((await listed()).map(({ pid }) => pid)).toEqual([living.pid]);
    expect(readdirSync(folder)).toHaveLength(1);
    await end(living);
    expect(readdirSync(folder)).toEqual([]);
  });
});

const superuser = needsRoot();
describe.skipIf(superuser.missing)(`another user${superuser.note}`, () => {
  const shell = (script: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const child = spawn('/bin/sh', ['-c', script], {
        uid: OTHER_UID,
        gid: OTHER_UID,
        cwd: '/',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let text = '';
      child.stdout.on('data', (bytes) => (text += bytes as string));
      child.stderr.on('data', (bytes) => (text += bytes as string));
      child.on('error', reject).on('close', () => resolve(text));
    });

  it('cannot see into the folder of a job, and gets no answer from its socket', async () => {
    const job = await startJob(1, forever);
    const place = join(folder, readdirSync(folder)[0]!);
    const socket = join(place, readdirSync(place)[0]!);
    expect(await shell(`ls ${place}`)).toMatch(/Permission denied/);
    // As if the user had opened the folders. Only the kernel's answer about the peer is left then.
    await run(['chmod', '755', base, folder, place], here());
    await run(['chmod', '777', socket], here());
    const text = '{"ask":"describe"}\n';
    expect(
      await runHostileClient({ target: { path: socket }, behaviour: 'send and read', text }, OTHER_UID),
    ).toBe('');
    expect(await runHostileClient({ target: { path: socket }, behaviour: 'send and read', text })).toContain(
      `"pid":${job.pid}`,
    );
    await end(job);
  });

  it('is not believed if it makes a folder with a socket', async () => {
    const shared = join(base, 'shared');
    mkdirSync(shared);
    await run(['chmod', '1777', shared], here());
    await shell(`mkdir -m 700 ${shared}/wireup-abcdef && echo > ${shared}/wireup-abcdef/pmi-job1`);
    const { jobs } = JSON.parse(
      (await run(wireup('ps', '--json'), here({ environment: { XDG_RUNTIME_DIR: shared } }))).stdout,
    ) as { jobs: Row[] };
    expect(jobs.filter(({ id }) => id === 'abcdef')).toEqual([]);
    expect(readdirSync(shared)).toEqual(['wireup-abcdef']);
  });
});

describe('wireup status', () => {
  it('shows ranks by state, and those whose process has ended', async () => {
    const job = await startJob(3, `[ $PMI_RANK = 1 ] && exit 0; ${forever}`);
    let status: Result;
    do status = await tool('status', `${job.pid}`);
    while (!status.stdout.includes('process has ended'));
    expect(lines(status.stdout).slice(1)).toEqual([
      'STATE               COUNT  RANKS',
      'connected, no init      2  0,2',
      'left PMI                1  1',
      'process has ended       1  1',
    ]);
    const { stdout } = await tool('status', `${job.pid}`, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ job: { pid: job.pid, size: 3 }, exited: '1' });
    await end(job);
  });

  it('fails if there is no such job', async () => {
    const { code, stderr } = await tool('status', '1');
    expect([code, stderr]).toEqual([1, 'wireup: no job 1 of this user runs on this machine\n']);
  });
});

describe('wireup attach', () => {
  it('follows the job to its end, and exits with its exit code', async () => {
    const go = join(folder, 'go');
    const job = await startJob(2, `until [ -e ${go} ]; do sleep 0.05; done; [ $PMI_RANK = 0 ] || exit 7`);
    const attached = new Run(wireup('attach', `${job.pid}`), here());
    await attached.until(({ stdout }) => stdout !== '');
    writeFileSync(go, '');
    const result = await attached.done;
    expect(lines(result.stdout)[0]).toBe('2 ranks: 2 connected');
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank 1 \(pid \d+, sh\) on \S+ exited with code 7/),
    ]);
    expect([result.code, (await job.done).code]).toEqual([7, 7]);
  });

  it.each([
    ['at ^C', 1],
    ['at ^C twice', 2],
  ])('leaves the job alone %s', async (_, times) => {
    const job = await startJob(1, forever);
    const attached = new Run(wireup('attach', `${job.pid}`), here());
    await attached.until(({ stdout }) => stdout !== '');
    for (let i = 0; i < times; i++) attached.kill('SIGINT');
    const result = await attached.done;
    expect([result.code, result.stderr]).toEqual([
      130,
      `wireup: detached from job ${job.pid}, which goes on\n`,
    ]);
    expect((await listed()).map(({ state }) => state)).toEqual(['running']);
    await end(job);
  });

  it('fails if the launcher of the job is killed', async () => {
    const job = await startJob(1, forever);
    const attached = new Run(wireup('attach', `${job.pid}`), here());
    await attached.until(({ stdout }) => stdout !== '');
    job.kill('SIGKILL');
    expect((await attached.done).code).toBe(1);
    await job.done;
  });
});

const unshare = needs('unshare');
describe.skipIf(unshare.missing || superuser.missing)(
  `a job that is not listed${unshare.note}${superuser.note}`,
  () => {
    it('runs, and -v reports why it is not', async () => {
      // All folders for sockets are read-only.
      const script =
        'for folder in /tmp /run; do mount -t tmpfs -o ro none $folder || exit 9; done; exec "$@"';
      const job = new Run(
        [
          installed('unshare'),
          ...['--mount', 'sh', '-c', script, 'sh'],
          ...wireup('run', '-v', '-n', '1', 'sh', '-c', forever),
        ],
        here({ environment: { XDG_RUNTIME_DIR: '/run/none' } }),
      );
      await job.until(({ stderr }) => stderr.includes('do not see this job: '));
      expect(job.stderr).toMatch(
        /^wireup: wireup ps, status and attach do not see this job: .*\/run\/none: .*; \/tmp: Read-only file system/m,
      );
      job.kill('SIGTERM');
      expect((await job.done).code).toBe(143);
    });
  },
);

describe('the socket of a job', () => {
  it('survives questions that are no questions, and answers others meanwhile', async () => {
    const job = await startJob(1, forever);
    const place = join(folder, readdirSync(folder)[0]!);
    const path = join(place, readdirSync(place)[0]!);
    const ask = (text: string): Promise<string> =>
      runHostileClient({ target: { path }, behaviour: 'send and read', text });
    for (const text of [
      ...['\n', 'x\n', 'null\n', '{}\n', '{"ask":"kill"}\n', '[1]\n'],
      ...['"ranks":"x"', '"ranks":"9"', '"ranks":[0]', '"ranks":"0-99999999"', '"stacks":1'].map(
        (what) => `{"ask":"inspect",${what}}\n`,
      ),
    ])
      expect(JSON.parse(await ask(text))).toHaveProperty('error');
    expect(await ask('x'.repeat(100_000))).toBe('');
    // More connections than the socket takes, which ask nothing.
    const idle = Array.from({ length: 40 }, () => createConnection(path).on('error', () => undefined));
    await Promise.all(idle.map((socket) => new Promise((done) => socket.once('connect', done))));
    for (const socket of idle) socket.destroy();
    while ((await listed())[0]!.job === undefined);
    await end(job);
  });
});
