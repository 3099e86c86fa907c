// A job of 64 ranks starts while thousands of connections attack its server.

import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, toolLines, wireupRun, type Transport } from '../support/run';
import {
  needsRoot,
  OTHER_UID,
  HostileClient,
  targetOf,
  type Target,
  type Task,
} from '../support/hostile-clients';

vi.setConfig({ testTimeout: 150_000 });
const deadline = 120_000;

const ranks = 64;
/** MPICH's ranks poll while they wait, and so take the processors from what is tested. */
const client = long ? 'hello' : 'raw_exchange';
const connections = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'flood-'));
afterAll(() => rmSync(folder, { recursive: true }));
let gates = 0;

/** A job whose ranks begin when a fifo, the gate, has a writer. */
class Job {
  readonly run: Run;
  readonly #gate = join(folder, `gate-${++gates}`);

  constructor(transport: Transport, ...options: string[]) {
    execFileSync('mkfifo', [this.#gate], { timeout: deadline });
    // With --pmi unix the wrapper wireup-exec would connect before the gate, so it is started behind the gate.
    const shim = transport === 'unix' ? [join(__dirname, '../../build/Release/wireup-exec')] : [];
    const noShim = transport === 'unix' ? ['--no-exec-shim'] : [];
    const inner = ['sh', '-c', `: < ${this.#gate}; exec "$0" "$@"`, ...shim, program(client)];
    this.run = new Run(wireupRun(ranks, transport, ...noShim, ...options, ...inner), { deadline });
  }

  /** The address of the job's server, read from the environment of a rank. */
  async target(): Promise<Target> {
    let port: string | undefined;
    const look = (): boolean => {
      for (const { pid, name } of this.run.processes()) {
        if (name !== 'sh') continue;
        const variables = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
        port ??= variables.find((variable) => variable.startsWith('PMI_PORT='))?.slice('PMI_PORT='.length);
      }
      return port !== undefined;
    };
    expect(await eventually(look, 30_000)).toBe(true);
    return targetOf(port!.includes('://') ? port! : `tcp://${port}`);
  }

  async openGate(): Promise<void> {
    // O_RDWR does not wait for a reader. The fd stays open until the end, for ranks that open the fifo late.
    const gate = openSync(this.#gate, 'r+');
    const result = await this.run.done.finally(() => closeSync(gate));
    const finished = lines(result.stdout).filter((line) => line.endsWith(' ok'));
    expect(finished.sort()).toEqual(
      Array.from({ length: ranks }, (_, rank) => `${client}: rank ${rank} of ${ranks} ok`).sort(),
    );
    expect(result.code).toBe(0);
    // At most one line a second, and only about refused connections.
    const reports = toolLines(result.stderr);
    expect(reports.filter((line) => !line.startsWith('wireup: refused '))).toEqual([]);
    expect(reports.length).toBeLessThan(deadline / 1000);
  }
}

/** Distributes the connections over processes, because of the limit on open files. */
function startClients(task: Task, uid: number | undefined): HostileClient[] {
  const perProcess = 1000;
  const total = task.count ?? 1;
  return Array.from(
    { length: Math.ceil(total / perProcess) },
    (_, i) => new HostileClient({ ...task, count: Math.min(perProcess, total - i * perProcess) }, uid),
  );
}

const root = needsRoot();
const users: [string, number | undefined, boolean][] = [
  ['the same user', undefined, false],
  [`another user${root.note}`, OTHER_UID, root.missing],
];

const attacks: [string, Omit<Task, 'target'>][] = [
  ['an incomplete line', { behaviour: 'idle', text: 'cmd=ini' }],
  ['idle connections', { behaviour: 'idle', count: connections }],
  ['connections that are closed at once', { behaviour: 'send and close', count: connections }],
  ['endless lines', { behaviour: 'endless', count: 4 }],
  ['random bytes', { behaviour: 'noise', count: 4 }],
  ['wrong guesses', { behaviour: 'idle', text: 'cmd=initack pmiid=0\n', count: 1000 }],
];

const compiler = needs(long ? 'mpicc' : 'cc');
describe.skipIf(compiler.missing)(`64 ranks of ${client} connect and finish${compiler.note}`, () => {
  describe.each(users)('while connections of %s attack', (_, uid, missing) => {
    it.skipIf(missing).each(attacks)('with %s, over --pmi tcp', async (_, task) => {
      const job = new Job('tcp');
      const clients = startClients({ ...task, target: await job.target() }, uid);
      try {
        // Transient connections continue during the job. Persistent ones are established before it begins.
        if (task.behaviour !== 'send and close') await Promise.all(clients.map((one) => one.ready));
        await job.openGate();
      } finally {
        for (const one of clients) one[Symbol.dispose]();
      }
    });
  });

  it('while the same user attacks with all of these at once, over --pmi unix', async () => {
    const job = new Job('unix');
    const target = await job.target();
    const persistent = attacks
      .filter(([, { behaviour }]) => behaviour !== 'send and close')
      .flatMap(([, task]) => startClients({ ...task, target }, undefined));
    const transient = attacks
      .filter(([, { behaviour }]) => behaviour === 'send and close')
      .flatMap(([, task]) => startClients({ ...task, target }, undefined));
    try {
      await Promise.all(persistent.map((one) => one.ready));
      await job.openGate();
    } finally {
      for (const one of [...persistent, ...transient]) one[Symbol.dispose]();
    }
  });
});
