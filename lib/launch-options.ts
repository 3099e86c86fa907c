/**
 * The options of launch(), with their documentation, and the rules that check them.
 *
 * An option of its own has a member in `JobSettings` and a rule in `jobRules`. The rule checks the value and returns what the
 * addon gets; lib/native.ts takes the types from the rules. Options that depend on each other are checked together, in
 * lib/launch-plan.ts. lib/cli/run-options.ts explains how to add an option of the command line.
 */
import type { AdmissionOptions, KvsOptions, WireOptions } from './identity';
import { MAX_MILLISECONDS, MAX_TIME_LIMIT } from './limits';
import {
  checkBytes,
  checkBytesList,
  checkInteger,
  checkIntegers,
  checkOneOf,
  checkOptions,
  optionError,
  type Bytes,
} from './options';
import { signalNumbers } from './signals';
import type { TraceSetting } from './trace/writer';
import type { PmiTransport } from './transports';

/** Environment variables by name. A variable that is `undefined` is not set. */
export type RankEnvironment = Record<string, Bytes | undefined>;

/** One program and the ranks that run it. */
export interface LaunchApp {
  /**
   * The program. If it has no slash, it is searched in `path`. Here and below, pass text that is not UTF-8 as a Uint8Array.
   */
  program: Bytes;
  /** Its arguments, without the program. Default: none. */
  args?: readonly Bytes[];
  /** How many ranks: 1 to 1,048,576, in all applications together. */
  ranks: number;
  /** The working directory of the ranks, on every host. Default: that of this process. */
  cwd?: Bytes;
  /**
   * The environment of the ranks. Default: that of this process (`process.env`), byte by byte, UTF-8 or not. launch() removes
   * the variables of other process managers and adds those of the job. It also adds those that Hydra sets for its ranks, if
   * they are not set.
   */
  env?: RankEnvironment;
  /** The names of the variables that ranks inherit from this process. Default: all. Not with `env`. */
  inheritEnv?: readonly Bytes[];
  /** Variables that replace those that are inherited or in `env`. A variable that is `undefined` is removed. */
  setEnv?: RankEnvironment;
  /**
   * Folders in which `program` is searched on the rank's host, with colons between them. Default: PATH of the ranks'
   * environment.
   */
  path?: Bytes;
}

/**
 * Where the stdout or stderr of the ranks goes.
 *
 * - `inherit`: to that of this process. The lines of several ranks are joined.
 * - `pipe`: joined in the same way, into one stream of the {@link Job}.
 * - `pipe-per-rank`: unchanged, into one stream for each rank.
 * - `{ file }`: into files. The name may contain %r (rank), %h (host), %p (number of the node), %t (seconds since 1970).
 *   Ranks with the same file name share the file.
 * - `ignore`: it is discarded.
 */
export type OutputTarget = 'inherit' | 'pipe' | 'pipe-per-rank' | 'ignore' | OutputFiles;

/** Files for the output of the ranks. */
export interface OutputFiles {
  /** The pattern of the file names, with %r, %h, %p and %t; up to 4,096 characters. */
  file: Bytes;
}

/** A command that is put before the program of some ranks. */
export interface DebuggerOptions {
  /** The command and its arguments, such as `['gdb', '--args']`. */
  command: readonly Bytes[];
  /** The ranks that get the command. */
  ranks: readonly number[];
}

/** A host on which ranks run. */
export interface LaunchHost {
  /** Its name or address, as the launcher knows it. */
  name: string;
  /** How many ranks it gets before the next host gets some. It is no limit. Default: 1. */
  slots?: number;
  /** The user on that host. Only with the launcher `ssh`. Default: what ssh chooses. */
  user?: string;
}

