/**
 * The typed declaration of everything that the addon exports. Only this file loads the addon, and nothing of
 * it is public. Handles are numbers. The addon reports what happens to them in batches of notices, to the
 * callback passed to start().
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fromThrown } from './errors';
import type { NativeAdmission, PmiId } from './identity';
import type { NativeJobSettings } from './launch-options';
import type { NativeEvent, NativeSpawnAnswer, NativeSpawnRequest } from './native-notices';
import type { RankState } from './status';
import type { PmiTransport } from './transports';

/** lib/identity.ts declares what PmiServer and launch() have in common. */
export interface NativeProcessGroupOptions extends NativeAdmission {
  size: number;
  kvsname: string;
  /** The size of the process group if it is undefined. */
  universeSize?: number;
  /** The kvsname of the process group that has spawned this one. */
  spawner?: string;
  /** Keys that exist from the start. */
  preput?: [string, string][];
  /** If `nodes` is empty, nodes are filled in the order of ranks. */
  ranksPerNode: number;
  /** The node of each rank. Empty if there is one application. */
  nodes: number[];
  /** How many ranks each application has, if `nodes` is not empty. */
  appSizes: number[];
}

/** Those of a PmiServer, whose ranks get their PMI_IDs from the calling process. */
/** What is recorded of PMI connections. */
export interface NativeTracePlan {
  /** JSON lines; otherwise text. */
  json: boolean;
  secrets: boolean;
  /** When the recording has started: {@link Moment.monotonic}. */
  start: number;
  /** The first and the last rank of each range; empty: all ranks. */
  ranks: [number, number][];
}

export interface NativeServerOptions extends NativeProcessGroupOptions {
  trace?: NativeTracePlan;
  /** By rank. */
  pmiIds: string[];
}

export interface NativeListenOptions {
  /** In the grammar of PMI_PORT. A TCP host must be numeric. */
  address?: string;
  /** TCP: the range of ports to choose from, if the port of the address is 0. */
  ports?: [number, number];
  /**
   * Instead of an address: make a unix socket in a new private folder in the first suitable one of these, or
   * else under an abstract name. Each has the environment variable that names it, or ''.
   */
  privateParents?: [variable: string, path: string][];
}

export interface NativeNameOptions {
  /** The unix address of a name server. Absent: names are private to this server or launch. */
  nameServer?: string;
}

export interface NativeProgram {
  /** The working directory; empty: the agent's own. */
  directory: string;
  /** The search path of `args[0]`; empty: PATH of `environment`. */
  path: string;
  /** wireup-exec runs before the program. Each agent takes the one beside itself. */
  execShim: boolean;
  args: string[];
  environment: NativeEnvironment;
}

/** An environment. Each string is "NAME=value". */
export interface NativeEnvironment {
  /** Used for names that are not inherited. */
  defaults: readonly string[];
  /** The result of ownEnvironment(), or empty. */
  inherited: Uint8Array;
  /** These replace inherited ones. */
  set: readonly string[];
  /** Names to remove. */
  unset: readonly string[];
}

/** What this process has inherited from the process that started it: numbers of signals, and fds above 2. */
export interface NativeCaller {
  ignoredSignals: readonly number[];
  blockedSignals: readonly number[];
  /** The soft limit of open files; 0: this process's own. */
  softFiles: number;
  fds: readonly number[];
}

export interface NativeOutputPlan {
  mode: 'inherit' | 'merge' | 'file' | 'discard';
  /** Mode `file`: the pattern of the file's name. */
  file: string;
}

export interface NativeGroupOptions extends NativeProcessGroupOptions, NativeListenOptions {
  pmi: 'fd' | 'port';
  /** Of how many barriers the event `entered` is reported. */
  reportedEntries: number;
  /** By appnum. */
  programs: NativeProgram[];
  /** The number of the host of each node. Empty: this host, 0. */
  nodeHosts: number[];
  /** The names of the nodes. Empty: those of their hosts. */
  nodeNames: string[];
  /** gethostname() of the ranks returns these names. */
  pretendHosts: boolean;
  /** The numbers of the nodes in labels and names of files. Empty: 0, 1 and so on. */
  nodeNumbers: number[];
  /**
   * A rank's connection must come from its process or a descendant of it, if the kernel reports ancestors.
   */
  descendantsOnly: boolean;
}

