import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeFailure, launch, type Job, type JobEvent, type LaunchOptions } from '../../dist/index.js';
import { long } from '../support/long';

const cli = join(__dirname, '../../dist/cli.js');
/** vitest cannot interrupt what is run synchronously. */
const timeout = 50_000;
const shell = (script: string, ranks: number, more: Partial<LaunchOptions> = {}): LaunchOptions => ({
  program: 'sh',
  args: ['-c', script],
  ranks,
  stdout: 'ignore',
  stderr: 'ignore',
  ...more,
});
/** A rank that only its being ended ends. */
const wait = 'exec tail -f /dev/null';

describe.each(['fd', 'tcp', 'unix'] as const)('over %s', (pmi) => {
  test('an exchange', async () => {
    const job = await launch({
      program: process.execPath,
      args: [cli, 'exchange'],
      ranks: 4,
      pmi,
      stdout: 'ignore',
      stderr: 'ignore',
    });
    const events: JobEvent[] = [];
    const reading = (async () => {
      for await (const event of job.events()) events.push(event);
    })();
    const result = await job.result;
    await reading;
    expect(result).toMatchObject({ exitCode: 0, ended: 0, apps: [{ program: process.execPath, ranks: 4 }] });
    expect(result.failure).toBeUndefined();
    expect(result.ranks.map(({ state, code }) => [state, code])).toEqual(Array(4).fill(['finalized', 0]));
    expect(events.filter(({ type }) => type === 'exited')).toHaveLength(4);
    expect(events.filter(({ type }) => type === 'finalized')).toHaveLength(4);
  });

  test('a program that does not exist', async () => {
    const { exitCode, failure } = await (await launch({ program: 'no-such-program', ranks: 3, pmi })).result;
    expect(exitCode).toBe(127);
    expect(failure).toMatchObject({
      reason: 'spawn',
      message: expect.stringContaining('no-such-program') as string,
    });
  });

  test('programs that are not executable', async () => {
    for (const program of ['/etc/passwd', '/tmp']) {
      expect((await (await launch({ program, ranks: 1, pmi })).result).exitCode).toBe(126);
    }
  });
});

