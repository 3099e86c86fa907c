/**
 * The one typed declaration of what the addon exports. Everything else in lib/ stands on it; nothing of it is
 * public. Handles are numbers; what happens to them comes in batches to the callback given to start().
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fromThrown } from './errors';
import type { NativeAdmission } from './identity';
import type { NativeJobSettings } from './launch-options';
import type { PmiTransport } from './transports';
import type { RankState } from './status';

export interface NativePeer {
  transport: PmiTransport;
  uid?: number;
  pid?: number;
  address: string;
}

/** A job event of the PMI server; which fields have a meaning depends on `event`. */
export interface NativeEvent {
  type: 'event';
  event:
    | 'connected'
    | 'initialized'
    | 'barrier'
    | 'finalized'
    | 'aborted'
    | 'disconnected'
    | 'rejected'
    | 'protocol_error'
    | 'stuck';
  rank: number;
  exitCode: number;
  lost: boolean;
  barrier: number;
  version: number;
  subversion: number;
  /** Of `disconnected`: why the server cut the connection off; empty: it did not. */
  message: string;
  peer: NativePeer;
  /** Peers can make as many of such events as they like. */
  repeats: boolean;
}

export interface NativeError {
  type: 'error';
  code: string;
  message: string;
  errno?: number;
  syscall?: string;
}

export interface NativeRankOutcome {
  pid: number;
  exited: boolean;
  signaled: boolean;
  value: number;
  coreDumped: boolean;
  /** It ran when the agent began to end the job. */
  ended: boolean;
}

/** Milliseconds since the launch. */
export interface NativeTimes {
  started?: number;
  connected?: number;
  initialized?: number;
  finalized?: number;
  exited?: number;
}

export interface NativeResult {
  type: 'result';
  exitCode: number;
  stopped: boolean;
  failure?: {
    reason:
      'exit' | 'signal' | 'abort' | 'lost' | 'early' | 'spawn' | 'timeout' | 'startup' | 'output' | 'agent';
    rank: number;
    value: number;
    message: string;
    phase: 'none' | 'initialized' | 'finalized';
    barrier?: number;
    /** Why the server cut off the rank's connection; empty: it did not. */
    cutOff: string;
    group: number;
    /** Of the rank, where there is one. */
    outcome?: NativeRankOutcome;
  };
  /** The ranks when it failed, for `early`, `timeout` and `wireup`. */
  status?: NativeProcessGroupStatus;
  /** Who had left for good by then. */
  departed: number[];
  duration: number;
  barriers: number;
  barrierTimes: number[];
  victims: number;
  ranks: (NativeRankOutcome & { state: RankState; times: NativeTimes })[];
}

export interface NativeProcessGroupStatus {
  ranks: RankState[];
  barrier: number;
  inside: number[];
  missing: number[];
  groupBarriers: { tag: number; inside: number[]; missing: number[] }[];
  openGroupBarriers: number;
  kvsEntries: number;
  rejected: number;
  unidentified: number;
}

/** A rank asks for processes: a question to the owner. */
export interface NativeSpawn {
  type: 'spawn';
  id: number;
  rank: number;
  commands: { program: string; args: string[]; ranks: number; info: [string, string][] }[];
  preput: [string, string][];
}

/** What a client asks for. */
export type NativeSpawnRequest = Pick<NativeSpawn, 'commands' | 'preput'>;

export interface NativeSpawnAnswer {
  rc: number;
  message: string;
  /** Of the new job; may be empty. */
  kvsname: string;
  /** One a process, or none. */
  errcodes: readonly number[];
}

export interface NativeStatus extends NativeProcessGroupStatus {
  type: 'status';
  request: number;
  spawned: (NativeProcessGroupStatus & { group: number })[];
}

export interface NativeReady {
  type: 'ready';
  rank: number;
  size: number;
  spawned: boolean;
  appnum: number;
  universeSize: number;
  version: number;
  subversion: number;
  kvsname: string;
  kvsnameMax: number;
  keyMax: number;
  valueMax: number;
}

/** A published name, and who published it. */
export interface NativeName {
  service: string;
  port: string;
  kvsname: string;
  pid?: number;
}

