// The endings of a job under Debian's mpiexec (Hydra) and under ours, side by side: the same programs, the same
// signals. Ours is held to what is right. What Hydra does is stated where it differs, with the reason why ours does not
// do the same; it is one of several codes where Hydra's own answer depends on who is faster.

import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

import { describe, expect, it, vi } from 'vitest';

import { eventually, lines, needs, peer, program, Run, wireup, type Result } from './helpers';

vi.setConfig({ testTimeout: 90_000 });

interface Row {
  what: string;
  ranks?: number;
  /** The program and its arguments; a function, since programs are compiled when they are first used. */
  program: () => string[];
  environment?: Record<string, string>;
  /** What is done to the launcher once `ready` holds. */
  ready?: (run: Run) => boolean;
  act?: (run: Run, launcher: 'hydra' | 'ours') => Promise<void> | void;
  ours: number | NodeJS.Signals;
  hydra: (number | NodeJS.Signals)[];
  /** Why they differ; absent where they do not. */
  why?: string;
}

const script = (text: string) => () => ['sh', '-c', text];
const others = 'exec tail -f /dev/null';
const started = (count: number) => (run: Run): boolean => lines(run.stdout).filter((line) => line.includes('ready')).length === count;
const send = (...signals: NodeJS.Signals[]) => async (run: Run): Promise<void> => {
  for (const [i, signal] of signals.entries()) {
    run.kill(signal);
    // Two of a kind that come together are one.
    if (i + 1 < signals.length) await eventually(() => run.stdout.includes(`got ${i + 1}`), 5000);
  }
};
const bySignal = 'a shell’s code for a signal is 128 + its number; Hydra gives the raw number, and ORs those of all ranks';
const lateKill = 'Hydra reports what its own KILL did to the others, so the culprit’s code is lost';