/** A host of a launch. */
export interface NativeHost {
  /** For people; empty: the name that its kernel has. */
  name: string;
  /** Starts its agent, with the link as stdin and stdout. Not used for this host. */
  command: string[];
  /** A file of this host that is sent over the link first; empty: none. Its size replaces `%s` in the command. */
  stage: string;
  /** The limit for the start of the agent; 0: none. */
  timeoutMs: number;
  /** The command is an agent on this host, for a pretended one. */
  sameHost: boolean;
}

/** One command that starts the agents of many hosts, which are then linked over ZeroMQ. */
export interface NativeTogether {
  /** Its stdin reaches every agent. */
  command: string[];
  /** Where hosts listen for others: the name of an interface, or a network; empty: at all addresses. */
  iface: string;
  /** The links are neither encrypted nor authenticated. */
  insecure: boolean;
}

/** lib/launch-options.ts declares the settings of the job. */
export interface NativeLaunchOptions extends NativeGroupOptions, NativeNameOptions, NativeJobSettings {
  trace?: NativeTracePlan;
  /** By number; the first is this host. Empty: only this host. */
  hosts: NativeHost[];
  /** The environment of the commands of hosts: "NAME=value". */
  hostEnvironment: string[];
  /** How many hosts each host starts; 0: this host starts all. */
  treeWidth: number;
  /** Absent: each host has its command. Else each host starts at least one other one (`treeWidth`). */
  together?: NativeTogether;
  /** When the launch has begun, the zero of all its times: {@link Moment.monotonic}. */
  begin: number;
  /** The port of 127.0.0.1 on which a singleton waits, the program that becomes the one rank; 0: none. */
  singletonPort: number;
  /** The process id of the singleton. */
  singletonPid: number;
  agent: string;
  stdout: NativeOutputPlan;
  stderr: NativeOutputPlan;
  /** Write ends of pipes that replace the agent's stdout and stderr; -1: none. Taken over, even if the call throws. */
  stdoutFd: number;
  stderrFd: number;
  /** One for each rank, or none. Taken over, even if the call throws. */
  rankStdoutFds: number[];
  rankStderrFds: number[];
}

/** The part that lib/launch-hosts.ts makes. */
export type NativeHostOptions = Pick<
  NativeLaunchOptions,
  'hosts' | 'hostEnvironment' | 'treeWidth' | 'together' | 'nodeHosts' | 'nodeNames' | 'pretendHosts'
>;

export interface NativeConnectOptions {
  fd?: number;
  address?: string;
  pmiId?: string;
  rank?: number;
  size?: number;
  spawned?: boolean;
  /** PMI_JOBID, for PMI 2. */
  jobId?: string;
  /** The version, 1 or 2; 1 if absent. */
  version?: number;
  /** The subversion of PMI-1; 1 if absent. */
  subversion?: number;
  /** Whether to send several puts and gets before the first reply. */
  pipeline: 'auto' | 'always' | 'never';
  /** The limit of the handshake in milliseconds; 0: none. */
  timeout: number;
}

export type NativeOperation =
  | 'put'
  | 'get'
  | 'barrier'
  | 'publish'
  | 'unpublish'
  | 'lookup'
  | 'putNodeAttribute'
  | 'getNodeAttribute'
  | 'waitNodeAttribute'
  | 'getJobAttribute'
  | 'finalize';

/** A request of a client. */
export type ClientRequest = NativeOperation | 'spawn';

export interface NativeRankPlace {
  rank: number;
  size: number;
  localRank: number;
  localSize: number;
}

export type ParsedAddress =
  /** `host`: what may be a name, and must be looked up; undefined if the transport has no host names. */
  | { transport: PmiTransport; uri: string; host?: string; port?: number }
  | { error: { part: string; reason: string } };

/** One row of the table of PMI messages. */
export interface NativeMessage {
  /** wireup's name, for all versions. */
  name: string;
  /** The names in PMI-1 and PMI-2; empty: not in that version. */
  v1: string;
  v2: string;
  direction: string;
  form: string;
  support: string;
  /** The `name` of the reply. */
  reply: string;
  source: string;
  /** `v1` and `v2`: the names in PMI-1 and PMI-2; empty: not in that version. */
  attributes: { name: string; v1: string; v2: string; type: string; presence: string; limit: number }[];
}

