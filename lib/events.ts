import type { EventHub, HubOptions, MissedEvent } from './event-hub';
import { native } from './native';
import type { NativeEvent, NativeNotice, NativeSpawn, NativeSpawnAnswer } from './native-notices';
import {
  checkInteger,
  checkKvsname,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  optionError,
} from './options';
import type { PmiTransport } from './transports';

/** The transport of a connection: an inherited fd, a unix socket, or TCP. */
export type PeerTransport = PmiTransport;

/** The process at the other end of a connection, as the kernel reports it. */
export interface Peer {
  /** How the process is connected. */
  transport: PeerTransport;
  /** User id of the process that connected; absent if the kernel does not report it. */
  uid?: number;
  /** Process id of the process that connected, in this process's pid namespace; absent if the kernel does not report it. */
  pid?: number;
  /** For messages: `127.0.0.1:40000`, or `unix` for an unnamed unix socket. */
  address: string;
}

/** One of the programs that a rank asks to start. */
export interface SpawnCommand {
  /** The program's name or path. */
  program: string;
  /** The arguments, without the program. */
  args: string[];
  /** How many processes of it to start. */
  ranks: number;
  /** The keys and values of MPI_Info for this program: `wdir`, `path`, `host`, `soft` and others. */
  info: Record<string, string>;
}

/** What {@link SpawnEvent.accept} reports to the rank. */
export interface AcceptedSpawn {
  /** The kvsname of the new process group; PMI-2 passes it on to the rank that asked. */
  kvsname?: string;
  /** One error code for each process, in the order of the commands; 0 for all by default. */
  errcodes?: readonly number[];
}

/** The property that distinguishes events. */
export interface HasType<Type extends string> {
  /** Which event it is. */
  type: Type;
}

/** The properties of every event. */
export interface EventBase<Type extends string> extends HasType<Type> {
  /**
   * When it happened: milliseconds since the server or launch began, with a fraction, by a clock that is never set back. An
   * event has the time that the job's result has. With several hosts the result may have another time for a barrier and what
   * follows it: a host's report of an earlier end may come later, and clocks of other hosts are not exactly known.
   */
  time: number;
}

/** A connection has proved which rank it is. */
export interface ConnectedEvent extends EventBase<'connected'> {
  /** The rank. */
  rank: number;
  /** The process at the other end of the connection. */
  peer: Peer;
}

/** A rank has sent init. */
export interface InitializedEvent extends EventBase<'initialized'> {
  /** The rank. */
  rank: number;
  /** The version of PMI that both sides speak: 1 or 2. */
  version: number;
  /** Its subversion: 1 of PMI-1.1, 2 of PMI-1.2, 0 of PMI-2. */
  subversion: number;
}

/** All ranks have entered a barrier, so it is complete. */
export interface BarrierEvent extends EventBase<'barrier'> {
  /** The number of the barrier, from 0. */
  number: number;
}

/** A rank has entered the barrier over all ranks. Only with the option `barrierTimes` of launch(), and of the first 64 barriers. */
export interface EnteredEvent extends EventBase<'entered'> {
  /** The rank. */
  rank: number;
  /** The number of the barrier, from 0. */
  number: number;
}

/** A rank has sent finalize. */
export interface FinalizedEvent extends EventBase<'finalized'> {
  /** The rank. */
  rank: number;
}

/** A rank has sent abort, which requests the end of the job. */
export interface AbortedEvent extends EventBase<'aborted'> {
  /** The rank. */
  rank: number;
  /** The exit code that the rank requests. */
  exitCode: number;
  /** The reason that the rank gives; empty if it gives none. */
  message: string;
}

/** A rank's connection has ended. */
export interface DisconnectedEvent extends EventBase<'disconnected'> {
  /** The rank. */
  rank: number;
  /** True if the connection ended between init and finalize. */
  lost: boolean;
  /** Why the server closed the connection; absent if the rank closed it. */
  reason?: string;
}

/** The server has refused a connection. */
export interface RejectedEvent extends EventBase<'rejected'> {
  /** The process at the other end of the connection. */
  peer: Peer;
  /** Why the server refused it. */
  reason: string;
}

/**
 * Ranks wait in a barrier for a rank that has left, so the barrier can never complete. It comes once, and again only after
 * that rank has connected again.
 */
export interface StuckEvent extends EventBase<'stuck'> {
  /** The first rank that has left. */
  rank: number;
  /** The number of the barrier, from 0. */
  number: number;
}

/**
 * The connection to the name server has ended. The names that ranks had published are removed, and from now
 * on requests about names fail.
 */
export type NameServerLostEvent = EventBase<'name-server-lost'>;

/** A connection has sent an invalid request. It may continue. */
export interface ProtocolErrorEvent extends EventBase<'protocol-error'> {
  /** The rank; absent if the connection has not proved which rank it is. */
  rank?: number;
  /** What is invalid. */
  message: string;
}

/**
 * A rank asks for processes (MPI_Comm_spawn), and waits for the answer. The first call of accept() or reject() answers;
 * further calls do nothing. If no reader wants events of this type, or the last such reader leaves before it has come to this
 * event, the server refuses the spawn.
 */
