// Command lines of Debian's mpiexec (Hydra 4.0.2) and of `wireup run`, side by side. Both have the same lines of
// output, in any order, and the same exit code, or the row states the difference and its reason.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines } from '../support/run';

interface CommandLine {
  args: string[] | (() => string[]);
  /** The title of the row. Default: the arguments. */
  what?: string;
  environment?: Record<string, string>;
  input?: string;
  /** Files that the command writes in its working directory. */
  files?: string[];
  /** What wireup does if it differs from Hydra: sorted lines of stdout, and the exit code. */
  ours?: { code: number; stdout?: (string | RegExp)[]; stderr?: RegExp };
  why?: string;
}

const sh = (script: string): string[] => ['sh', '-c', script];
const echo = (...names: string[]): string[] => sh(`echo ${names.map((name) => `$${name}`).join(' ')}`);
const place = echo('PMI_RANK', 'MPI_LOCALRANKID', 'MPI_LOCALNRANKS', 'MPIR_CVAR_CH3_INTERFACE_HOSTNAME');
const variables = sh("env | grep -E '^(MPI_|MPIR_|GFORTRAN_)' | sort");
const cpus = sh('echo $PMI_RANK $(grep Cpus_allowed_list /proc/self/status)');
const here = hostname();

const same: CommandLine[] = [
  { args: ['echo', 'one'] },
  { args: ['-n', '2', 'echo', 'hi'] },
  { args: ['-np', '2', 'echo', 'hi'] },
  { args: ['--np', '2', 'echo', 'hi'] },
  { args: ['-n=2', 'echo', 'hi'] },
  { args: ['--n=2', 'echo', 'hi'] },
  { args: ['-n', '3', 'seq', '1', '3'] },
  { args: ['-n', '1', 'echo', 'a', ':', '-n', '2', 'echo', 'b'] },
  { args: ['-np', '1', 'echo', 'a', ':', '-np', '1', 'echo', 'b', ':', '-np', '1', 'echo', 'c'] },
  { args: ['-n', '1', ...echo('PMI_RANK', 'PMI_SIZE'), ':', '-n', '2', ...echo('PMI_RANK', 'PMI_SIZE')] },
  { args: ['-l', '-n', '2', 'seq', '1', '3'] },
  { args: ['-prepend-rank', '-n', '2', 'echo', 'hi'] },
  { args: ['-prepend-pattern', '%r/%h/%g/%p ', '-n', '2', 'echo', 'hi'] },
  { args: ['-prepend-pattern', '<%%r> ', '-n', '2', 'echo', 'hi'] },
  { args: ['-genv', 'A', '1', '-n', '2', ...echo('A')] },
  { args: ['-genv', 'A=1', '-n', '2', ...echo('A')] },
  { args: ['-genv', 'A', '1', '-genv', 'B', '2', '-n', '1', ...echo('A', 'B')] },
  { args: ['-n', '1', '-env', 'A', '1', ...sh('echo a$A'), ':', '-n', '1', ...sh('echo b$A')] },
  { args: ['-genv', 'A', '1', '-n', '1', '-env', 'A', '2', ...echo('A'), ':', '-n', '1', ...echo('A')] },
  { args: ['-n', '1', 'echo', 'x', ':', '-genv', 'A', '1', '-n', '1', ...echo('A')] },
  { args: ['-n', '1', '-env', 'A', '', ...sh('echo [${A-unset}]')] },
  { args: ['-genvall', '-n', '1', ...echo('MARK')], environment: { MARK: 'kept' } },
  { args: ['-wdir', '/usr', '-n', '1', 'pwd'] },
  { args: ['-wdir', '/usr', '-n', '1', 'pwd', ':', '-n', '1', '-wdir', '/', 'pwd'] },
  { args: ['-usize', '8', '-n', '1', 'echo', 'hi'] },
  { args: ['-pmi-port', '-n', '2', 'echo', 'hi'] },
  { args: ['-launcher', 'fork', '-n', '1', 'echo', 'hi'] },
  { args: ['-launcher', 'ssh', '-n', '1', 'echo', 'hi'] },
  { args: ['-iface', 'lo', '-n', '2', ...variables] },
  { what: 'HYDRA_IFACE=lo', args: ['-n', '2', ...variables], environment: { HYDRA_IFACE: 'lo' } },
  { args: ['-bootstrap-exec', 'ssh -x', '-n', '1', 'echo', 'hi'] },
  { args: ['-f', 'HYDRA_USE_LOCALHOST', '-n', '2', 'echo', 'hi'] },
  { args: ['-bind-to', 'none', '-n', '2', ...cpus] },
  { args: ['-bind-to', 'core', '-n', '2', ...cpus] },
  { args: ['-bind-to', 'hwthread', '-n', '3', ...cpus] },
  { args: ['-bind-to', 'socket', '-n', '2', ...cpus] },
  { args: ['-bind-to', 'user:1,0', '-n', '2', ...cpus] },
  { args: ['-ppn', '1', '-n', '2', ...place] },
  { args: ['-ppn', '3', 'echo', 'hi'] },
  { args: ['-n', '1', '-env', 'A', ':', ...sh('echo [$A]')] },
  { args: ['-ppn', '2', '-n', '4', ...place] },
  { args: ['-ppn=2', '-n', '4', ...place] },
  { args: ['-hosts', `localhost,${here}`, '-n', '4', ...place] },
  { args: ['-hosts', `localhost:2,${here}:2`, '-n', '4', ...place] },
  { args: ['-hosts', `localhost:2,${here}:2`, ...place] },
  { args: ['-hosts', `localhost:2,${here}`, '-n', '7', ...place] },
  { args: ['-hosts', `localhost,${here}`, '-ppn', '2', '-n', '4', ...place] },
  { args: ['-hosts', `localhost,${here}`, '-n', '1', ...place, ':', '-n', '2', ...place] },
  { args: ['-host', 'localhost', '-n', '2', ...place] },
  { args: ['-f', 'hosts', ...place] },
  { args: ['-hostfile', 'hosts', '-n', '6', ...place] },
  { args: ['-machinefile', 'hosts', '-n', '3', ...place] },
  { args: ['-hosts', `localhost,${here}`, '-prepend-pattern', '%h %p ', '-n', '2', 'echo', 'hi'] },
  { args: ['-configfile', 'config'] },
  {
    args: ['-outfile-pattern', 'out.%r.%h.%g.%p', '-n', '2', 'echo', 'hi'],
    files: [`out.0.${here}.0.0`, `out.1.${here}.0.0`],
  },
  {
    args: ['-outfile-pattern', 'all', '-errfile-pattern', 'err', '-n', '2', ...sh('echo out; echo err >&2')],
    files: ['all', 'err'],
  },
  { args: ['-outfile-pattern', 'out.%r', '-l', '-n', '2', 'echo', 'hi'], files: ['out.0', 'out.1'] },
  { args: ['-n', '2', ...sh('exit 3')] },
  { args: ['-n', '1', 'echo', '-n', 'x', '-l', '--genv'] },
  { args: ['-n', '1', 'sh', '-c', 'echo "$@"', '--', '-l', '3', ':', '-n', '1', 'echo', 'z'] },
  { args: ['-n', '1', 'cat'], input: 'one\ntwo\n' },
  { args: ['-n', '3', ...sh('[ $PMI_RANK = 0 ] && cat; exit 0')], input: 'for rank 0\n' },
  { args: ['-n', '2', ...variables] },
  { args: () => ['-n', '4', program('hello')], what: '-n 4 an MPI program' },
  {
    args: () => ['-n', '1', program('hello'), ':', '-n', '3', program('hello')],
    what: 'an MPI program twice (MPMD)',
  },
];