/**
 * `group`: of a launch, whose ranks it is about; 0 for its own, and for all else. `time`: milliseconds since the server or
 * launch began.
 */
export type NativeNotice = { handle: number; group: number; time: number } & (
  | { type: 'opened'; address: string; pmiPort: string }
  | { type: 'agent'; pid: number; host: string }
  | { type: 'started'; rank: number; pid: number; cpus: number[] }
  | ({ type: 'exited'; rank: number } & NativeRankOutcome)
  /** `local`: the request cannot be said, and the server was not asked. `errcodes`: of a spawn. */
  | {
      type: 'answer';
      request: number;
      rc: number;
      value: string;
      message: string;
      local: boolean;
      errcodes: number[];
    }
  /** Of requests `first`, `first + 1` and so on, all successful. */
  | { type: 'answers'; first: number; values: string[] }
  | { type: 'failed'; reason: 'hung_up' | 'refused' | 'protocol'; message: string }
  /** The group has been started as a whole. */
  | { type: 'spawned' }
  /** It could not be. */
  | { type: 'spawnFailed'; message: string }
  /** None of its ranks runs any more. */
  | { type: 'groupEnded' }
  | { type: 'printed' }
  | { type: 'names'; names: NativeName[] }
  | { type: 'namesLost' }
  | { type: 'closed' }
  | NativeEvent
  /** Events of a type that peers can repeat, which are not told: too many waited. */
  | { type: 'missed'; event: NativeEvent['event']; count: number }
  | NativeSpawn
  | NativeError
  | NativeResult
  | NativeStatus
  | NativeReady
);

/** lib/identity.ts declares what PmiServer and launch() have in common. */
export interface NativeProcessGroupOptions extends NativeAdmission {
  size: number;
  kvsname: string;
  /** The size of the group if it is undefined. */
  universeSize?: number;
  /** The kvsname of the group that has spawned this one. */
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

export interface NativeListenOptions {
  /** In the grammar of PMI_PORT; a TCP host in digits. */
  address?: string;
  /** TCP: the first and the last port to choose from, where the address says 0. */
  ports?: [number, number];
  /**
   * Instead of an address: a unix socket in a fresh private folder in the first of these where that can be, or under an
   * abstract name. Each with the variable that names it, or ''.
   */
  privateParents?: [variable: string, path: string][];
}

export interface NativeNameOptions {
  /** The unix address of a name server; without one, names are the job's own. */
  nameServer?: string;
}

export interface NativeProgram {
  /** Empty: the agent's own. */
  directory: string;
  /** Where `prefix[0]` and `args[0]` are searched; empty: PATH of `environment`. */
  path: string;
  prefix: string[];
  args: string[];
  environment: NativeEnvironment;
}

/** In each string "NAME=value". */
export interface NativeEnvironment {
  /** For what is not inherited. */
  defaults: readonly string[];
  /** What ownEnvironment() gives, or nothing. */
  inherited: Uint8Array;
  /** Instead of those. */
  set: readonly string[];
  /** The names of those that are not to be there. */
  unset: readonly string[];
}

/** What the process that started this one has handed down: signals by number, fds above 2. */
export interface NativeCaller {
  ignoredSignals: readonly number[];
  blockedSignals: readonly number[];
  /** The soft limit of open files; 0: this process's own. */
  softFiles: number;
  fds: readonly number[];
}

export interface NativeOutputPlan {
  mode: 'inherit' | 'merge' | 'file' | 'discard';
  /** The pattern of its name, for `file`. */
  file: string;
}

export interface NativeGroupOptions extends NativeProcessGroupOptions, NativeListenOptions {
  pmi: 'fd' | 'port';
  /** By appnum. */
  programs: NativeProgram[];
  /** Names of the nodes, or nothing. */
  hosts: string[];
  /** The ranks' gethostname() is to say them. */
  pretendHosts: boolean;
  /** The nodes' numbers in labels and names of files, or nothing: their own. */
  nodeNumbers: number[];
  /** A rank's connection must come from its process or a descendant of it, as far as the kernel tells. */
  descendantsOnly: boolean;
}

/** lib/launch-options.ts declares the settings of the job. */
export interface NativeLaunchOptions extends NativeGroupOptions, NativeNameOptions, NativeJobSettings {
  /** The connection of a rank that runs already; -1: none. The addon takes it over, even if the call throws. */
  singletonFd: number;
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

export interface NativeConnectOptions {
  fd?: number;
  address?: string;
  pmiId?: string;
  rank?: number;
  size?: number;
  spawned?: boolean;
  /** PMI_JOBID, for PMI 2. */
  jobId?: string;
  /** PMI 1 or 2; 1 when absent. */
  version?: number;
  /** Of PMI 1; 1 when absent. */
  subversion?: number;
  /** More than one put or get in flight. */
  pipeline: 'auto' | 'always' | 'never';
  /** Milliseconds to the end of the handshake; 0 waits for ever. */
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

/** What a client asks of its server. */
export type ClientRequest = NativeOperation | 'spawn';

export interface NativeRankPlace {
  rank: number;
  size: number;
  localRank: number;
  localSize: number;
}

export type ParsedAddress =
  | { kind: 'tcp'; host: string; port: number; uri: string }
  | { kind: 'unix'; path: string; abstract: boolean; uri: string }
  | { error: { part: string; reason: string } };

/** One row of the table of PMI messages. */
export interface NativeMessage {
  /** Our name for it, over all versions of the protocol. */
  name: string;
  /** Its name on the wire in PMI-1 and PMI-2; empty where it has none. */
  v1: string;
  v2: string;
  direction: string;
  form: string;
  support: string;
  /** Name of the message that answers it. */
  reply: string;
  source: string;
  /** `v1` and `v2`: its name on the wire; empty where the version has none. */
  attributes: { name: string; v1: string; v2: string; type: string; presence: string; limit: number }[];
}

export interface Native {
  /** `more`: others wait, for which deliver() is to be called in another turn of the event loop. */
  start(onBatch: (batch: NativeNotice[], more: boolean) => void): void;
  /** Calls what start() was given. */
  deliver(): void;
  /** The types of events that are told from now on, of a server or launch; all, until it is called. */
  readEvents(handle: number, types: readonly NativeEvent['event'][]): void;
  /** Ends everything at once and waits for that. Nothing is told any more. */
  shutdown(): void;

