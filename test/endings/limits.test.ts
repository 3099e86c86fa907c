// Limits of time: of the job, of its start, and between TERM and KILL.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';
import { Run, run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'limits-'));
afterAll(() => rmSync(folder, { recursive: true }));

const deadline = 55_000;

const compiler = needs('cc');

describe('limits of time', () => {
  it.each([
    ['-t 0.5', ['-t', '0.5'], {}],
    ['MPIEXEC_TIMEOUT', [], { MPIEXEC_TIMEOUT: '0.5' }],
  ] as [string, string[], Record<string, string>][])('%s', async (_, options, environment) => {
    const result = await run(wireupRun(2, 'fd', ...options, 'sleep', '1000'), { environment });
    expect(result.code).toBe(124);
    // Whoever has been started by then.
    expect(toolLines(result.stderr)[0]).toMatch(
      /^wireup: the job exceeded its time limit of 0\.5 s(; 1 rank was ended|; 2 ranks were ended)?$/,
    );
  });

  it.each([
    ['2592000', 0],
    ['99999999999999999999', 0],
    ['0', 0],
    ['', 0],
    ['-1', 2],
    ['x', 2],
    ['1e3', 2],
  ])("MPIEXEC_TIMEOUT='%s': exit code %d", async (text, code) => {
    const result = await run(wireupRun(1, 'fd', 'true'), { environment: { MPIEXEC_TIMEOUT: text } });
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(
      code === 0
        ? /^$/
        : /^wireup: MPIEXEC_TIMEOUT=\S+: expected a positive number of seconds, or 0 for no limit \(see --help\)\n$/,
    );
  });

  it('a month is a limit', async () => {
    expect(
      (await run(wireupRun(1, 'fd', '-t', '2592000', '--startup-timeout', '2592000', 'true'))).code,
    ).toBe(0);
  });

  it.each(['0', '-1', 'x', '', '1e3', '9999999999'])("-t '%s' is wrong use", async (text) => {
    expect((await run(wireup('run', '-t', text, 'true'))).code).toBe(2);
    expect((await run(wireup('run', '--startup-timeout', text, 'true'))).code).toBe(2);
  });

  /** A job that is being ended: its rank has said INT, and TERM when it has heard that. */
  async function ending(killTimeout: string, onTerm: string, ...options: string[]): Promise<Run> {
    const script = `trap 'echo INT' INT; trap '${onTerm}' TERM; echo ready; while :; do sleep 0.05; done`;
    const job = new Run(wireupRun(1, 'fd', '--kill-timeout', killTimeout, ...options, 'sh', '-c', script), {
      deadline,
    });
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout === 'ready\nINT\n');
    job.kill('SIGINT');
    return job;
  }

  it('--kill-timeout: KILL for who does not obey TERM', async () => {
    const file = join(folder, 'killed.json');
    const job = await ending('0.2', '', '--result', file);
    expect((await job.done).code).toBe(130);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ ranks: [{ signal: 'SIGKILL' }] });
  });

  it('--kill-timeout: all that time for who needs it', async () => {
    // By the rank's own count this is longer than the five seconds that it has by default, and never shorter.
    const job = await ending('1000', 'for i in $(seq 110); do sleep 0.05; done; echo done; exit 0');
    expect(await job.done).toMatchObject({ code: 130, stdout: 'ready\nINT\ndone\n' });
  });

  it.skipIf(compiler.missing)(`--startup-timeout does not end what is wired up${compiler.note}`, async () => {
    const job = new Run(
      wireupRun(2, 'fd', '--startup-timeout', '5', '-t', '6', program('raw_stage'), 'running'),
    );
    const result = await job.done;
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)[0]).toMatch(/exceeded its time limit of 6 s/);
  });
});
