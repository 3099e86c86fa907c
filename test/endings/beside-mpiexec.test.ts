// The endings of a job under Debian's mpiexec (Hydra) and under `wireup run`, side by side, with the same programs and the
// same signals. Each row states the ending that wireup guarantees, on one host and over two. Where Hydra's ending differs, the
// row states it and the reason for the difference. A single ending of Hydra is checked. Where Hydra's own processes race, the row lists the
// endings that were observed, and the test logs a new one without failing.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, wireup, type Result } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });

type Launcher = 'hydra' | 'ours' | 'oursOverHosts';
type Ending = number | NodeJS.Signals;

interface EndingRow {
  what: string;
  ranks?: number;
  /** The program and its arguments. A function, because programs are compiled on first use. */
  program: () => string[];
  /** In seconds: the time limit of both launchers, or of Hydra alone where it would wait forever. */
  timeout?: number;
  hydraTimeout?: number;
  /** Ranks fail one after the other. Then all of them are on one host, whose agent observes the order. */
  inOrder?: boolean;
  /** What the test does to the launcher once `ready` holds. */
  ready?: (run: Run) => boolean;
  act?: (run: Run, launcher: Launcher) => Promise<void> | void;
  ours: Ending;
  /** One ending: Hydra always has it. A list: the endings that were observed. */
  hydra: Ending | Ending[];
  /** Checks, for all launchers, something else in which their endings differ. */
  expectOther?: (result: Result, launcher: Launcher) => void;
  /** The reason of a difference; absent where there is none. */
  why?: string;
}

const script = (text: string) => () => ['sh', '-c', text];
/** Runs until it is killed. */
const others = 'exec tail -f /dev/null';
/** A shell command: rank 1 writes its pid to a file, which appears complete, and then runs `end`. */
const first = (end: string): string => `echo $$ > "$TMPDIR/new"; mv "$TMPDIR/new" "$TMPDIR/first"; ${end}`;
/** A shell command: waits until the launcher has reaped rank 1. Until then kill -0 still finds the process. */
const afterFirst =
  'until [ -e "$TMPDIR/first" ]; do sleep 0.01; done; while kill -0 $(cat "$TMPDIR/first") 2>/dev/null; do sleep 0.01; done';
/** In milliseconds: how long to wait for an event, on a busy machine. */
const waitTimeout = 20_000;
const started =
  (count: number) =>
  (run: Run): boolean =>
    lines(run.stdout).filter((line) => line.includes('ready')).length === count;
const send =
  (...signals: NodeJS.Signals[]) =>
  async (run: Run): Promise<void> => {
    for (const [i, signal] of signals.entries()) {
      run.kill(signal);
      // The kernel merges two pending signals of the same number.
      if (i + 1 < signals.length) await eventually(() => run.stdout.includes(`got ${i + 1}`), waitTimeout);
    }
  };
const signalCode =
  'a shell’s exit code for a signal is 128 + its number; Hydra uses the number itself, and ORs those of all ranks';
const lostCode = 'Hydra passes it on too, but sometimes loses the exit codes of the ranks';
const lateKill =
  'Hydra reports the effect of its own KILL on the other ranks and loses the code of the rank that failed';

