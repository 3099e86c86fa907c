/** What launch() takes, checked and made ready for the addon. */
import { hostname } from 'node:os';
import { resolveUnixAddress, toListenOptions } from './address';
import { makeGroupOptions, type AdmissionOptions, type KvsOptions, type WireOptions } from './identity';
import { MAX_MILLISECONDS, MAX_RANKS, MAX_TIME_LIMIT } from './limits';
import {
  agentPath,
  execPath,
  native,
  type NativeBinding,
  type NativeCaller,
  type NativeEnvironment,
  type NativeGroupOptions,
  type NativeLaunchOptions,
  type NativeOutputPlan,
  type NativeProgram,
} from './native';
import {
  checkBoolean,
  checkBytes,
  checkBytesList,
  checkInteger,
  checkIntegers,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  checkStrings,
  optionError,
  type Bytes,
} from './options';
import type { JobApp } from './result';
import { signalNumbers } from './signals';
import { checkSpawnLimit } from './spawn';

/** How ranks reach their server: an inherited fd, TCP on 127.0.0.1, or a unix socket in a private folder. */
export type PmiTransport = 'fd' | 'tcp' | 'unix';

/** Environment variables by name. A variable that is `undefined` is not set. */
export type RankEnvironment = Record<string, Bytes | undefined>;

/** One program and the ranks that run it. */
export interface LaunchApp {
  /** What to run; searched in `path` when it has no slash. What is not UTF-8 is passed as a Uint8Array, here and below. */
  program: Bytes;
  /** Its arguments, without the program; none by default. */
  args?: readonly Bytes[];
  /** How many ranks: 1 to 1,048,576, in all applications together. */
  ranks: number;
  /** The ranks' working directory; this process's own by default. */
  cwd?: Bytes;
  /**
   * The ranks' environment; by default this process's own (`process.env`), byte by byte as it is, UTF-8 or not. What other
   * process managers left in it is taken out, the job's own variables are put in, and what Hydra gives its ranks where it
   * says nothing else.
   */
  env?: RankEnvironment;
  /** The names of the variables that are inherited from this process's own environment; all by default. Not with `env`. */
  inheritEnv?: readonly Bytes[];
  /** What is set instead of what is inherited or stands in `env`; a variable that is `undefined` is taken out. */
  setEnv?: RankEnvironment;
  /** Folders, between colons, in which `program` is searched; PATH of the ranks' environment by default. */
  path?: Bytes;
}

/**
 * Where the ranks' stdout or stderr goes.
 *
 * `inherit`: to this process's own; several ranks are joined line by line. `pipe`: the same into a stream of the job's.
 * `pipe-per-rank`: each rank's into a stream of its own, as it is. `{ file }`: into files whose name holds %r (rank), %h
 * (host), %p (number of the node), %t (seconds since 1970); ranks that share a name share the file. `ignore`: nowhere.
 */
export type OutputTarget = 'inherit' | 'pipe' | 'pipe-per-rank' | 'ignore' | OutputFiles;

/** Files that the ranks' output goes to. */
export interface OutputFiles {
  /** The pattern of the files' names, with %r, %h, %p and %t; up to 4,096 characters. */
  file: Bytes;
}

/** A command that is put before the program of some ranks. */
export interface DebuggerOptions {
  /** The command and its arguments, such as `['gdb', '--args']`. */
  command: readonly Bytes[];
  /** The ranks that it is put before. */
  ranks: readonly number[];
}

/** A program that was started without a launcher and waits for one. */
export interface SingletonOptions {
  /** The port of 127.0.0.1 that it listens on. */
  port: number;
  /** Its process id. */
  pid: number;
}

