/**
 * The options of `wireup run`, which are mpiexec's, and how several segments (MPMD) are put together.
 *
 * A new one: JobOptions or SegmentOptions and the builder of that name here; what it does, in run.ts, mostly by an option of
 * launch() (launch-options.ts, and native.ts, addon/from_js.cpp and host/ where C++ does it); a line of docs/mpiexec.md; and
 * a row of test/interop/command-line.test.ts.
 */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { PmiTransport } from '../index';
import { MAX_RANKS, MAX_TIME_LIMIT } from '../limits';
import { isWellFormed } from '../options';
import { softCount } from '../soft';
import { toBytes, toText } from './start';
import { addAdmissionOptions, type AdmissionFlags } from './admission';
import { STATUS_SIGNAL } from './job-signals';
import { readCommandLine, readConfigFile, readOptionsFile, UsageError, type Segment } from './mpiexec-args';
import { parseMap, type PlacementMap } from './placement';
import { helpStyle, idset, print, seconds, usageError, wholeNumber, words } from './report';

/** What concerns one program; what one segment says is not said for the others. */
export interface SegmentOptions {
  ranks?: number;
  soft?: string;
  wdir?: string;
  path?: string;
  env?: Record<string, string>;
  envall: boolean;
  envnone: boolean;
  envlist?: string;
  hosts?: string;
}

/** What concerns the whole job, in whichever segment it is said. */
export interface JobOptions extends AdmissionFlags {
  hostfile?: string;
  ppn?: number;
  map?: PlacementMap;
  nodePerRank: boolean;
  bindTo: BindTo;
  reportBindings: boolean;
  genv?: Record<string, string>;
  genvnone: boolean;
  genvlist?: string;
  usize?: number;
  maxSpawn?: number;
  spawn: boolean;
  nameServer?: string;
  pmi: PmiTransport;
  pmiPort: boolean;
  execShim: boolean;
  closeFds: boolean;
  label: boolean;
  prependPattern?: string;
  outfilePattern?: string;
  errfilePattern?: string;
  outputFrom?: number[];
  stdin: 'all' | 'none' | number[];
  verbose: boolean;
  info: boolean;
  progress: 'auto' | 'plain' | 'none';
  timeout?: number;
  startupTimeout?: number;
  killTimeout: number;
  onFailure: 'kill' | 'wait';
  onEarlyExit: 'fail' | 'wait';
  result?: string;
  printAllExitcodes: boolean;
  proctable?: string;
  debugger?: string[];
  debugRanks?: number[];
}

export type BindTo = 'none' | 'hwthread' | 'core' | 'socket' | number[][];

export interface RunSegment {
  program: string;
  args: string[];
  options: SegmentOptions;
}

export interface RunRequest {
  job: JobOptions;
  segments: RunSegment[];
}

/** Options that take a name and a value, in one word or in two. */
const pairs: ReadonlySet<string> = new Set(['--env', '--genv']);

/** Options whose values are bytes to the system, and need not be UTF-8. */
const bytes: ReadonlySet<string> = new Set([
  '--wdir',
  '--path',
  '--env',
  '--envlist',
  '--file',
  '--genv',
  '--genvlist',
  '--hostfile',
  '--prepend-pattern',
  '--outfile-pattern',
  '--errfile-pattern',
  '--debugger',
  '--configfile',
]);

