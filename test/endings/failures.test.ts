// When a rank fails, the other ranks are ended, the exit code is that of the rank, and one line on stderr names the
// rank and the reason. Each run fails if a process outlives `wireup`.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, places, Run, run, toolLines, transports, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** In milliseconds: how long to wait for the end of a run, on a busy machine. */
const deadline = 55_000;

const folder = mkdtempSync(join(tmpdir(), 'failures-'));
afterAll(() => rmSync(folder, { recursive: true }));

// One line names the rank that failed first. No line names the ranks that were ended because of it.
function expectNamed(stderr: string, reason: RegExp): void {
  const reports = toolLines(stderr);
  expect(
    reports.filter((line) => reason.test(line)),
    stderr,
  ).toHaveLength(1);
  expect(
    reports.filter((line) => /\brank [023]\b/.test(line)),
    stderr,
  ).toEqual([]);
}

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`a job of an MPI program${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it('ends with the code of a rank that exits with 3 before finalize', async () => {
      const result = await run(wireupRun(4, transport, program('exit_before_finalize'), '1', '3'));
      expect(result.code).toBe(3);
      expectNamed(result.stderr, /\brank 1\b.*\bcode 3\b/);
    });

    it('ends with code 1 if a rank exits with 0 before finalize', async () => {
      const result = await run(wireupRun(4, transport, program('exit_before_finalize'), '1', '0'));
      expect(result.code).toBe(1);
      expectNamed(result.stderr, /\brank 1\b.*\bfinalize/);
    });

    it('ends with the code of a rank that exits with 4 after finalize while others run', async () => {
      const result = await run(
        wireupRun(4, transport, program('exit_code_after_finalize'), '1', '4', 'wait'),
      );
      expect(result.code).toBe(4);
      expectNamed(result.stderr, /\brank 1\b.*\bcode 4\b/);
    });

    it('ends with the code of a rank that exits with 4 after finalize, if the others exit with 0', async () => {
      const result = await run(wireupRun(4, transport, program('exit_code_after_finalize'), '1', '4'));
      expect(result.code).toBe(4);
      expectNamed(result.stderr, /\brank 1\b.*\bcode 4\b/);
    });

    it.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGABRT'] as const)(
      'ends with 128 + the number of the signal if %s ends a rank',
      async (signal) => {
        const number = constants.signals[signal];
        const result = await run(wireupRun(4, transport, program('kill_self'), '1', String(number)));
        expect(result.code).toBe(128 + number);
        expectNamed(result.stderr, new RegExp(`\\brank 1\\b.*(${signal}|signal ${number})\\b`));
      },
    );

    it.each([
      [5, 5, /\brank 1\b.*\bcode 5\b/],
      [0, 1, /\brank 1\b.*\bfinalize/],
    ])(
      'fails if a rank exits with %d before finalize, although its background child holds the PMI connection open',
      async (code, expected, reason) => {
        const result = await run(wireupRun(4, transport, program('hold_socket'), '1', String(code)));
        expect(result.code).toBe(expected);
        expectNamed(result.stderr, reason);
      },
    );

    it('ends with the code of a rank that exits before MPI_Init while the others wait in it', async () => {
      const script = 'if [ "$PMI_RANK" = 1 ]; then exit 6; fi; exec "$0"';
      const result = await run(wireupRun(4, transport, 'sh', '-c', script, program('hello')));
      expect(result.code).toBe(6);
      expectNamed(result.stderr, /\brank 1\b.*\bcode 6\b/);
    });
  });
});

describe.skipIf(mpich.missing)(`a rank that calls MPI_Abort${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(['before', 'during', 'after'])(
      '%s a collective ends the job with its code and is named',
      async (when) => {
        // Which rank it is does not depend on the transport.
        for (const rank of long || transport === 'fd' ? [0, 1, 2, 3] : [2]) {
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
      },
    );
  });
});