/**
 * Gets a batch of notices, which readNotices() reads. The next batch uses the same typed arrays. `more`: further notices wait;
 * call deliver() in another turn of the event loop.
 */
export type NativeOnBatch = (
  count: number,
  integers: Int32Array,
  doubles: Float64Array,
  values: readonly unknown[],
  more: boolean,
) => void;

/** The names of enumerators of the core, in their order. */
export interface NativeEnumerators {
  events: NativeEvent['event'][];
  states: RankState[];
}

export interface Native {
  /** Starts the reactor. */
  start(onBatch: NativeOnBatch): void;
  /** Calls the callback of start() with waiting notices. */
  deliver(this: void): void;
  /**
   * Selects the types of events that a server or launch reports from now on. Until this call it reports all.
   */
  readEvents(handle: number, types: readonly NativeEvent['event'][]): void;
  /** Ends all handles at once, and waits for that. There are no further notices. */
  shutdown(): void;

  openServer(options: NativeServerOptions & NativeListenOptions & NativeNameOptions): number;
  /** Returns the fd of a new channel. The caller owns it. */
  openChannel(server: number, rank: number): number;
  /** Answers a spawn of a server or launch. */
  answerSpawn(handle: number, id: number, answer: NativeSpawnAnswer): void;
  /**
   * Answers a spawn of a launch: starts a new process group with the unused number `group`. The rank gets
   * `errcodes` when all ranks have been started.
   */
  spawn(
    launch: number,
    group: number,
    id: number,
    options: NativeGroupOptions,
    errcodes: readonly number[],
  ): void;
  /** Makes the socket on which a job answers questions, in a new private folder in the first suitable of these. */
  openJobSocket(privateParents: [variable: string, path: string][]): number;
  /** Sends text to the connection of a question. `last`: closes it then. */
  answerQuestion(socket: number, connection: number, text: string, last: boolean): void;
  /** Removes the private folders that killed processes of this user have left in the folder. */
  removeDeadJobs(folder: string): void;
  /** Closes a PMI server, a name server or the socket of a job. */
  closeServer(server: number): void;
  openNameServer(options: NativeListenOptions): number;
  listNames(address: string): number;
  status(handle: number, request: number): void;
  /** What the processes of ranks of group 0 do, in ascending order; those without a process are left out. */
  inspect(launch: number, request: number, ranks: number[], stacks: boolean): void;

  launch(options: NativeLaunchOptions): number;
  /** Starts the agent of the next launch with the same `agent` that has neither stdoutFd nor stderrFd. */
  prepareAgent(options: Pick<NativeLaunchOptions, 'agent'>): void;
  /** Sends a signal to ranks; to all if the list is empty. */
  signal(launch: number, signal: number, ranks: number[]): void;
  stop(launch: number, graceMs: number): void;
  /** Shows a status line on the terminal of stderr, until ranks write there; empty: remove it. */
  showStatus(launch: number, line: string): void;
  /**
   * Random bytes from the kernel. `node:crypto` provides them too, but takes longer to load than most of a
   * launch.
   */
  randomBytes(count: number): Buffer;
  /** Makes a PMI_ID for each rank. No two are equal. */
  makePmiIds(size: number, kind: PmiId): string[];
  /** Throws the error that writeWhole() would throw, if that can be known before. */
  checkWhole(file: string): void;
  /** Replaces the file's content. If it throws, the content is unchanged. */
  writeWhole(file: string, content: string): void;
  /**
   * Waits up to `timeoutMs` milliseconds until a short line can be written to the fd without blocking.
   * Returns false if it cannot.
   */
  waitWritable(this: void, fd: number, timeoutMs: number): boolean;
  /** Returns the read end and the write end of each pipe. The caller owns them. */
  openPipes(count: number): number[];

  connect(options: NativeConnectOptions): number;
  /**
   * Makes requests with the numbers `first`, `first + 1` and so on. `words`: keys or services; for put,
   * publish and putNodeAttribute each followed by its value or port; for barrier its group, or none; for
   * finalize none.
   */
  request(client: number, first: number, operation: NativeOperation, words: readonly string[]): void;
  requestSpawn(client: number, id: number, spawn: NativeSpawnRequest): void;
  abort(client: number, exitCode: number, message: string): void;
  closeClient(client: number): void;