function addPair(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Expected the name of a variable and its value.');
  if (!isWellFormed(text.slice(0, at))) throw new InvalidArgumentError('Expected a name in UTF-8.');
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Counts that will do, as MPI's -soft has them. */
function softCounts(text: string): string {
  if (softCount(text, 0) === undefined)
    throw new InvalidArgumentError('Expected counts such as 2, 1:4 or 1:8:2.');
  return text;
}

/** `none`, `hwthread`, `core`, `socket`, or `user:0,1+2,3-5`: for each rank in turn its CPUs. */
function bindTo(text: string): BindTo {
  if (text === 'none' || text === 'hwthread' || text === 'core' || text === 'socket') return text;
  const list = /^(?:user|list):(.+)$/.exec(text)?.[1];
  if (list === undefined)
    throw new InvalidArgumentError(
      'Expected none, hwthread, core, socket, or user:CPU[+CPU...],... with the CPUs of each rank.',
    );
  try {
    return list.split(',').map((set) => set.split('+').flatMap(idset));
  } catch {
    throw new InvalidArgumentError('Expected the CPUs of each rank, such as user:0,1+2,3-5.');
  }
}

function stdinOf(text: string): 'all' | 'none' | number[] {
  return text === 'all' || text === 'none' ? text : idset(text);
}

function launcher(text: string): string {
  if (text !== 'fork' && text !== 'local')
    throw new InvalidArgumentError('Only fork is there: ranks start on this machine.');
  return text;
}

function initialErrhandler(text: string): string {
  if (!/^(mpi_)?errors_are_fatal$/i.test(text)) {
    throw new InvalidArgumentError(
      'Only mpi_errors_are_fatal, the default, is there: no MPI of today can be told another by its launcher.',
    );
  }
  return text;
}

function pattern(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a pattern.');
  return text;
}

function segmentOptions(command: Command): Command {
  return command
    .optionsGroup('For the program that follows (in each part of an MPMD line):')
    .addOption(
      new Option(
        '-n, --ranks <N>',
        'how many ranks, also -np; 1 by default, or as many as the hosts have',
      ).argParser(wholeNumber(1, MAX_RANKS)),
    )
    .addOption(
      new Option(
        '--soft <counts>',
        'counts that will do, such as 1:8:2; as many ranks start as -n and they allow',
      ).argParser(softCounts),
    )
    .option('--wdir <folder>', "the ranks' working directory")
    .option('--path <folders>', 'where the program is searched; PATH by default')
    .option(
      '--hosts <list>',
      'names of this machine, name[:count] between commas, also -host: each is a node',
    )
    .addOption(
      new Option('--env <name value>', 'set a variable, NAME VALUE or NAME=VALUE').argParser(addPair),
    )
    .option('--envlist <names>', 'inherit these variables only')
    .addOption(
      new Option('--envall', 'inherit all variables').default(false).conflicts(['envnone', 'envlist']),
    )
    .addOption(new Option('--envnone', 'inherit none').default(false).conflicts('envlist'))
    .option('--file <file>', 'options of this program from a file, as on the command line');
}

function jobOptions(command: Command): Command {
  command
    .optionsGroup('Where ranks run:')
    .addOption(
      new Option('--ppn <N>', 'ranks for each of the --hosts before the next gets some').argParser(
        wholeNumber(1, MAX_RANKS),
      ),
    )
    .option('-f, --hostfile <file>', 'a file of hosts, name[:count] in each line')
    .addOption(
      new Option(
        '--map <map>',
        'pretend several nodes: block:N or cyclic:N nodes, or the node of each rank, such as 0,0,1,1',
      ).argParser(parseMap),
    )
    .option(
      '--node-per-rank',
      'tell ranks that each is on a node of its own: for containers with a /dev/shm each',
      false,
    )
    .addOption(
      new Option(
        '--bind-to <unit>',
        'bind each rank to CPUs: none, hwthread, core, socket, or user:CPU[+CPU...],...',
      )
        .argParser(bindTo)
        .default('none'),
    )
    .option('--report-bindings', 'say on stderr which rank is bound to which CPUs', false)
    .option('--launcher <name>', 'fork, which is the only one', launcher)
    .optionsGroup('Environment of all ranks:')
    .addOption(
      new Option('--genv <name value>', 'set a variable, NAME VALUE or NAME=VALUE').argParser(addPair),
    )
    .option('--genvlist <names>', 'inherit these variables only')
    .addOption(
      new Option('--genvall', 'inherit all variables, as by default')
        .default(false)
        .conflicts(['genvnone', 'genvlist']),
    )
    .addOption(new Option('--genvnone', 'inherit none').default(false).conflicts('genvlist'))
    .optionsGroup('PMI:')
    .addOption(
      new Option(
        '--pmi <transport>',
        'how ranks reach the PMI server: an inherited fd, TCP on 127.0.0.1, or a unix socket',
      )
        .choices(['fd', 'tcp', 'unix'])
        .default('fd')
        .conflicts('pmiPort'),
    )
    .option('--pmi-port', "Hydra's name for --pmi tcp", false)
    .option(
      '--no-exec-shim',
      'with --pmi unix: start the program itself, which runs wireup-exec further inside (in a container)',
    )
    .addOption(
      new Option('--usize <N>', 'the universe size; the number of ranks by default').argParser(
        wholeNumber(1, 2 ** 31 - 1),
      ),
    )
    .addOption(
      new Option(
        '--max-spawn <N>',
        'how many spawned processes may run at a time; 1024, or what --usize leaves, by default',
      )
        .argParser(wholeNumber(0, MAX_RANKS))
        .conflicts('spawn'),
    )
    .option('--no-spawn', 'ranks may not spawn')
    .option(
      '--name-server <address>',
      'share published names (MPI_Publish_name) with other launches: what wireup names serve prints; WIREUP_NAME_SERVER by default',
    )
    .option(
      '--initial-errhandler <name>',
      "for MPI-4's command lines: mpi_errors_are_fatal, the default, is all there is",
      initialErrhandler,
    );
  addAdmissionOptions(command)
    .optionsGroup('Output and input:')
    .option('-l, --label', 'put "[rank] " before each line of output, also -prepend-rank', false)
    .addOption(
      new Option(
        '--prepend-pattern <pattern>',
        'the same with %r rank, %h host, %p node, %g group, %t seconds since 1970',
      ).argParser(pattern),
    )
    .addOption(
      new Option(
        '--outfile-pattern <pattern>',
        'write stdout to files, made anew, named by such a pattern',
      ).argParser(pattern),
    )
    .addOption(new Option('--errfile-pattern <pattern>', 'the same for stderr').argParser(pattern))
    .addOption(
      new Option('--output-from <ranks>', "only these ranks' output, such as 0,4-7").argParser(idset),
    )
    .addOption(
      new Option('--stdin <ranks>', 'who reads standard input: all, none, or ranks')
        .argParser(stdinOf)
        .default([0], '0'),
    )
    .addOption(
      new Option(
        '--progress <how>',
        'how far the ranks are, on stderr: auto shows a line on a terminal until they print; plain writes lines; or none',
      )
        .choices(['auto', 'plain', 'none'])
        .default('auto'),
    )
    .option('-v, --verbose', 'say on stderr what runs where, and how long it took', false)
    .option(
      '--close-fds',
      'ranks get no fds above 2; by default they get those that this command has from its caller, as 3>>log',
      false,
    )
    .optionsGroup('How the job ends:')
    .addOption(
      new Option(
        '-t, --timeout <S>',
        'end the job after S seconds, with exit code 124; MPIEXEC_TIMEOUT by default',
      ).argParser(seconds(1, MAX_TIME_LIMIT)),
    )
    .addOption(
      new Option(
        '--startup-timeout <S>',
        'the same when not every rank has said PMI init and left the first barrier by then',
      ).argParser(seconds(1, MAX_TIME_LIMIT)),
    )
    .addOption(
      new Option('--kill-timeout <S>', 'seconds from TERM to KILL when ranks are ended')
        .argParser(seconds(0))
        .default(5000, '5'),
    )
    .addOption(
      new Option('--on-failure <what>', 'a rank that fails ends the others, or lets them run on')
        .choices(['kill', 'wait'])
        .default('kill'),
    )
    .addOption(
      new Option(
        '--on-early-exit <what>',
        'a rank that leaves while others wait for it in a PMI barrier ends the job, or lets them wait',
      )
        .choices(['fail', 'wait'])
        .default('fail'),
    )
    .option('--result <file>', 'write how the job and each rank ended to a file, as JSON')
    .option('--print-all-exitcodes', 'say on stderr how each rank ended', false)
    .optionsGroup('Debuggers:')
    .option(
      '--proctable <file>',
      'write host, process id and executable of each rank to a file, as JSON, once all have been started',
    )
    .addOption(
      new Option(
        '--debugger <command>',
        'put a command, split at blanks, before the program of some ranks (use it with --pmi tcp where it drops fds)',
      ).argParser(words),
    )
    .addOption(
      new Option('--debug-ranks <list>', 'which ranks, such as 0,4-7; 0 by default').argParser(idset),
    )
    .optionsGroup('Other:')
    .option('--configfile <file>', 'read the programs and their options from a file, a line each')
    .option('--info', 'print the version and what there is, also -version', false);
  return command;
}

/** What stands below the options. */
export function helpBelow(name: string): string {
  return `
Options have one dash or two, and their value behind a blank or "=". They end at the program.

The exit code is 0, or that of the first rank that failed (128 + the number of the signal that killed it), or what
abort said; 124: a time limit passed, 127: the program was not found, 126: it is not executable, 130: ended by a second
^C, 141: nobody reads the output any more, 2: wrong use, 1: anything else, such as a rank that left without PMI finalize.

What ranks spawn (MPI_Comm_spawn) runs as they do, in groups of their own: group 1, 2, ... A rank of a spawned group that
fails is a failure of the job, which ends all its groups and gives the exit code; a group that cannot be started is told
to the rank that asked for it, and on stderr. The job is over when all groups are.

Rank 0 reads standard input. INT, TERM, HUP, QUIT, USR1, USR2, ALRM, WINCH, TSTP and CONT are passed on to the ranks;
a second INT within two seconds ends the job, a third kills it. MPIEXEC_PORT_RANGE=LOW:HIGH bounds the port of --pmi tcp.

${STATUS_SIGNAL} asks where the ranks are: kill -${STATUS_SIGNAL.slice(3)} PID (of this program) says on stderr who never
connected, who waits in a barrier and who is missing from it.

A program that was started without a launcher and spawns runs "mpiexec -pmi_args ...": a link of that name to
mpiexec.wireup in PATH serves it.

Examples:
  ${name} -n 4 ./a.out
  ${name} -n 64 -l --pmi unix ./a.out --its-own-option
  ${name} -genv OMP_NUM_THREADS 2 -n 1 ./master : -n 3 ./worker
  ${name} -n 16 --startup-timeout 30 --result job.json ./a.out`;
}

export function makeRunCommand(name: string): Command {
  const command = new Command(name)
    .description('Starts programs as the ranks of one job on this machine, as mpiexec does.')
    .usage('[options] program [args...] [: [options] program [args...]]...')
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle)
    .addHelpText('after', () => helpBelow(name));
  return jobOptions(segmentOptions(command));
}

