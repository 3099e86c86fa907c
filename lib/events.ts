import type { EventHub, HubOptions, Missed } from './event-hub';
import {
  native,
  type NativeEvent,
  type NativeNotice,
  type NativeSpawn,
  type NativeSpawnAnswer,
} from './native';
import {
  checkInteger,
  checkKvsname,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  optionError,
} from './options';

/** Who is at the other end of a connection, as the kernel tells. */
export interface Peer {
  transport: 'fd' | 'unix' | 'tcp';
  /** User id of the process that connected; absent where the kernel does not tell it. */
  uid?: number;
  /** Its process id, as seen here; absent where the kernel does not tell it. */
  pid?: number;
  /** For people: `127.0.0.1:40000`, or `unix` for an unnamed unix socket. */
  address: string;
}

/** One of the programs that a rank asks to be started. */
export interface SpawnCommand {
  program: string;
  /** Without the program. */
  args: string[];
  /** How many processes of it. */
  ranks: number;
  /** What MPI_Info says of it: `wdir`, `path`, `host`, `soft`, ... */
  info: Record<string, string>;
}

/** What has become of a spawn that was accepted. */
export interface AcceptedSpawn {
  /** Of the new job; PMI-2 hands it to whoever has asked. */
  kvsname?: string;
  /** One a process, in the order of the commands; 0 for all by default. */
  errcodes?: readonly number[];
}

/**
 * A rank asks for processes (MPI_Comm_spawn), and waits for the answer: one call of accept() or reject(); another does
 * nothing. Where no reader wants events of this type, or the last one that does leaves before it has come to this one, it is
 * refused.
 */