/**
 * How other hosts are reached. The launcher is a command that runs wireup-agent there. Its stdin and stdout are the link to
 * the agent.
 *
 * - `ssh`: ssh, without any prompt.
 * - `slurm`: srun, inside of an allocation or outside.
 * - `fork`: no command. The agents run on this host, which pretends to be several. If this process has CAP_SYS_ADMIN,
 *   gethostname() returns the names in `hosts` in the ranks, and so does MPI_Get_processor_name.
 * - `{ ssh }`, `{ slurm }`: these words in place of `ssh` or `srun`: another program, or further options.
 * - `{ exec }`: these words, then the name of the host, then the agent's program and arguments, such as
 *   `['docker', 'exec', '-i']`. If `{host}` is in the words, the name of the host takes its place:
 *   `['kubectl', 'exec', '-i', '{host}', '--']`.
 */
export type Launcher =
  | 'ssh'
  | 'slurm'
  | 'fork'
  | {
      /** The words in place of `ssh`. */
      ssh: readonly string[];
    }
  | {
      /** The words in place of `srun`. */
      slurm: readonly string[];
    }
  | {
      /** The words of the command. */
      exec: readonly string[];
    };

/** A program that was started without a launcher and waits for one. */
export interface SingletonOptions {
  /** The port of 127.0.0.1 on which the program listens. */
  port: number;
  /** The process id of the program. */
  pid: number;
}

