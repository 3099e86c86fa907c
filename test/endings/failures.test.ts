// A rank that fails: the others are ended (each run fails if a process outlives `wireup`), the exit code is that of the rank,
// and one line on stderr names the rank and the reason.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, run, toolLines, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** In milliseconds: the deadlines of what is not timed here, on a busy machine. */
const patience = 20_000;
const deadline = 55_000;

const folder = mkdtempSync(join(tmpdir(), 'failures-'));
afterAll(() => rmSync(folder, { recursive: true }));

// One line names the rank that failed first. The ranks that were ended because of it are not named.
function expectBlamed(stderr: string, reason: RegExp): void {
  const said = toolLines(stderr);
  expect(
    said.filter((line) => reason.test(line)),
    stderr,
  ).toHaveLength(1);
  expect(
    said.filter((line) => /\brank [023]\b/.test(line)),
    stderr,
  ).toEqual([]);
}

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`MPI programs${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it('exits non-zero before finalize', async () => {
      const result = await run(wireupRun(4, transport, program('exit_before_finalize'), '1', '3'));
      expect(result.code).toBe(3);
      expectBlamed(result.stderr, /\brank 1\b.*\bcode 3\b/);
    });

    it('exits with 0 before finalize', async () => {
      const result = await run(wireupRun(4, transport, program('exit_before_finalize'), '1', '0'));
      expect(result.code).toBe(1);
      expectBlamed(result.stderr, /\brank 1\b.*\bfinalize/);
    });

    it('exits non-zero after finalize, while others run', async () => {
      const result = await run(
        wireupRun(4, transport, program('exit_code_after_finalize'), '1', '4', 'wait'),
      );
      expect(result.code).toBe(4);
      expectBlamed(result.stderr, /\brank 1\b.*\bcode 4\b/);
    });

    it('exits non-zero after finalize, like all others with 0', async () => {
      const result = await run(wireupRun(4, transport, program('exit_code_after_finalize'), '1', '4'));
      expect(result.code).toBe(4);
      expectBlamed(result.stderr, /\brank 1\b.*\bcode 4\b/);
    });

    it.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGABRT'] as const)('is ended by %s', async (signal) => {
      const number = constants.signals[signal];
      const result = await run(wireupRun(4, transport, program('kill_self'), '1', String(number)));
      expect(result.code).toBe(128 + number);
      expectBlamed(result.stderr, new RegExp(`\\brank 1\\b.*(${signal}|signal ${number})\\b`));
    });

    it.each([
      [5, 5, /\brank 1\b.*\bcode 5\b/],
      [0, 1, /\brank 1\b.*\bfinalize/],
    ])(
      'exits with %d while its background child holds the PMI connection open',
      async (code, expected, reason) => {
        const result = await run(wireupRun(4, transport, program('hold_socket'), '1', String(code)));
        expect(result.code).toBe(expected);
        expectBlamed(result.stderr, reason);
      },
    );

    it('fails before MPI_Init, while the others wait in it', async () => {
      const script = 'if [ "$PMI_RANK" = 1 ]; then exit 6; fi; exec "$0"';
      const result = await run(wireupRun(4, transport, 'sh', '-c', script, program('hello')));
      expect(result.code).toBe(6);
      expectBlamed(result.stderr, /\brank 1\b.*\bcode 6\b/);
    });
  });
});

describe.skipIf(mpich.missing)(`MPI_Abort${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(['before', 'during', 'after'])('%s a collective, from every rank in turn', async (when) => {
      for (const rank of [0, 1, 2, 3]) {
        const result = await run(wireupRun(4, transport, program('abort_when'), String(rank), when, '42'));
        expect(result.code).toBe(42);
        expect(toolLines(result.stderr)).toEqual([
          expect.stringMatching(
            new RegExp(
              `^wireup: rank ${rank} \\(pid \\d+, \\S+, past PMI init\\) on \\S+ aborted the job with code 42`,
            ),
          ),
        ]);
      }
    });
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`plain clients${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it('abort gives its exit code and its message', async () => {
      const result = await run(wireupRun(4, transport, program('raw_abort'), '1', '42', 'lattice_lost'));
      expect(result.code).toBe(42);
      expectBlamed(result.stderr, /\brank 1\b.*\babort.*\b42\b.*lattice_lost/);
    });

    it('abort without a message gives its exit code', async () => {
      const result = await run(wireupRun(4, transport, program('raw_abort'), '1', '42'));
      expect(result.code).toBe(42);
      expectBlamed(result.stderr, /\brank 1\b.*\babort.*\b42\b/);
    });

    it('closes its connection without finalize and lives on', async () => {
      const result = await run(wireupRun(4, transport, program('raw_drop'), '1'));
      expect(result.code).toBe(1);
      expectBlamed(result.stderr, /\brank 1\b.*\bfinalize/);
    });

    it('programs that know nothing of PMI end well', async () => {
      const result = await run(wireupRun(4, transport, program('no_pmi')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(lines(result.stdout)).toEqual(Array(4).fill('no pmi'));
    });
  });
});

describe('scripts', () => {
  it.each(transports)('--pmi %s: one fails while the others run for long', async (transport) => {
    const script = 'if [ "$PMI_RANK" = 1 ]; then exit 7; fi; sleep 100 & wait';
    const result = await run(wireupRun(4, transport, 'sh', '-c', script));
    expect(result.code).toBe(7);
    expectBlamed(result.stderr, /\brank 1\b.*\bcode 7\b/);
  });

  it.each([0, 9])(
    'code %d with -l: a background child that holds the output open holds nothing up',
    async (code) => {
      const script = `sleep 100 & exit ${code}`;
      const result = await run(wireupRun(2, 'fd', '-l', 'sh', '-c', script), { deadline: 20_000 });
      expect(result.code).toBe(code);
    },
  );

  it('ranks that do not obey SIGTERM are ended too', async () => {
    // Rank 1 fails when it hears that the others ignore the signal.
    const script = `if [ "$PMI_RANK" = 1 ]; then
        while ! [ -e ignoring.0 ] || ! [ -e ignoring.2 ] || ! [ -e ignoring.3 ]; do sleep 0.01; done
        rm ignoring.*; exit 8
      fi
      trap '' TERM HUP INT QUIT; : > ignoring.$PMI_RANK
      while :; do sleep 100; done`;
    const result = await run(wireupRun(4, 'fd', 'sh', '-c', `cd "$TMPDIR"; ${script}`));
    expect(result.code).toBe(8);
    expectBlamed(result.stderr, /\brank 1\b.*\bcode 8\b/);
  });
});

describe('many ranks that fail at once', () => {
  it('64 that exit with 3: one is named', async () => {
    const result = await run(wireupRun(64, 'fd', 'sh', '-c', 'exit 3'));
    expect(result.code).toBe(3);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* exited with code 3/),
    ]);
  });

  const aborting = long ? 64 : 8;
  it.skipIf(mpich.missing)(`${aborting} of MPICH that abort: one is named${mpich.note}`, async () => {
    const result = await run(wireupRun(aborting, 'fd', program('abort_with'), 'all', '9'), { deadline });
    expect(result.code).toBe(9);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* aborted the job with code 9/),
    ]);
  });
});

describe('--on-failure wait', () => {
  it('lets the others run on, and the first failure gives the code', async () => {
    const script = `case $PMI_RANK in
      1) exit 5;;
      2) while ! [ -e ${folder}/go ]; do sleep 0.01; done; exit 6;;
      *) while ! [ -e ${folder}/go ]; do sleep 0.01; done; echo done; esac`;
    const job = new Run(wireupRun(3, 'fd', '-v', '--on-failure', 'wait', 'sh', '-c', script));
    const agents = () => job.processes().filter(({ name }) => name === 'sh').length;
    // Rank 1 has gone, and nobody was ended by that.
    expect(await eventually(() => job.stderr.includes('PMI over') && agents() === 2, patience)).toBe(true);
    writeFileSync(join(folder, 'go'), '');
    const result = await job.done;
    expect(result.code).toBe(5);
    expect(result.stdout).toBe('done\n');
    expect(toolLines(result.stderr)[1]).toMatch(/rank 1 \(pid \d+, sh\) on \S+ exited with code 5$/);
  });
});
