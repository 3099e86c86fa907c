// `wireup run` reports the states of the ranks and those that are missing from a barrier, on request and when the job ends.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { describeFailure, launch } from '../../dist/index.js';
import { needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, places, Run, run, toolLines, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'missing-ranks-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** In milliseconds: how long to wait for an event, and for the end of a run, on a busy machine. */
const waitTimeout = 20_000;
const deadline = 55_000;

/** Requests reports until one of them is this line. */
async function untilReported(job: Run, line: string): Promise<void> {
  const request = (): boolean => {
    job.kill('SIGURG');
    return lines(job.stderr).includes(line);
  };
  expect(await eventually(request, waitTimeout), job.stderr).toBe(true);
}
const mpich = needs('mpicc');
const compiler = needs('cc');

describe.skipIf(mpich.missing)(`a job whose other ranks wait in MPI_Init${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(['exit 0', 'sleep 1000 & exit 0'])(
      'fails and names the missing rank, which ran "%s"',
      async (end) => {
        const script = `if [ "$PMI_RANK" = 1 ]; then ${end}; fi; exec "$0"`;
        // The time limit is 50 s. Its exit code, 124, would show that it ended the job.
        const result = await run(wireupRun(4, transport, '-t', '50', 'sh', '-c', script, program('hello')), {
          deadline,
        });
        expect(result.code).toBe(1);
        expect(toolLines(result.stderr)).toEqual([
          expect.stringMatching(
            /rank 1 \(pid \d+, sh, before PMI init\) on \S+ exited with code 0 while others wait in PMI barrier 0: [0-3,-]+; missing: 1; 3 other ranks were ended$/,
          ),
        ]);
      },
    );
  });

  it('a failure names all ranks that have exited or are missing', async () => {
    const go = join(folder, 'several');
    const script = `case $PMI_RANK in
      0) until [ -e ${go} ]; do sleep 0.01; done; exec "$0";;
      3) exec tail -f /dev/null;;
      *) exit 0;; esac`;
    const job = await launch({
      program: 'sh',
      args: ['-c', script, program('hello')],
      ranks: 5,
      stdout: 'ignore',
      stderr: 'ignore',
      timeout: deadline,
    });
    let left = 0;
    for await (const event of job.events())
      if (event.type === 'exited' && ++left === 3) writeFileSync(go, '');
    const result = await job.result;
    expect(result.exitCode).toBe(1);
    expect(describeFailure(result)).toMatch(
      / in PMI barrier 0: 0; missing: 1-2,4; 2 other ranks were ended$/,
    );
  });

  it('--startup-timeout ends a job in which a rank runs without calling MPI_Init', async () => {
    const script = 'if [ "$PMI_RANK" = 1 ]; then exec sleep 1000; fi; exec "$0"';
    const result = await run(
      wireupRun(3, 'tcp', '--startup-timeout', '3', 'sh', '-c', script, program('hello')),
    );
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)).toEqual([
      'wireup: not all ranks completed PMI init and their first barrier within 3 s; 3 ranks were ended',
      // How many of the others have connected by then depends on the machine.
      expect.stringMatching(/^wireup: never connected: (1|0-1|1-2|0-2)(;|$)/),
      expect.stringMatching(
        /^wireup: (.*; )?rank 1 \(\S+, pid \d+\) waits in \w*nanosleep\(\), no PMI connection(;|$)/,
      ),
    ]);
  });

  it('with --on-early-exit wait the other ranks go on waiting', async () => {
    const script = 'if [ "$PMI_RANK" = 1 ]; then exit 0; fi; exec "$0"';
    const job = new Run(wireupRun(3, 'fd', '--on-early-exit', 'wait', 'sh', '-c', script, program('hello')), {
      deadline,
    });
    await untilReported(job, 'wireup: 3 ranks: initialized: 0,2; left PMI: 1; in barrier 0: 0,2; missing: 1');
    job.kill('SIGTERM');
    const { code, stderr } = await job.done;
    expect(code).toBe(143);
    expect(stderr).not.toMatch(/while others wait/);
  });

  it('a rank that finalizes while the others wait in a barrier fails the job', async () => {
    const result = await run(wireupRun(3, 'fd', '-t', '50', program('raw_leave'), '1'), { deadline });
    expect(result.code).toBe(1);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(
        /rank 1 \(.*, past PMI finalize\) on \S+ left PMI while others wait in PMI barrier 1: .*; missing: 1; /,
      ),
    ]);
  });
});

describe.skipIf(compiler.missing).each(places)(`the states of the ranks %s${compiler.note}`, (_, place) => {
  const script =
    'case $PMI_RANK in 0) echo sleeping; exec sleep 1000;; 1) exec "$0" connected;; *) exec "$0" first-barrier;; esac';

  it('are reported on SIGURG', async () => {
    const job = new Run(wireupRun(4, 'tcp', ...place, 'sh', '-c', script, program('raw_stage')));
    await job.until(() => lines(job.stdout).length === 4);
    const places =
      'wireup: 4 ranks: never connected: 0; connected, no init: 1; initialized: 2-3; in barrier 0: 2-3; missing: 0-1';
    // The server may not have read the last requests of ranks 2 and 3 yet.
    await untilReported(job, places);
    job.kill('SIGTERM');
    expect((await job.done).code).toBe(143);
  });

  it('are reported when --startup-timeout ends the job', async () => {
    const result = await run(
      wireupRun(4, 'tcp', ...place, '--startup-timeout', '5', 'sh', '-c', script, program('raw_stage')),
    );
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)).toEqual([
      'wireup: not all ranks completed PMI init and their first barrier within 5 s; 4 ranks were ended',
      'wireup: never connected: 0; connected, no init: 1; initialized: 2-3; in barrier 0: 2-3; missing: 0-1',
      expect.stringMatching(
        /^wireup: rank 0 \(\S+, pid \d+\) waits in \w*nanosleep\(\), no PMI connection; rank 1 \(\S+, pid \d+\) waits in \w+\(\), no PMI init$/,
      ),
    ]);
  });
});
