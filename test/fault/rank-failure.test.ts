// A rank that ends badly: the others are ended (each run fails if a process outlives the tool), the tool's exit code
// is that rank's, and stderr says which rank and why.

import { constants } from 'node:os';

import { describe, expect, it, vi } from 'vitest';

import { lines, needs, program, run, toolLines, transports, wireupRun } from '../interop/helpers';

vi.setConfig({ testTimeout: 45_000 });

// The tool says one thing: the rank that failed first. The victims of the clean-up are not named.
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

    it('calls MPI_Abort', async () => {
      const result = await run(wireupRun(4, transport, program('abort_with'), '1', '42'));
      expect(result.code).toBe(42);
      expectBlamed(result.stderr, /\brank 1\b.*\babort.*\b42\b/);
    });

    it('fails before MPI_Init, while the others wait in it', async () => {
      const script = 'if [ "$PMI_RANK" = 1 ]; then exit 6; fi; exec "$0"';
      const result = await run(wireupRun(4, transport, 'sh', '-c', script, program('hello')));
      expect(result.code).toBe(6);
      expectBlamed(result.stderr, /\brank 1\b.*\bcode 6\b/);
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
