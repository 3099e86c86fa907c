/**
 * The notices of the addon: what it reports about the handles that it has given out. lib/dispatch.ts passes each to the
 * object of its handle.
 */
import type { RankState } from './status';
import type { FailureReason } from './result';
import type { PmiTransport } from './transports';

export interface NativePeer {
  transport: PmiTransport;
  uid?: number;
  pid?: number;
  address: string;
}

/** An event of a process group. `event` decides which of the other fields are used. */
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
    | 'stuck'
    | 'entered';
  rank: number;
  exitCode: number;
  lost: boolean;
  barrier: number;
  version: number;
  subversion: number;
  /**
   * aborted: the rank's message. disconnected: why the server closed the connection; empty: the rank closed
   * it. rejected, protocol_error: the reason.
   */
  message: string;
  /** Of `connected` and `rejected`. */
  peer: NativePeer | undefined;
  /** Peers can cause any number of such events. */
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
  /** It still ran when the agent began to end the job. */
  ended: boolean;
}

/** Milliseconds since the launch. */
export interface NativeTimes {
  started?: number;
  connected?: number;
  initialized?: number;
  finalized?: number;
  aborted?: number;
  disconnected?: number;
  exited?: number;
  /** By the numbers of the barriers; null: not known. */
  entered?: (number | null)[];
}

export interface NativeResult {
  type: 'result';
  exitCode: number;
  stopped: boolean;
  failure?: {
    reason: FailureReason;
    rank: number;
    /** host: its number. */
    value: number;
    message: string;
    /** host: whether its agent had ever answered. */
    started: boolean;
    phase: 'none' | 'initialized' | 'finalized';
    barrier?: number;
    /** Why the server closed the rank's connection; empty: it did not. */
    cutOff: string;
    group: number;
    /** The outcome of the rank, if the failure has one. */
    outcome?: NativeRankOutcome;
  };
  /** For `early`, `timeout` and `startup`: the state of the ranks at the failure. */
  status?: NativeProcessGroupStatus;
  /** The ranks that had left by then and will enter no barrier. */
  departed: number[];
  /** The hosts that had been asked for and had not answered by then. */
  awaited: string[];
  /** For `startup`: what late ranks did. */
  late: NativeInspectedRank[];
  /** The names of the hosts, by number. */
  hosts: string[];
  duration: number;
  barriers: number;
  barrierTimes: number[];
  victims: number;
  /** The ranks: see readRankRows(). */
  integers: Int32Array;
  doubles: Float64Array;
  /** By rank, if any rank has them: see {@link NativeTimes}. */
  entered?: (number | null)[][];
}