const differ: CommandLine[] = [
  {
    args: ['-n', '2', 'printf', 'abc'],
    ours: { code: 0, stdout: ['abc', 'abc'] },
    why: 'wireup never joins an incomplete line of a rank with a line of another rank',
  },
  {
    args: ['-bind-to', 'user:1,0', '-n', '3', ...cpus],
    ours: { code: 0, stdout: ['0 Cpus_allowed_list: 1', '1 Cpus_allowed_list: 0', '2 Cpus_allowed_list: 1'] },
    why: 'Hydra does not bind the ranks after the end of the list; wireup starts the list again',
  },
  {
    args: () => ['-ppn', '2', '-n', '4', program('raw_mapping')],
    what: 'the process mapping of one host with -ppn',
    ours: { code: 0, stdout: [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 mapping (vector,(0,1,4))`) },
    why: 'the mappings are equivalent: all ranks are on node 0',
  },
  {
    args: () => ['-hosts', `localhost,${here}`, '-n', '4', program('raw_mapping')],
    what: 'the process mapping of two hosts',
    ours: {
      code: 0,
      stdout: [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 mapping (vector,(0,2,1),(0,2,1))`),
    },
    why: 'the mappings are equivalent; Flux’s parser does not repeat the blocks, so wireup writes them all',
  },
  {
    args: ['-genvnone', '-n', '1', ...sh('echo [$MARK]')],
    environment: { MARK: 'kept' },
    ours: { code: 0, stdout: ['[]'] },
    why: 'Hydra’s local ranks inherit the whole environment anyway',
  },
  {
    args: ['-genvlist', 'A', '-n', '1', ...sh('echo $A [$MARK]')],
    environment: { MARK: 'kept', A: '1' },
    ours: { code: 0, stdout: ['1 []'] },
    why: 'Hydra’s local ranks inherit the whole environment anyway',
  },
  {
    args: [
      '-n',
      '1',
      '-envnone',
      '-env',
      'A',
      '1',
      ...sh('echo $A [$MARK]'),
      ':',
      '-n',
      '1',
      ...sh('echo $MARK'),
    ],
    environment: { MARK: 'kept' },
    ours: { code: 0, stdout: ['1 []', 'kept'] },
    why: 'Hydra’s local ranks inherit the whole environment anyway',
  },
  {
    args: ['-n', '1', '-envlist', 'A', ...sh('echo $A [$MARK]')],
    environment: { MARK: 'kept', A: '1' },
    ours: { code: 0, stdout: ['1 []'] },
    why: 'Hydra’s local ranks inherit the whole environment anyway',
  },
  {
    args: [],
    ours: { code: 2, stdout: [], stderr: /expected a program/ },
    why: 'wrong use gives exit code 2 and one line on stderr',
  },
  { args: ['-n', '2'], ours: { code: 2, stdout: [], stderr: /expected a program/ }, why: 'Hydra crashes' },
  {
    args: ['-bogus', 'echo'],
    ours: { code: 2, stdout: [], stderr: /unknown option '--bogus'/ },
    why: 'wireup prints one line instead of five',
  },
  {
    args: ['-prepend-patern', 'x', 'echo'],
    ours: {
      code: 2,
      stdout: [],
      stderr: /unknown option '--prepend-patern' \(Did you mean --prepend-pattern\?\)/,
    },
    why: 'wireup suggests the most similar option',
  },
  {
    args: ['-n', '2', '-wdir', '/no/such', './a.out'],
    ours: { code: 1, stdout: [], stderr: /chdir \/no\/such: No such file/ },
    why: 'wireup names the missing folder',
  },
  {
    args: ['-n', '0', 'echo', 'hi'],
    ours: { code: 2, stdout: [], stderr: /expected a whole number/ },
    why: 'Hydra replaces an invalid number by 1',
  },
  {
    args: ['-n', '-1', 'echo', 'hi'],
    ours: { code: 2, stdout: [], stderr: /expected a whole number/ },
    why: 'Hydra replaces an invalid number by 1',
  },
  {
    args: ['-n', 'x', 'echo', 'hi'],
    ours: { code: 2, stdout: [], stderr: /expected a whole number/ },
    why: 'Hydra replaces an invalid number by 1',
  },
  {
    args: ['-n', '8', '-soft', '1:6:2', 'echo', 'hi'],
    ours: { code: 0, stdout: Array<string>(5).fill('hi') },
    why: 'Hydra lacks the standard’s -soft',
  },
  {
    args: ['-path', '/no/such:/usr/bin', '-n', '1', 'echo', 'hi'],
    ours: { code: 0, stdout: ['hi'] },
    why: 'Hydra 4.0.2 lacks the standard’s -path',
  },
  {
    args: ['-file', 'options', 'echo', 'hi'],
    ours: { code: 0, stdout: ['hi', 'hi'] },
    why: 'Hydra lacks the standard’s -file',
  },
  {
    args: ['-initial-errhandler', 'mpi_errors_are_fatal', '-n', '1', 'echo', 'hi'],
    ours: { code: 0, stdout: ['hi'] },
    why: 'Hydra 4.0.2 lacks the standard’s -initial-errhandler',
  },
  {
    args: ['-n', '1', '-host', 'localhost', ...place, ':', '-n', '1', '-host', here, ...place],
    ours: { code: 0, stdout: ['0 0 1 localhost', `1 0 1 ${here}`] },
    why: 'the standard permits hosts for each program; Hydra refuses the second list',
  },
  {
    args: ['-launcher', 'rsh', '-n', '1', 'echo', 'hi'],
    ours: {
      code: 2,
      stdout: [],
      stderr: /-launcher: expected ssh, slurm, fork, exec, lsf or sge; other commands/,
    },
    why: 'rsh works as --launcher exec --launcher-exec rsh',
  },
  {
    args: ['-topolib', 'hwloc', '-n', '1', 'echo', 'hi'],
    ours: { code: 2, stdout: [], stderr: /not supported: wireup reads the topology/ },
    why: 'wireup gives the reason why it does not support an option of Hydra',
  },
  {
    // Rank 2 fails after the others have ended, because its failure would end them.
    args: [
      '-print-all-exitcodes',
      '-n',
      '3',
      ...sh(
        '[ $PMI_RANK != 2 ] && { echo $$ > new$PMI_RANK; mv new$PMI_RANK $PMI_RANK; exit 0; }; for r in 0 1; do until [ -e $r ]; do sleep 0.01; done; while kill -0 $(cat $r) 2>/dev/null; do sleep 0.01; done; rm $r; done; exit 1',
      ),
    ],
    ours: { code: 1, stdout: [], stderr: /exit codes: 0-1: 0; 2: 1\n/ },
    why: 'wireup prints exit codes, not wait statuses, and not on stdout',
  },
  {
    args: ['-verbose', '-n', '1', 'echo', 'hi'],
    ours: { code: 0, stdout: ['hi'], stderr: /1 rank of echo on / },
    why: 'Hydra mixes its trace with the program’s stdout',
  },
  {
    args: ['-info'],
    ours: {
      code: 0,
      stdout: [
        /^Agent: \/.*\/wireup-agent$/,
        /^Binding:/,
        /^Launchers: ssh.*, lsf, sge$/,
        /^PMI:/,
        /^Resource managers: flux, slurm, pbs, lsf, sge, user$/,
        /^System:/,
        /^wireup /,
      ],
    },
    why: 'each program describes itself',
  },
  {
    args: ['-n', '1', '--', 'echo', 'hi'],
    ours: { code: 0, stdout: ['hi'] },
    why: 'Hydra does not support the end of options',
  },
  {
    args: ['-n', '2', 'cat'],
    input: '',
    environment: { MPIEXEC_TIMEOUT: '2' },
    ours: { code: 0, stdout: [] },
    why: 'under Hydra the stdin of the other ranks never ends',
  },
  {
    args: [
      '-pmi-port',
      '-n',
      '2',
      ...sh('p=${PMI_PORT##*:}; [ $p -ge 45210 ] && [ $p -le 45240 ] && echo in range'),
    ],
    environment: { MPIEXEC_PORT_RANGE: '45210:45240' },
    ours: { code: 0, stdout: ['in range', 'in range'] },
    why: 'Hydra applies the range to its own ports, not to PMI_PORT',
  },
  {
    args: ['-pmi-port', '-n', '2', ...echo('PMI_RANK', 'PMI_SIZE')],
    ours: { code: 0, stdout: ['0 2', '1 2'] },
    why: 'Hydra sets neither beside PMI_PORT',
  },
];

