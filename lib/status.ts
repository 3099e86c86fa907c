import { formatIdset } from './idset';
import type { NativeProcessGroupStatus, RankStateName } from './native';

/**
 * What a rank is to the PMI server: `absent` never connected; `connected` but no init yet; `initialized`, between
 * init and finalize; `finalized`; `disconnected`, gone without finalize.
 */
export type RankState = RankStateName;

/** A barrier over some ranks of a job, which are those inside and those missing. */
export interface GroupBarrier {
  /** What tells barriers of one group apart. */
  tag: number;
  /** The ranks that wait in it. */
  inside: string;
  /** The ranks that it waits for. */
  missing: string;
}

/** A job at one moment. Sets of ranks are idsets: `0-3,7`, the empty string for none. */
export interface PmiStatus {
  size: number;
  /** The ranks in each state. */
  ranks: Record<RankState, string>;
  barrier: {
    /** How many barriers are complete, which is the number of the one under way. */
    number: number;
    /** The ranks that wait in it. */
    inside: string;
    /** The ranks that it waits for; empty when nobody is inside. */
    missing: string;
  };
  /** Barriers of groups (PMI 1.2) that some ranks are in: the first 64 of them. */
  groupBarriers: GroupBarrier[];
  /** How many there are. */
  openGroupBarriers: number;
  /** Keys in the key-value space, the server's own included. */
  kvsEntries: number;
  /** Connections, and channels of ranks that had a connection, that were refused. */
  rejected: number;
  /** Connections that have not yet said whose they are. */
  unidentified: number;
  /** Of a launched job: the groups that ranks have spawned and that still run. */
  spawned?: (PmiStatus & { group: number })[];
}

const states: readonly RankState[] = ['absent', 'connected', 'initialized', 'finalized', 'disconnected'];

export function toPmiStatus(status: NativeProcessGroupStatus): PmiStatus {
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
  };
}

/** How many barriers of groups fit in a line that people read. */
const SHOWN_GROUPS = 4;

/**
 * Where the ranks are, in one line: `connected, no init: 1; in barrier 0: 0,2-3; missing: 1`. States that no rank is in
 * are left out.
 */
export function describeStatus(status: PmiStatus): string {
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
      [`in a group's barrier${tag === 0 ? '' : `, tag ${tag}`}`, inside],
      ['missing', missing],
    ]),
    [
      'more barriers of groups',
      openGroupBarriers > SHOWN_GROUPS ? `${openGroupBarriers - SHOWN_GROUPS}` : '',
    ],
  ];
  return parts.flatMap(([what, who]) => (who === '' ? [] : [`${what}: ${who}`])).join('; ');
}
