/** A launch whose agent was started ahead. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { launch, PmiError, prepareLaunch } from '../../dist/index.js';
import { eventually } from '../interop/helpers';

const timeout = 50_000;
const patience = 10_000;

/** The agents that are children of this process: of any of its threads. */
function agents(): number[] {
  return readdirSync('/proc/self/task')
    .flatMap((thread) => readFileSync(`/proc/self/task/${thread}/children`, 'latin1').split(' ').filter((word) => word !== '').map(Number))
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'latin1') === 'wireup-agent\n');
}

/** Starts an agent ahead; returns its process id. */
async function prepare(options?: Parameters<typeof prepareLaunch>[0]): Promise<number> {
  const before = agents();
  prepareLaunch(options);
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
    const prepared = await prepare({ ignoredSignals: ['SIGHUP'] });
    for (const options of [{}, { stdout: 'pipe', ignoredSignals: ['SIGHUP'] }] as const) {
      const both = await agentsDuring(options);
      expect(both).toHaveLength(2);
      expect(both).toContain(prepared);
    }
    const job = await launch({ program: 'grep', args: ['SigIgn', '/proc/self/status'], ranks: 1, stdout: 'pipe-per-rank', ignoredSignals: ['SIGHUP'] });
    let said = '';
    for await (const chunk of job.rankStdout![0]!) said += chunk;
    expect(said).toMatch(/^SigIgn:\s+0+1\n$/);
    await job.result;
    expect(agents()).toEqual([]);
  });

  test('a second call has the last word', async () => {
    const first = await prepare();
    prepareLaunch();
    expect(await eventually(() => !existsSync(`/proc/${first}`), patience)).toBe(true);
    expect(await eventually(() => agents().length === 1, patience)).toBe(true);
    expect(await agentsDuring()).toHaveLength(1);
    expect(agents()).toEqual([]);
  });

  test('it keeps no process alive, and ends with it', async () => {
    const owner = `
      const { prepareLaunch } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
      prepareLaunch();
      const children = () => require('node:fs').readdirSync('/proc/self/task')
        .flatMap((thread) => require('node:fs').readFileSync('/proc/self/task/' + thread + '/children', 'latin1').split(' ').filter(Boolean));
      const look = () => children().length > 0 ? console.log(children().join(' ')) : setImmediate(look);
      look();`;
    const [prepared] = execFileSync(process.execPath, ['-e', owner], { encoding: 'utf8', timeout }).trim().split(' ').map(Number);
    expect(await eventually(() => !existsSync(`/proc/${prepared}`), patience)).toBe(true);
  });

  test('wrong use', () => {
    expect(() => prepareLaunch({ ignoredSignals: ['HUP' as NodeJS.Signals] })).toThrow(PmiError);
    expect(() => prepareLaunch({ pmi: 'fd' } as never)).toThrow(/pmi/);
  });
});
