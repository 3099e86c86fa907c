/**
 * The options of `wireup run`. Each is declared here once. The parser (mpiexec-args.ts), the help (run-help.ts), the
 * completion (completion/), the table in docs/options.md and the call of launch() (run.ts) are made of this table.
 *
 * To add an option, change at most these five files (and run-values.ts for values of a new form):
 *
 * 1. This file: a row (option.ts describes its fields). Functions of option.ts and run-values.ts read the words of values.
 *    If the command itself uses the value, use it in run.ts, and you are done. If launch() uses it, the row's `setting` names
 *    the option of launch(), and `toSetting` converts the value. The compiler checks that name and type fit.
 * 2. lib/launch-options.ts: a member of `JobSettings` and a rule in `jobRules`, which checks the value and returns what the
 *    addon gets. An option of a program is a member of `LaunchApp`, and `toProgram()` there passes it on. An option that
 *    PmiServer has too belongs to lib/identity.ts instead.
 * 3. native/addon/from_js.cpp: one line in `to_launch_options()`.
 * 4. The struct that has the value in C++: `Hello` in native/wire/agent/hello.h if the agent uses it, `OutcomePolicy` in
 *    native/engine/outcome.h, `ProcessGroupOptions`, or `LaunchOptions` in native/runtime/launch_options.h.
 * 5. The C++ file that uses the value, for example native/tools/agent/agent.cpp.
 *
 * Then add a row to test/interop/command-line.test.ts, and write docs/options.md:
 * `npx vitest run test/unit/run-options.test.ts -u`.
 */
import type { JobSettings, LaunchApp, PmiTransport } from '../index';
import { MAX_HOSTS, MAX_MILLISECONDS, MAX_RANKS, MAX_TIME_LIMIT } from '../limits';
import { transportNames, transports } from '../transports';
import { admissionOptions } from './admission';
import { managerNames, managerVariable } from './allocation';
import {
  idset,
  listOf,
  seconds,
  wholeNumber,
  words,
  type Fits,
  type Misfits,
  type OptionTable,
  type Values,
} from './option';
import { metricsOptions } from './metrics-options';
import { parseMap } from './placement';
import {
  addPair,
  bindTo,
  initialErrhandler,
  launcher,
  launcherExecVariable,
  launcherNames,
  launcherVariable,
  pattern,
  softCounts,
  stdinOf,
  timeoutOfVariable,
  toFile,
} from './run-values';
import { timelineFile } from './timeline';
import { traceOptions } from './trace-options';
import { toBytes } from './start';

/** The name server of `wireup run` and `wireup names list` if no option names one. */
export const NAME_SERVER_VARIABLE = 'WIREUP_NAME_SERVER';

const place = 'Where ranks run:';
const environment = 'Environment of all ranks:';
const pmi = 'PMI:';
const output = 'Output and input:';
const end = 'How the job ends:';
const debuggers = 'Debuggers:';
const others = 'Other:';

const programOptions = {
  ranks: {
    short: 'n',
    also: ['np', 'c'],
    value: '<N>',
    read: wholeNumber(1, MAX_RANKS),
    defaultText: '1, or as many as the hosts have slots',
    help: 'how many ranks',
    checkedAs: 'ranks',
  },
  soft: {
    value: '<counts>',
    read: softCounts,
    help: 'acceptable numbers of ranks, such as 1:8:2; the largest that is not above -n is used',
  },
  wdir: {
    value: '<folder>',
    bytes: true,
    help: 'the working directory of the ranks',
    setting: 'cwd',
    toSetting: toBytes,
  },
  path: {
    value: '<folders>',
    bytes: true,
    defaultText: 'PATH',
    help: 'where the program is searched, as folders with colons between them',
    setting: 'path',
    toSetting: toBytes,
  },
  hosts: {
    also: ['host', 'H', 'hostlist', 'machine', 'machines', 'machinelist'],
    value: '<hosts>',
    defaultText: '--hostfile, else this host',
    help: 'the hosts, as name[:slots] with commas between them, such as n[1-4]:8',
    yieldsTo: ['hostfile', 'map', 'nodePerRank'],
    checkedAs: 'hosts',
  },
  env: {
    value: '<name value>',
    read: addPair,
    bytes: true,
    pair: true,
    help: 'set a variable: NAME VALUE or NAME=VALUE',
    noDefault: true,
  },
  envlist: {
    value: '<names>',
    bytes: true,
    help: 'inherit only these variables, as names with commas between them',
    noDefault: true,
  },
  envall: { help: 'inherit all variables', conflicts: ['envnone', 'envlist'], noDefault: true },
  envnone: { help: 'inherit no variables', conflicts: ['envlist'], noDefault: true },
  file: {
    value: '<file>',
    bytes: true,
    help: 'read options of this program from a file',
    noDefault: true,
  },
} as const satisfies OptionTable;