/** Options of {@link launch} for the whole job. */
export interface JobSettings
  extends
    Pick<AdmissionOptions, 'allowedUids' | 'pmiId' | 'reconnect'>,
    KvsOptions,
    WireOptions,
    TraceSetting {
  /** How ranks reach the PMI server. Default: `fd`. */
  pmi?: PmiTransport;
  /** With `pmi: 'tcp'`: the first and the last port from which to choose. Default: any port. */
  ports?: readonly [number, number];
  /**
   * With `pmi: 'unix'`: whether wireup-exec runs before the program of each rank. The program then gets PMI_FD. Default: true.
   * Use false for programs that read `unix://` in PMI_PORT themselves, and for container runtimes: these close inherited
   * fds, so wireup-exec must run inside the container. On other hosts, wireup-exec is searched in the folder of wireup-agent.
   * With `stage` it must be false, because only wireup-agent is sent.
   */
  execShim?: boolean;
  /** Default: `inherit`. */
  stdout?: OutputTarget;
  /** Default: `inherit`. */
  stderr?: OutputTarget;
  /**
   * What is put before each line of output, except with `pipe-per-rank`, for example `[%r] `. %r is the rank, %h its host, %p
   * the number of its node, %g the number of its process group (0; spawned groups count from 1), %t seconds since 1970, %% a
   * percent sign. If the label has no %g, %r of a spawned group is group and rank: `[1:0] `. At most 1,024 characters.
   */
  label?: Bytes;
  /** The ranks whose output is kept. Default: all. Not with `pipe-per-rank`. */
  outputFrom?: readonly number[];
  /**
   * The ranks that read the standard input of this process. Each of them reads all of it. Default: none. The other ranks read
   * /dev/null.
   */
  stdin?: number | readonly number[] | 'all' | 'none';
  /** The reply to PMI's `get_universe_size`. Default: the number of ranks. */
  universeSize?: number;
  /**
   * How many processes of spawned groups (MPI_Comm_spawn) may run at a time. With 0 ranks may not spawn. Default: what
   * `universeSize` leaves, or 1,024 if it is not given. A spawned group runs as its parent does. If one of its ranks fails,
   * the job fails. If a group cannot be started, only the rank that asked for it gets an error.
   */
  maxSpawn?: number;
  /**
   * The unix address of a {@link NameServer}. It then keeps the names that ranks publish (MPI_Publish_name), and other jobs
   * see them. Default: names are seen only in this job. Names end with the job that published them.
   */
  nameServer?: string;
  /** How many ranks share a node. Default: all. Containers that have a /dev/shm each need 1. */
  ranksPerNode?: number;
  /**
   * Instead of `ranksPerNode`: the node of each rank. Nodes are numbered from 0 without gaps. With `hosts`: the index of the
   * host of each rank.
   */
  nodes?: readonly number[];
  /**
   * The hosts on which ranks run; each is a node. A string is a list such as `a,b:4`, `n[1-4,08-12]:8` or `bob@c`, in which
   * `:` precedes the slots. Each host gets a rank for each of its slots before the next one gets some, and if ranks remain, it
   * begins again at the first one. At most 65,536 hosts. Hosts that get no rank are not started. This host, by any of its names
   * or addresses, needs no launcher. Default: this host.
   *
   * The names appear in labels, names of files, and the ranks' MPIR_CVAR_CH3_INTERFACE_HOSTNAME.
   */
  hosts?: readonly (string | LaunchHost)[];
  /** How other hosts are reached. Default: `ssh`. */
  launcher?: Launcher;
  /**
   * The path of wireup-agent on other hosts, or a name without a slash, which is searched in PATH there. Default: the same path
   * as on this host. wireup-exec must be in the same folder if `execShim` needs it.
   */
  agentPath?: string;
  /**
   * Whether wireup-agent is sent to other hosts when they are started, so that wireup need not be installed there. The hosts
   * need the machine type and the C library of this one. Not with the launcher `fork`. Default: false.
   */
  stage?: boolean;
  /** Milliseconds until the agent of every other host must have answered. Default: 60,000. */
  startTimeout?: number;
  /**
   * How many other hosts each host starts. The first ones are started from this host, the next ones from these, and so on, so
   * hosts must be able to reach one another as this host reaches them. 0: this host starts all. Default: 32 with the launcher
   * `slurm`, and with `ssh` and more than 64 other hosts, else 0.
   *
   * With `slurm`, several other hosts and a width above 0, one srun starts all agents, and they are linked over ZeroMQ in a
   * tree of this width (docs/hosts.md).
   */
  treeWidth?: number;
  /**
   * The name of a network interface (`ib0`), or a network (`10.0.0.0/8`). Hosts that one srun has started listen for each other
   * there. Default: at all addresses but those of the loopback interface.
   *
   * The name of an interface becomes the ranks' MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE, as under Hydra, so MPICH uses it (its
   * device ch3 does). They then have no MPIR_CVAR_CH3_INTERFACE_HOSTNAME, because MPICH permits only one of them.
   */
  iface?: string;
  /**
   * Whether links over ZeroMQ are neither encrypted nor authenticated by keys: for a library without CURVE, on a network that no
   * other user can reach. Default: false.
   */
  insecureLinks?: boolean;
  /**
   * To which of the CPUs of this process ranks are bound: to one hardware thread, core or socket after the other, or to sets
   * of CPUs in turn. If there are more ranks than units, it starts again from the first. On each other host it is done with
   * the CPUs of wireup-agent there, beginning with the first. Default: `none`.
   */
  bind?: 'none' | 'hwthread' | 'core' | 'socket' | readonly (readonly number[])[];
  /**
   * A command that is put before the program of these ranks: a debugger, or a terminal with one in it. It is searched as
   * `program` is. Debuggers that close inherited fds need `pmi: 'tcp'`.
   */
  debugger?: DebuggerOptions;
  /**
   * Signals, by name or number, that the ranks ignore from their start, on all hosts, beside those that this process ignores
   * natively. Node
   * restores the default action of every signal when it starts, so name here what, for example, `nohup` ignored.
   */
  ignoredSignals?: readonly (NodeJS.Signals | number)[];
  /** Signals, by name or number, that are blocked in the ranks from their start. Default: none. */
  blockedSignals?: readonly (NodeJS.Signals | number)[];
  /**
   * The soft limit of open files of the ranks, at most the hard limit of this process, and on another host at most the one
   * there. Default: the soft limit of this process, which Node raises to the hard limit when it starts.
   */
  softFiles?: number;
  /**
   * Fds of this process above 2 that every rank on this host inherits under the same numbers, at most 1,024. Ranks on other
   * hosts do not get them. Default: none.
   */
  fds?: readonly number[];
  /**
   * What happens if a rank fails. `kill`, the default, ends the other ranks; `wait` lets them run on. An abort, a rank that
   * cannot be started, and a lost host always end the job.
   */
  onFailure?: 'kill' | 'wait';
  /**
   * What happens if a rank leaves (exits, also with 0, or finalizes) while others wait for it in a barrier, or enter one later.
   * `fail`, the default, ends the job at once; `wait` lets them wait.
   */
  onEarlyExit?: 'fail' | 'wait';
  /** Milliseconds from SIGTERM to SIGKILL when the job is ended. Default: 5,000. */
  killTimeout?: number;
  /**
   * Whether other processes of this user on this host can see the job: `wireup ps`, `wireup status`, `wireup attach` and
   * {@link listJobs}. The job then gets a unix socket in a private folder in $XDG_RUNTIME_DIR, /run/user/UID or /tmp, 0.1 s
   * after its launch if it still runs. If none can be made, the job runs without one. Default: false.
   */
  listed?: boolean;
  /** Milliseconds that the job may take. Default: no limit. */
  timeout?: number;
  /** Milliseconds until every rank must have called PMI init and left the first barrier. Default: no limit. */
  startupTimeout?: number;
  /**
   * Whether the events `entered` are reported, and the result has the times at which each rank entered the first 64 barriers.
   * It costs a message to the launcher for each rank and barrier. Default: false.
   */
  barrierTimes?: boolean;
  /**
   * Instead of starting a rank: the program that listens on this port of 127.0.0.1 is rank 0 of 1. MPICH listens so if it was
   * started without a launcher and spawns (`mpiexec -pmi_args PORT INTERFACE KEY PID`). `program` and the other options then
   * concern what it spawns. Not with `debugger` and `nodes`. With `hosts`, the program takes a slot of this host, if it is one
   * of them.
   */
  singleton?: SingletonOptions;
  /** Ends the job: SIGTERM, and SIGKILL after `killTimeout`. */
  signal?: AbortSignal;
}