/** A rank in a result. */
export interface NativeRankRow extends NativeRankOutcome {
  /** The number of the rank's host. */
  host: number;
  state: RankState;
  times: NativeTimes;
  /** Milliseconds. */
  cpuUser: number;
  cpuSystem: number;
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

/** Whole lines of the recording that the option `trace` asks for. */
export interface NativeTraceLines {
  type: 'trace';
  lines: Buffer;
  /** How many records the lines have. */
  records: number;
  /** How many records are missing. If there are lines, they mark the gaps. */
  dropped: number;
}

/** A rank requests a spawn. The launcher must answer by answerSpawn() or spawn(). */
export interface NativeSpawn {
  type: 'spawn';
  id: number;
  rank: number;
  commands: { program: string; args: string[]; ranks: number; info: [string, string][] }[];
  preput: [string, string][];
}

/** A spawn that a client requests. */
export type NativeSpawnRequest = Pick<NativeSpawn, 'commands' | 'preput'>;

export interface NativeSpawnAnswer {
  rc: number;
  message: string;
  /** Of the new process group; may be empty. */
  kvsname: string;
  /** One for each process, or none. */
  errcodes: readonly number[];
}

/** What PMI servers have counted, see engine::Counters. */
export interface NativeTotals {
  /** By wireup's names of the messages, and `unknown`. */
  requests: Record<string, number>;
  /** By reason. */
  refused: Record<string, number>;
  invalid: number;
  /** Bytes. */
  received: number;
  sent: number;
  /** How many barriers took at most as long as the bound of the same index, and longer than the one before. */
  buckets: number[];
  /** In seconds. */
  bounds: number[];
  barrierTime: number;
  barriers: number;
  kvsBytes: number;
  turns: number;
}

export interface NativeStatus extends NativeProcessGroupStatus {
  type: 'status';
  request: number;
  spawned: (NativeProcessGroupStatus & { group: number })[];
  totals: NativeTotals;
  /** The hosts that have been asked for and have not answered. */
  awaited: string[];
}

/** See wire::agent::InspectedRank. Texts are empty and `interval` is 0 if they are not known. Times are in milliseconds. */
export interface NativeInspectedRank {
  rank: number;
  pid: number;
  pmi: RankState;
  /** 0: the process cannot be seen. */
  worker: number;
  name: string;
  /** The letter of proc_pid_stat(5). */
  state: string;
  systemCall: string;
  file: string;
  waitChannel: string;
  processorTime: number;
  busy: number;
  interval: number;
  /** What a debugger has printed; absent if it was not asked for. */
  stack?: string;
  stackFault?: string;
}

export interface NativeInspection {
  type: 'inspected';
  request: number;
  ranks: NativeInspectedRank[];
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

/** A published name, and the launcher that has published it. */
export interface NativeName {
  service: string;
  port: string;
  kvsname: string;
  pid?: number;
}

/**
 * `group`: the process group of a launch; 0 for the launched one, and for everything else. `time`:
 * milliseconds since the server or launch began.
 */
export type NativeNotice = { handle: number; group: number; time: number } & (
  | { type: 'opened'; address: string; pmiPort: string }
  /** The agent of this host runs, and the PMI server of group 0 is there. */
  | { type: 'agent'; pid: number }
  /** The agent of another host runs; `pid` is its process there, `ownName` what gethostname() returns there. */
  | { type: 'hostStarted'; host: number; name: string; pid: number; ownName: string }
  /** Each host has a command of its own, because one command could not start all. `reason`: why, for people. */
  | { type: 'startedSingly'; reason: string }
  /** A host is lost or (not `started`) could not be started, with these ranks of group 0. `message`: why, for people. */
  | { type: 'hostLost'; host: number; name: string; started: boolean; message: string; ranks: number[] }
  | { type: 'started'; rank: number; pid: number; cpus: number[] }
  | ({ type: 'exited'; rank: number } & NativeRankOutcome)
  /** `local`: PMI cannot carry the request, and the server was not asked. `errcodes`: of a spawn. */
  | {
      type: 'answer';
      request: number;
      rc: number;
      value: string;
      message: string;
      local: boolean;
      errcodes: number[];
    }
  /** The answers to requests `first`, `first + 1` and so on, all successful. */
  | { type: 'answers'; first: number; values: string[] }
  | { type: 'failed'; reason: 'hung_up' | 'refused' | 'protocol'; message: string }
  /** All ranks of the spawned process group have been started. */
  | { type: 'spawned' }
  /** Not all of them could be started. */
  | { type: 'spawnFailed'; message: string }
  /** No rank of the spawned process group runs any more. */
  | { type: 'groupEnded' }
  | { type: 'printed' }
  | { type: 'names'; names: NativeName[] }
  | { type: 'namesLost' }
  /** A process asks about a job, on this connection of its socket. */
  | { type: 'question'; connection: number; question: string }
  /** The connection of a question has ended before the last answer. */
  | { type: 'askerGone'; connection: number }
  | { type: 'closed' }
  | NativeEvent
  /** Repeatable events that were dropped, because too many of them waited. */
  | { type: 'missed'; event: NativeEvent['event']; count: number }
  | NativeTraceLines
  | NativeSpawn
  | NativeError
  | NativeResult
  | NativeStatus
  | NativeInspection
  | NativeReady
);
