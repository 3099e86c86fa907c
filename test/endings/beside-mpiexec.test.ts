// The endings of a job under Debian's mpiexec (Hydra) and under ours, side by side: the same programs, the same
// signals. Ours is held to what is right. What Hydra does is stated where it differs, with the reason why ours does not
// do the same. Hydra is held to what it does only where its own processes have no race to win or lose; elsewhere its row
// lists what it was seen to answer, and a new answer is a note in the report.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, wireup, type Result } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });

type Launcher = 'hydra' | 'ours';
type Ending = number | NodeJS.Signals;

interface Row {
  what: string;
  ranks?: number;
  /** The program and its arguments; a function, since programs are compiled when they are first used. */
  program: () => string[];
  /** Seconds after which both, or only Hydra, which may wait for ever, give up. */
  timeout?: number;
  hydraTimeout?: number;
  /** What is done to the launcher once `ready` holds. */
  ready?: (run: Run) => boolean;
  act?: (run: Run, launcher: Launcher) => Promise<void> | void;
  ours: Ending;
  /** What it always answers; a list: what it was seen to answer. */
  hydra: Ending | Ending[];
  /** What else of the endings is not the same, as a check of both. */
  beside?: (result: Result, launcher: Launcher) => void;
  /** Why they differ; absent where they do not. */
  why?: string;
}

const script = (text: string) => () => ['sh', '-c', text];
const others = 'exec tail -f /dev/null';
/** Rank 1 says its pid, in a file that holds nothing or all of it, and goes. */
const first = (end: string): string => `echo $$ > "$TMPDIR/new"; mv "$TMPDIR/new" "$TMPDIR/first"; ${end}`;
/** What waits until the launcher has seen rank 1's end: a process is gone when it has been waited for. */
const afterFirst =
  'until [ -e "$TMPDIR/first" ]; do sleep 0.01; done; while kill -0 $(cat "$TMPDIR/first") 2>/dev/null; do sleep 0.01; done';
/** How long a loaded machine may take for what is not timed here. */
const patience = 20_000;
const started =
  (count: number) =>
  (run: Run): boolean =>
    lines(run.stdout).filter((line) => line.includes('ready')).length === count;
const send =
  (...signals: NodeJS.Signals[]) =>
  async (run: Run): Promise<void> => {
    for (const [i, signal] of signals.entries()) {
      run.kill(signal);
      // Two of a kind that come together are one.
      if (i + 1 < signals.length) await eventually(() => run.stdout.includes(`got ${i + 1}`), patience);
    }
  };
const bySignal =
  'a shell’s code for a signal is 128 + its number; Hydra gives the raw number, and ORs those of all ranks';
const lostBySignal = 'Hydra passes it on too, but loses the ranks’ codes now and then';
const lateKill = 'Hydra reports what its own KILL did to the others, so the culprit’s code is lost';

