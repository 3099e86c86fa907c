// The time limits of a job, of its startup, and between TERM and KILL.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';
import { places, Run, run, toolLines, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'limits-'));
afterAll(() => rmSync(folder, { recursive: true }));

const deadline = 55_000;

const compiler = needs('cc');

/**
 * Starts a job whose rank prints INT and runs `onTerm`, and ends it with two INT. The second comes after the first is
 * handled.
 */
async function interruptTwice(killTimeout: string, onTerm: string, ...options: string[]): Promise<Run> {
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

describe.each(places)('the time limits %s', (_, place) => {
  it.each([
    ['-t 0.5', ['-t', '0.5'], {}],
    ['MPIEXEC_TIMEOUT', [], { MPIEXEC_TIMEOUT: '0.5' }],
  ] as [string, string[], Record<string, string>][])(
    '%s ends the job with exit code 124',
    async (_, options, environment) => {
      const result = await run(wireupRun(2, 'fd', ...place, ...options, 'sleep', '1000'), { environment });
      expect(result.code).toBe(124);
      // Not all ranks may have been started by then.
      expect(toolLines(result.stderr)[0]).toMatch(
        /^wireup: the job exceeded its time limit of 0\.5 s(; 1 rank was ended|; 2 ranks were ended)?$/,
      );
    },
  );

  it('after --kill-timeout, KILL ends a rank that ignores TERM', async () => {
    const file = join(folder, 'killed.json');
    const job = await interruptTwice('0.2', '', ...place, '--result', file);
    expect((await job.done).code).toBe(130);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ ranks: [{ signal: 'SIGKILL' }] });
  });
});

describe('the time limits', () => {
  it.each([
    ['2592000', 0],
    ['99999999999999999999', 0],
    ['0', 0],
    ['', 0],
    ['-1', 2],
    ['x', 2],
    ['1e3', 2],
  ])("MPIEXEC_TIMEOUT='%s' gives exit code %d", async (text, code) => {
    const result = await run(wireupRun(1, 'fd', 'true'), { environment: { MPIEXEC_TIMEOUT: text } });
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(
      code === 0
        ? /^$/
        : /^wireup: MPIEXEC_TIMEOUT=\S+: expected a positive number of seconds, or 0 for no limit \(see --help\)\n$/,
    );
  });

  it('a limit may be a month', async () => {
    expect(
      (await run(wireupRun(1, 'fd', '-t', '2592000', '--startup-timeout', '2592000', 'true'))).code,
    ).toBe(0);
  });

  it.each(['0', '-1', 'x', '', '1e3', '9999999999'])("-t '%s' is wrong use", async (text) => {
    expect((await run(wireup('run', '-t', text, 'true'))).code).toBe(2);
    expect((await run(wireup('run', '--startup-timeout', text, 'true'))).code).toBe(2);
  });

  it('a rank may use the whole --kill-timeout', async () => {
    // The rank counts 5.5 s or more, which is longer than the default of 5 s.
    const job = await interruptTwice('1000', 'for i in $(seq 110); do sleep 0.05; done; echo done; exit 0');
    expect(await job.done).toMatchObject({ code: 130, stdout: 'ready\nINT\ndone\n' });
  });

  it.skipIf(compiler.missing)(
    `--startup-timeout does not end a job that has started up${compiler.note}`,
    async () => {
      const job = new Run(
        wireupRun(2, 'fd', '--startup-timeout', '5', '-t', '6', program('raw_stage'), 'running'),
      );
      const result = await job.done;
      expect(result.code).toBe(124);
      expect(toolLines(result.stderr)[0]).toMatch(/exceeded its time limit of 6 s/);
    },
  );
});