const rows: EndingRow[] = [
  { what: 'every rank exits with 0', program: script('exit 0'), ours: 0, hydra: 0 },
  {
    what: 'rank 1 exits with 3, the others with 0',
    program: script('[ $PMI_RANK = 1 ] && exit 3; exit 0'),
    ours: 3,
    hydra: 3,
  },
  {
    what: 'rank 1 exits with 4 and rank 0 later with 3',
    inOrder: true,
    program: script(`[ $PMI_RANK = 1 ] && { ${first('exit 4')}; }; ${afterFirst}; exit 3`),
    ours: 4,
    hydra: 7,
    why: 'wireup reports the first failure; Hydra ORs the codes into one that no rank exited with',
  },
  {
    what: 'four ranks exit with 0, 1, 2 and 3, and rank 1 is the first to fail',
    inOrder: true,
    ranks: 4,
    program: script(
      `case $PMI_RANK in 0) exit 0;; 1) ${first('exit 1')};; esac; ${afterFirst}; exit $PMI_RANK`,
    ),
    ours: 1,
    hydra: 3,
    why: 'Hydra ORs the codes: 1 | 2 | 3',
  },
  {
    what: 'rank 1 exits with 1 without PMI while rank 0 runs',
    program: script(
      `[ $PMI_RANK = 1 ] && { echo "$TMPDIR"; ${first('exit 1')}; }; until [ -e "$TMPDIR/go" ]; do sleep 0.01; done; echo survived`,
    ),
    ready: (run) => run.stdout.endsWith('\n'),
    act: async (run, launcher) => {
      if (launcher !== 'hydra') return;
      const [folder] = lines(run.stdout);
      const gone = (): boolean =>
        existsSync(join(folder!, 'first')) &&
        !existsSync(`/proc/${readFileSync(join(folder!, 'first'), 'utf8').trim()}`);
      expect(await eventually(gone, waitTimeout)).toBe(true);
      writeFileSync(join(folder!, 'go'), '');
    },
    ours: 1,
    hydra: 1,
    expectOther: ({ stdout }, launcher) =>
      expect(lines(stdout).includes('survived')).toBe(launcher === 'hydra'),
    why: 'Hydra ends no rank if a rank that did not use PMI fails; wireup ends the other ranks at the first failure, unless --on-failure wait is given',
  },
  {
    what: 'SIGKILL ends rank 1 and rank 0 later exits with 5',
    inOrder: true,
    program: script(`[ $PMI_RANK = 1 ] && { ${first('kill -KILL $$')}; }; ${afterFirst}; exit 5`),
    ours: 137,
    hydra: [9],
    why: signalCode,
  },
  ...(['SIGKILL', 'SIGTERM', 'SIGABRT', 'SIGSEGV'] as const).map((signal): EndingRow => {
    const number = constants.signals[signal];
    return {
      what: `${signal} ends rank 1`,
      program: () => [program('kill_self'), '1', String(number)],
      ours: 128 + number,
      hydra: [number, 9, number | 9, 128 + number],
      why: signalCode,
    };
  }),
  {
    what: 'rank 1 exits with 0 between init and finalize',
    program: () => [program('exit_before_finalize'), '1', '0'],
    ours: 1,
    hydra: [9, 0],
    why: `wireup uses 1 for a failure without an exit code; ${lateKill}, or takes the 0 for a success`,
  },
  {
    what: 'rank 1 exits with 5 between init and finalize',
    program: () => [program('exit_before_finalize'), '1', '5'],
    ours: 5,
    hydra: [9, 5, 13, 0],
    why: lateKill,
  },
  {
    what: 'rank 1 exits with 6 after finalize',
    program: () => [program('exit_code_after_finalize'), '1', '6'],
    ours: 6,
    hydra: [6],
  },
  {
    what: 'a rank sends an unknown PMI command',
    program: () => [program('raw_unknown')],
    ours: 0,
    hydra: [255],
    why: 'wireup replies with rc=-1 and the rank goes on; Hydra ends the job',
  },
  { what: 'abort with 42', program: () => [program('raw_abort'), '1', '42'], ours: 42, hydra: [42] },
  { what: 'MPI_Abort with 42', program: () => [program('abort_with'), '1', '42'], ours: 42, hydra: [42] },
  {
    what: 'the program does not exist',
    program: () => ['/no/such/program'],
    ours: 127,
    hydra: 255,
    why: 'shells use 127',
  },
  {
    what: 'the program cannot be executed',
    program: () => ['/etc/passwd'],
    ours: 126,
    hydra: 255,
    why: 'shells use 126',
  },
  {
    what: 'MPIEXEC_TIMEOUT passes',
    program: script(others),
    timeout: 1,
    ours: 124,
    hydra: [255],
    why: 'timeout(1) uses 124, which identifies the reason',
  },
  {
    what: 'rank 1 exits with 0 without init while the others wait for it in MPI_Init',
    program: () => ['sh', '-c', '[ $PMI_RANK = 1 ] && exit 0; exec "$0"', program('hello')],
    hydraTimeout: 5,
    ours: 1,
    hydra: [255],
    why: 'Hydra waits forever (here until MPIEXEC_TIMEOUT); wireup ends the job at once and names the missing rank',
  },
  {
    what: '^C ends the ranks',
    program: script('echo ready; exec tail -f /dev/null'),
    ready: started(2),
    act: send('SIGINT'),
    ours: 130,
    hydra: [0, 2, 9, 11, 130],
    why: signalCode,
  },
  {
    what: 'the ranks ignore ^C and later exit with 0',
    program: script(
      "[ $PMI_RANK = 0 ] && trap '' INT || trap 'echo got 1' INT; trap 'exit 0' USR1; echo ready; while :; do sleep 0.05; done",
    ),
    ready: started(2),
    act: send('SIGINT', 'SIGUSR1'),
    ours: 0,
    hydra: [0],
  },
  {
    what: 'the ranks exit with 7 at ^C',
    program: script("trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT'),
    ours: 7,
    hydra: [7, 0],
    why: lostCode,
  },
  {
    what: 'the ranks exit with 0 at ^C',
    program: script("trap 'exit 0' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT'),
    ours: 0,
    hydra: [0],
  },
  {
    what: 'the ranks ignore two ^C',
    program: script("trap 'echo got 1' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT', 'SIGINT'),
    ours: 130,
    hydra: [255],
    why: 'a shell reports 130 for ^C, and wireup sends TERM before KILL',
  },
  {
    what: 'the ranks exit with 8 at TERM',
    program: script("trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGTERM'),
    ours: 8,
    hydra: [8, 0],
    why: lostCode,
  },
  ...(['SIGUSR1', 'SIGQUIT'] as const).map((signal): EndingRow => ({
    what: `the ranks exit with 8 at ${signal.slice(3)}`,
    program: script(`trap 'exit 8' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`),
    ready: started(2),
    act: send(signal),
    ours: 8,
    hydra: [8, 0],
    why: lostCode,
  })),
  {
    what: 'the ranks exit with 8 at ALRM',
    program: script("trap 'exit 8' ALRM; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGALRM'),
    ours: 8,
    hydra: [0, 8, 255],
    why: 'Hydra passes it on, also takes it for its own timeout, and so loses the exit codes of the ranks',
  },
  ...(['SIGUSR2', 'SIGHUP'] as const).map((signal): EndingRow => ({
    what: `the ranks exit with 8 at ${signal.slice(3)}`,
    program: script(`trap 'exit 8' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`),
    ready: started(2),
    act: send(signal),
    ours: 8,
    hydra: signal,
    why: 'the signal ends Hydra; wireup passes it on',
  })),
  {
    what: 'KILL ends the launcher',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: send('SIGKILL'),
    ours: 'SIGKILL',
    hydra: 'SIGKILL',
  },
  {
    what: 'KILL ends the process that started the ranks',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: (run, launcher) => {
      const name = launcher === 'hydra' ? 'hydra_pmi_proxy' : 'wireup-agent';
      // wireup has two processes of this name on each host; the youngest one is the parent of ranks.
      const found = run
        .processes()
        .filter((process) => process.name === name.slice(0, 15))
        .at(-1);
      expect(found, name).toBeDefined();
      process.kill(found!.pid, 'SIGKILL');
    },
    ours: 1,
    hydra: [255],
    why: 'wireup uses 1 for a failure without an exit code',
  },
];

/** The command line of a launcher, up to the program. */
function launcherWords(launcher: Launcher, { ranks = 2, inOrder }: EndingRow): string[] {
  const count = ['-n', String(ranks)];
  switch (launcher) {
    case 'hydra':
      return [installed('mpiexec'), ...count];
    case 'ours':
      return wireup('run', ...count);
    case 'oursOverHosts':
      return wireup('run', ...count, '--map', inOrder ? 'block:1' : 'block:2');
  }
}

/** Where the row lists several endings of Hydra, a run of Hydra may also fail, leave files or exceed its deadline. */
async function play(row: EndingRow, launcher: Launcher): Promise<Result | undefined> {
  const timeout = row.timeout ?? (launcher === 'hydra' ? row.hydraTimeout : undefined);
  const environment = timeout === undefined ? {} : { MPIEXEC_TIMEOUT: String(timeout) };
  const run = new Run([...launcherWords(launcher, row), ...row.program()], {
    environment,
    mayLeaveFiles: true,
  });
  const played = async (): Promise<Result> => {
    if (row.ready !== undefined) await run.until(row.ready);
    await row.act?.(run, launcher);
    return run.done;
  };
  return launcher !== 'hydra' || !Array.isArray(row.hydra) ? played() : played().catch(() => undefined);
}

const peers = needs('mpicc', 'mpiexec');
describe.skipIf(peers.missing)(
  `endings under mpiexec, and under wireup run on one host and over two${peers.note}`,
  () => {
    it.each(rows.map((row): [string, EndingRow] => [row.what, row]))('%s', async (_, row) => {
      const [hydra, ours, overHosts] = await Promise.all(
        (['hydra', 'ours', 'oursOverHosts'] as const).map((launcher) => play(row, launcher)),
      );
      for (const result of [ours!, overHosts!]) {
        expect(result.signal ?? result.code, result.stderr).toBe(row.ours);
        // Messages go to stderr only, so that they do not mix with the output of the ranks.
        expect(result.stdout).not.toMatch(/wireup|terminat/i);
        row.expectOther?.(result, 'ours');
      }
      const how = hydra?.signal ?? hydra?.code;
      if (Array.isArray(row.hydra)) {
        if (!row.hydra.includes(how!))
          console.log(`${row.what}: mpiexec, which was seen to give ${row.hydra.join(', ')}, gave ${how}`);
      } else {
        expect(how, `${hydra!.stdout}${hydra!.stderr}`).toBe(row.hydra);
        row.expectOther?.(hydra!, 'hydra');
      }
    });

    it('a row gives a reason if and only if the endings differ', () => {
      for (const { what, ours, hydra, expectOther, why } of rows) {
        const same = [hydra].flat().every((ending) => ending === ours) && expectOther === undefined;
        expect(same, what).toBe(why === undefined);
      }
    });

    const appendForever = [
      'sh',
      '-c',
      ': > "$TMPDIR/$PMI_RANK"; echo "$TMPDIR/$PMI_RANK"; while :; do echo >> "$TMPDIR/$PMI_RANK"; sleep 0.05; done',
    ];
    const stopped = (pid: number) => /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));

    it('mpiexec stops alone at TSTP, and its ranks run on', async () => {
      const run = new Run([installed('mpiexec'), '-n', '2', ...appendForever], { mayLeaveFiles: true });
      await run.until(({ stdout }) => stdout.endsWith('\n') && lines(stdout).length === 2);
      const files = lines(run.stdout);
      // mpiexec does not handle TSTP, and its default action is ignored in an orphaned POSIX process group, so STOP is sent.
      run.kill('SIGSTOP');
      expect(await eventually(() => stopped(run.pid), waitTimeout)).toBe(true);
      const sizes = files.map((file) => statSync(file).size);
      expect(
        await eventually(() => files.every((file, i) => statSync(file).size > sizes[i]!), waitTimeout),
      ).toBe(true);
      expect(stopped(run.pid)).toBe(true);
      run.kill('SIGCONT');
      run.kill('SIGTERM');
      // The ending is not under test.
      await run.done.catch(() => undefined);
    });
  },
);