const jobOptions = {
  ppn: {
    also: ['perhost'],
    value: '<N>',
    read: wholeNumber(1, MAX_RANKS),
    help: 'how many ranks each host gets before the next host gets some',
    group: place,
    yieldsTo: ['map'],
  },
  hostfile: {
    short: 'f',
    also: ['machinefile'],
    value: '<file>',
    bytes: true,
    defaultText: 'HYDRA_HOST_FILE, else the allocation of a resource manager, else this host',
    help: 'a file of hosts, one name[:slots] [user=NAME] in each line',
    group: place,
    yieldsTo: ['hosts', 'map', 'nodePerRank'],
  },
  rmk: {
    value: '<manager>',
    choices: managerNames,
    variable: managerVariable,
    defaultText: 'the one whose variable is set',
    help: 'the resource manager whose allocation names the hosts; user: none',
    group: place,
  },
  map: {
    value: '<map>',
    read: parseMap,
    help: 'pretend several hosts: block:N or cyclic:N nodes, or the node of each rank, such as 0,0,1,1',
    group: place,
    yieldsTo: ['hosts', 'hostfile', 'nodePerRank', 'ppn'],
  },
  nodePerRank: {
    help: 'report to each rank a node of its own: for containers that have a /dev/shm each',
    group: place,
    yieldsTo: ['hosts', 'hostfile', 'map'],
    setting: 'ranksPerNode',
    toSetting: () => 1,
  },
  bindTo: {
    also: ['binding'],
    value: '<unit>',
    read: bindTo,
    suggested: ['none', 'hwthread', 'core', 'socket'],
    default: 'none',
    help: 'bind each rank to CPUs: none, hwthread, core, socket, or user:CPU[+CPU...],...',
    group: place,
    setting: 'bind',
  },
  reportBindings: { help: 'report on stderr which rank is bound to which CPUs', group: place },
  launcher: {
    also: ['bootstrap'],
    value: '<name>',
    read: launcher,
    suggested: launcherNames,
    variable: launcherVariable,
    defaultText: "the resource manager's, else ssh",
    help: 'how other hosts are reached: by ssh, slurm (srun), lsf (blaunch), sge (qrsh -inherit), exec (the command of --launcher-exec), or fork (pretended hosts)',
    group: place,
  },
  launcherExec: {
    also: ['bootstrap-exec'],
    value: '<command>',
    read: words,
    variable: launcherExecVariable,
    help: 'the command in place of ssh or srun, split at blanks. With --launcher exec: the command that runs a program on a host; the name of the host replaces {host} in it, or follows as its last word',
    group: place,
    yieldsTo: ['launcher'],
    checkedAs: 'launcher',
  },
  agentPath: {
    value: '<path>',
    defaultText: 'the same path as here',
    help: 'the path of wireup-agent on other hosts, or a name without a slash, which is searched in PATH there',
    group: place,
    conflicts: ['stage'],
    setting: 'agentPath',
  },
  stage: {
    help: 'send wireup-agent to other hosts, so that wireup need not be installed there; --pmi unix then needs --no-exec-shim',
    group: place,
    setting: 'stage',
  },
  startTimeout: {
    value: '<S>',
    read: seconds(1, MAX_MILLISECONDS),
    defaultText: '60',
    help: 'how many seconds each other host may take to start',
    group: place,
    setting: 'startTimeout',
  },
  treeWidth: {
    value: '<N>',
    read: wholeNumber(0, MAX_HOSTS),
    defaultText: '32 with slurm, and with ssh and more than 64 hosts, else 0',
    help: 'how many other hosts each host has below it, so that the hosts are a tree; 0: this host starts all, each by a command of its own',
    group: place,
    setting: 'treeWidth',
  },
  iface: {
    value: '<name>',
    variable: { names: ['HYDRA_IFACE'], read: (text: string) => text },
    help: 'the network interface that MPICH (ch3) uses between ranks, as under Hydra, and where hosts that one srun has started listen for each other; for the latter also a network such as 10.0.0.0/8',
    defaultText: 'all addresses',
    group: place,
    setting: 'iface',
  },
  insecureLinks: {
    help: 'with slurm: links between hosts are neither encrypted nor authenticated, for a libzmq without CURVE',
    group: place,
    setting: 'insecureLinks',
  },
  genv: {
    value: '<name value>',
    read: addPair,
    bytes: true,
    pair: true,
    help: 'set a variable: NAME VALUE or NAME=VALUE',
    group: environment,
  },
  genvlist: {
    value: '<names>',
    bytes: true,
    help: 'inherit only these variables, as names with commas between them',
    group: environment,
  },
  genvall: {
    help: 'inherit all variables, which is the default',
    group: environment,
    conflicts: ['genvnone', 'genvlist'],
  },
  genvnone: { help: 'inherit no variables', group: environment, conflicts: ['genvlist'] },
  pmi: {
    value: '<transport>',
    choices: transportNames,
    default: 'fd',
    help: `how ranks reach the PMI server: over ${listOf(transportNames.map((name) => transports[name].title))}`,
    group: pmi,
    conflicts: ['pmiPort'],
    setting: 'pmi',
  },
  pmiPort: {
    help: "Hydra's name for --pmi tcp",
    group: pmi,
    setting: 'pmi',
    toSetting: (): PmiTransport => 'tcp',
  },
  noExecShim: {
    help: 'with --pmi unix: start the program without wireup-exec before it, for example a container in which wireup-exec runs',
    group: pmi,
    setting: 'execShim',
    toSetting: () => false,
  },
  usize: {
    value: '<N>',
    read: wholeNumber(1, 2 ** 31 - 1),
    defaultText: 'the number of ranks',
    help: 'the universe size',
    group: pmi,
    setting: 'universeSize',
  },
  maxSpawn: {
    value: '<N>',
    read: wholeNumber(0, MAX_RANKS),
    defaultText: '1024, or what --usize leaves',
    help: 'how many spawned processes may run at a time',
    group: pmi,
    conflicts: ['noSpawn'],
    setting: 'maxSpawn',
  },
  noSpawn: { help: 'ranks may not spawn', group: pmi, setting: 'maxSpawn', toSetting: () => 0 },
  nameServer: {
    value: '<address>',
    variable: { names: [NAME_SERVER_VARIABLE], read: (text: string) => text },
    help: 'share published names (MPI_Publish_name) with other jobs: the address that `wireup names serve` prints',
    group: pmi,
    setting: 'nameServer',
  },
  initialErrhandler: {
    value: '<name>',
    read: initialErrhandler,
    help: 'for command lines of MPI 4; accepts only the default, mpi_errors_are_fatal',
    group: pmi,
  },
  ...admissionOptions,
  ...traceOptions,
  ...metricsOptions,
  label: {
    short: 'l',
    also: ['prepend-rank'],
    help: 'put "[rank] " before each line of output',
    group: output,
    setting: 'label',
    toSetting: () => '[%r] ',
  },
  prependPattern: {
    value: '<pattern>',
    read: pattern,
    bytes: true,
    help: 'put this before each line of output, with %r rank, %h host, %p node, %g group, %t seconds since 1970',
    group: output,
    setting: 'label',
    toSetting: toBytes,
  },
  outfilePattern: {
    also: ['outfile'],
    value: '<pattern>',
    read: pattern,
    bytes: true,
    help: 'write stdout to new files, whose names are made of such a pattern',
    group: output,
    setting: 'stdout',
    toSetting: toFile,
  },
  errfilePattern: {
    also: ['errfile'],
    value: '<pattern>',
    read: pattern,
    bytes: true,
    help: 'write stderr to new files, whose names are made of such a pattern',
    group: output,
    setting: 'stderr',
    toSetting: toFile,
  },
  outputFrom: {
    value: '<ranks>',
    read: idset,
    help: 'keep only the output of these ranks, such as 0,4-7',
    group: output,
    setting: 'outputFrom',
  },
  stdin: {
    value: '<ranks>',
    read: stdinOf,
    suggested: ['all', 'none'],
    default: [0],
    defaultText: '0',
    help: 'which ranks read standard input: all, none, or ranks such as 0,4-7',
    group: output,
    setting: 'stdin',
  },
  progress: {
    value: '<how>',
    choices: ['auto', 'plain', 'none'],
    default: 'auto',
    help: 'report on stderr how far the ranks are: auto shows a line on a terminal until the ranks print; plain writes lines',
    group: output,
  },
  verbose: {
    short: 'v',
    help: 'report on stderr what runs where, how long it took, and each invalid PMI request',
    group: output,
  },
  closeFds: {
    help: 'ranks inherit no fds above 2; without it they inherit those that this command has inherited, such as that of 3>>log',
    group: output,
    setting: 'fds',
    toSetting: () => [],
  },
  timeout: {
    short: 't',
    value: '<S>',
    read: seconds(1, MAX_TIME_LIMIT),
    variable: { names: ['MPIEXEC_TIMEOUT'], read: timeoutOfVariable },
    help: 'end the job after S seconds, with exit code 124',
    group: end,
    setting: 'timeout',
  },
  startupTimeout: {
    value: '<S>',
    read: seconds(1, MAX_TIME_LIMIT),
    help: 'end the job, with exit code 124, if a rank has not called PMI init and left the first barrier after S seconds',
    group: end,
    setting: 'startupTimeout',
  },
  killTimeout: {
    value: '<S>',
    read: seconds(0),
    default: 5000,
    defaultText: '5',
    help: 'seconds from SIGTERM to SIGKILL when wireup ends ranks',
    group: end,
    setting: 'killTimeout',
  },
  onFailure: {
    value: '<what>',
    choices: ['kill', 'wait'],
    default: 'kill',
    help: 'if a rank fails: kill ends the other ranks, wait lets them run on',
    group: end,
    setting: 'onFailure',
  },
  onEarlyExit: {
    value: '<what>',
    choices: ['fail', 'wait'],
    default: 'fail',
    help: 'if a rank leaves while others wait for it in a PMI barrier: fail ends the job, wait lets them wait',
    group: end,
    setting: 'onEarlyExit',
  },
  result: {
    value: '<file>',
    help: 'write to a file, as JSON, how the job and each rank ended',
    group: end,
  },
  timeline: {
    value: '<file>',
    read: timelineFile,
    help: 'draw what each rank did when: a page (.html), a picture (.svg), or trace events for Perfetto and Chrome (.json). With --trace-file NAME.jsonl also each message',
    group: end,
  },
  printAllExitcodes: { help: 'report on stderr how each rank ended', group: end },
  proctable: {
    value: '<file>',
    help: 'when all ranks have started, write host, process id and executable of each to a file, as JSON',
    group: debuggers,
  },
  debugger: {
    value: '<command>',
    read: words,
    bytes: true,
    help: 'put a command, split at blanks, before the program of some ranks. If the command closes inherited fds, use --pmi tcp',
    group: debuggers,
    setting: 'debugger',
    toSetting: (
      command: string[],
      { debugRanks = [0] }: { debugRanks?: number[] },
    ): { command: (string | Uint8Array)[]; ranks: number[] } => ({
      command: command.map(toBytes),
      ranks: debugRanks,
    }),
  },
  debugRanks: {
    value: '<list>',
    read: idset,
    defaultText: '0',
    help: 'the ranks of --debugger, such as 0,4-7',
    group: debuggers,
    needs: 'debugger',
    checkedAs: 'debugger.ranks',
  },
  configfile: {
    value: '<file>',
    bytes: true,
    help: 'read the programs and their options from a file, one program in each line',
    group: others,
    noDefault: true,
  },
  noDefaults: {
    help: 'ignore WIREUP_OPTIONS and the file of default options, ~/.config/wireup/config',
    group: others,
    noDefault: true,
  },
  info: {
    also: ['version'],
    help: 'print the version, and what this build can do',
    group: others,
    noDefault: true,
  },
} as const satisfies OptionTable;

const programGroup = 'For the program that follows (in each part of an MPMD line):';

/** The options of one program: in each part of the command line they begin with their defaults. */
export type ProgramValues = Values<typeof programOptions>;

/** The options of the whole job, in whichever part of the command line they are. */
export type JobValues = Values<typeof jobOptions>;

/** Checked by the compiler: each setting exists, and has the type of the option. */
export type Checked = [
  Fits<Misfits<typeof programOptions, LaunchApp>>,
  Fits<Misfits<typeof jobOptions, JobSettings>>,
];

/** One table, in the order of the help. */
export const runOptions: OptionTable = {
  ...Object.fromEntries(
    Object.entries(programOptions).map(([key, row]) => [
      key,
      { ...row, group: programGroup, program: true as const },
    ]),
  ),
  ...jobOptions,
};
