// `wireup tap` under every launcher: the job is as without it, and its recordings replay against wireup and Hydra, and become
// transcripts that pass.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { needsRoot } from '../support/hostile-clients';
import { dynamicMpich, installed, needs } from '../support/installed';
import { compile, program } from '../support/programs';
import { expectPlayed, newFolder, replayEverywhere, type Ending } from '../support/replays';
import { root } from '../support/root';
import { lines, run, transports, wireup, wireupRun, type Result } from '../support/run';
import { Slurm } from '../support/slurm';

vi.setConfig({ testTimeout: 120_000 });

/** In milliseconds, for a busy machine. */
const deadline = 60_000;
const tools = needs('cc', 'mpicc', 'mpiexec', 'hostname');
const mpich = dynamicMpich();
const slurmTools = needs('cc', 'libpmi2', 'munged', 'slurmctld', 'slurmd', 'srun', 'unshare');
const asRoot = needsRoot();

/** The first words of the command line of a launcher, for that many ranks. */
type Launcher = (ranks: number) => string[];

const hydra: Launcher = (ranks) => [installed('mpiexec'), '-n', String(ranks)];
const launchers: Record<string, Launcher> = {
  mpiexec: hydra,
  'mpiexec -pmi-port': (ranks) => [installed('mpiexec'), '-pmi-port', '-n', String(ranks)],
  ...Object.fromEntries(
    transports.map((transport) => [
      `wireup run --pmi ${transport}`,
      (ranks: number) => wireupRun(ranks, transport),
    ]),
  ),
};

const tap = (folder: string, ...options: string[]): string[] =>
  wireup('tap', '--trace-file', join(folder, '%r.jsonl'), ...options);

/** What both jobs must have in common. Ranks write in any order, and messages contain process ids and the program's name. */
function comparable({ code, signal, stdout, stderr }: Result): unknown {
  const masked = (text: string): string[] =>
    lines(text)
      .map((line) =>
        line
          .replace(/\(pid \d+, [^,)]+/, '(pid N, PROGRAM')
          .replace(/\bpid +\d+/i, 'pid N')
          .replace(/_\d+\b/g, '_N'),
      )
      .sort();
  return { code, signal, stdout: masked(stdout), stderr: masked(stderr) };
}

const rankFiles = (folder: string, ranks: number): string[] => [
  join(folder, ranks === 1 ? '0.jsonl' : '%r.jsonl'),
];
const playedFiles = (folder: string, ranks: number): string[] =>
  allRanks(ranks).map((rank) => join(folder, `${rank}.jsonl`));
const allRanks = (ranks: number): string[] => Array.from({ length: ranks }, (_, rank) => `${rank}`);

interface Line {
  event?: string;
  dir?: string;
  text?: string;
}

function recordsOf(folder: string, rank: number): Line[] {
  return lines(readFileSync(join(folder, `${rank}.jsonl`), 'utf8')).map((line) => JSON.parse(line) as Line);
}

interface Row {
  what: string;
  ranks: number;
  argv: () => string[];
  /** Its behaviour depends on PMI_FD. */
  needsFd?: true;
  /** How its replays end. Default: finalized. */
  ending?: Ending;
  /**
   * The rank exits with this code at once after its last message, or without one. mpiexec reports it, or 1 and "Hangup", by
   * chance: it depends on whether it first learns of the exit or of the connection's end.
   */
  exits?: number;
}

const programs: Row[] = [
  { what: 'MPI', ranks: 2, argv: () => [program('hello')] },
  { what: 'plain PMI', ranks: 3, argv: () => [program('raw_mapping')] },
  { what: 'killed', ranks: 1, argv: () => [program('kill_self'), '0', '11'], ending: 'left' },
  { what: 'aborts', ranks: 1, argv: () => [program('abort_with'), '0', '7'], exits: 7, ending: 'left' },
  // MPI_Abort of MPICH only exits.
  { what: 'sends an abort', ranks: 1, argv: () => [program('raw_abort'), '0', '7'], ending: 'aborted' },
  {
    what: 'ends without finalize',
    ranks: 1,
    argv: () => [program('exit_before_finalize'), '0', '5'],
    exits: 5,
    ending: 'left',
  },
  {
    what: 'forks',
    ranks: 2,
    argv: () => ['sh', '-c', '"$0" & wait $!; exit', program('hello')],
  },
  {
    what: 'never speaks',
    ranks: 1,
    argv: () => ['sh', '-c', 'cat; echo out; echo err >&2; exit 3'],
    exits: 3,
  },
  {
    what: 'sends garbage',
    ranks: 1,
    needsFd: true,
    ending: 'garbage',
    argv: () => [
      'bash',
      '-c',
      String.raw`printf '\0\377garbage\nmore\n' >&$PMI_FD; read -t 60 a <&$PMI_FD; echo "$a"`,
    ],
  },
];

