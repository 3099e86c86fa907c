/** A launch whose agent was started ahead. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launch, prepareLaunch } from '../../dist/index.js';
import { installed } from '../support/installed';
import { eventually } from '../support/processes';
import { run } from '../support/run';

const timeout = 50_000;
const patience = 10_000;

/** The agents that are children of this process: of any of its threads. */
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

/** Starts an agent ahead; returns its process id. */
async function prepare(): Promise<number> {
  const before = agents();
  prepareLaunch();
  const more = (): number[] => agents().filter((pid) => !before.includes(pid));
  expect(await eventually(() => more().length === 1, patience)).toBe(true);
  return more()[0]!;
}

/** The agents that there are while a job runs. */
async function agentsDuring(options: Partial<Parameters<typeof launch>[0]> = {}): Promise<number[]> {
  const job = await launch({ program: 'sleep', args: ['1000'], ranks: 1, ...options });
  await job.started;
  const pids = agents();
  await job.stop();
  await job.result;
  return pids;
}

describe('prepareLaunch()', () => {
  test('the next launch has its agent, and the one after that has another', async () => {
    const prepared = await prepare();
    expect(await agentsDuring()).toEqual([prepared]);
    expect(agents()).toEqual([]);
    const next = await agentsDuring();
    expect(next).toHaveLength(1);
    expect(next).not.toContain(prepared);
  });

  test('one that was killed meanwhile is started by the launch', async () => {
    const prepared = await prepare();
    process.kill(prepared, 'SIGKILL');
    expect(await eventually(() => !existsSync(`/proc/${prepared}`), patience)).toBe(true);
    const own = await agentsDuring();
    expect(own).toHaveLength(1);
    expect(own).not.toContain(prepared);
  });

  test('a launch that it does not fit starts its own, and leaves it to the next', async () => {
    const prepared = await prepare();
    const both = await agentsDuring({ stdout: 'pipe' });
    expect(both).toHaveLength(2);
    expect(both).toContain(prepared);
    // What was not known when it was started is said to it.
    const job = await launch({
      program: 'grep',
      args: ['Sig[IB]', '/proc/self/status'],
      ranks: 1,
      stdout: 'pipe-per-rank',
      ignoredSignals: ['SIGHUP', 64],
      blockedSignals: ['SIGINT'],
    });
    let said = '';
    for await (const chunk of job.rankStdout![0]!) said += chunk;
    expect(said).toBe('SigBlk:\t0000000000000002\nSigIgn:\t8000000000000001\n');
    await job.result;
    expect(agents()).toEqual([]);
  });

  test('a second call changes nothing', async () => {
    const first = await prepare();
    prepareLaunch();
    expect(await agentsDuring({ ignoredSignals: ['SIGHUP'] })).toEqual([first]);
    expect(agents()).toEqual([]);
  });

  test('after a change of folder, umask or group it is not used', () => {
    const owner = `
      const { launch, prepareLaunch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
      const show = async () => {
        const job = await launch({ program: 'sh', args: ['-c', 'echo $(pwd) $(umask) $(id -g)'], ranks: 1, stdout: 'pipe-per-rank' });
        for await (const chunk of job.rankStdout[0]) process.stdout.write(chunk);
        await job.result;
      };
      void (async () => {
        for (const change of [() => process.chdir('/'), () => process.umask(0o077), () => process.geteuid() === 0 && process.setgid(65534)]) {
          prepareLaunch();
          change();
          await show();
        }
      })();`;
    const group = process.getegid!();
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', owner], {
      cwd: '/tmp',
      encoding: 'utf8',
      timeout,
    });
    expect(stderr).toBe('');
    const mask = process.umask().toString(8).padStart(4, '0');
    expect(stdout).toBe(
      `/ ${mask} ${group}\n/ 0077 ${group}\n/ 0077 ${process.geteuid!() === 0 ? 65534 : group}\n`,
    );
  });

  test('it keeps no process alive, and ends with it', async () => {
    const owner = `
      const { prepareLaunch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
      prepareLaunch();
      const children = () => require('node:fs').readdirSync('/proc/self/task')
        .flatMap((thread) => require('node:fs').readFileSync('/proc/self/task/' + thread + '/children', 'latin1').split(' ').filter(Boolean));
      const look = () => children().length > 0 ? console.log(children().join(' ')) : setImmediate(look);
      look();`;
    const [prepared] = execFileSync(process.execPath, ['-e', owner], { encoding: 'utf8', timeout })
      .trim()
      .split(' ')
      .map(Number);
    expect(await eventually(() => !existsSync(`/proc/${prepared}`), patience)).toBe(true);
  });

  test.each([[[] as string[]], [[installed('nohup')]]])(
    'the tool has one agent, and has it by this (%j)',
    async (before) => {
      // The rank's parent is the agent, whose parent is the guard, the child of the tool.
      const script = 'up() { ps -o ppid= -p $1 | tr -d " "; }; ps -o comm= --ppid $(up $(up $PPID))';
      const tool = join(__dirname, '../../dist/wireup');
      const result = await run([...before, tool, 'run', '-n', '1', 'sh', '-c', script]);
      expect(result).toMatchObject({ code: 0, stdout: 'wireup-agent\n' });
    },
  );
});