describe('how a job ends', () => {
  test.each([
    [
      'exit 3',
      { exitCode: 3, failure: { reason: 'exit', rank: 1, code: 3 } },
      /^rank 1 \(pid \d+, sh\) on \S+ exited with code 3; 3 other ranks were ended$/,
    ],
    [
      'kill -KILL $$',
      { exitCode: 137, failure: { reason: 'signal', rank: 1, signal: 'SIGKILL' } },
      /was killed by SIGKILL/,
    ],
    [
      'kill -SEGV $$',
      { exitCode: 139, failure: { reason: 'signal', rank: 1, signal: 'SIGSEGV' } },
      /was killed by SIGSEGV/,
    ],
  ])('one rank does %s', async (script, expected, line) => {
    const job = await launch(shell(`[ $PMI_RANK = 1 ] || ${wait}; ${script}`, 4));
    const result = await job.result;
    expect(result).toMatchObject({ ...expected, ended: 3 });
    expect(describeFailure(result)).toMatch(line);
    expect(result.ranks.filter(({ signal }) => signal === 'SIGTERM').length).toBe(3);
  });

  test('abort says its code and its message', async () => {
    const script =
      "import('" +
      join(__dirname, '../../dist/index.mjs') +
      "').then(async ({ PmiClient }) => { const pmi = await PmiClient.fromEnv(); if (pmi.rank === 1) await pmi.abort(42, 'no good reason'); else await pmi.barrier(); })";
    const result = await (
      await launch({
        program: process.execPath,
        args: ['-e', script],
        ranks: 3,
        stdout: 'ignore',
        stderr: 'ignore',
      })
    ).result;
    expect(result).toMatchObject({
      exitCode: 42,
      failure: { reason: 'abort', rank: 1, code: 42, message: 'no good reason' },
    });
    expect(describeFailure(result)).toMatch(
      /rank 1 .* aborted the job with code 42: no good reason; 2 other ranks were ended/,
    );
  });

  test('ranks that are no PMI programs', async () => {
    const result = await (await launch(shell('exit 0', 16))).result;
    expect(result.exitCode).toBe(0);
    expect(result.ranks.every(({ state }) => state === 'absent' || state === 'disconnected')).toBe(true);
  });

  test('a rank that leaves before a barrier', async () => {
    const module = join(__dirname, '../../dist/index.mjs');
    const script = `import('${module}').then(async ({ PmiClient }) => { if (process.env.PMI_RANK === '1') process.exit(0); const pmi = await PmiClient.fromEnv(); await pmi.barrier(); })`;
    const job = await launch({
      program: process.execPath,
      args: ['-e', script],
      ranks: 3,
      stdout: 'ignore',
      stderr: 'ignore',
    });
    const stuck: JobEvent[] = [];
    for await (const event of job.events()) if (event.type === 'stuck') stuck.push(event);
    expect(stuck).toEqual([{ type: 'stuck', rank: 1, number: 0, time: expect.any(Number) as number }]);
    const { exitCode, failure } = await job.result;
    expect(exitCode).toBe(1);
    expect(failure).toMatchObject({
      reason: 'early',
      rank: 1,
      code: 0,
      phase: 'none',
      barrier: 0,
      missing: '1',
    });
    expect(failure!.status!.barrier.inside).toBe(failure!.waiting);
    expect(['0', '2', '0,2']).toContain(failure!.waiting);
  });

  test('a time limit', async () => {
    const { exitCode, failure, ended, ranks, duration } = await (
      await launch(shell(wait, 2, { timeout: 200 }))
    ).result;
    // Whoever has been started by then.
    expect({ exitCode, ended }).toEqual({
      exitCode: 124,
      ended: ranks.filter(({ pid }) => pid !== undefined).length,
    });
    expect(failure).toMatchObject({ reason: 'timeout', limit: 200, status: { size: 2 } });
    expect(failure!.rank).toBeUndefined();
    expect(duration).toBeGreaterThanOrEqual(200);
  });

  test('started resolves with the pids, and rejects when not all were started', async () => {
    const job = await launch(shell(wait, 3));
    const pids = await job.started;
    expect((await job.stop()).ranks.map(({ pid }) => pid)).toEqual(pids);
    await expect((await launch({ program: 'no-such-program', ranks: 2 })).started).rejects.toMatchObject({
      code: 'ERR_PMI_CLOSED',
    });
  });

  test('stop() is no failure and no success', async () => {
    const job = await launch(shell(wait, 4));
    const result = await job.stop({ grace: 60_000 });
    const ended = result.ranks.filter(({ pid }) => pid !== undefined).length;
    expect(result).toMatchObject({ exitCode: 143, stopped: true, ended });
    expect(result.failure).toBeUndefined();
    expect(describeFailure(result)).toBe(
      `the job was stopped; ${ended} rank${ended === 1 ? ' was' : 's were'} ended`,
    );
    expect(result.ranks.every(({ signal, pid }) => signal === 'SIGTERM' || pid === undefined)).toBe(true);
    await expect(job.status()).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
  });

  test('a job that fails and is then stopped has its failure, and is stopped', async () => {
    const job = await launch(shell(`[ $PMI_RANK = 1 ] || ${wait}; exit 3`, 2, { onFailure: 'wait' }));
    for await (const event of job.events()) if (event.type === 'exited') break;
    expect(await job.stop()).toMatchObject({
      exitCode: 3,
      stopped: true,
      failure: { reason: 'exit', rank: 1 },
      ended: 1,
    });
  });

  test('events tell when they happened, by the clock of the result', async () => {
    const job = await launch({
      program: process.execPath,
      args: [cli, 'exchange'],
      ranks: 2,
      stdout: 'ignore',
      stderr: 'ignore',
    });
    const events: (JobEvent & { time: number })[] = [];
    // Read late: the times are those of what happened.
    const reading = job.events();
    const { ranks, duration, barriers } = await job.result;
    for await (const event of reading) if (event.type !== 'missed') events.push(event);
    const times = events.map(({ time }) => time);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times.at(-1)).toBeLessThanOrEqual(duration);
    for (const {
      rank,
      times: { started, exited },
    } of ranks) {
      const of = (type: string): number =>
        events.find((event) => event.type === type && 'rank' in event && event.rank === rank)!.time;
      expect(of('started')).toBeGreaterThanOrEqual(started!);
      expect(of('exited')).toBeGreaterThanOrEqual(exited!);
      expect(of('initialized')).toBeLessThanOrEqual(barriers.times[0]!);
    }
  });

  test('stop() of a job that is over changes nothing', async () => {
    const job = await launch(shell('exit 0', 2));
    await job.result;
    const result = await job.stop();
    expect(result).toMatchObject({ exitCode: 0, stopped: false, ended: 0 });
    expect(describeFailure(result)).toBeUndefined();
  });

  test('await using stops the job and waits for its end', async () => {
    let kept: Job;
    {
      await using job = await launch(shell(wait, 2));
      await job.started;
      kept = job;
    }
    await expect(kept.status()).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
    expect(await kept.result).toMatchObject({ exitCode: 143, stopped: true });
  });

  /** Ranks that ignore TERM by the time this resolves. */
  async function deaf(ranks: number): Promise<Job> {
    const folder = mkdtempSync(join(tmpdir(), 'launch-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const job = await launch(shell(`trap '' TERM; : > ready.$PMI_RANK; ${wait}`, ranks, { cwd: folder }));
    while (readdirSync(folder).length < ranks) await new Promise((resolve) => setTimeout(resolve, 10));
    return job;
  }

  test('stop() kills what ignores TERM, when the grace is over', async () => {
    const { ranks } = await (await deaf(2)).stop({ grace: 50 });
    expect(ranks.map(({ signal }) => signal)).toEqual(['SIGKILL', 'SIGKILL']);
  });

  test('a second stop() shortens the grace', async () => {
    const job = await deaf(1);
    void job.stop({ grace: 2 ** 31 - 1 });
    const { ranks } = await job.stop({ grace: 0 });
    expect(ranks.map(({ signal }) => signal)).toEqual(['SIGKILL']);
  });

  test('an aborted signal ends the job', async () => {
    const controller = new AbortController();
    const job = await launch(shell(wait, 2, { signal: controller.signal }));
    controller.abort();
    expect(await job.result).toMatchObject({ exitCode: 143, stopped: true });
    await expect(launch(shell(wait, 2, { signal: controller.signal }))).rejects.toThrow(/abort/i);
  });

  test('kill() reaches the ranks that are named', async () => {
    const job = await launch(shell(wait, 3));
    let started = 0;
    for await (const event of job.events()) if (event.type === 'started' && ++started === 3) break;
    job.kill('SIGUSR1', [2]);
    expect((await job.result).failure).toMatchObject({ reason: 'signal', rank: 2, signal: 'SIGUSR1' });
  });
});

test('kill() with nobody named in its list reaches nobody', async () => {
  const job = await launch(shell(wait, 1));
  await job.started;
  job.kill('SIGKILL', []);
  job.kill('SIGUSR1');
  expect((await job.result).failure).toMatchObject({ reason: 'signal', signal: 'SIGUSR1' });
});

test('kill() takes a list of any length', async () => {
  const job = await launch(shell(wait, 1));
  job.kill('SIGKILL', Array<number>(100_000).fill(0));
  expect((await job.result).failure).toMatchObject({ reason: 'signal', rank: 0, signal: 'SIGKILL' });
});

test('a signal that the agent has no time for is no failure', async () => {
  for (let i = 0; i < (long ? 30 : 5); i++) {
    const job = await launch(shell('exit 0', 2));
    let over = false;
    void job.result.then(() => (over = true));
    while (!over) {
      for (let k = 0; k < 20; k++) job.kill('SIGWINCH');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await job.result).failure).toBeUndefined();
  }
});

