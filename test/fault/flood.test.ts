// A job of 64 ranks starts while thousands of connections do all they can to stop it.

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
import { needsRoot, OTHER_UID, Stranger, targetOf, type Target, type Task } from '../support/strangers';

vi.setConfig({ testTimeout: 150_000 });
const deadline = 120_000;

const ranks = 64;
/** MPICH's ranks poll while they wait, and take the processors from what is tested. */
const client = long ? 'hello' : 'raw_exchange';
const connections = 10_000;

const folder = mkdtempSync(join(tmpdir(), 'flood-'));
afterAll(() => rmSync(folder, { recursive: true }));
let gates = 0;

/** Ranks that are started, and begin when the gate, a fifo, has a writer. */
class Job {
  readonly run: Run;
  readonly #gate = join(folder, `gate-${++gates}`);

  constructor(transport: Transport, ...options: string[]) {
    execFileSync('mkfifo', [this.#gate], { timeout: deadline });
    // With PMI over unix the ranks would be connected before they wait: the shim is part of what waits.
    const shim = transport === 'unix' ? [join(__dirname, '../../build/Release/wireup-exec')] : [];
    const noShim = transport === 'unix' ? ['--no-exec-shim'] : [];
    const inner = ['sh', '-c', `: < ${this.#gate}; exec "$0" "$@"`, ...shim, program(client)];
    this.run = new Run(wireupRun(ranks, transport, ...noShim, ...options, ...inner), { deadline });
  }

  /** Where its server listens, as its ranks are told. */
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

  async begin(): Promise<void> {
    // Open for reading too, so that it waits for nobody; open to the end, for who is late.
    const gate = openSync(this.#gate, 'r+');
    const result = await this.run.done.finally(() => closeSync(gate));
    const finished = lines(result.stdout).filter((line) => line.endsWith(' ok'));
    expect(finished.sort()).toEqual(
      Array.from({ length: ranks }, (_, rank) => `${client}: rank ${rank} of ${ranks} ok`).sort(),
    );
    expect(result.code).toBe(0);
    // One line a second at most, and nothing but refusals.
    const said = toolLines(result.stderr);
    expect(said.filter((line) => !line.startsWith('wireup: refused '))).toEqual([]);
    expect(said.length).toBeLessThan(deadline / 1000);
  }
}

/** In processes of a size that any limit on open files allows. */
function crowd(task: Task, uid: number | undefined): Stranger[] {
  const each = 1000;
  const total = task.count ?? 1;
  return Array.from(
    { length: Math.ceil(total / each) },
    (_, i) => new Stranger({ ...task, count: Math.min(each, total - i * each) }, uid),
  );
}

const root = needsRoot();
const users: [string, number | undefined, boolean][] = [
  ['our own user', undefined, false],
  [`another user${root.note}`, OTHER_UID, root.missing],
];

const manners: [string, Omit<Task, 'target'>][] = [
  ['half a line and silence', { manner: 'idle', text: 'cmd=ini' }],
  ['idle connections', { manner: 'idle', count: connections }],
  ['connections that are closed at once', { manner: 'shoot', count: connections }],
  ['lines without end', { manner: 'endless', count: 4 }],
  ['random bytes', { manner: 'noise', count: 4 }],
  ['wrong guesses', { manner: 'idle', text: 'cmd=initack pmiid=0\n', count: 1000 }],
];

const compiler = needs(long ? 'mpicc' : 'cc');
describe.skipIf(compiler.missing)(`64 ranks of ${client}${compiler.note}`, () => {
  describe.each(users)('against %s', (_, uid, missing) => {
    it.skipIf(missing).each(manners)('%s, --pmi tcp', async (_, task) => {
      const job = new Job('tcp');
      const strangers = crowd({ ...task, target: await job.target() }, uid);
      try {
        // Who closes goes on meanwhile; who stays is there first.
        if (task.manner !== 'shoot') await Promise.all(strangers.map((one) => one.ready));
        await job.begin();
      } finally {
        for (const one of strangers) one[Symbol.dispose]();
      }
    });
  });

  it('all of that at once from our own user, --pmi unix', async () => {
    const job = new Job('unix');
    const target = await job.target();
    const staying = manners
      .filter(([, { manner }]) => manner !== 'shoot')
      .flatMap(([, task]) => crowd({ ...task, target }, undefined));
    const passing = manners
      .filter(([, { manner }]) => manner === 'shoot')
      .flatMap(([, task]) => crowd({ ...task, target }, undefined));
    try {
      await Promise.all(staying.map((one) => one.ready));
      await job.begin();
    } finally {
      for (const one of [...staying, ...passing]) one[Symbol.dispose]();
    }
  });
});