describe.skipIf(tools.missing)(`a rank under wireup tap is as without it${tools.note}`, () => {
  describe.each(Object.entries(launchers))('%s', (name, launcher) => {
    const hasFd = name === 'mpiexec' || name.endsWith(' fd');
    it.each(programs.filter(({ needsFd }) => needsFd === undefined || hasFd))(
      'that $what',
      async ({ ranks, argv, ending, exits }) => {
        const folder = newFolder();
        const plain = await run([...launcher(ranks), ...argv()], { deadline });
        const tapped = await run([...launcher(ranks), ...tap(folder), ...argv()], { deadline });
        if (exits !== undefined && name.startsWith('mpiexec')) {
          expect([exits, 1]).toContain(plain.code);
          expect([exits, 1]).toContain(tapped.code);
          expect(tapped.stderr).toBe(plain.stderr);
        } else {
          expect(comparable(tapped)).toEqual(comparable(plain));
        }
        expect(readdirSync(folder)).toHaveLength(ranks);
        await replayEverywhere(rankFiles(folder, ranks), allRanks(ranks), ending, [
          transports.find((transport) => name.endsWith(` ${transport}`)) ?? 'fd',
        ]);
        await expectPlayed(playedFiles(folder, ranks));
      },
    );
  });

  it('a rank that only knows PMI_FD runs over unix:// and tcp://', async () => {
    const folder = newFolder();
    const job = await run(wireupRun(2, 'unix', '--no-exec-shim', ...tap(folder), program('hello')), {
      deadline,
    });
    expect(job).toMatchObject({ code: 0, stderr: '' });
    expect(recordsOf(folder, 1)[2]).toMatchObject({ dir: 'C', text: 'cmd=initack pmiid=***', masked: true });
    const withScheme = ['sh', '-c', 'PMI_PORT=tcp://$PMI_PORT exec "$@"', 'sh'];
    const tcp = await run(wireupRun(2, 'tcp', ...withScheme, ...tap(folder), program('hello')), { deadline });
    expect(tcp).toMatchObject({ code: 0, stderr: '' });
  });

  it('--trace-secrets keeps PMI_ID', async () => {
    const folder = newFolder();
    await run(wireupRun(1, 'tcp', ...tap(folder, '--trace-secrets'), program('raw_mapping')), { deadline });
    expect(recordsOf(folder, 0)[2]!.text).toMatch(/^cmd=initack pmiid=\d+$/);
  });

  it('without a file, lines of text go to stderr', async () => {
    const { stdout, stderr } = await run([...hydra(1), ...wireup('tap'), program('hello')], { deadline });
    expect(stdout).toBe('hello: rank 0 of 1 ok\n');
    expect(stderr).toMatch(/^0\.\d{6} 0: C: cmd=init pmi_version=1 pmi_subversion=1$/m);
    expect(stderr).toMatch(/^\d\.\d{6} 0: S: cmd=finalize_ack/m);
  });
});

describe.skipIf(tools.missing || mpich.missing)(`ranks that spawn${mpich.note}`, () => {
  it.each(transports)('--pmi %s', async (transport) => {
    const folder = newFolder();
    const spawn = [compile('spawn', mpich.mpicc), 'one', '1'];
    const plain = await run(wireupRun(1, transport, ...spawn), { deadline });
    const tapped = await run(wireupRun(1, transport, ...tap(folder), ...spawn), { deadline });
    expect(comparable(tapped)).toEqual(comparable(plain));
    expect(recordsOf(folder, 0).some(({ text }) => text === 'mcmd=spawn')).toBe(true);
    await replayEverywhere(rankFiles(folder, 1), ['0']);
    await expectPlayed(playedFiles(folder, 1));
  });
});

describe.skipIf(tools.missing || slurmTools.missing || asRoot.missing)(
  `under srun${slurmTools.note}${asRoot.note}`,
  () => {
    let slurm: Slurm;
    beforeAll(async () => {
      slurm = await Slurm.start(1);
    });
    afterAll(() => slurm[Symbol.asyncDispose]());

    const srun = (ranks: number): string[] => [
      installed('srun'),
      '--quiet',
      '--mpi=pmi2',
      `--ntasks=${ranks}`,
    ];
    const start = (...argv: string[]): Promise<Result> =>
      run(argv, { deadline, environment: slurm.environment });

    it.each([
      ['PMI-1', () => [...wireup('exchange')]],
      ["PMI-2 by Slurm's library", () => [program('pmi2_calls'), installed('libpmi2'), 'exchange']],
      [
        'PMI-2 by libpmi2.so.0',
        () => [program('pmi2_calls'), join(root, 'build/Release/libpmi2.so.0'), 'exchange'],
      ],
    ])('%s', async (what, argv) => {
      const folder = newFolder();
      const tapped = await start(...srun(2), ...tap(folder), ...argv());
      expect(tapped).toMatchObject({ code: 0, stderr: '' });
      if (what !== 'PMI-1') {
        const plain = await start(...srun(2), ...argv());
        expect(comparable(tapped)).toEqual(comparable(plain));
        expect(recordsOf(folder, 1).some(({ text }) => text?.startsWith('cmd=fullinit;'))).toBe(true);
      }
      const again = await start(...wireup('replay', join(folder, '%r.jsonl'), '--', ...srun(2)));
      expect(again, again.stdout).toMatchObject({ code: 0, stderr: '' });
      await replayEverywhere(rankFiles(folder, 2), allRanks(2), 'finalized', transports);
      await expectPlayed(playedFiles(folder, 2));
    });

    it('a rank that is killed', async () => {
      const folder = newFolder();
      const argv = ['sh', '-c', 'kill -SEGV $$'];
      const masked = ({ stderr, ...rest }: Result): object => ({
        ...rest,
        stderr: stderr.replace(/\d{3,}/g, 'N'),
      });
      const tapped = await start(...srun(1), ...tap(folder), ...argv);
      expect(masked(tapped)).toEqual(masked(await start(...srun(1), ...argv)));
      await replayEverywhere(rankFiles(folder, 1), ['0']);
      await expectPlayed(playedFiles(folder, 1));
    });
  },
);