const compiler = needs('cc');
describe.skipIf(compiler.missing).each(places)(`a job of raw PMI clients %s${compiler.note}`, (_, place) => {
  describe.each(transports)('--pmi %s', (transport) => {
    it('ends with the exit code and the message of an abort', async () => {
      const result = await run(
        wireupRun(4, transport, ...place, program('raw_abort'), '1', '42', 'lattice_lost'),
      );
      expect(result.code).toBe(42);
      expectNamed(result.stderr, /\brank 1\b.*\babort.*\b42\b.*lattice_lost/);
    });

    it('ends with the exit code of an abort without a message', async () => {
      const result = await run(wireupRun(4, transport, ...place, program('raw_abort'), '1', '42'));
      expect(result.code).toBe(42);
      expectNamed(result.stderr, /\brank 1\b.*\babort.*\b42\b/);
    });

    it('fails if a rank closes its connection without finalize and lives on', async () => {
      const result = await run(wireupRun(4, transport, ...place, program('raw_drop'), '1'));
      expect(result.code).toBe(1);
      expectNamed(result.stderr, /\brank 1\b.*\bfinalize/);
    });

    it('exits with 0 if its programs do not use PMI and exit with 0', async () => {
      const result = await run(wireupRun(4, transport, ...place, program('no_pmi')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(lines(result.stdout)).toEqual(Array(4).fill('no pmi'));
    });
  });
});

describe.each(places)('a job of shell scripts %s', (_, place) => {
  it.each(transports)(
    '--pmi %s: ends with the code of the script that fails, while the others still run',
    async (transport) => {
      const script = 'if [ "$PMI_RANK" = 1 ]; then exit 7; fi; sleep 100 & wait';
      const result = await run(wireupRun(4, transport, ...place, 'sh', '-c', script));
      expect(result.code).toBe(7);
      expectNamed(result.stderr, /\brank 1\b.*\bcode 7\b/);
    },
  );

  it.each([0, 9])(
    'with -l exits with code %d although background children hold the output open',
    async (code) => {
      const script = `sleep 100 & exit ${code}`;
      const result = await run(wireupRun(2, 'fd', ...place, '-l', 'sh', '-c', script), { deadline: 20_000 });
      expect(result.code).toBe(code);
    },
  );

  it('ends ranks that ignore SIGTERM', async () => {
    // Rank 1 fails once the other ranks ignore the signal.
    const script = `if [ "$PMI_RANK" = 1 ]; then
        while ! [ -e ignoring.0 ] || ! [ -e ignoring.2 ] || ! [ -e ignoring.3 ]; do sleep 0.01; done
        rm ignoring.*; exit 8
      fi
      trap '' TERM HUP INT QUIT; : > ignoring.$PMI_RANK
      while :; do sleep 100; done`;
    const result = await run(wireupRun(4, 'fd', ...place, 'sh', '-c', `cd "$TMPDIR"; ${script}`));
    expect(result.code).toBe(8);
    expectNamed(result.stderr, /\brank 1\b.*\bcode 8\b/);
  });
});

describe.each(places)('if many ranks fail at once %s, one line names one of them', (_, place) => {
  it('64 ranks that exit with 3', async () => {
    const result = await run(wireupRun(64, 'fd', ...place, 'sh', '-c', 'exit 3'));
    expect(result.code).toBe(3);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* exited with code 3/),
    ]);
  });

  const aborting = long ? 64 : 8;
  it.skipIf(mpich.missing)(`${aborting} ranks of MPICH that abort${mpich.note}`, async () => {
    const result = await run(wireupRun(aborting, 'fd', ...place, program('abort_with'), 'all', '9'), {
      deadline,
    });
    expect(result.code).toBe(9);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* aborted the job with code 9/),
    ]);
  });
});

describe.each(places)('--on-failure wait %s', (name, place) => {
  it('lets the other ranks run on, and the exit code is that of the first failure', async () => {
    const script = `case $PMI_RANK in
      1) exit 5;;
      2) while ! [ -e '${folder}/${name}' ]; do sleep 0.01; done; exit 6;;
      *) while ! [ -e '${folder}/${name}' ]; do sleep 0.01; done; echo done; esac`;
    const environment = { XDG_RUNTIME_DIR: folder };
    const words = wireupRun(3, 'fd', ...place, '-v', '--on-failure', 'wait', 'sh', '-c', script);
    const job = new Run(words, { environment });
    // Another host's report of an exit could overtake that of rank 1.
    let status: string;
    do status = (await run(wireup('status', `${job.pid}`), { environment })).stdout;
    while (!/^process has ended +1 +1$/m.test(status));
    expect(job.processes().filter(({ name }) => name === 'sh')).toHaveLength(2);
    writeFileSync(join(folder, name), '');
    const result = await job.done;
    expect(result.code).toBe(5);
    expect(result.stdout).toBe('done\n');
    expect(toolLines(result.stderr).filter((line) => line.includes(' exited with code '))).toEqual([
      expect.stringMatching(/^wireup: rank 1 \(pid \d+, sh\) on \S+ exited with code 5$/),
    ]);
  });
});