test('an owner that runs out of files while its ranks are started', () => {
  const owner = `
    const { launch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    launch({ program: 'sleep', args: ['1000'], ranks: 400, stdout: 'ignore', stderr: 'ignore' }).then(async (job) => {
      try { for (;;) require('node:fs').openSync('/dev/null'); } catch {}
      console.log(JSON.stringify((await job.result).failure));
    });`;
  const out = execFileSync('sh', ['-c', 'ulimit -n 560; exec "$0" -e "$1"', process.execPath, owner], {
    encoding: 'utf8',
    timeout,
  });
  expect(JSON.parse(out)).toMatchObject({ reason: 'spawn', errno: 24 });
});

test('more files than the process may have: ERR_PMI_FD_LIMIT, from launch() and from channel()', () => {
  const owner = `
    const { launch, PmiServer } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    const told = ({ name, code, errno, message }) => console.log(JSON.stringify({ name, code, errno, message }));
    launch({ program: 'true', ranks: 400 }).catch(told).then(async () => {
      const server = await PmiServer.listen({ size: 400 });
      const channels = [];
      try { for (let rank = 0; ; rank++) channels.push(server.channel(rank)); } catch (error) { told(error); }
      // The server stands, and serves again when there is room.
      for (const channel of channels) channel.close();
      console.log((await server.status()).size);
      await server.close();
    });`;
  const out = execFileSync('sh', ['-c', 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, owner], {
    encoding: 'utf8',
    timeout,
  });
  const [launched, channel, status] = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  expect(launched).toMatchObject({
    name: 'PmiError',
    code: 'ERR_PMI_FD_LIMIT',
    message: expect.stringMatching(/\b400\b.*\b100\b|\b100\b.*\b400\b/) as string,
  });
  expect(channel).toMatchObject({ name: 'PmiError', code: 'ERR_PMI_FD_LIMIT' });
  expect(status).toBe(400);
});