/** A configfile's segments stand where it is named; the options beside it go before the first of them. */
function expandConfigFiles(segments: readonly Segment[], read: (argv: string[]) => Segment[]): Segment[] {
  return segments.flatMap((segment) => {
    const files = segment.options.filter((option) => option.startsWith('--configfile='));
    if (files.length === 0) return [segment];
    if (files.length > 1) throw new UsageError('--configfile: expected one file');
    const at = segment.options.indexOf(files[0]!);
    const file = segment.options[at]!.slice('--configfile='.length);
    if (segment.program !== undefined)
      throw new UsageError(`--configfile ${file}: it names the programs; expected none behind it`);
    const found = read(readConfigFile(readText('--configfile', file)));
    if (found.some(({ options }) => options.some((option) => option.startsWith('--configfile=')))) {
      throw new UsageError(`--configfile ${file}: a configfile cannot name another`);
    }
    const [first, ...rest] = found;
    const beside = segment.options.filter((_, i) => i !== at);
    return [{ ...first!, options: [...beside, ...first!.options] }, ...rest];
  });
}

export function readText(option: string, file: string): string {
  try {
    return toText(readFileSync(toBytes(file)));
  } catch (error) {
    throw new UsageError(`${option} ${file}: ${(error as Error).message}`);
  }
}