/** What {@link launch} can set for the whole job. */
export interface JobSettings
  extends Pick<AdmissionOptions, 'allowedUids' | 'pmiId' | 'reconnect'>, KvsOptions, WireOptions {
  /** `fd` by default. */
  pmi?: PmiTransport;
  /** With `pmi: 'tcp'`: the ports to choose from, the first and the last; any by default. */
  ports?: readonly [number, number];
  /**
   * With `pmi: 'unix'`: whether wireup-exec stands before each rank's program, which then sees PMI_FD; true by default.
   * False for programs that read `unix://` in PMI_PORT themselves, and for container runtimes, inside which wireup-exec
   * must stand because they drop the fd.
   */
  execShim?: boolean;
  /** `inherit` by default. */
  stdout?: OutputTarget;
  /** `inherit` by default. */
  stderr?: OutputTarget;
  /**
   * Put before every line of output (not of `pipe-per-rank`): `[%r] `. %r is the rank, %h its host, %p the number of its
   * node, %g that of its group of ranks (0; spawned ones from 1), %t seconds since 1970, %% a percent sign. Where there is
   * no %g, a spawned group's %r is group and rank: `[1:0] `.
   */
  label?: Bytes;
  /** The ranks whose output is not thrown away; all by default. Not with `pipe-per-rank`. */
  outputFrom?: readonly number[];
  /** The ranks that read this process's standard input, each all of it; none by default. All others read /dev/null. */
  stdin?: number | readonly number[] | 'all' | 'none';
  /** What `get_universe_size` answers; the number of ranks by default. */
  universeSize?: number;
  /**
   * How many processes the groups that ranks spawn (MPI_Comm_spawn) may have at a time; 0: ranks may not spawn. By default
   * what `universeSize` leaves where it is given, otherwise 1,024. A spawned group runs as its parent does. When one of its
   * ranks fails, that is the job's failure as any rank's is; when it could not be started, only who asked for it is told.
   */
  maxSpawn?: number;
  /**
   * The unix address of a {@link NameServer}: names that ranks publish (MPI_Publish_name) are kept there and seen by other
   * launches; without it only by this one. They go when the job ends, however it ends.
   */
  nameServer?: string;
  /** How many ranks share a node; all by default. Ranks that have a /dev/shm each (containers) need 1. */
  ranksPerNode?: number;
  /** Instead: the node of each rank. Nodes are numbered from 0 without gaps. */
  nodes?: readonly number[];
  /** The name of each node, for labels, names of files, and the ranks' MPIR_CVAR_CH3_INTERFACE_HOSTNAME; the host's by default. */
  hosts?: readonly string[];
  /**
   * The nodes are only pretended: gethostname() says their names in the ranks, so that MPI_Get_processor_name does too,
   * where we may set it (CAP_SYS_ADMIN). False by default.
   */
  pretendHosts?: boolean;
  /**
   * To which CPUs ranks are bound, of those that this process may use: one hardware thread, core or socket after the
   * other, or sets of CPUs in turn, from the first again when there are more ranks. `none` by default.
   */
  bind?: 'none' | 'hwthread' | 'core' | 'socket' | readonly (readonly number[])[];
  /**
   * A command put before the program of these ranks: a debugger, or a terminal with one in it. It is searched as
   * `program` is. Debuggers that drop inherited fds need `pmi: 'tcp'`.
   */
  debugger?: DebuggerOptions;
  /**
   * Signals, by name or number, that are ignored in the ranks when they start, beside those that this process ignores
   * natively. Node makes every signal default at its own start, so what `nohup` ignored has to be said.
   */
  ignoredSignals?: readonly (NodeJS.Signals | number)[];
  /** Signals, by name or number, that are blocked in the ranks when they start; none by default. */
  blockedSignals?: readonly (NodeJS.Signals | number)[];
  /**
   * The ranks' soft limit of open files, at most this process's hard one; this process's own by default, which Node raises
   * to the hard one at its own start.
   */
  softFiles?: number;
  /** Fds of this process above 2 that every rank inherits under the same numbers, up to 1,024; none by default. */
  fds?: readonly number[];
  /**
   * What a rank that fails does to the others: `kill` (the default) ends them, `wait` lets them run on. A rank that
   * cannot be started, and abort, always end the job.
   */
  onFailure?: 'kill' | 'wait';
  /**
   * What happens when a rank leaves (exits, with 0 too, or finalizes) while others wait for it in a barrier, or enter
   * one later: `fail` (the default) ends the job at once, `wait` lets them wait.
   */
  onEarlyExit?: 'fail' | 'wait';
  /** Milliseconds from TERM to KILL when the job is ended; 5,000 by default. */
  killTimeout?: number;
  /** Milliseconds that the job may take; no limit by default. */
  timeout?: number;
  /** Milliseconds until every rank must have said init and be out of the first barrier; no limit by default. */
  startupTimeout?: number;
  /**
   * Instead of starting a rank: the program that listens on this port of 127.0.0.1, as MPICH does when it was started
   * without a launcher and spawns (`mpiexec -pmi_args PORT INTERFACE KEY PID`), is rank 0 of 1. `program` and the rest
   * say how what it spawns is started. Not with `debugger`.
   */
  singleton?: SingletonOptions;
  /** Ends the job: TERM, after `killTimeout` KILL. */
  signal?: AbortSignal;
}