const rows: Row[] = [
  { what: 'every rank exits with 0', program: script('exit 0'), ours: 0, hydra: 0 },
  {
    what: 'one exits with 3, the others with 0',
    program: script('[ $PMI_RANK = 1 ] && exit 3; exit 0'),
    ours: 3,
    hydra: 3,
  },
  {
    what: 'ranks exit with 4 and, later, 3',
    program: script(`[ $PMI_RANK = 1 ] && { ${first('exit 4')}; }; ${afterFirst}; exit 3`),
    ours: 4,
    hydra: 7,
    why: 'the first failure counts; Hydra ORs the codes into one that no rank had',
  },
  {
    what: 'ranks exit with 0, 1, 2 and 3, of which 1 is the first',
    ranks: 4,
    program: script(
      `case $PMI_RANK in 0) exit 0;; 1) ${first('exit 1')};; esac; ${afterFirst}; exit $PMI_RANK`,
    ),
    ours: 1,
    hydra: 3,
    why: 'as above: 1 | 2 | 3',
  },
  {
    what: 'one exits with 1 without PMI, another runs on',
    program: script(
      `[ $PMI_RANK = 1 ] && { echo "$TMPDIR"; ${first('exit 1')}; }; until [ -e "$TMPDIR/go" ]; do sleep 0.01; done; echo survived`,
    ),
    ready: (run) => run.stdout.endsWith('\n'),
    act: async (run, launcher) => {
      if (launcher === 'ours') return;
      const [folder] = lines(run.stdout);
      const gone = (): boolean =>
        existsSync(join(folder!, 'first')) &&
        !existsSync(`/proc/${readFileSync(join(folder!, 'first'), 'utf8').trim()}`);
      expect(await eventually(gone, patience)).toBe(true);
      writeFileSync(join(folder!, 'go'), '');
    },
    ours: 1,
    hydra: 1,
    beside: ({ stdout }, launcher) => expect(lines(stdout).includes('survived')).toBe(launcher === 'hydra'),
    why: 'Hydra ends nobody for a code of a rank outside PMI; ours ends the others at the first failure, unless --on-failure wait',
  },
  {
    what: 'one is ended by SIGKILL, another exits with 5 later',
    program: script(`[ $PMI_RANK = 1 ] && { ${first('kill -KILL $$')}; }; ${afterFirst}; exit 5`),
    ours: 137,
    hydra: [9],
    why: bySignal,
  },
  ...(['SIGKILL', 'SIGTERM', 'SIGABRT', 'SIGSEGV'] as const).map((signal): Row => {
    const number = constants.signals[signal];
    return {
      what: `one is ended by ${signal}`,
      program: () => [program('kill_self'), '1', String(number)],
      ours: 128 + number,
      hydra: [number, 9, number | 9, 128 + number],
      why: bySignal,
    };
  }),
  {
    what: 'one exits with 0 between init and finalize',
    program: () => [program('exit_before_finalize'), '1', '0'],
    ours: 1,
    hydra: [9, 0],
    why: `a failure that no rank has a code for is 1; ${lateKill}, or takes the 0 for a good end`,
  },
  {
    what: 'one exits with 5 between init and finalize',
    program: () => [program('exit_before_finalize'), '1', '5'],
    ours: 5,
    hydra: [9, 5, 13, 0],
    why: lateKill,
  },
  {
    what: 'one exits with 6 after finalize',
    program: () => [program('exit_code_after_finalize'), '1', '6'],
    ours: 6,
    hydra: [6],
  },
  {
    what: 'a PMI command that nobody knows',
    program: () => [program('raw_unknown')],
    ours: 0,
    hydra: [255],
    why: 'ours answers with rc=-1 and the rank goes on; Hydra ends the job',
  },
  { what: 'abort with 42', program: () => [program('raw_abort'), '1', '42'], ours: 42, hydra: [42] },
  { what: 'MPI_Abort with 42', program: () => [program('abort_with'), '1', '42'], ours: 42, hydra: [42] },
  {
    what: 'a program that does not exist',
    program: () => ['/no/such/program'],
    ours: 127,
    hydra: 255,
    why: 'shells use 127',
  },
  {
    what: 'a program that cannot be executed',
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
    why: '124 is what timeout(1) uses, and says what happened',
  },
  {
    what: 'one exits with 0 without init, the others wait for it in MPI_Init',
    program: () => ['sh', '-c', '[ $PMI_RANK = 1 ] && exit 0; exec "$0"', program('hello')],
    hydraTimeout: 5,
    ours: 1,
    hydra: [255],
    why: 'Hydra waits for ever (here: for MPIEXEC_TIMEOUT); ours ends the job at once and names who is missing',
  },
  {
    what: '^C, ranks that die of it',
    program: script('echo ready; exec tail -f /dev/null'),
    ready: started(2),
    act: send('SIGINT'),
    ours: 130,
    hydra: [0, 2, 9, 11, 130],
    why: bySignal,
  },
  {
    what: '^C once, ranks that ignore it and end well later',
    program: script(
      "[ $PMI_RANK = 0 ] && trap '' INT || trap 'echo got 1' INT; trap 'exit 0' USR1; echo ready; while :; do sleep 0.05; done",
    ),
    ready: started(2),
    act: send('SIGINT', 'SIGUSR1'),
    ours: 0,
    hydra: [0],
  },
  {
    what: '^C, ranks that exit with 7',
    program: script("trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT'),
    ours: 7,
    hydra: [7, 0],
    why: lostBySignal,
  },
  {
    what: '^C, ranks that end well',
    program: script("trap 'exit 0' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT'),
    ours: 0,
    hydra: [0],
  },
  {
    what: '^C twice, ranks that go on',
    program: script("trap 'echo got 1' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT', 'SIGINT'),
    ours: 130,
    hydra: [255],
    why: '130 is what a shell reports for ^C; and the ranks get TERM before KILL',
  },
  {
    what: 'TERM, ranks that exit with 8',
    program: script("trap 'exit 8' TERM; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGTERM'),
    ours: 8,
    hydra: [8, 0],
    why: lostBySignal,
  },
  ...(['SIGUSR1', 'SIGQUIT'] as const).map((signal): Row => ({
    what: `${signal.slice(3)}, ranks that exit with 8`,
    program: script(`trap 'exit 8' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`),
    ready: started(2),
    act: send(signal),
    ours: 8,
    hydra: [8, 0],
    why: lostBySignal,
  })),
  {
    what: 'ALRM, ranks that exit with 8',
    program: script("trap 'exit 8' ALRM; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGALRM'),
    ours: 8,
    hydra: [0, 8, 255],
    why: 'Hydra passes it on and takes it for its own time-out as well: the ranks’ code is lost',
  },
  ...(['SIGUSR2', 'SIGHUP'] as const).map((signal): Row => ({
    what: `${signal.slice(3)}, ranks that exit with 8`,
    program: script(`trap 'exit 8' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`),
    ready: started(2),
    act: send(signal),
    ours: 8,
    hydra: signal,
    why: 'Hydra dies of it; ours passes it on',
  })),
  {
    what: 'KILL of the launcher',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: send('SIGKILL'),
    ours: 'SIGKILL',
    hydra: 'SIGKILL',
  },
  {
    what: 'KILL of the process that holds the ranks',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: (run, launcher) => {
      const name = launcher === 'hydra' ? 'hydra_pmi_proxy' : 'wireup-agent';
      // Ours has two, of which the younger holds the ranks.
      const found = run
        .processes()
        .filter((process) => process.name === name.slice(0, 15))
        .at(-1);
      expect(found, name).toBeDefined();
      process.kill(found!.pid, 'SIGKILL');
    },
    ours: 1,
    hydra: [255],
    why: 'a failure that no rank has a code for is 1',
  },
];

/** Hydra's own end may be whatever it likes: that it fails, leaves something, or has no end, fails no test of ours. */
async function play(row: Row, launcher: Launcher): Promise<Result | undefined> {
  const tool = launcher === 'hydra' ? [installed('mpiexec')] : wireup('run');
  const timeout = row.timeout ?? (launcher === 'hydra' ? row.hydraTimeout : undefined);
  const environment = timeout === undefined ? {} : { MPIEXEC_TIMEOUT: String(timeout) };
  const run = new Run([...tool, '-n', String(row.ranks ?? 2), ...row.program()], {
    environment,
    mayLeaveFiles: true,
  });
  const played = async (): Promise<Result> => {
    if (row.ready !== undefined) await run.until(row.ready);
    await row.act?.(run, launcher);
    return run.done;
  };
  return launcher === 'ours' || !Array.isArray(row.hydra) ? played() : played().catch(() => undefined);
}

const peers = needs('mpicc', 'mpiexec');
describe.skipIf(peers.missing)(`endings under mpiexec and under wireup run${peers.note}`, () => {
  it.each(rows)('$what', async (row) => {
    const [hydra, ours] = await Promise.all([play(row, 'hydra'), play(row, 'ours')]);
    expect(ours!.signal ?? ours!.code, ours!.stderr).toBe(row.ours);
    // What is wrong is said on stderr, where it spoils no output.
    expect(ours!.stdout).not.toMatch(/wireup|terminat/i);
    row.beside?.(ours!, 'ours');
    const how = hydra?.signal ?? hydra?.code;
    if (Array.isArray(row.hydra)) {
      if (!row.hydra.includes(how!))
        console.log(`${row.what}: mpiexec, which was seen to give ${row.hydra.join(', ')}, gave ${how}`);
    } else {
      expect(how, `${hydra!.stdout}${hydra!.stderr}`).toBe(row.hydra);
      row.beside?.(hydra!, 'hydra');
    }
  });

  it('a difference has its reason, and only a difference has', () => {
    for (const { what, ours, hydra, beside, why } of rows) {
      const same = [hydra].flat().every((ending) => ending === ours) && beside === undefined;
      expect(same, what).toBe(why === undefined);
    }
  });

  const ticking = [
    'sh',
    '-c',
    ': > "$TMPDIR/$PMI_RANK"; echo "$TMPDIR/$PMI_RANK"; while :; do echo >> "$TMPDIR/$PMI_RANK"; sleep 0.05; done',
  ];
  const stopped = (pid: number) => /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));

  it('TSTP: mpiexec stops alone and its ranks run on', async () => {
    const run = new Run([installed('mpiexec'), '-n', '2', ...ticking], { mayLeaveFiles: true });
    await run.until(({ stdout }) => stdout.endsWith('\n') && lines(stdout).length === 2);
    const files = lines(run.stdout);
    // In a session of its own TSTP has no effect by default, which is all that mpiexec knows of it.
    run.kill('SIGSTOP');
    expect(await eventually(() => stopped(run.pid), patience)).toBe(true);
    const sizes = files.map((file) => statSync(file).size);
    expect(await eventually(() => files.every((file, i) => statSync(file).size > sizes[i]!), patience)).toBe(
      true,
    );
    expect(stopped(run.pid)).toBe(true);
    run.kill('SIGCONT');
    run.kill('SIGTERM');
    // How it ends is not asked here.
    await run.done.catch(() => undefined);
  });
});
