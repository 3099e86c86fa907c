// How much memory the agent of the tool's host needs while it releases a barrier with many keys to all other hosts.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { srunJob } from '../support/fake-srun';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { eventually, parentOf, variableOf, type Process } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, wireup } from '../support/run';

vi.setConfig({ testTimeout: 250_000 });
/** In milliseconds, for a busy machine. The ranks live no longer either. */
const deadline = 115_000;

const folder = mkdtempSync(join(tmpdir(), 'tree-memory-'));
afterAll(() => rmSync(folder, { recursive: true }));

const hostCount = 32;
const valuesPerRank = long ? 2048 : 256;
/** The keys and values of all ranks, in bytes. */
const space = hostCount * valuesPerRank * 1010;

/** In bytes. */
const memoryOf = ({ pid }: Process, field: 'VmHWM' | 'VmRSS'): number =>
  1024 *
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);

/** Waits until the root has the keys of all hosts but one, and returns its memory in bytes. */
async function memoryWithFences(root: Process): Promise<number> {
  let last = 0;
  let still = 0;
  const isThere = await eventually(() => {
    const now = memoryOf(root, 'VmRSS');
    still = now === last && now > (space / hostCount) * (hostCount - 1) ? still + 1 : 0;
    last = now;
    return still === 30;
  }, deadline);
  expect(isThere).toBe(true);
  return last;
}

/** The guards and agents of a job. */
function agentsOf(job: Run): { root: Process; others: Process[] } {
  const agents = job.processes().filter(({ name }) => name === 'wireup-agent');
  const guard = agents.find((agent) => parentOf(agent) === job.pid)!;
  const root = agents.find((agent) => parentOf(agent) === guard.pid)!;
  return { root, others: agents.filter((agent) => agent !== guard && agent !== root) };
}

/** Stops the agents of all hosts but that of rank 0. Their guards, which would kill them, are stopped before. */
function stopAgents(job: Run, agents: readonly Process[]): { continueAll: () => void } {
  const first = job.processes().find((process) => variableOf(process, 'PMI_RANK') === '0')!;
  const kept = agents.find(({ pid }) => pid === parentOf(first))!;
  const pids = new Set(agents.map(({ pid }) => pid));
  const isGuard = (agent: Process): boolean => !pids.has(parentOf(agent)!);
  const stopped = agents.filter((agent) => agent !== kept && agent.pid !== parentOf(kept));
  // Guards first, and agents first when they go on.
  stopped.sort((a, b) => Number(isGuard(b)) - Number(isGuard(a)));
  for (const { pid } of stopped) process.kill(pid, 'SIGSTOP');
  return {
    continueAll: () => {
      for (const { pid } of stopped.reverse()) process.kill(pid, 'SIGCONT');
    },
  };
}

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`the agent with ${hostCount} hosts below it${compiler.note}`, () => {
  it.each(['byte streams', 'byte streams to hosts that do not read', 'ZeroMQ'])('over %s', async (links) => {
    const gate = mkdtempSync(join(folder, 'gate-'));
    const ranks = [program('raw_store'), `${valuesPerRank}`, gate];
    const { words, environment } =
      links === 'ZeroMQ'
        ? srunJob(folder, { count: hostCount, ranksPerHost: 1 }, ...ranks)
        : {
            words: wireup('run', '--launcher', 'fork', '--hosts', `m[1-${hostCount}]`, ...ranks),
            environment: {},
          };
    const job = new Run(words, { deadline, environment });

    await job.untilPlaces(new RegExp(`in barrier 0: 1-${hostCount - 1}; missing: 0$`, 'm'));
    const agents = agentsOf(job);
    const before = await memoryWithFences(agents.root);
    const stopped = links.includes('do not read') ? stopAgents(job, agents.others) : undefined;
    writeFileSync(join(gate, 'enter'), '');
    await job.until(({ stdout }) => stdout !== '');
    stopped?.continueAll();
    await job.until(({ stdout }) => lines(stdout).length === hostCount);
    const gained = memoryOf(agents.root, 'VmHWM') - before;
    writeFileSync(join(gate, 'end'), '');
    expect(await job.done).toMatchObject({ code: 0 });
    console.log(
      `${links}: ${(space / 1e6).toFixed(0)} MB of keys; root ${(before / 1e6).toFixed(0)} MB before the release, ${(gained / 1e6).toFixed(0)} MB more during it`,
    );
    // The keys of all hosts once more, and what may wait on each link: kMaxUnsentRelease, a part, and in libzmq kZmqWindow
    // with what it adds.
    expect(gained).toBeLessThan(2 * space + hostCount * 2e6);
  });
});