/** Several programs of one job (MPMD), whose ranks follow one another. */
export interface LaunchApps {
  /** The programs, and how many ranks run each. */
  apps: readonly LaunchApp[];
}

/** Options of {@link launch}: one program, or several, and the settings of the job. */
export type LaunchOptions = JobSettings & (LaunchApp | LaunchApps);

/** PATH_MAX, and far more than a label needs. */
const MAX_PATTERN = 4096;
const MAX_LABEL = 1024;

/** CPUs of all sets together: what one message to the agent holds. */
const MAX_CPUS = 16_384;

/** Far more than a program opens for its children, and what the agent can hold. */
const MAX_FDS = 1024;

const appNames = ['program', 'args', 'ranks', 'cwd', 'env', 'inheritEnv', 'setEnv', 'path'] as const;

/** The compiler sees when one is missing. */
const settings: Record<keyof JobSettings, true> = {
  pmi: true,
  ports: true,
  execShim: true,
  stdout: true,
  stderr: true,
  label: true,
  outputFrom: true,
  stdin: true,
  universeSize: true,
  maxSpawn: true,
  nameServer: true,
  ranksPerNode: true,
  nodes: true,
  hosts: true,
  pretendHosts: true,
  bind: true,
  allowedUids: true,
  pmiId: true,
  reconnect: true,
  debugger: true,
  ignoredSignals: true,
  blockedSignals: true,
  softFiles: true,
  fds: true,
  onFailure: true,
  onEarlyExit: true,
  killTimeout: true,
  timeout: true,
  startupTimeout: true,
  singleton: true,
  kvsLimit: true,
  pmiSubversion: true,
  signal: true,
};
const settingNames = Object.keys(settings) as (keyof JobSettings)[];

/** A launch as it is to be: all but the pipes that are opened for it. */
export interface LaunchPlan {
  size: number;
  apps: JobApp[];
  signal: AbortSignal | undefined;
  stdout: OutputTarget;
  stderr: OutputTarget;
  maxSpawn: number;
  /** Of a group of its own with so many ranks: all but its programs and their places. */
  makeGroup(size: number): Omit<NativeGroupOptions, 'programs' | 'hosts' | 'nodeNumbers'>;
  /** The port of the singleton, and the process. */
  singleton: { port: number; pid: number } | undefined;
  native: Omit<
    NativeLaunchOptions,
    'singletonFd' | 'singletonPid' | 'stdoutFd' | 'stderrFd' | 'rankStdoutFds' | 'rankStderrFds'
  >;
}

/** What Hydra sets for its ranks, beside PMI's own: a pipe makes gfortran's output late, and MPICH names its interface. */
function hydraEnvironment(): string[] {
  return ['GFORTRAN_UNBUFFERED_PRECONNECTED=y', `MPIR_CVAR_CH3_INTERFACE_HOSTNAME=${hostname()}`];
}

function appsOf(options: LaunchOptions): { where: string; app: LaunchApp }[] {
  if (typeof options !== 'object' || options === null) throw optionError('options', 'an object', options);
  if (!('apps' in options)) {
    checkOptions('options', options, [...appNames, ...settingNames]);
    return [{ where: '', app: options }];
  }
  checkOptions('options', options, ['apps', ...settingNames]);
  if (!Array.isArray(options.apps) || options.apps.length === 0)
    throw optionError('apps', 'an array of applications', options.apps);
  return Array.from(options.apps, (app: LaunchApp, i) => ({
    where: `apps[${i}].`,
    app: checkOptions(`apps[${i}]`, app, appNames),
  }));
}

