import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeFailure, launch, type Job, type JobEvent, type LaunchOptions } from '../../dist/index.js';
import { long } from '../support/long';

const cli = join(__dirname, '../../dist/cli.js');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;
const shell = (script: string, ranks: number, more: Partial<LaunchOptions> = {}): LaunchOptions => ({
  program: 'sh',
  args: ['-c', script],
  ranks,
  stdout: 'ignore',
  stderr: 'ignore',
  ...more,
});
/** A program that runs until it is killed. */
const wait = 'exec tail -f /dev/null';

describe.each(['fd', 'tcp', 'unix'] as const)('a job over %s', (pmi) => {
  test('exchanges business cards', async () => {
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

  test('fails with exit code 127 if its program does not exist', async () => {
    const { exitCode, failure } = await (await launch({ program: 'no-such-program', ranks: 3, pmi })).result;
    expect(exitCode).toBe(127);
    expect(failure).toMatchObject({
      reason: 'spawn',
      message: expect.stringContaining('no-such-program') as string,
    });
  });

  test('fails with exit code 126 if its program is not executable', async () => {
    for (const program of ['/etc/passwd', '/tmp']) {
      expect((await (await launch({ program, ranks: 1, pmi })).result).exitCode).toBe(126);
    }
  });
});

describe('a job', () => {
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
  ])('fails with the code of a rank that runs %s', async (script, expected, line) => {
    const job = await launch(shell(`[ $PMI_RANK = 1 ] || ${wait}; ${script}`, 4));
    const result = await job.result;
    expect(result).toMatchObject({ ...expected, ended: 3 });
    expect(describeFailure(result)).toMatch(line);
    expect(result.ranks.filter(({ signal }) => signal === 'SIGTERM').length).toBe(3);
  });

  test('fails with the code and the message of an abort', async () => {
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

  test('succeeds if its programs do not use PMI', async () => {
    const result = await (await launch(shell('exit 0', 16))).result;
    expect(result.exitCode).toBe(0);
    expect(result.ranks.every(({ state }) => state === 'absent' || state === 'disconnected')).toBe(true);
  });

  test('fails if a rank exits while others wait in a barrier', async () => {
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

  test('fails with exit code 124 at its time limit', async () => {
    const { exitCode, failure, ended, ranks, duration } = await (
      await launch(shell(wait, 2, { timeout: 200 }))
    ).result;
    // Not all ranks may have been started by then.
    expect({ exitCode, ended }).toEqual({
      exitCode: 124,
      ended: ranks.filter(({ pid }) => pid !== undefined).length,
    });
    expect(failure).toMatchObject({ reason: 'timeout', limit: 200, status: { size: 2 } });
    expect(failure!.rank).toBeUndefined();
    expect(duration).toBeGreaterThanOrEqual(200);
  });

  test('resolves `started` with the pids, and rejects it if not all ranks were started', async () => {
    const job = await launch(shell(wait, 3));
    const pids = await job.started;
    expect((await job.stop()).ranks.map(({ pid }) => pid)).toEqual(pids);
    await expect((await launch({ program: 'no-such-program', ranks: 2 })).started).rejects.toMatchObject({
      code: 'ERR_PMI_CLOSED',
    });
  });

  test('that is stopped has no failure, and exit code 143', async () => {
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

  test('that fails and is then stopped has a failure, and is marked as stopped', async () => {
    const job = await launch(shell(`[ $PMI_RANK = 1 ] || ${wait}; exit 3`, 2, { onFailure: 'wait' }));
    for await (const event of job.events()) if (event.type === 'exited') break;
    expect(await job.stop()).toMatchObject({
      exitCode: 3,
      stopped: true,
      failure: { reason: 'exit', rank: 1 },
      ended: 1,
    });
  });

  test('has events with the times at which they happened, which are those of the result', async () => {
    const job = await launch({
      program: process.execPath,
      args: [cli, 'exchange'],
      ranks: 2,
      stdout: 'ignore',
      stderr: 'ignore',
    });
    const events: (JobEvent & { time: number })[] = [];
    // The events are read late, and must still have the times at which they happened.
    const reading = job.events();
    const { ranks, duration, barriers } = await job.result;
    for await (const event of reading) if (event.type !== 'missed') events.push(event);
    const times = events.map(({ time }) => time);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(times.at(-1)).toBeLessThanOrEqual(duration);
    for (const {
      rank,
      times: { started, initialized, exited },
    } of ranks) {
      const of = (type: string): number =>
        events.find((event) => event.type === type && 'rank' in event && event.rank === rank)!.time;
      expect(of('started')).toBe(started);
      expect(of('exited')).toBe(exited);
      expect(of('initialized')).toBe(initialized);
      expect(initialized).toBeLessThanOrEqual(barriers.times[0]!);
    }
  });

  test('does not change when stop() is called after its end', async () => {
    const job = await launch(shell('exit 0', 2));
    await job.result;
    const result = await job.stop();
    expect(result).toMatchObject({ exitCode: 0, stopped: false, ended: 0 });
    expect(describeFailure(result)).toBeUndefined();
  });

  test('is stopped at the end of the scope of `await using`', async () => {
    let kept: Job;
    {
      await using job = await launch(shell(wait, 2));
      await job.started;
      kept = job;
    }
    await expect(kept.status()).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
    expect(await kept.result).toMatchObject({ exitCode: 143, stopped: true });
  });

  /** Starts a job, and resolves once its ranks ignore TERM. */
  async function ignoringTerm(ranks: number): Promise<Job> {
    const folder = mkdtempSync(join(tmpdir(), 'launch-test-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const job = await launch(shell(`trap '' TERM; : > ready.$PMI_RANK; ${wait}`, ranks, { cwd: folder }));
    while (readdirSync(folder).length < ranks) await new Promise((resolve) => setTimeout(resolve, 10));
    return job;
  }

  test('has its ranks killed by stop() after the grace period if they ignore TERM', async () => {
    const { ranks } = await (await ignoringTerm(2)).stop({ grace: 50 });
    expect(ranks.map(({ signal }) => signal)).toEqual(['SIGKILL', 'SIGKILL']);
  });

  test('ends earlier if a second stop() shortens the grace period', async () => {
    const job = await ignoringTerm(1);
    void job.stop({ grace: 2 ** 31 - 1 });
    const { ranks } = await job.stop({ grace: 0 });
    expect(ranks.map(({ signal }) => signal)).toEqual(['SIGKILL']);
  });

  test('is stopped by an aborted signal', async () => {
    const controller = new AbortController();
    const job = await launch(shell(wait, 2, { signal: controller.signal }));
    controller.abort();
    expect(await job.result).toMatchObject({ exitCode: 143, stopped: true });
    await expect(launch(shell(wait, 2, { signal: controller.signal }))).rejects.toThrow(/abort/i);
  });

  test('passes a signal of kill() to the listed ranks', async () => {
    const job = await launch(shell(wait, 3));
    let started = 0;
    for await (const event of job.events()) if (event.type === 'started' && ++started === 3) break;
    job.kill('SIGUSR1', [2]);
    expect((await job.result).failure).toMatchObject({ reason: 'signal', rank: 2, signal: 'SIGUSR1' });
  });
});

test('kill() with an empty list of ranks signals no rank', async () => {
  const job = await launch(shell(wait, 1));
  await job.started;
  job.kill('SIGKILL', []);
  job.kill('SIGUSR1');
  expect((await job.result).failure).toMatchObject({ reason: 'signal', signal: 'SIGUSR1' });
});

test('kill() accepts a list of any length', async () => {
  const job = await launch(shell(wait, 1));
  job.kill('SIGKILL', Array<number>(100_000).fill(0));
  expect((await job.result).failure).toMatchObject({ reason: 'signal', rank: 0, signal: 'SIGKILL' });
});

test('a signal to a job that ends is no failure', async () => {
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

test('a job does not need fds of the calling process while its ranks start and end', () => {
  const caller = `
    const { launch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    launch({ program: 'true', ranks: 200, stdout: 'ignore', stderr: 'ignore' }).then(async (job) => {
      try { for (;;) require('node:fs').openSync('/dev/null'); } catch {}
      const { exitCode, ranks } = await job.result;
      console.log(JSON.stringify({ exitCode, ended: ranks.filter(({ code }) => code === 0).length }));
    });`;
  const out = execFileSync('sh', ['-c', 'ulimit -n 560; exec "$0" -e "$1"', process.execPath, caller], {
    encoding: 'utf8',
    timeout,
  });
  expect(JSON.parse(out)).toEqual({ exitCode: 0, ended: 200 });
});

test('launch() and channel() fail with ERR_PMI_FD_LIMIT if they need more fds than allowed', () => {
  const caller = `
    const { launch, PmiServer } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    const report = ({ name, code, errno, message }) => console.log(JSON.stringify({ name, code, errno, message }));
    launch({ program: 'true', ranks: 400 }).catch(report).then(async () => {
      const server = await PmiServer.listen({ size: 400 });
      const channels = [];
      try { for (let rank = 0; ; rank++) channels.push(server.channel(rank)); } catch (error) { report(error); }
      // The server still works, and has fds again.
      for (const channel of channels) channel.close();
      console.log((await server.status()).size);
      await server.close();
    });`;
  const out = execFileSync('sh', ['-c', 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, caller], {
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

describe('wrong use rejects', () => {
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
    [{ program: 'true', ranks: 2, nodes: [0, 1], hosts: ['a'] }, /nodes\[1\]: expected a whole number/],
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

/** The resources and attributes of this process. */
function resources(): { fds: number; threads: number; children: string; attributes: string } {
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
    attributes: status.match(/^(Sig(?:Pnd|Blk|Ign|Cgt).*|Umask.*|NoNewPrivs.*|Seccomp:.*)$/gm)!.join('\n'),
  };
}

describe('in the calling process', () => {
  test('100 jobs leave nothing behind', async () => {
    const one = async (pmi: 'fd' | 'tcp' | 'unix'): Promise<void> => {
      expect((await (await launch(shell('exit 0', 2, { pmi }))).result).exitCode).toBe(0);
    };
    const own = spawn('sh', ['-c', wait]);
    await one('fd');
    const before = resources();
    for (let i = 0; i < 100; i++) await one((['fd', 'tcp', 'unix'] as const)[i % 3]!);
    expect(resources()).toEqual(before);

    // Jobs do not touch other children of the process, and it still gets their exit events.
    expect(own.exitCode ?? own.signalCode).toBeNull();
    const ended = new Promise((resolve) => own.once('exit', (_, signal) => resolve(signal)));
    own.kill('SIGTERM');
    expect(await ended).toBe('SIGTERM');
  });

  test('several jobs run at the same time', async () => {
    const jobs = await Promise.all(Array.from({ length: 8 }, (_, i) => launch(shell(`exit ${i}`, 3))));
    expect(await Promise.all(jobs.map(async (job) => (await job.result).exitCode))).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7,
    ]);
  });
});

/** Starts test/integration/calling-process.cjs, a process that launches a job, and waits for the pids of the job. */
async function startCaller(
  mode: string,
): Promise<{ caller: ChildProcess; pids: number[]; end: Promise<unknown[]> }> {
  const caller = fork(join(__dirname, 'calling-process.cjs'), [mode], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const end = new Promise<unknown[]>((resolve) => caller.once('exit', (...how) => resolve(how)));
  const pids = await new Promise<number[]>((resolve) =>
    caller.once('message', (message) => resolve(message as number[])),
  );
  return { caller, pids, end };
}

/** Waits, at most two seconds, until all processes have ended. Returns those that have not. */
async function remaining(pids: readonly number[]): Promise<number[]> {
  const end = performance.now() + 2000;
  const left = (): number[] => pids.filter((pid) => existsSync(`/proc/${pid}`));
  while (left().length > 0 && performance.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return left();
}

describe('a job ends with the calling process', () => {
  test.each([
    ['exit', [7, null]],
    ['throw', [1, null]],
    ['kill', [null, 'SIGKILL']],
    ['worker', [0, null]],
    ['worker-terminate', [0, null]],
  ])('that ends by %s', async (mode, expected) => {
    const { caller, pids, end } = await startCaller(mode);
    expect(pids.length).toBeGreaterThan(2);
    caller.send('end');
    expect(await end).toEqual(expected);
    expect(await remaining(pids)).toEqual([]);
  });
});