  openServer(options: NativeProcessGroupOptions & NativeListenOptions & NativeNameOptions): number;
  /** Returns an fd that the caller owns. */
  openChannel(server: number, rank: number): number;
  /** Of a server, or a launch and one of its groups. */
  answerSpawn(handle: number, group: number, id: number, answer: NativeSpawnAnswer): void;
  /**
   * Answers a question of a launch's group `asker` with a group of its own, whose number is new; `errcodes` are said when it
   * has been started.
   */
  spawn(
    launch: number,
    group: number,
    asker: number,
    id: number,
    options: NativeGroupOptions,
    errcodes: readonly number[],
  ): void;
  /** Of a PMI server or a name server. */
  closeServer(server: number): void;
  openNameServer(options: NativeListenOptions): number;
  listNames(address: string): number;
  status(handle: number, request: number): void;

  launch(options: NativeLaunchOptions): number;
  /** Of the next launch that says the same and has neither stdoutFd nor stderrFd. */
  prepareAgent(options: Pick<NativeLaunchOptions, 'agent'>): void;
  /** To all ranks when none is named. */
  signal(launch: number, signal: number, ranks: number[]): void;
  stop(launch: number, graceMs: number): void;
  /** A line on the terminal of stderr until the ranks print; empty: none. */
  showStatus(launch: number, line: string): void;
  /** Waits up to 10 seconds; returns an fd that the caller owns. */
  joinSingleton(port: number, kvsname: string): number;
  /** From the kernel's generator. `node:crypto` has them too, but takes longer to load than most of a launch. */
  randomBytes(count: number): Buffer;
  /** Throws what writeWhole() would, as far as that can be told before. */
  checkWhole(file: string): void;
  /** The file's content is then the new one, or, where it throws, what it was. */
  writeWhole(file: string, content: string): void;
  /** Whether a write of a small line to the fd would not block, within so many milliseconds. */
  waitWritable(fd: number, timeoutMs: number): boolean;
  /** Read end and write end of each in turn; the caller owns them. */
  openPipes(count: number): number[];