describe('wrong use', () => {
  test.each([
    [{ program: 'true', ranks: 0 }, /ranks: expected a whole number from 1/],
    [{ program: 'true', ranks: 1, pmi: 'udp' }, /pmi: expected 'fd' or 'tcp' or 'unix', got 'udp'/],
    [{ program: 5, ranks: 1 }, /program: expected a string or a Uint8Array, got 5/],
    [{ program: 'a\0b', ranks: 1 }, /without a NUL/],
    [{ program: 'true', ranks: 1, args: [1] }, /args\[0\]: expected a string/],
    [{ program: 'true', ranks: 2, stdin: 2 }, /stdin: expected a whole number from 0 to 1/],
    [{ program: 'true', ranks: 1, signal: {} }, /signal: expected an AbortSignal/],
    [{ program: 'true', rank: 2 }, /options\.rank: expected one of the options program/],
    [{ program: 'true', ranks: 1, onFailure: 'end' }, /onFailure: expected 'kill' or 'wait', got 'end'/],
    [
      { program: 'true', ranks: 1, onEarlyExit: 'kill' },
      /onEarlyExit: expected 'fail' or 'wait', got 'kill'/,
    ],
    [{ program: 'true', ranks: 1, timeout: 0 }, /timeout: expected a whole number from 1/],
    [{ program: 'true', ranks: 1, startupTimeout: 0.5 }, /startupTimeout: expected a whole number from 1/],
    [{ program: 'true', ranks: 1, killTimeout: -1 }, /killTimeout: expected a whole number from 0/],
    [
      { program: 'true', ranks: 1, ignoredSignals: ['HUP'] },
      /ignoredSignals: expected the name of a signal, got 'HUP'/,
    ],
    [
      { program: 'true', ranks: 1, debugger: { command: [], ranks: [0] } },
      /debugger\.command: expected a command/,
    ],
    [null, /options: expected an object/],
    [{ program: '', ranks: 1 }, /program: expected the name of a program/],
    [{ apps: [] }, /apps: expected an array of applications/],
    [{ apps: [{ program: 'true', ranks: 1, label: '' }] }, /apps\[0\].label: expected one of the options/],
    [{ program: 'true', ranks: 2, nodes: [0] }, /nodes: expected one node for each of 2 ranks/],
    [
      { program: 'true', ranks: 2, nodes: [1, 1] },
      /nodes: expected nodes that are numbered from 0 without gaps/,
    ],
    [
      { program: 'true', ranks: 2, nodes: [0, 1], hosts: ['a'] },
      /hosts: expected a name for each of 2 nodes/,
    ],
    [{ program: 'true', ranks: 1, bind: [[]] }, /bind: expected sets of CPUs/],
    [{ program: 'true', ranks: 1, bind: 'numa' }, /bind: expected 'none'/],
    [{ program: 'true', ranks: 1, ports: [2, 1] }, /ports\[1\]: expected a whole number from 2/],
    [{ program: 'true', ranks: 1, env: new Map() }, /env: expected an object of strings/],
    [{ program: 'true', ranks: 1, env: { 'A=B': '1' } }, /env: expected names/],
    [{ program: 'true', ranks: 1, ignoredSignals: 'SIGINT' }, /ignoredSignals: expected an array/],
    [{ program: 'true', ranks: 1, label: 'x'.repeat(2000) }, /label: expected up to 1024 letters/],
    [{ program: 'true', ranks: 1, stdout: { file: '' } }, /stdout.file: expected the name of a file/],
    [
      { program: 'true', ranks: 2, stdout: 'pipe-per-rank', outputFrom: [0] },
      /outputFrom: expected nothing beside/,
    ],
    [
      { program: 'true', ranks: 1, debugger: { command: ['env'], ranks: [1] } },
      /debugger\.ranks\[0\]: expected a whole number from 0 to 0/,
    ],
  ])('launch(%j)', async (options, message) => {
    await expect(launch(options as never)).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });
});