interface Outcome {
  code: number | NodeJS.Signals;
  stdout: string[];
  stderr: string;
  files: Record<string, string[]>;
}

async function play(tool: string[], row: CommandLine): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'command-line-'));
  writeFileSync(join(folder, 'hosts'), `# two nodes\nlocalhost:2\n${here}:1\n`);
  writeFileSync(join(folder, 'config'), '-n 1 echo a\n# nothing\n-n 2 echo b\n');
  writeFileSync(join(folder, 'options'), '# options of one program\n-n 2\n');
  // The command must overwrite these files.
  for (const file of row.files ?? []) writeFileSync(join(folder, file), '');
  const [command, ...front] = tool;
  const args = typeof row.args === 'function' ? row.args() : row.args;
  const child = spawn(command!, [...front, ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...row.environment },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // At the end of its input mpiexec.hydra writes to its proxies. If they have exited by then, SIGPIPE kills it. So the input of
  // ranks that read none stays open.
  child.stdin.on('error', () => undefined);
  if (row.input !== undefined) child.stdin.end(row.input);
  const code = await new Promise<number | NodeJS.Signals>((resolve) =>
    child.once('close', (status, signal) => resolve(status ?? signal!)),
  );
  const files = Object.fromEntries(
    (row.files ?? []).map((file) => [
      file,
      existsSync(join(folder, file)) ? lines(readFileSync(join(folder, file), 'utf8')).sort() : [],
    ]),
  );
  rmSync(folder, { recursive: true });
  return { code, stdout: lines(stdout).sort(), stderr, files };
}