  parseAddress(text: string): ParsedAddress;
  /**
   * Evaluates PMI_process_mapping and flux.taskmap, each empty if the server has none. Returns an error as a
   * string.
   */
  cliqueRanks(processMapping: string, fluxTaskmap: string, rank: number, size: number): number[] | string;
  /** Checks an element of `allowHosts`; undefined: it is valid. */
  hostRangeError(text: string): { part: string; reason: string } | undefined;
  /**
   * Why other users could change the content of this folder, or why it is not a folder; '': neither applies.
   */
  folderProblem(path: string): string;
  /**
   * Whether each name or address belongs to this host. A name that is not resolved within the timeout, in milliseconds, does
   * not.
   */
  ownNames(names: string[], timeout: number): Promise<boolean[]>;
  channelEnvironment(place: NativeRankPlace, fd: number): string[];
  portEnvironment(place: NativeRankPlace, pmiPort: string, pmiId: string): string[];
  isStalePmiVariable(name: string): boolean;
  messageTable(): NativeMessage[];
  enumerators(): NativeEnumerators;

  /**
   * This process's environment as bytes, without the variables of other process managers: the given
   * variables, or all. Undefined in a worker, whose process.env is a copy.
   */
  ownEnvironment(names?: readonly string[]): Uint8Array | undefined;
  /**
   * Reads the starter's notes from the fd `notes` and closes it, and sets variables again that the starter
   * has hidden; -1: there is no starter.
   */
  takeCaller(notes: number): NativeCaller;
  /**
   * These two convert between bytes and strings. In all strings of this interface, a byte that is not UTF-8
   * is a lone surrogate, U+DC80 to U+DCFF.
   */
  textOfBytes(bytes: Uint8Array): string;
  bytesOfText(text: string): Buffer;
}

const addonName = 'wireup.node';

/**
 * The folder of the compiled parts: the addon, wireup-agent, wireup-exec, wireup-tap, libpmi. Parts that were compiled
 * here take precedence over the prebuilt ones of the package. No install script is needed, and nothing is
 * written.
 */
function findFolder(): string {
  const compiled = join(__dirname, '../build/Release');
  const prebuilt = join(__dirname, `../prebuilds/${process.platform}-${process.arch}`);
  return existsSync(join(compiled, addonName)) ? compiled : prebuilt;
}

const folder = findFolder();

export const agentPath = join(folder, 'wireup-agent');
export const execPath = join(folder, 'wireup-exec');
export const tapPath = join(folder, 'wireup-tap');
/** The programs of `wireup bench`: the floors, and the rank that it starts. */
export const benchPath = join(folder, 'wireup-bench');
export const benchClientPath = join(folder, 'wireup-bench-client');
/** The path of libpmi.so.0, the PMI-1 client library for C programs. */
export const libpmiPath = join(folder, 'libpmi.so.0');
/** The path of libpmi2.so.0, the PMI-2 client library for C programs. */
export const libpmi2Path = join(folder, 'libpmi2.so.0');

let loaded: Native | undefined;

/** Loads the addon. Throws an error with Node's own code: MODULE_NOT_FOUND or ERR_DLOPEN_FAILED. */
function requireAddon(): Native {
  try {
    return require(join(folder, addonName)) as Native;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    // Only the first line of Node's message. The others list the modules that required the addon.
    const text = `the native parts cannot be loaded: ${message.split('\n')[0]}; run \`npm rebuild wireup\``;
    throw Object.assign(new Error(text, { cause: error }), { code });
  }
}

function load(): Native {
  const addon = requireAddon();
  // Every call throws PmiError, except for system errors, for which the callers have better codes.
  const guarded = Object.entries(addon).map(([name, call]) => [name, guard(call as Call)]);
  return Object.fromEntries(guarded) as Native;
}

type Call = (...args: unknown[]) => unknown;

function guard(call: Call): Call {
  return (...args) => {
    try {
      return call(...args);
    } catch (thrown) {
      const { code, errno } = thrown as { code?: unknown; errno?: unknown };
      // A system error. The caller chooses the code.
      if (code === undefined && errno !== undefined) throw thrown;
      throw fromThrown('ERR_PMI_INTERNAL', thrown);
    }
  };
}

/**
 * The addon. It is loaded at its first use, so that code that needs none of it (--help, types) works without.
 */
export const native = new Proxy({} as Native, {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- the addon's functions use no `this`
  get: (_, name: keyof Native) => (loaded ??= load())[name],
});