function toProgram(where: string, app: LaunchApp, prefix: string[]): NativeProgram {
  return {
    directory: checkBytes(`${where}cwd`, app.cwd ?? ''),
    path: checkBytes(`${where}path`, app.path ?? ''),
    prefix,
    args: [checkProgram(`${where}program`, app.program), ...checkBytesList(`${where}args`, app.args ?? [])],
    environment: toEnvironment(where, app),
  };
}

function checkProgram(name: string, value: unknown): string {
  const program = checkBytes(name, value);
  if (program === '') throw optionError(name, 'the name of a program', value);
  return program;
}

function toEnvironment(where: string, app: LaunchApp): NativeEnvironment {
  const given = app.env === undefined ? undefined : checkEnvironment(`${where}env`, app.env);
  const names =
    app.inheritEnv === undefined ? undefined : checkBytesList(`${where}inheritEnv`, app.inheritEnv);
  if (given !== undefined && names !== undefined)
    throw optionError(`${where}inheritEnv`, 'nothing beside env', app.inheritEnv);
  const inherited = given === undefined ? native.ownEnvironment(names) : new Uint8Array();
  // A worker's own.
  const copied = Object.entries(inherited === undefined ? process.env : {}).filter(
    ([name]) => names?.includes(name) ?? true,
  );
  const variables = new Map([
    ...copied,
    ...(given ?? []),
    ...checkEnvironment(`${where}setEnv`, app.setEnv ?? {}),
  ]);
  const set = [...variables].filter(
    ([name, value]) => value !== undefined && !native.isStalePmiVariable(name),
  );
  return {
    defaults: hydraEnvironment(),
    inherited: inherited ?? new Uint8Array(),
    set: set.map(([name, value]) => `${name}=${value}`),
    unset: [...variables.keys()].filter((name) => variables.get(name) === undefined),
  };
}

function checkEnvironment(name: string, value: RankEnvironment): [string, string | undefined][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map)
    throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([variable, text]) => {
    if (variable === '' || variable.includes('='))
      throw optionError(name, "names that are not empty and have no '='", variable);
    return [
      checkString(name, variable),
      text === undefined ? undefined : checkBytes(`${name}.${variable}`, text),
    ];
  });
}

function checkTarget(name: string, value: OutputTarget): OutputTarget {
  if (typeof value !== 'object' || value === null)
    return checkOneOf(name, value, ['inherit', 'pipe', 'pipe-per-rank', 'ignore'] as const);
  checkOptions(name, value, ['file']);
  const file = checkBytes(`${name}.file`, value.file);
  if (file === '' || file.length > MAX_PATTERN)
    throw optionError(`${name}.file`, `the name of a file, up to ${MAX_PATTERN} letters`, file);
  return { file };
}

function toOutputPlan(target: OutputTarget, joins: boolean): NativeOutputPlan {
  if (typeof target === 'object') return { mode: 'file', file: target.file as string };
  if (target === 'ignore' || target === 'pipe-per-rank') return { mode: 'discard', file: '' };
  // One rank's output needs nobody to join it.
  return { mode: joins ? 'merge' : 'inherit', file: '' };
}

/** Of each rank; empty where all are the same. */
function flags(ranks: readonly number[], size: number): boolean[] {
  const result = Array<boolean>(size).fill(false);
  for (const rank of ranks) result[rank] = true;
  return result;
}

function stdinReaders(value: JobSettings['stdin'], size: number): boolean[] {
  if (value === undefined || value === 'none') return [];
  if (value === 'all') return Array<boolean>(size).fill(true);
  if (typeof value === 'number') return flags([checkInteger('stdin', value, 0, size - 1)], size);
  if (!Array.isArray(value)) throw optionError('stdin', "a rank, an array of ranks, 'all' or 'none'", value);
  return flags(checkIntegers('stdin', value, 0, size - 1), size);
}

function toBinding(value: JobSettings['bind']): NativeBinding {
  if (!Array.isArray(value)) {
    return {
      unit: checkOneOf('bind', value ?? 'none', ['none', 'hwthread', 'core', 'socket'] as const),
      sets: [],
    };
  }
  const sets = value.map((set: readonly number[], i) => checkIntegers(`bind[${i}]`, set, 0, 65_535));
  if (sets.length === 0 || sets.some(({ length }) => length === 0))
    throw optionError('bind', 'sets of CPUs', value);
  if (sets.length + sets.flat().length > MAX_CPUS)
    throw optionError('bind', `up to ${MAX_CPUS} CPUs in all`, value);
  return { unit: 'list', sets };
}