const titled = (rows: CommandLine[]): [string, CommandLine][] =>
  rows.map((row) => [row.what ?? ((row.args as string[]).join(' ') || '(nothing)'), row]);

const hydra = (): string[] => [installed('mpiexec')];
// The command as it is installed: a link with that name.
const ours = [process.execPath, join(root, 'dist/cli.js'), 'run'];

const peers = needs('mpicc', 'mpiexec', 'hostname');
describe.skipIf(peers.missing)(`the command lines of mpiexec and wireup run${peers.note}`, () => {
  it.each(titled(same))('agree: %s', async (_, row) => {
    const [theirs, mine] = await Promise.all([play(hydra(), row), play(ours, row)]);
    expect({ code: mine.code, stdout: mine.stdout, files: mine.files }, mine.stderr).toEqual({
      code: theirs.code,
      stdout: theirs.stdout,
      files: theirs.files,
    });
    for (const file of row.files ?? []) expect(mine.files[file]).not.toEqual([]);
  });

  it.each(titled(differ))('differ with a reason: %s', async (_, row) => {
    const [theirs, mine] = await Promise.all([play(hydra(), row), play(ours, row)]);
    const { code, stdout, stderr } = row.ours!;
    expect(mine.code, mine.stderr).toBe(code);
    if (stdout !== undefined) {
      expect(mine.stdout).toEqual(
        stdout.map((line) => (typeof line === 'string' ? line : (expect.stringMatching(line) as string))),
      );
    }
    if (stderr !== undefined) expect(mine.stderr).toMatch(stderr);
    // A row without a difference must not have a reason.
    const alike =
      theirs.code === mine.code &&
      theirs.stdout.join('\n') === mine.stdout.join('\n') &&
      stderr === undefined;
    expect(alike, `${theirs.stdout.join('\n')}\n${theirs.stderr}`).toBe(false);
  });

  // Only under wireup: Hydra has no such launcher.
  it('name a host that cannot be reached', async () => {
    const { code, stdout, stderr } = await play(ours, {
      args: [
        '-launcher',
        'exec',
        '-launcher-exec',
        'false',
        '-hosts',
        'localhost,other',
        '-n',
        '2',
        'echo',
        'hi',
      ],
    });
    expect(stderr).toMatch(/^wireup: host other could not be started: .*\n$/);
    expect(stdout).toEqual([]);
    expect(code).toBe(1);
  });

  it('are at least 60', () => {
    expect(same.length + differ.length).toBeGreaterThanOrEqual(60);
  });
});