export interface SpawnEvent {
  type: 'spawn';
  rank: number;
  commands: SpawnCommand[];
  /** Keys that the new job's server is to have from the start. */
  preput: Record<string, string>;
  /** The processes are started. @throws {@link PmiError} `ERR_PMI_OPTION` */
  accept(job?: AcceptedSpawn): void;
  /**
   * They are not. `rc` is what the rank's PMI call returns, not 0. The message reaches the rank as one word, with `_` for
   * what a word cannot hold. @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  reject(rc: number, message?: string): void;
}

/** When it happened: milliseconds since the server or launch began, with a fraction, by a clock that is never set back. */
export interface Timed {
  time: number;
}

/** What happens in a job, as its PMI server sees it. */
export type UntimedPmiEvent =
  /** A connection is known to be that rank's. */
  | { type: 'connected'; rank: number; peer: Peer }
  /** The rank said init; version is what both sides agreed on. */
  | { type: 'initialized'; rank: number; version: number; subversion: number }
  /** Every rank has entered, and been let out of, the barrier of that number (from 0). */
  | { type: 'barrier'; number: number }
  | { type: 'finalized'; rank: number }
  /** The rank asked for the end of the job. */
  | { type: 'aborted'; rank: number; exitCode: number; message: string }
  /** The rank's connection ended. `lost`: between init and finalize. `reason`: why the server cut it off; absent where the rank hung up. */
  | { type: 'disconnected'; rank: number; lost: boolean; reason?: string }
  /** Somebody was refused. */
  | { type: 'rejected'; peer: Peer; reason: string }
  /** Ranks wait in the barrier for a rank that has left, so it can never complete; told once, unless that rank comes back. */
  | { type: 'stuck'; rank: number; number: number }
  /** The name server has gone: what ranks publish or look up from now on fails, and what they had published is gone. */
  | { type: 'name-server-lost' }
  | SpawnEvent
  /** Bad input on a connection; `rank` is absent before it is known. The connection may live on. */
  | { type: 'protocol-error'; rank?: number; message: string };

/**
 * The same, and when it happened. `missed`: so many events of the type `of` are not told, because too many of them waited
 * for a slow reader. It stands where the first of them would. Only events that peers can repeat without end are ever missed,
 * from the 4,097th that waits on.
 */
export type PmiEvent = (UntimedPmiEvent & Timed) | Missed<RepeatedEvent>;

/** Of which peers can make as many as they like: the first two and `disconnected` where a rank comes back. */
export type RepeatedEvent =
  'connected' | 'initialized' | 'disconnected' | 'barrier' | 'rejected' | 'protocol-error';

/** The names of the PMI server's own events there. */
const nativeNames = {
  connected: 'connected',
  initialized: 'initialized',
  barrier: 'barrier',
  finalized: 'finalized',
  aborted: 'aborted',
  disconnected: 'disconnected',
  rejected: 'rejected',
  stuck: 'stuck',
  'protocol-error': 'protocol_error',
} as const satisfies Partial<Record<PmiEvent['type'], NativeEvent['event']>>;

export const pmiEventTypes = [
  ...(Object.keys(nativeNames) as (keyof typeof nativeNames)[]),
  'name-server-lost',
  'spawn',
] as const;

/** Which events to read. */
export interface EventOptions<T extends string> {
  /** Ends the iteration with its reason. */
  signal?: AbortSignal;
  /** Only these, and how many of them were missed; all by default. Events that no reader wants cost nothing. */
  types?: readonly T[];
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function readEvents<E extends { type: string }>(
  hub: EventHub<E>,
  options: EventOptions<string>,
  known: readonly string[],
): AsyncIterableIterator<E | Missed> {
  checkOptions('options', options, ['signal', 'types']);
  const { types } = options;
  if (types !== undefined && !Array.isArray(types))
    throw optionError('types', 'an array of types of events', types);
  return hub.read(
    checkSignal(options.signal),
    types?.map((type, i) => checkOneOf(`types[${i}]`, type, known)),
  );
}

/** @param handle the native side's, once there is one */
export function tellNative(handle: () => number): NonNullable<HubOptions<never>['onInterest']> {
  return (types) =>
    native.readEvents(
      handle(),
      Object.entries(nativeNames).flatMap(([name, there]) => (types?.has(name) === false ? [] : [there])),
    );
}

/** Passes on what the PMI server tells of its events. */
export function pushNative<E extends { type: string }>(
  hub: EventHub<E>,
  notice: NativeNotice & { type: 'event' | 'missed' },
  toEvent: (event: NativeEvent & Timed) => E,
): void {
  const type = Object.entries(nativeNames).find(([, there]) => there === notice.event)![0];
  if (notice.type === 'missed') hub.miss(type, notice.count);
  else hub.push(toEvent(notice), notice.repeats);
}

export function toPmiEvent(event: NativeEvent & Timed): Exclude<UntimedPmiEvent, SpawnEvent> & Timed {
  return { ...toUntimed(event), time: event.time };
}

function toUntimed(event: NativeEvent): Exclude<UntimedPmiEvent, SpawnEvent> {
  const { rank } = event;
  switch (event.event) {
    case 'connected':
      return { type: 'connected', rank, peer: event.peer };
    case 'initialized':
      return { type: 'initialized', rank, version: event.version, subversion: event.subversion };
    case 'barrier':
      return { type: 'barrier', number: event.barrier };
    case 'finalized':
      return { type: 'finalized', rank };
    case 'aborted':
      return { type: 'aborted', rank, exitCode: event.exitCode, message: event.message };
    case 'disconnected':
      return {
        type: 'disconnected',
        rank,
        lost: event.lost,
        ...(event.message === '' ? {} : { reason: event.message }),
      };
    case 'rejected':
      return { type: 'rejected', peer: event.peer, reason: event.message };
    case 'stuck':
      return { type: 'stuck', rank, number: event.barrier };
    case 'protocol_error':
      return { type: 'protocol-error', ...(rank >= 0 ? { rank } : {}), message: event.message };
  }
}

export function toSpawnEvent(spawn: NativeSpawn, answer: (answer: NativeSpawnAnswer) => void): SpawnEvent {
  const { rank, commands, preput } = spawn;
  const processes = commands.reduce((sum, command) => sum + command.ranks, 0);
  let open = true;
  const answerOnce = (said: NativeSpawnAnswer): void => {
    if (open) answer(said);
    open = false;
  };
  return {
    type: 'spawn',
    rank,
    commands: commands.map((command) => ({ ...command, info: Object.fromEntries(command.info) })),
    preput: Object.fromEntries(preput),
    accept(job = {}) {
      checkOptions('job', job, ['kvsname', 'errcodes']);
      const kvsname = job.kvsname === undefined ? '' : checkKvsname('kvsname', job.kvsname);
      const { errcodes = new Array<number>(processes).fill(0) } = job;
      if (!Array.isArray(errcodes) || errcodes.length !== processes)
        throw optionError('errcodes', `an array of ${processes} numbers`, errcodes);
      for (const [i, code] of errcodes.entries())
        checkInteger(`errcodes[${i}]`, code, -(2 ** 31), 2 ** 31 - 1);
      answerOnce({ rc: 0, message: '', kvsname, errcodes });
    },
    reject(rc, message = '') {
      if (checkInteger('rc', rc, -(2 ** 31), 2 ** 31 - 1) === 0)
        throw optionError('rc', 'a number that is not 0', rc);
      answerOnce({ rc, message: checkString('message', message), kvsname: '', errcodes: [] });
    },
  };
}
