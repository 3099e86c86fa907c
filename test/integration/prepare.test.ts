/** A launch whose agent was started in advance. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launch, prepareLaunch } from '../../dist/index.js';
import { installed } from '../support/installed';
import { eventually } from '../support/processes';
import { run } from '../support/run';

/** In milliseconds. */
const timeout = 50_000;
const waitTimeout = 10_000;

/** The agents that are children of any thread of this process. */
function agents(): number[] {
  return readdirSync('/proc/self/task')
    .flatMap((thread) =>
      readFileSync(`/proc/self/task/${thread}/children`, 'latin1')
        .split(' ')
        .filter((word) => word !== '')
        .map(Number),
    )
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'latin1') === 'wireup-agent\n');
}

/** Starts an agent in advance; returns its pid. */
async function prepare(): Promise<number> {
  const before = agents();
  prepareLaunch();
  const more = (): number[] => agents().filter((pid) => !before.includes(pid));
  expect(await eventually(() => more().length === 1, waitTimeout)).toBe(true);
  return more()[0]!;
}

/** The agents of this process while a job runs. */
async function agentsDuring(options: Partial<Parameters<typeof launch>[0]> = {}): Promise<number[]> {
  const job = await launch({ program: 'sleep', args: ['1000'], ranks: 1, ...options });
  await job.started;
  const pids = agents();
  await job.stop();
  await job.result;
  return pids;
}

describe('prepareLaunch()', () => {
  test('the next launch uses the agent, and the launch after that another one', async () => {
    const prepared = await prepare();
    expect(await agentsDuring()).toEqual([prepared]);
    expect(agents()).toEqual([]);
    const next = await agentsDuring();
    expect(next).toHaveLength(1);
    expect(next).not.toContain(prepared);
  });

  test('a launch starts an agent itself if the prepared one was killed', async () => {
    const prepared = await prepare();
    process.kill(prepared, 'SIGKILL');
    expect(await eventually(() => !existsSync(`/proc/${prepared}`), waitTimeout)).toBe(true);
    const own = await agentsDuring();
    expect(own).toHaveLength(1);
    expect(own).not.toContain(prepared);
  });

  test('a launch that cannot use the agent starts its own, and the next launch uses the prepared one', async () => {
    const prepared = await prepare();
    const both = await agentsDuring({ stdout: 'pipe' });
    expect(both).toHaveLength(2);
    expect(both).toContain(prepared);
    // The agent gets these options with the launch, although they were unknown when it was started.
    const job = await launch({
      program: 'grep',
      args: ['Sig[IB]', '/proc/self/status'],
      ranks: 1,
      stdout: 'pipe-per-rank',
      ignoredSignals: ['SIGHUP', 64],
      blockedSignals: ['SIGINT'],
    });
    let output = '';
    for await (const chunk of job.rankStdout![0]!) output += String(chunk);
    expect(output).toBe('SigBlk:\t0000000000000002\nSigIgn:\t8000000000000001\n');
    await job.result;
    expect(agents()).toEqual([]);
  });

  test('a second call has no effect', async () => {
    const first = await prepare();
    prepareLaunch();
    expect(await agentsDuring({ ignoredSignals: ['SIGHUP'] })).toEqual([first]);
    expect(agents()).toEqual([]);
  });

  test('the agent is not used after a change of folder, umask or group', () => {
    const caller = `
      const { launch, prepareLaunch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
      const printAttributes = async () => {
        const job = await launch({ program: 'sh', args: ['-c', 'echo $(pwd) $(umask) $(id -g)'], ranks: 1, stdout: 'pipe-per-rank' });
        for await (const chunk of job.rankStdout[0]) process.stdout.write(chunk);
        await job.result;
      };
      void (async () => {
        for (const change of [() => process.chdir('/'), () => process.umask(0o077), () => process.geteuid() === 0 && process.setgid(65534)]) {
          prepareLaunch();
          change();
          await printAttributes();
        }
      })();`;
    const group = process.getegid!();
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', caller], {
      cwd: '/tmp',
      encoding: 'utf8',
      timeout,
    });
    expect(stderr).toBe('');
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the test starts no thread that could create a file
    const mask = process.umask().toString(8).padStart(4, '0');
    expect(stdout).toBe(
      `/ ${mask} ${group}\n/ 0077 ${group}\n/ 0077 ${process.geteuid!() === 0 ? 65534 : group}\n`,
    );
  });

  test('the agent does not keep the process alive, and ends with it', async () => {
    const caller = `
      const { prepareLaunch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
      prepareLaunch();
      const children = () => require('node:fs').readdirSync('/proc/self/task')
        .flatMap((thread) => require('node:fs').readFileSync('/proc/self/task/' + thread + '/children', 'latin1').split(' ').filter(Boolean));
      const look = () => children().length > 0 ? console.log(children().join(' ')) : setImmediate(look);
      look();`;
    const [prepared] = execFileSync(process.execPath, ['-e', caller], { encoding: 'utf8', timeout })
      .trim()
      .split(' ')
      .map(Number);
    expect(await eventually(() => !existsSync(`/proc/${prepared}`), waitTimeout)).toBe(true);
  });

  test.each([[[] as string[]], [[installed('nohup')]]])(
    'the wireup command started by %j has only the prepared agent',
    async (before) => {
      // The parent of the rank is the agent, whose parent is the guard, which is a child of the command.
      const script = 'up() { ps -o ppid= -p $1 | tr -d " "; }; ps -o comm= --ppid $(up $(up $PPID))';
      const tool = join(__dirname, '../../dist/wireup');
      const result = await run([...before, tool, 'run', '-n', '1', 'sh', '-c', script]);
      expect(result).toMatchObject({ code: 0, stdout: 'wireup-agent\n' });
    },
  );
});
