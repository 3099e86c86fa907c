/** The figures of PMI servers and jobs. lib/prometheus.ts gives them names. */
import type { NativeStatus } from './native-notices';
import type { RankState } from './status';

/** How long barriers took, from the first rank that entered until the release. */
export interface BarrierDurations {
  /** The upper ends of the buckets, in seconds. */
  bounds: number[];
  /** How many barriers are in each bucket; the last one, without a bound, has the longest. */
  counts: number[];
  /** The sum of all durations, in seconds. */
  sum: number;
}

/**
 * What a {@link PmiServer} or a {@link Job} has counted since it began, and how it is now. Of a job the figures are the sum
 * over all hosts and over all its process groups, those that have ended included.
 */
export interface PmiMetrics {
  /** How many process groups there are now. */
  processGroups: number;
  /** How many ranks are in each state now. */
  ranks: Record<RankState, number>;
  /** How many ranks wait in a barrier of all ranks now. */
  waitingRanks: number;
  /** How many connections have not proved which rank they are. */
  unidentified: number;
  /** Received messages, by wireup's name of the command; `unknown` are those without one. */
  requests: Record<string, number>;
  /** How many of them were invalid. */
  invalidRequests: number;
  /** Bytes that came over PMI connections. */
  receivedBytes: number;
  /** Bytes that were sent over PMI connections. */
  sentBytes: number;
  /** Refused connections, by reason. */
  refused: Record<string, number>;
  /** Complete barriers of all ranks of a process group. */
  barriers: number;
  /** Their durations. Each host measures its own part, so a barrier over several hosts counts once for each. */
  barrierDurations: BarrierDurations;
  /** Keys in the key-value spaces. */
  kvsKeys: number;
  /** Memory that keys and values take, in bytes, on the host with the most. */
  kvsBytes: number;
  /** How many events wait for the reader of `events()` that is behind the most. */
  eventsWaiting: number;
  /** How many events readers have lost, as their `missed` events report. */
  eventsMissed: number;
  /** Turns of the event loops that serve the ranks. */
  reactorTurns: number;
}

/** What an event hub reports about its readers. */
export interface QueueState {
  readonly waiting: number;
  readonly missed: number;
}

const states: readonly RankState[] = ['absent', 'connected', 'initialized', 'finalized', 'disconnected'];

export function toPmiMetrics(status: NativeStatus, events: QueueState): PmiMetrics {
  const groups = [status, ...status.spawned];
  const sum = (count: (group: (typeof groups)[number]) => number): number =>
    groups.reduce((total, group) => total + count(group), 0);
  const ranks = Object.fromEntries(states.map((state) => [state, 0])) as Record<RankState, number>;
  for (const group of groups) for (const state of group.ranks) ranks[state]++;
  const { totals } = status;
  return {
    processGroups: groups.length,
    ranks,
    waitingRanks: sum(({ inside }) => inside.length),
    unidentified: sum(({ unidentified }) => unidentified),
    requests: totals.requests,
    invalidRequests: totals.invalid,
    receivedBytes: totals.received,
    sentBytes: totals.sent,
    refused: totals.refused,
    barriers: totals.barriers,
    barrierDurations: { bounds: totals.bounds, counts: totals.buckets, sum: totals.barrierTime },
    kvsKeys: sum(({ kvsEntries }) => kvsEntries),
    kvsBytes: totals.kvsBytes,
    eventsWaiting: events.waiting,
    eventsMissed: events.missed,
    reactorTurns: totals.turns,
  };
}

/** A {@link PmiServer} or a {@link Job}. */
export interface MetricsSource {
  /** Rejects when there is nothing to report any more. */
  metrics(): Promise<PmiMetrics>;
}