/** Several programs of one job (MPMD), whose ranks follow one another. */
export interface LaunchApps {
  /** The programs, and how many ranks run each of them. */
  apps: readonly LaunchApp[];
}

/** Options of {@link launch}: one program or several, and the settings of the job. */
export type LaunchOptions = JobSettings & (LaunchApp | LaunchApps);

/** Far more than a label needs. */
const MAX_LABEL = 1024;

/** CPUs of all sets together: as many as one message to the agent can hold. */
const MAX_CPUS = 16_384;

/** Far more than a program opens for its children, and as many as the agent can hold. */
const MAX_FDS = 1024;

/** What rules know of the job beside their own setting. */
interface JobShape {
  size: number;
  options: JobSettings;
}

/** Checks one setting each, and returns what the addon gets for it. A default of a parameter is that of the setting. */
const jobRules = {
  label: (value: JobSettings['label'] = '') => {
    const label = checkBytes('label', value);
    if (label.length > MAX_LABEL) throw optionError('label', `up to ${MAX_LABEL} letters`, label);
    return { label, spawnedLabel: label.includes('%g') ? label : label.replaceAll('%r', '%g:%r') };
  },
  /** `silent`: whether each rank's output is discarded. Empty if none is. */
  outputFrom: (value: JobSettings['outputFrom'], { size, options: { stdout, stderr } }: JobShape) => {
    if (value === undefined) return { silent: [] };
    if (stdout === 'pipe-per-rank' || stderr === 'pipe-per-rank')
      throw optionError('outputFrom', "nothing beside 'pipe-per-rank'", value);
    return { silent: flags(checkIntegers('outputFrom', value, 0, size - 1), size).map((kept) => !kept) };
  },
  /** `stdinReaders`: whether each rank reads stdin. Empty if none does. */
  stdin: (value: JobSettings['stdin'], { size }: JobShape) => ({ stdinReaders: stdinReaders(value, size) }),
  bind: (value: JobSettings['bind'] = 'none') => ({ binding: toBinding(value) }),
  debugger: (value: JobSettings['debugger'], { size }: JobShape) => {
    if (value === undefined) return { debugger: [] as string[], debugged: [] as number[] };
    checkOptions('debugger', value, ['command', 'ranks']);
    const command = checkBytesList('debugger.command', value.command);
    if (command.length === 0) throw optionError('debugger.command', 'a command', command);
    return { debugger: command, debugged: checkIntegers('debugger.ranks', value.ranks, 0, size - 1) };
  },
  ignoredSignals: (value: JobSettings['ignoredSignals'] = []) => ({
    ignoredSignals: signalNumbers('ignoredSignals', value),
  }),
  blockedSignals: (value: JobSettings['blockedSignals'] = []) => ({
    blockedSignals: signalNumbers('blockedSignals', value),
  }),
  /** 0: the limit of this process. */
  softFiles: (value: JobSettings['softFiles']) => ({
    softFiles: value === undefined ? 0 : checkInteger('softFiles', value, 1, 2 ** 31 - 1),
  }),
  fds: (value: JobSettings['fds'] = []) => {
    const fds = checkIntegers('fds', value, 3, 2 ** 31 - 1);
    if (fds.length > MAX_FDS || new Set(fds).size !== fds.length)
      throw optionError('fds', `up to ${MAX_FDS} numbers, each once`, fds);
    return { fds };
  },
  onFailure: (value: JobSettings['onFailure'] = 'kill') => ({
    endOnFailure: checkOneOf('onFailure', value, ['kill', 'wait'] as const) === 'kill',
  }),
  onEarlyExit: (value: JobSettings['onEarlyExit'] = 'fail') => ({
    endOnEarlyExit: checkOneOf('onEarlyExit', value, ['fail', 'wait'] as const) === 'fail',
  }),
  killTimeout: (value: JobSettings['killTimeout'] = 5000) => ({
    grace: checkInteger('killTimeout', value, 0, MAX_MILLISECONDS),
  }),
  /** 0: no limit. */
  timeout: (value: JobSettings['timeout']) => ({
    timeout: value === undefined ? 0 : checkInteger('timeout', value, 1, MAX_TIME_LIMIT),
  }),
  /** 0: no limit. */
  startupTimeout: (value: JobSettings['startupTimeout']) => ({
    startupTimeout: value === undefined ? 0 : checkInteger('startupTimeout', value, 1, MAX_TIME_LIMIT),
  }),
} satisfies { [Name in keyof JobSettings]?: (value: JobSettings[Name], job: JobShape) => object };

