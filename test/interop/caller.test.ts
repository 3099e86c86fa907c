// What a rank has of the process that started the tool: environment, arguments, limits, signals, files, ... are what a program
// has that this process starts itself, in whichever way the tool is started.

import { mkdirSync, mkdtempSync, readFileSync, existsSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { run } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const compiler = needs('cc');
const hydra = needs('cc', 'mpiexec');

/** Names that a shell has a use for, or drops because they are none; one that the tool keeps from Node. */
const variables = [
  'BASH_FUNC_module%%=() { :; }',
  'spring.profiles.active=x',
  'npm_package_config_a:b=1',
  'IFS=x',
  'OPTIND=7',
  'PPID=1',
  'PWD=/nowhere',
  'NODE_EXTRA_CA_CERTS=/no/such/file',
  'X=a=b\n',
  'EMPTY=',
];
const words = ['two words', '', '@BYTES', '-n', '%s\\n'];

/** What launchers set, and npm of the command that it runs. */
const launchers =
  /^variable: (PMI_|MPI_LOCAL|MPIR_|HYD|GFORTRAN_UNBUFFERED_PRECONNECTED=|npm_lifecycle_script=)/;
/** What a shell says of itself to each command. */
const shells = /^variable: (_=|PPID=(?!1$))/;

const outputs = ['file', 'pipe', 'nonblocking', 'tty', 'socket', 'closed'] as const;

interface Facts {
  /** All but standard files, in no order. */
  facts: string[];
  /** Of stdout and stderr. */
  stdio: string[];
  /** What came out of them. */
  said: string;
}

describe.skipIf(compiler.missing)(`a rank has of the caller${compiler.note}`, () => {
  let folder: string;
  let project: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'caller-test-'));
    // As npm installs the package; and the probe beside it, so that npx can start either.
    project = join(folder, 'project');
    const links = join(project, 'node_modules/.bin');
    mkdirSync(links, { recursive: true });
    for (const name of ['wireup', 'mpiexec.wireup'])
      symlinkSync(join(root, 'dist/wireup'), join(links, name));
    symlinkSync(program('show_caller'), join(links, 'show_caller'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  let reports = 0;
  /** What the program of a command has that is started by a caller who has changed all that can be changed. */
  async function facts(output: (typeof outputs)[number], ...command: string[]): Promise<Facts> {
    const report = join(folder, `report-${reports++}`);
    const environment = [
      `PATH=${process.env['PATH']}`,
      `HOME=${folder}`,
      'npm_config_update_notifier=false',
      ...variables,
    ];
    const { code, stderr } = await run(
      ['env', '-i', ...environment, program('as_caller'), report, output, ...command],
      { directory: project },
    );
    const said = readFileSync(`${report}.out`, 'latin1');
    expect({ command, code, stderr, said, reported: existsSync(report) }).toMatchObject({
      code: 0,
      reported: true,
    });
    const lines = readFileSync(report, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.replaceAll(report, 'REPORT'));
    const channel = lines
      .find((line) => line.startsWith('variable: PMI_FD='))
      ?.slice('variable: PMI_FD='.length);
    const own = lines
      .filter(
        (line) => !launchers.test(line) && !shells.test(line) && !line.startsWith(`fd ${channel}: socket`),
      )
      .sort();
    const stdio = /^(fd [12]|to std(out|err)): /;
    return {
      facts: own.filter((line) => !stdio.test(line) && !line.startsWith('fd 0: ')),
      stdio: own.filter((line) => stdio.test(line)),
      said,
    };
  }

  const probe = (): string => program('show_caller');
  const link = (name: string): string => join(project, 'node_modules/.bin', name);
  /** A shell that stays, and is the parent. */
  const shell = (name: string): string[] => [name, '-c', '"$0" "$@"; exit $?'];
  const node = (): string[] => [process.execPath, join(root, 'dist/cli.js')];

  /** Each way with that in which the program is started for comparison. */
  const ways: [string, () => string[], () => string[]][] = [
    ['directly', () => [link('wireup'), 'run', '-n', '1', probe()], () => [probe()]],
    ['as mpiexec.wireup', () => [link('mpiexec.wireup'), '-n', '1', probe()], () => [probe()]],
    [
      'by sh',
      () => [...shell('/bin/sh'), link('wireup'), 'run', '-n', '1', probe()],
      () => [...shell('/bin/sh'), probe()],
    ],
    [
      'by bash',
      () => [...shell('bash'), link('wireup'), 'run', '-n', '1', probe()],
      () => [...shell('bash'), probe()],
    ],
    [
      'by npx',
      () => ['npx', '--offline', 'wireup', 'run', '-n', '1', probe()],
      () => ['npx', '--offline', 'show_caller'],
    ],
  ];

  it.each(ways)('all that it changed, when it starts the tool %s', async (_, tool, alone) => {
    const [ours, theirs] = [
      await facts('pipe', ...tool(), ...words),
      await facts('pipe', ...alone(), ...words),
    ];
    expect(ours).toEqual(theirs);
  });

  it('the same with several ranks, over TCP, behind wireup-exec, and in groups that share the agent', async () => {
    const theirs = await facts('pipe', probe(), ...words);
    for (const options of [
      ['--pmi', 'tcp'],
      ['--pmi', 'unix'],
      ['-n', '1', 'true', ':'],
    ]) {
      expect(
        (await facts('pipe', link('wireup'), 'run', ...options, '-n', '1', probe(), ...words)).facts,
      ).toEqual(theirs.facts);
    }
  });

  it('what Node has left of it, when it starts the tool as node dist/cli.js', async () => {
    const [ours, theirs] = [
      await facts('pipe', ...shell('bash'), ...node(), 'run', '-n', '1', probe(), ...words),
      await facts('pipe', ...shell('bash'), probe(), ...words),
    ];
    // docs/mpiexec.md says which.
    const lost = /^(ignored|blocked): /;
    expect(ours.facts.filter((line) => !lost.test(line))).toEqual(
      theirs.facts.filter((line) => !lost.test(line)),
    );
    expect(ours.facts.filter((line) => lost.test(line))).toEqual([
      'blocked: 0000000000000000',
      'ignored: 8000000000000000',
    ]);
    // Node itself reads the variable that the starter keeps from it.
    expect(ours.said.replace(/^Warning: .*\n/, '')).toBe(theirs.said);
  });

  it('no fds with --close-fds, by its own choice', async () => {
    const fds = (lines: string[]): string[] => lines.filter((line) => line.startsWith('fd '));
    for (const tool of [[link('wireup')], node()]) {
      expect(fds((await facts('pipe', ...tool, 'run', '--close-fds', '-n', '1', probe())).facts)).toEqual([]);
    }
    expect(fds((await facts('pipe', probe())).facts)).toHaveLength(4);
  });

  it('its limit on the size of files, be it nothing', async () => {
    expect(
      await run(['bash', '-c', 'ulimit -f 0; "$0" run -n 2 sh -c "ulimit -f" | cat', link('wireup')]),
    ).toMatchObject({ code: 0, stdout: '0\n0\n', stderr: '' });
  });

  it('its name for the tool: a link called mpiexec', async () => {
    const mpiexec = join(folder, 'mpiexec');
    symlinkSync(link('mpiexec.wireup'), mpiexec);
    expect(await run([mpiexec, '-n', '1', 'echo', 'x'])).toMatchObject({
      code: 0,
      stdout: 'x\n',
      stderr: '',
    });
  });

  it('no fd whose number the limit on open files has come to exclude, and a line says so', async () => {
    const { code, stdout, stderr } = await run([
      'bash',
      '-c',
      'exec 250>/dev/null; ulimit -n 200; "$0" run -n 2 sh -c \'echo ran; ! [ -e /proc/self/fd/250 ]\'',
      link('wireup'),
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'ran\nran\n' });
    // Who runs the tests may have others.
    expect(stderr).toContain(
      "wireup-agent: the caller's fd 250 cannot be passed on to ranks: it is not below the limit on open files, 200\n",
    );
  });

  it.each(outputs)('stdout and stderr: %s', async (output) => {
    const [ours, theirs] = [
      await facts(output, link('wireup'), 'run', '-n', '1', probe()),
      await facts(output, probe()),
    ];
    expect(ours.said).toBe(theirs.said);
    // A closed file's number is nothing else's, and writing there fails as before. A pipe waits for its reader, whose
    // slowness few programs are prepared for.
    const expected = theirs.stdio.map((line) =>
      line.replace(/^(fd [12]): closed$/, '$1: /dev/null reads').replace(/ nonblocking$/, ''),
    );
    expect(ours.stdio).toEqual(expected);
  });

  it('a closed stdout fails several ranks, whose output is joined', async () => {
    const { code, stderr } = await run(['sh', '-c', '"$0" run -n 2 echo lost >&-', link('wireup')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wireup: output cannot be written to stdout: bad file descriptor \(EBADF\)/);
  });

  it.skipIf(hydra.missing)(`at least what it has under mpiexec.hydra${hydra.note}`, async () => {
    const [ours, theirs] = [
      await facts('pipe', link('wireup'), 'run', '-n', '1', probe(), ...words),
      await facts('pipe', installed('mpiexec'), '-n', '1', probe(), ...words),
    ];
    const alone = await facts('pipe', probe(), ...words);
    // What of the caller's comes through Hydra.
    expect(alone.facts.filter((line) => theirs.facts.includes(line) && !ours.facts.includes(line))).toEqual(
      [],
    );
    for (const fact of [
      'variable: BASH_FUNC_module%%=() { :; }',
      'umask: 23',
      'nice: 3',
      'fd 3: REPORT.log writes append',
    ]) {
      expect(theirs.facts).toContain(fact);
    }
  });
});

describe('as a shell hands it on', () => {
  const tool = join(root, 'dist/wireup');

  it("make's jobserver", async () => {
    // A make that finds no jobserver where it was promised one says so.
    const makefile = 'all: ; +@$(TOOL) run -n 1 $(MAKE) -f - sub <<<"sub: ; @echo made"';
    const { code, stdout, stderr } = await run([
      'bash',
      '-c',
      'make --no-print-directory -j2 -f <(echo "$0") SHELL=/bin/bash TOOL="$1"',
      makefile,
      tool,
    ]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'made\n', stderr: '' });
  });

  const cases: [string, string, string][] = [
    ['process substitution', 'cat <(echo substituted)', 'substituted\n'],
    [
      'a file that is appended to',
      'file=$(mktemp); "$0" run -n 2 sh -c "echo line >&3" 3>>"$file"; cat "$file"; rm "$file"',
      'line\nline\n',
    ],
  ];
  it.each(cases)('%s', async (_, script, expected) => {
    for (const start of [[tool], [process.execPath, join(root, 'dist/cli.js')]]) {
      const line = script.startsWith('file=') ? script.replace('"$0"', '"$@"') : `"$@" run -n 1 ${script}`;
      const { code, stdout, stderr } = await run(['bash', '-c', line, 'bash', ...start]);
      expect({ start, code, stdout, stderr }).toEqual({ start, code: 0, stdout: expected, stderr: '' });
    }
  });
});