  connect(options: NativeConnectOptions): number;
  /**
   * `words`: keys or services; for put, publish and putNodeAttribute each followed by its value or port; for barrier its
   * group, or none; for finalize none.
   * The request of the first has the id `first`, the next one `first + 1`.
   */
  request(client: number, first: number, operation: NativeOperation, words: readonly string[]): void;
  requestSpawn(client: number, id: number, spawn: NativeSpawnRequest): void;
  abort(client: number, exitCode: number, message: string): void;
  closeClient(client: number): void;

  parseAddress(text: string): ParsedAddress;
  /** From the values of PMI_process_mapping and flux.taskmap, empty where there is none. A string says what is wrong. */
  cliqueRanks(processMapping: string, fluxTaskmap: string, rank: number, size: number): number[] | string;
  /** Undefined for what `allowHosts` takes. */
  hostRangeError(text: string): { part: string; reason: string } | undefined;
  /** Why another user could change what is in this folder, or that it is none; '' where neither is so. */
  folderProblem(path: string): string;
  channelEnvironment(place: NativeRankPlace, fd: number): string[];
  portEnvironment(place: NativeRankPlace, pmiPort: string, pmiId: string): string[];
  isStalePmiVariable(name: string): boolean;
  messageTable(): NativeMessage[];

  /**
   * This process's environment as it is, byte by byte and without what other process managers left in it: these variables,
   * or all. Undefined in a worker, whose process.env is a copy of its own.
   */
  ownEnvironment(names?: readonly string[]): Uint8Array | undefined;
  /** As the starter has noted it, whose fd is closed and whose hidden variables are set again; -1: without a starter. */
  takeCaller(notes: number): NativeCaller;
  /** Bytes that are no UTF-8 are lone surrogates, U+DC80 to U+DCFF, in every string here; these convert by themselves. */
  textOfBytes(bytes: Uint8Array): string;
  bytesOfText(text: string): Buffer;
}

const addonName = 'wireup.node';

/**
 * The folder of the compiled parts: the addon, wireup-agent, wireup-exec, libpmi. What was compiled here comes before what
 * the package brings. This needs no install script, and writes nothing.
 */
function findFolder(): string {
  const compiled = join(__dirname, '../build/Release');
  const prebuilt = join(__dirname, `../prebuilds/${process.platform}-${process.arch}`);
  return existsSync(join(compiled, addonName)) ? compiled : prebuilt;
}

const folder = findFolder();

export const agentPath = join(folder, 'wireup-agent');
export const execPath = join(folder, 'wireup-exec');
/** What `wireup bench` measures with, and the rank that it starts. */
export const benchPath = join(folder, 'wireup-bench');
export const benchClientPath = join(folder, 'wireup-bench-client');
/** Where libpmi.so.0 is, PMI-1 for C programs. */
export const libpmiPath = join(folder, 'libpmi.so.0');
/** Where libpmi2.so.0 is, PMI-2 for C programs. */
export const libpmi2Path = join(folder, 'libpmi2.so.0');

let loaded: Native | undefined;

/** Throws an error with Node's own code: MODULE_NOT_FOUND, ERR_DLOPEN_FAILED. */
function requireAddon(): Native {
  try {
    return require(join(folder, addonName)) as Native;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    // The first line of the message; the others tell which modules wanted it.
    const text = `the native parts cannot be loaded: ${message.split('\n')[0]}; run \`npm rebuild wireup\``;
    throw Object.assign(new Error(text, { cause: error }), { code });
  }
}

function load(): Native {
  const addon = requireAddon();
  // In one place: a call that throws, throws a PmiError. The calls for which there are better codes keep what they say.
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
      // A system error: the caller knows what for.
      if (code === undefined && errno !== undefined) throw thrown;
      throw fromThrown('ERR_PMI_INTERNAL', thrown);
    }
  };
}

/** The addon, loaded when something of it is first used: what needs none of it (--help, a type) works without. */
export const native = new Proxy({} as Native, {
  get: (_, name: keyof Native) => (loaded ??= load())[name],
});