export const jobRuleNames = Object.keys(jobRules) as (keyof typeof jobRules)[];

type Intersection<Union> = (Union extends unknown ? (one: Union) => void : never) extends (
  all: infer All,
) => void
  ? All
  : never;

/** What the rules return, all together. */
export type NativeJobSettings = Intersection<ReturnType<(typeof jobRules)[keyof typeof jobRules]>>;

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function applyJobRules(options: JobSettings, size: number): NativeJobSettings {
  const results = jobRuleNames.map((name) =>
    (jobRules[name] as (value: unknown, job: JobShape) => object)(options[name], { size, options }),
  );
  return Object.assign({}, ...results) as NativeJobSettings;
}

/** For each rank whether it is in `ranks`. */
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

function toBinding(value: Exclude<JobSettings['bind'], undefined>): {
  unit: 'none' | 'hwthread' | 'core' | 'socket' | 'list';
  sets: number[][];
} {
  if (!Array.isArray(value))
    return { unit: checkOneOf('bind', value, ['none', 'hwthread', 'core', 'socket'] as const), sets: [] };
  const sets = value.map((set: readonly number[], i) => checkIntegers(`bind[${i}]`, set, 0, 65_535));
  if (sets.length === 0 || sets.some(({ length }) => length === 0))
    throw optionError('bind', 'sets of CPUs', value);
  if (sets.length + sets.flat().length > MAX_CPUS)
    throw optionError('bind', `up to ${MAX_CPUS} CPUs in all`, value);
  return { unit: 'list', sets };
}