function nodesOf(
  options: JobSettings,
  size: number,
): { nodes: number[]; hosts: string[]; pretendHosts: boolean } {
  const pretendHosts = checkBoolean('pretendHosts', options.pretendHosts ?? false);
  const nodes = options.nodes === undefined ? [] : checkIntegers('nodes', options.nodes, 0, size - 1);
  if (options.nodes !== undefined && nodes.length !== size)
    throw optionError('nodes', `one node for each of ${size} ranks`, nodes);
  if (options.nodes !== undefined && options.ranksPerNode !== undefined)
    throw optionError('ranksPerNode', 'nothing beside nodes', options.ranksPerNode);
  const count =
    nodes.length > 0
      ? nodes.reduce((most, node) => Math.max(most, node), 0) + 1
      : Math.ceil(size / (options.ranksPerNode ?? size));
  if (nodes.length > 0 && new Set(nodes).size !== count)
    throw optionError('nodes', 'nodes that are numbered from 0 without gaps', nodes);
  const hosts = checkStrings('hosts', options.hosts ?? []);
  if (options.hosts !== undefined && hosts.length !== count)
    throw optionError('hosts', `a name for each of ${count} nodes`, hosts);
  // HOST_NAME_MAX.
  if (hosts.some((name) => !/^[^\s\p{Cc}]+$/u.test(name) || Buffer.byteLength(name) > 64))
    throw optionError('hosts', 'names of 1 to 64 bytes without blanks and control characters', hosts);
  return { nodes, hosts, pretendHosts: pretendHosts && hosts.length > 0 };
}

/** Nodes filled in the order of ranks, rank by rank: what is said where there are several applications. */
function nodesInOrder(size: number, ranksPerNode: number | undefined): number[] {
  const each = checkInteger('ranksPerNode', ranksPerNode ?? size, 1, MAX_RANKS);
  return Array.from({ length: size }, (_, rank) => Math.floor(rank / each));
}

function debuggerOf(
  value: JobSettings['debugger'],
  size: number,
): { debugger: string[]; debugged: number[] } {
  if (value === undefined) return { debugger: [], debugged: [] };
  checkOptions('debugger', value, ['command', 'ranks']);
  const command = checkBytesList('debugger.command', value.command);
  if (command.length === 0) throw optionError('debugger.command', 'a command', command);
  return { debugger: command, debugged: checkIntegers('debugger.ranks', value.ranks, 0, size - 1) };
}

function singletonOf(value: JobSettings['singleton'], size: number): LaunchPlan['singleton'] {
  if (value === undefined) return undefined;
  checkOptions('singleton', value, ['port', 'pid']);
  if (size !== 1) throw optionError('ranks', '1 beside singleton', size);
  return {
    port: checkInteger('singleton.port', value.port, 1, 65_535),
    pid: checkInteger('singleton.pid', value.pid, 1, 2 ** 31 - 1),
  };
}

function callerOf(options: JobSettings): NativeCaller {
  const fds = checkIntegers('fds', options.fds ?? [], 3, 2 ** 31 - 1);
  if (fds.length > MAX_FDS || new Set(fds).size !== fds.length)
    throw optionError('fds', `up to ${MAX_FDS} numbers, each once`, fds);
  return {
    ignoredSignals: signalNumbers('ignoredSignals', options.ignoredSignals ?? []),
    blockedSignals: signalNumbers('blockedSignals', options.blockedSignals ?? []),
    softFiles:
      options.softFiles === undefined ? 0 : checkInteger('softFiles', options.softFiles, 1, 2 ** 31 - 1),
    fds,
  };
}

function checkPorts(value: unknown): [number, number] {
  if (!Array.isArray(value) || value.length !== 2)
    throw optionError('ports', 'the first and the last port', value);
  const first = checkInteger('ports[0]', value[0], 1, 65_535);
  return [first, checkInteger('ports[1]', value[1], first, 65_535)];
}

