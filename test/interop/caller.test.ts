// What a rank inherits from the process that starts `wireup`: environment, arguments, limits, signals, files and more.
// It must be what a program inherits that this process starts itself, in whichever way `wireup` is started.

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

/** Names that a shell uses, or drops because they are not valid; and a variable that the starter script keeps from Node. */
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

/** Variables of launchers, and the one that npm sets to its command. */
const launchers =
  /^variable: (PMI_|MPI_LOCAL|MPIR_|HYD|GFORTRAN_UNBUFFERED_PRECONNECTED=|npm_lifecycle_script=)/;
/** Variables that a shell sets for each command. */
const shells = /^variable: (_=|PPID=(?!1$))/;

const outputs = ['file', 'pipe', 'nonblocking', 'tty', 'socket', 'closed'] as const;

interface Facts {
  /** Everything but the standard files, without an order. */
  facts: string[];
  /** The facts about stdout and stderr. */
  stdio: string[];
  /** The output on stdout and stderr. */
  output: string;
}

describe.skipIf(compiler.missing)(`a rank inherits from the caller${compiler.note}`, () => {
  let folder: string;
  let project: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'caller-test-'));
    // Links as npm makes them. The probe is beside them, so that npx can start both.
    project = join(folder, 'project');
    const links = join(project, 'node_modules/.bin');
    mkdirSync(links, { recursive: true });
    for (const name of ['wireup', 'mpiexec.wireup'])
      symlinkSync(join(root, 'dist/wireup'), join(links, name));
    symlinkSync(program('show_caller'), join(links, 'show_caller'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  let reports = 0;
  /** The facts about the program of a command whose caller has changed everything that a process inherits. */
  async function facts(kind: (typeof outputs)[number], ...command: string[]): Promise<Facts> {
    const report = join(folder, `report-${reports++}`);
    const environment = [
      `PATH=${process.env['PATH']}`,
      `HOME=${folder}`,
      'npm_config_update_notifier=false',
      ...variables,
    ];
    const { code, stderr } = await run(
      ['env', '-i', ...environment, program('as_caller'), report, kind, ...command],
      { directory: project },
    );
    const output = readFileSync(`${report}.out`, 'latin1');
    expect({ command, code, stderr, output, reported: existsSync(report) }).toMatchObject({
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
      output,
    };
  }

  const probe = (): string => program('show_caller');
  const link = (name: string): string => join(project, 'node_modules/.bin', name);
  /** A shell that does not exec its command, so that it stays the parent. */
  const shell = (name: string): string[] => [name, '-c', '"$0" "$@"; exit $?'];
  const node = (): string[] => [process.execPath, join(root, 'dist/cli.js')];

  /** Each way to start `wireup`, and to start the program directly for comparison. */
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

  it.each(ways)('everything, if it starts wireup %s', async (_, startWireup, startDirect) => {
    const [viaWireup, direct] = [
      await facts('pipe', ...startWireup(), ...words),
      await facts('pipe', ...startDirect(), ...words),
    ];
    expect(viaWireup).toEqual(direct);
  });

  it('the same over TCP, behind wireup-exec, and with several programs', async () => {
    const direct = await facts('pipe', probe(), ...words);
    for (const options of [
      ['--pmi', 'tcp'],
      ['--pmi', 'unix'],
      ['-n', '1', 'true', ':'],
    ]) {
      expect(
        (await facts('pipe', link('wireup'), 'run', ...options, '-n', '1', probe(), ...words)).facts,
      ).toEqual(direct.facts);
    }
  });

  it('what Node has left unchanged, if it starts wireup as node dist/cli.js', async () => {
    const [viaWireup, direct] = [
      await facts('pipe', ...shell('bash'), ...node(), 'run', '-n', '1', probe(), ...words),
      await facts('pipe', ...shell('bash'), probe(), ...words),
    ];
    // As docs/mpiexec.md documents.
    const lost = /^(ignored|blocked): /;
    expect(viaWireup.facts.filter((line) => !lost.test(line))).toEqual(
      direct.facts.filter((line) => !lost.test(line)),
    );
    expect(viaWireup.facts.filter((line) => lost.test(line))).toEqual([
      'blocked: 0000000000000000',
      'ignored: 8000000000000000',
    ]);
    // Without the starter script, Node reads this variable and prints a warning.
    expect(viaWireup.output.replace(/^Warning: .*\n/, '')).toBe(direct.output);
  });

  it('no fds with --close-fds', async () => {
    const fds = (lines: string[]): string[] => lines.filter((line) => line.startsWith('fd '));
    for (const command of [[link('wireup')], node()]) {
      expect(fds((await facts('pipe', ...command, 'run', '--close-fds', '-n', '1', probe())).facts)).toEqual(
        [],
      );
    }
    expect(fds((await facts('pipe', probe())).facts)).toHaveLength(4);
  });

  it('its limit on the size of files, even 0', async () => {
    expect(
      await run(['bash', '-c', 'ulimit -f 0; "$0" run -n 2 sh -c "ulimit -f" | cat', link('wireup')]),
    ).toMatchObject({ code: 0, stdout: '0\n0\n', stderr: '' });
  });

  it('no dependence on the name of the command, which may be a link called mpiexec', async () => {
    const mpiexec = join(folder, 'mpiexec');
    symlinkSync(link('mpiexec.wireup'), mpiexec);
    expect(await run([mpiexec, '-n', '1', 'echo', 'x'])).toMatchObject({
      code: 0,
      stdout: 'x\n',
      stderr: '',
    });
  });

  it('no fd above the limit on open files, and a line reports it', async () => {
    const { code, stdout, stderr } = await run([
      'bash',
      '-c',
      'exec 250>/dev/null; ulimit -n 200; "$0" run -n 2 sh -c \'echo ran; ! [ -e /proc/self/fd/250 ]\'',
      link('wireup'),
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'ran\nran\n' });
    // The process that runs the tests may have other such fds.
    expect(stderr).toContain(
      "wireup-agent: the caller's fd 250 cannot be passed on to ranks: it is not below the limit on open files, 200\n",
    );
  });

  it.each(outputs)('stdout and stderr of the kind %s', async (output) => {
    const [viaWireup, direct] = [
      await facts(output, link('wireup'), 'run', '-n', '1', probe()),
      await facts(output, probe()),
    ];
    expect(viaWireup.output).toBe(direct.output);
    // The number of a closed fd is not used for another file, so writing to it fails as before. A pipe has no
    // O_NONBLOCK, because few programs handle a slow reader.
    const expected = direct.stdio.map((line) =>
      line.replace(/^(fd [12]): closed$/, '$1: /dev/null reads').replace(/ nonblocking$/, ''),
    );
    expect(viaWireup.stdio).toEqual(expected);
  });

  it('a closed stdout, at which the joined output of several ranks fails', async () => {
    const { code, stderr } = await run(['sh', '-c', '"$0" run -n 2 echo lost >&-', link('wireup')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^wireup: output cannot be written to stdout: bad file descriptor \(EBADF\)/);
  });

  it.skipIf(hydra.missing)(`at least what mpiexec.hydra passes on${hydra.note}`, async () => {
    const [viaWireup, direct] = [
      await facts('pipe', link('wireup'), 'run', '-n', '1', probe(), ...words),
      await facts('pipe', installed('mpiexec'), '-n', '1', probe(), ...words),
    ];
    const unchanged = await facts('pipe', probe(), ...words);
    // The changes of the caller that Hydra passes on.
    expect(
      unchanged.facts.filter((line) => direct.facts.includes(line) && !viaWireup.facts.includes(line)),
    ).toEqual([]);
    for (const fact of [
      'variable: BASH_FUNC_module%%=() { :; }',
      'umask: 23',
      'nice: 3',
      'fd 3: REPORT.log writes append',
    ]) {
      expect(direct.facts).toContain(fact);
    }
  });
});

describe('a rank uses what a shell passes on', () => {
  const command = join(root, 'dist/wireup');

  it("make's jobserver", async () => {
    // make reports a jobserver that it was promised and does not find.
    const makefile = 'all: ; +@$(TOOL) run -n 1 $(MAKE) -f - sub <<<"sub: ; @echo made"';
    const { code, stdout, stderr } = await run([
      'bash',
      '-c',
      'make --no-print-directory -j2 -f <(echo "$0") SHELL=/bin/bash TOOL="$1"',
      makefile,
      command,
    ]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'made\n', stderr: '' });
  });

  const cases: [string, string, string][] = [
    ['process substitution', 'cat <(echo substituted)', 'substituted\n'],
    [
      'a file opened for appending',
      'file=$(mktemp); "$0" run -n 2 sh -c "echo line >&3" 3>>"$file"; cat "$file"; rm "$file"',
      'line\nline\n',
    ],
  ];
  it.each(cases)('%s', async (_, script, expected) => {
    for (const start of [[command], [process.execPath, join(root, 'dist/cli.js')]]) {
      const line = script.startsWith('file=') ? script.replace('"$0"', '"$@"') : `"$@" run -n 1 ${script}`;
      const { code, stdout, stderr } = await run(['bash', '-c', line, 'bash', ...start]);
      expect({ start, code, stdout, stderr }).toEqual({ start, code: 0, stdout: expected, stderr: '' });
    }
  });
});