const rows: Row[] = [
  { what: 'every rank exits with 0', program: script('exit 0'), ours: 0, hydra: [0] },
  { what: 'one exits with 3, the others with 0', program: script('[ $PMI_RANK = 1 ] && exit 3; exit 0'), ours: 3, hydra: [3] },
  {
    what: 'ranks exit with 4 and, later, 3',
    program: script('[ $PMI_RANK = 1 ] && exit 4; [ $PMI_RANK = 0 ] && sleep 0.5; [ $PMI_RANK = 0 ] && exit 3; exit 0'),
    ours: 4,
    hydra: [7],
    why: 'the first failure counts; Hydra ORs the codes into one that no rank had',
  },
  {
    what: 'one exits with 1 without PMI, the others run for a while',
    program: script('[ $PMI_RANK = 1 ] && exit 1; sleep 0.5; echo survived; exit 0'),
    ours: 1,
    hydra: [1],
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
  { what: 'abort with 42', program: () => [program('raw_abort'), '1', '42'], ours: 42, hydra: [42] },
  { what: 'MPI_Abort with 42', program: () => [program('abort_with'), '1', '42'], ours: 42, hydra: [42] },
  {
    what: 'a program that does not exist',
    program: () => ['/no/such/program'],
    ours: 127,
    hydra: [255],
    why: 'shells use 127',
  },
  { what: 'a program that cannot be executed', program: () => ['/etc/passwd'], ours: 126, hydra: [255], why: 'shells use 126' },
  {
    what: 'MPIEXEC_TIMEOUT passes',
    program: script(others),
    environment: { MPIEXEC_TIMEOUT: '1' },
    ours: 124,
    hydra: [255],
    why: '124 is what timeout(1) uses, and says what happened',
  },
  {
    what: 'one exits with 0 without init, the others wait for it in MPI_Init',
    program: () => ['sh', '-c', '[ $PMI_RANK = 1 ] && exit 0; exec "$0"', program('hello')],
    environment: { MPIEXEC_TIMEOUT: '5' },
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
    hydra: [2, 9, 11, 130],
    why: bySignal,
  },
  {
    what: '^C, ranks that exit with 7',
    program: script("trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done"),
    ready: started(2),
    act: send('SIGINT'),
    ours: 7,
    hydra: [7],
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
    hydra: [8],
  },
  ...(['SIGUSR1', 'SIGQUIT'] as const).map((signal): Row => ({
    what: `${signal.slice(3)}, ranks that exit with 8`,
    program: script(`trap 'exit 8' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`),
    ready: started(2),
    act: send(signal),
    ours: 8,
    hydra: [8],
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
    hydra: [signal],
    why: 'Hydra dies of it; ours passes it on',
  })),
  {
    what: 'KILL of the launcher',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: send('SIGKILL'),
    ours: 'SIGKILL',
    hydra: ['SIGKILL'],
  },
  {
    what: 'KILL of the process that holds the ranks',
    program: script(`echo ready; ${others}`),
    ready: started(2),
    act: (run, launcher) => {
      const name = launcher === 'hydra' ? 'hydra_pmi_proxy' : 'wireup-agent';
      // Ours has two, of which the younger holds the ranks.
      const found = run.processes().filter((process) => process.name === name.slice(0, 15)).at(-1);
      expect(found, name).toBeDefined();
      process.kill(found!.pid, 'SIGKILL');
    },
    ours: 1,
    hydra: [255],
    why: 'a failure that no rank has a code for is 1',
  },
];

async function play(row: Row, launcher: 'hydra' | 'ours'): Promise<Result> {
  const tool = launcher === 'hydra' ? [peer('mpiexec')] : wireup('run');
  const options = row.environment === undefined ? {} : { environment: row.environment };
  const run = new Run([...tool, '-n', String(row.ranks ?? 2), ...row.program()], { ...options, mayLeaveFiles: true });
  if (row.ready !== undefined) await run.until(row.ready);
  await row.act?.(run, launcher);
  return run.done;
}

const peers = needs('mpicc', 'mpiexec');
describe.skipIf(peers.missing)(`endings under mpiexec and under wireup run${peers.note}`, () => {
  it.each(rows)('$what', async (row) => {
    const [hydra, ours] = await Promise.all([play(row, 'hydra'), play(row, 'ours')]);
    expect(ours.signal ?? ours.code, ours.stderr).toBe(row.ours);
    // What is wrong is said on stderr, where it spoils no output.
    expect(ours.stdout).not.toMatch(/wireup|terminat/i);
    expect(row.hydra, `${hydra.stdout}${hydra.stderr}`).toContain(hydra.signal ?? hydra.code);
    // A difference has its reason, and only a difference has.
    expect(row.hydra.length === 1 && row.hydra[0] === row.ours).toBe(row.why === undefined);
  });

  it('TSTP: mpiexec stops alone and its ranks run on; ours takes them along', async () => {
    const ticking = ['sh', '-c', 'echo $$; while :; do sleep 0.05; done'];
    const stopped = (pid: number) => /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
    for (const launcher of ['hydra', 'ours'] as const) {
      const tool = launcher === 'hydra' ? [peer('mpiexec')] : wireup('run');
      const run = new Run([...tool, '-n', '2', ...ticking], { mayLeaveFiles: true });
      await run.until(() => lines(run.stdout).length === 2);
      const ranks = lines(run.stdout).map(Number);
      // In a session of its own TSTP has no effect by default, which is all that mpiexec knows of it.
      run.kill(launcher === 'hydra' ? 'SIGSTOP' : 'SIGTSTP');
      expect(await eventually(() => stopped(run.pid), 5000)).toBe(true);
      expect(await eventually(() => ranks.every(stopped), launcher === 'hydra' ? 300 : 5000)).toBe(launcher === 'ours');
      run.kill('SIGCONT');
      expect(await eventually(() => !ranks.some(stopped), 5000)).toBe(true);
      run.kill('SIGTERM');
      await run.done;
    }
  });
});