/** What the tests look at in this process before and after. */
function traces(): { fds: number; threads: number; children: string; attributes: string } {
  const status = readFileSync('/proc/self/status', 'utf8');
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: Number(/^Threads:\s*(\d+)$/m.exec(status)![1]),
    children: execFileSync('ps', ['--ppid', `${process.pid}`, '-o', 'stat=,comm='], {
      encoding: 'utf8',
      timeout,
    })
      .split('\n')
      .filter((line) => line !== '' && !line.endsWith(' ps'))
      .join('\n'),
    attributes: /^(Sig(?:Pnd|Blk|Ign|Cgt).*|Umask.*|NoNewPrivs.*|Seccomp:.*)$/gm
      [Symbol.match](status)!
      .join('\n'),
  };
}

describe('what stays in the owner', () => {
  test('nothing, after 100 launches in one process', async () => {
    const one = async (pmi: 'fd' | 'tcp' | 'unix'): Promise<void> => {
      expect((await (await launch(shell('exit 0', 2, { pmi }))).result).exitCode).toBe(0);
    };
    const own = spawn('sh', ['-c', wait]);
    await one('fd');
    const before = traces();
    for (let i = 0; i < 100; i++) await one((['fd', 'tcp', 'unix'] as const)[i % 3]!);
    expect(traces()).toEqual(before);

    // Its own children are its own: not touched, and their ends are still told.
    expect(own.exitCode ?? own.signalCode).toBeNull();
    const ended = new Promise((resolve) => own.once('exit', (_, signal) => resolve(signal)));
    own.kill('SIGTERM');
    expect(await ended).toBe('SIGTERM');
  });

  test('several jobs at once', async () => {
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, i) => launch(shell(`exit ${i}`, 3))));
    expect(await Promise.all(jobs.map(async (job) => (await job.result).exitCode))).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7,
    ]);
  });
});

/** Starts test/integration/owner.cjs, a process that launches a job of its own, and waits for its word. */
async function startOwner(
  mode: string,
): Promise<{ owner: ChildProcess; pids: number[]; end: Promise<unknown[]> }> {
  const owner = fork(join(__dirname, 'owner.cjs'), [mode], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const end = new Promise<unknown[]>((resolve) => owner.once('exit', (...how) => resolve(how)));
  const pids = await new Promise<number[]>((resolve) =>
    owner.once('message', (message) => resolve(message as number[])),
  );
  return { owner, pids, end };
}

/** Waits until none of the processes is there, at most two seconds. */
async function gone(pids: readonly number[]): Promise<number[]> {
  const end = performance.now() + 2000;
  const left = (): number[] => pids.filter((pid) => existsSync(`/proc/${pid}`));
  while (left().length > 0 && performance.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return left();
}

describe("the owner's end ends the job", () => {
  test.each([
    ['exit', [7, null]],
    ['throw', [1, null]],
    ['kill', [null, 'SIGKILL']],
    ['worker', [0, null]],
    ['worker-terminate', [0, null]],
  ])('%s', async (mode, expected) => {
    const { owner, pids, end } = await startOwner(mode);
    expect(pids.length).toBeGreaterThan(2);
    owner.send('end');
    expect(await end).toEqual(expected);
    expect(await gone(pids)).toEqual([]);
  });
});