/** Whether an option was given on the command line, and does not only have its default. */
function said(command: Command, key: string): boolean {
  return command.getOptionValueSource(key) === 'cli';
}

/**
 * What the command line asks for.
 *
 * @param name how the tool was called, for its messages
 * @throws {@link UsageError}, or what commander throws when it has printed help or its complaint
 */
export function readRun(name: string, argv: readonly string[]): RunRequest {
  const command = makeRunCommand(name);
  const read = (line: readonly string[]): Segment[] =>
    readCommandLine(line, command, { pairs, bytes }, (file) => readOptionsFile(readText('--file', file)));
  const segments = expandConfigFiles(read(argv), read);
  let job: JobOptions | undefined;
  const programs: RunSegment[] = [];
  const ownKeys = new Set(
    segments.length > 1 ? segmentOptions(new Command()).options.map((option) => option.attributeName()) : [],
  );
  for (const { options, program, args } of segments) {
    // Each time from the defaults.
    command.parse(options, { from: 'user' });
    const values = command.opts<JobOptions & SegmentOptions>();
    if (job === undefined) {
      job = values;
    } else {
      const more = Object.entries(values).filter(([key]) => !ownKeys.has(key) && said(command, key));
      for (const [key, value] of more) {
        job = { ...job, [key]: key === 'genv' ? { ...job.genv, ...(value as object) } : value };
      }
    }
    if (job.info) break;
    if (program === undefined) {
      throw new UsageError(
        segments.length === 1
          ? 'expected a program to run'
          : `expected a program in part ${programs.length + 1} of the command line`,
      );
    }
    programs.push({ program, args, options: values });
  }
  return { job: job!, segments: programs };
}
