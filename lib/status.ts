import { formatIdset } from './idset';
import type { NativeProcessGroupStatus } from './native-notices';
import { printable } from './printable';

/**
 * How far a rank has come in PMI.
 *
 * - `absent`: it has never connected.
 * - `connected`: it has connected and not sent init.
 * - `initialized`: it is between init and finalize.
 * - `finalized`: it has sent finalize.
 * - `disconnected`: its connection has ended without finalize.
 */
export type RankState = 'absent' | 'connected' | 'initialized' | 'finalized' | 'disconnected';

/** The barrier over all ranks of a process group. Sets of ranks are idsets. */
export interface BarrierStatus {
  /** How many barriers are complete, which is the number of the current one. */
  number: number;
  /** The ranks that wait in it. */
  inside: string;
  /** The ranks that it waits for; empty if no rank is inside. */
  missing: string;
}

/** A barrier over some ranks (PMI-1.2). Its ranks are those inside and those missing. */
export interface GroupBarrier {
  /** The number that distinguishes barriers of the same ranks. */
  tag: number;
  /** The ranks that wait in it. */
  inside: string;
  /** The ranks that it waits for. */
  missing: string;
}

/** A process group at one moment. Sets of ranks are idsets: `0-3,7`, the empty string for none. */
export interface PmiStatus {
  /** How many ranks it has. */
  size: number;
  /** The ranks in each state. */
  ranks: Record<RankState, string>;
  /** The barrier over all ranks. */
  barrier: BarrierStatus;
  /** Barriers over some ranks (PMI-1.2) that are not complete: the first 64 of them. */
  groupBarriers: GroupBarrier[];
  /** How many barriers over some ranks are not complete. */
  openGroupBarriers: number;
  /** Keys in the key-value space, the server's own included. */
  kvsEntries: number;
  /** How many connections were refused, including channels of ranks that already had a connection. */
  rejected: number;
  /** How many connections have not proved which rank they are. */
  unidentified: number;
  /** Of a launched job: the hosts that are being started and have not answered; absent if there are none. */
  awaitedHosts?: string[];
  /** Of a launched job: the process groups that ranks have spawned and that still run. */
  spawned?: SpawnedGroupStatus[];
}

/** A spawned process group at one moment. */
export interface SpawnedGroupStatus extends PmiStatus {
  /** The number of the process group, from 1. */
  group: number;
}

const states: readonly RankState[] = ['absent', 'connected', 'initialized', 'finalized', 'disconnected'];

/** @param awaited the hosts that have not answered */
export function toPmiStatus(status: NativeProcessGroupStatus, awaited: readonly string[] = []): PmiStatus {
  const inState = (state: RankState): string =>
    formatIdset(status.ranks.flatMap((actual, rank) => (actual === state ? [rank] : [])));
  return {
    size: status.ranks.length,
    ranks: Object.fromEntries(states.map((state) => [state, inState(state)])) as Record<RankState, string>,
    barrier: {
      number: status.barrier,
      inside: formatIdset(status.inside),
      missing: formatIdset(status.missing),
    },
    groupBarriers: status.groupBarriers.map(({ tag, inside, missing }) => ({
      tag,
      inside: formatIdset(inside),
      missing: formatIdset(missing),
    })),
    openGroupBarriers: status.openGroupBarriers,
    kvsEntries: status.kvsEntries,
    rejected: status.rejected,
    unidentified: status.unidentified,
    ...(awaited.length === 0 ? {} : { awaitedHosts: [...awaited] }),
  };
}

/** How many barriers of barrier groups a line lists. */
const SHOWN_GROUPS = 4;

/** @internal What is to be shown of a status, each with an idset, or a count of barriers. Nothing is empty. */
export function statusRows(status: PmiStatus): [what: string, ranks: string][] {
  const { ranks, barrier, groupBarriers, openGroupBarriers } = status;
  const parts: [string, string][] = [
    ['never connected', ranks.absent],
    ['connected, no init', ranks.connected],
    ['initialized', ranks.initialized],
    ['finalized', ranks.finalized],
    ['left PMI', ranks.disconnected],
    [`in barrier ${barrier.number}`, barrier.inside],
    ['missing', barrier.missing],
    ...groupBarriers.slice(0, SHOWN_GROUPS).flatMap(({ tag, inside, missing }): [string, string][] => [
      [`in a barrier of a group${tag === 0 ? '' : `, tag ${tag}`}`, inside],
      ['missing', missing],
    ]),
    [
      'more barriers of groups',
      openGroupBarriers > SHOWN_GROUPS ? `${openGroupBarriers - SHOWN_GROUPS}` : '',
    ],
  ];
  return parts.filter(([, idset]) => idset !== '');
}

/** How many hosts a line lists. */
const SHOWN_HOSTS = 16;

/**
 * @internal `no answer yet from n1, n2 and 3 more hosts`; undefined if no host is awaited.
 *
 * @param most how many hosts are named
 */
export function describeAwaited({ awaitedHosts = [] }: PmiStatus, most = SHOWN_HOSTS): string | undefined {
  if (awaitedHosts.length === 0) return undefined;
  const more = awaitedHosts.length - most;
  const names = printable(awaitedHosts.slice(0, most).join(', '));
  return `no answer yet from ${more > 0 ? `${names} and ${more} more hosts` : names}`;
}

/**
 * Describes a status in one line for people: `connected, no init: 1; in barrier 0: 0,2-3; missing: 1`. States
 * without ranks are omitted. Hosts that have not answered follow.
 */
export function describeStatus(status: PmiStatus): string {
  return [...statusRows(status).map(([what, idset]) => `${what}: ${idset}`), describeAwaited(status)]
    .filter((part) => part !== undefined)
    .join('; ');
}