export interface SpawnEvent extends EventBase<'spawn'> {
  /** The rank that asks. */
  rank: number;
  /** The programs to start. */
  commands: SpawnCommand[];
  /** Keys and values that the new process group's server must have from the start. */
  preput: Record<string, string>;
  /**
   * Reports that the processes have been started.
   *
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  accept(job?: AcceptedSpawn): void;
  /**
   * Reports that the processes have not been started.
   *
   * @param rc what the rank's PMI call returns; not 0
   * @param message reaches the rank as one word, with `_` for each character that a word cannot hold
   * @throws {@link PmiError} `ERR_PMI_OPTION`
   */
  reject(rc: number, message?: string): void;
}

/** The events of a process group that its PMI server reports. */
export type PmiEvent =
  | ConnectedEvent
  | InitializedEvent
  | BarrierEvent
  | EnteredEvent
  | FinalizedEvent
  | AbortedEvent
  | DisconnectedEvent
  | RejectedEvent
  | StuckEvent
  | NameServerLostEvent
  | ProtocolErrorEvent
  | SpawnEvent
  | MissedEvent<RepeatedEventType>;

/** The types of events that peers can cause without end: the first three if a rank connects again. */
export type RepeatedEventType =
  'connected' | 'initialized' | 'disconnected' | 'barrier' | 'entered' | 'rejected' | 'protocol-error';

/** The addon's names of the events that come from it. */
const nativeNames = {
  connected: 'connected',
  initialized: 'initialized',
  barrier: 'barrier',
  finalized: 'finalized',
  aborted: 'aborted',
  disconnected: 'disconnected',
  rejected: 'rejected',
  stuck: 'stuck',
  entered: 'entered',
  'protocol-error': 'protocol_error',
} as const satisfies Partial<Record<PmiEvent['type'], NativeEvent['event']>>;

const typesOfNative = new Map<string, string>(
  Object.entries(nativeNames).map(([type, there]) => [there, type]),
);

export const pmiEventTypes = [
  ...(Object.keys(nativeNames) as (keyof typeof nativeNames)[]),
  'name-server-lost',
  'spawn',
] as const;

/** The events of some types, and `missed`, which may come in place of any of them. */
export type EventsOf<Event extends HasType<string>, Type extends string> = Extract<
  Event,
  HasType<Type | 'missed'>
>;

/** Options of events(): which events to read, and how long. */
export interface EventOptions<T extends string> {
  /** Ends the iteration with its reason. */
  signal?: AbortSignal;
  /** The types to read; `missed` events of these types come too. All by default. Events that no reader wants cost nothing. */
  types?: readonly T[];
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function readEvents<E extends { type: string }>(
  hub: EventHub<E>,
  options: EventOptions<string>,
  known: readonly string[],
): AsyncIterableIterator<E | MissedEvent> {
  checkOptions('options', options, ['signal', 'types']);
  const { types } = options;
  if (types !== undefined && !Array.isArray(types))
    throw optionError('types', 'an array of types of events', types);
  return hub.read(
    checkSignal(options.signal),
    types?.map((type, i) => checkOneOf(`types[${i}]`, type, known)),
  );
}

/**
 * Returns the hub's `onInterest`, which informs the addon which events to report.
 *
 * @param handle returns the addon's handle; not called before there is one
 */
export function reportInterest(handle: () => number): NonNullable<HubOptions<never>['onInterest']> {
  return (types) =>
    native.readEvents(
      handle(),
      Object.entries(nativeNames).flatMap(([name, there]) => (types?.has(name) === false ? [] : [there])),
    );
}

/** Adds a notice about an event to the hub. */
export function pushNative<E extends { type: string }>(
  hub: EventHub<E>,
  notice: NativeNotice & { type: 'event' | 'missed' },
  toEvent: (event: NativeEvent & { time: number }) => E,
): void {
  if (notice.type === 'missed') hub.miss(typesOfNative.get(notice.event)!, notice.count);
  else hub.push(toEvent(notice), notice.repeats);
}

export function toPmiEvent(
  event: NativeEvent & { time: number },
): Exclude<PmiEvent, SpawnEvent | NameServerLostEvent | MissedEvent> {
  const { rank, time } = event;
  switch (event.event) {
    case 'connected':
      return { type: 'connected', time, rank, peer: event.peer! };
    case 'initialized':
      return { type: 'initialized', time, rank, version: event.version, subversion: event.subversion };
    case 'barrier':
      return { type: 'barrier', time, number: event.barrier };
    case 'finalized':
      return { type: 'finalized', time, rank };
    case 'aborted':
      return { type: 'aborted', time, rank, exitCode: event.exitCode, message: event.message };
    case 'disconnected':
      return {
        type: 'disconnected',
        time,
        rank,
        lost: event.lost,
        ...(event.message === '' ? {} : { reason: event.message }),
      };
    case 'rejected':
      return { type: 'rejected', time, peer: event.peer!, reason: event.message };
    case 'stuck':
      return { type: 'stuck', time, rank, number: event.barrier };
    case 'entered':
      return { type: 'entered', time, rank, number: event.barrier };
    case 'protocol_error':
      return { type: 'protocol-error', time, ...(rank >= 0 ? { rank } : {}), message: event.message };
  }
}

export function toSpawnEvent(
  spawn: NativeSpawn & { time: number },
  answer: (answer: NativeSpawnAnswer) => void,
): SpawnEvent {
  const { rank, commands, preput, time } = spawn;
  const processes = commands.reduce((sum, command) => sum + command.ranks, 0);
  let open = true;
  const answerOnce = (value: NativeSpawnAnswer): void => {
    if (open) answer(value);
    open = false;
  };
  return {
    type: 'spawn',
    time,
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