/** @throws {@link PmiError} `ERR_PMI_OPTION`; rejects with `ERR_PMI_ADDRESS` */
export async function planLaunch(options: LaunchOptions): Promise<LaunchPlan> {
  const given = appsOf(options);
  const sizes = given.map(({ where, app }) => checkInteger(`${where}ranks`, app.ranks, 1, MAX_RANKS));
  const size = checkInteger(
    'ranks',
    sizes.reduce((sum, ranks) => sum + ranks),
    1,
    MAX_RANKS,
  );
  const pmi = checkOneOf('pmi', options.pmi ?? 'fd', ['fd', 'tcp', 'unix'] as const);
  const universe = options.universeSize;
  if (universe !== undefined) checkInteger('universeSize', universe, size, 2 ** 31 - 1);
  const shim = checkBoolean('execShim', options.execShim ?? true) && pmi === 'unix';
  const programs = given.map(({ where, app }) => toProgram(where, app, shim ? [execPath] : []));
  const label = checkBytes('label', options.label ?? '');
  if (label.length > MAX_LABEL) throw optionError('label', `up to ${MAX_LABEL} letters`, label);
  const joins = size > 1 || label !== '';
  const stdout = checkTarget('stdout', options.stdout ?? 'inherit');
  const stderr = checkTarget('stderr', options.stderr ?? 'inherit');
  if (options.outputFrom !== undefined && (stdout === 'pipe-per-rank' || stderr === 'pipe-per-rank')) {
    throw optionError('outputFrom', "nothing beside 'pipe-per-rank'", options.outputFrom);
  }
  const { nodes, hosts, pretendHosts } = nodesOf(options, size);
  const listen = {
    ...(pmi === 'fd' ? {} : await toListenOptions(pmi)),
    ...(options.ports === undefined ? {} : { ports: checkPorts(options.ports) }),
  };
  const makeGroup: LaunchPlan['makeGroup'] = (ranks) => ({
    ...makeGroupOptions(ranks, universe, options.ranksPerNode, options),
    ...listen,
    pmi: pmi === 'fd' ? 'fd' : 'port',
    pretendHosts,
    // What is started further inside need not descend from the rank's process: a container's runtime may detach it.
    descendantsOnly: shim,
  });
  return {
    size,
    apps: programs.map(({ args }, i) => ({ program: args[0]!, ranks: sizes[i]! })),
    signal: checkSignal(options.signal),
    stdout,
    stderr,
    singleton: singletonOf(options.singleton, size),
    maxSpawn: checkSpawnLimit(options.maxSpawn, universe, size),
    makeGroup,
    native: {
      ...makeGroup(size),
      nodes: nodes.length === 0 && sizes.length > 1 ? nodesInOrder(size, options.ranksPerNode) : nodes,
      appSizes: sizes,
      ...(options.nameServer === undefined
        ? {}
        : { nameServer: await resolveUnixAddress('nameServer', options.nameServer) }),
      agent: agentPath,
      programs,
      hosts,
      nodeNumbers: [],
      stdout: toOutputPlan(stdout, joins),
      stderr: toOutputPlan(stderr, joins),
      label,
      spawnedLabel: label.includes('%g') ? label : label.replaceAll('%r', '%g:%r'),
      binding: toBinding(options.bind),
      stdinReaders: stdinReaders(options.stdin, size),
      silent:
        options.outputFrom === undefined
          ? []
          : flags(checkIntegers('outputFrom', options.outputFrom, 0, size - 1), size).map((said) => !said),
      ...debuggerOf(options.debugger, size),
      ...callerOf(options),
      endOnFailure:
        checkOneOf('onFailure', options.onFailure ?? 'kill', ['kill', 'wait'] as const) === 'kill',
      endOnEarlyExit:
        checkOneOf('onEarlyExit', options.onEarlyExit ?? 'fail', ['fail', 'wait'] as const) === 'fail',
      grace: checkInteger('killTimeout', options.killTimeout ?? 5000, 0, MAX_MILLISECONDS),
      timeout:
        options.timeout === undefined ? 0 : checkInteger('timeout', options.timeout, 1, MAX_TIME_LIMIT),
      startupTimeout:
        options.startupTimeout === undefined
          ? 0
          : checkInteger('startupTimeout', options.startupTimeout, 1, MAX_TIME_LIMIT),
    },
  };
}
