/** The process groups that ranks of a job have spawned, collected from the job's events. */
import type { Job, JobEvent } from '../job';
import type { JobResult, RankResult } from '../result';

/** A spawned process group, as the file of `--result` has it. */
export interface SpawnedGroup {
  /** Its number, from 1. */
  group: number;
  /** The rank that asked for it. */
  by: { group: number; rank: number };
  /** The programs that it runs. */
  programs: string[];
  /** The completed barriers of all its ranks. */
  barriers: { count: number; times: number[] };
  /** One row for each rank, in rank order. */
  ranks: Omit<RankResult, 'appnum' | 'coreDumped' | 'ended' | 'cpu'>[];
}

/** A result with the spawned process groups. */
export type ResultWithGroups = JobResult & { groups?: SpawnedGroup[] };

/** Ranks of spawned process groups that are kept: a job can spawn without end. */
const MAX_SPAWNED_RANKS = 4096;
/** As group 0 has it. */
const MAX_BARRIERS = 64;

const types = [
  'started',
  'connected',
  'initialized',
  'entered',
  'barrier',
  'finalized',
  'aborted',
  'disconnected',
  'exited',
  'spawned',
] as const;

type Row = Pick<RankResult, 'pid' | 'state' | 'code' | 'signal' | 'times'>;

/** Events of a group may come before that of the spawn. */
interface Collected extends Pick<SpawnedGroup, 'barriers'> {
  ranks: Map<number, Row>;
}

/** Collects groups until the job has ended. */
export class SpawnedGroups {
  readonly #open = new Map<number, Collected>();
  readonly #groups: SpawnedGroup[] = [];
  #room = MAX_SPAWNED_RANKS;

  /** Follows the job. Resolves when it has ended. */
  async follow(job: Job): Promise<void> {
    for await (const event of job.events({ types })) this.add(event);
  }

  add(event: JobEvent): void {
    if (event.type === 'spawned') {
      const { group, by, programs, hosts } = event;
      const { ranks, barriers } = this.#of(group);
      if (hosts.length > this.#room) return;
      this.#room -= hosts.length;
      // The rows of ranks that have reported nothing yet are filled later.
      this.#groups.push({
        group,
        by,
        programs,
        barriers,
        ranks: hosts.map((host, rank) => {
          const row = rowOf(ranks, rank);
          return Object.assign(row, { rank, host });
        }),
      });
      return;
    }
    if (!('group' in event) || event.group === undefined) return;
    const { ranks, barriers } = this.#of(event.group);
    if (event.type === 'barrier') {
      barriers.count = event.number + 1;
      if (barriers.times.length < MAX_BARRIERS) barriers.times.push(event.time);
      return;
    }
    if (!('rank' in event) || event.rank === undefined || ranks.size >= MAX_SPAWNED_RANKS) return;
    const row = rowOf(ranks, event.rank);
    const { time } = event;
    switch (event.type) {
      case 'started':
        row.pid = event.pid;
        row.times.started = time;
        break;
      case 'connected':
        row.state = 'connected';
        row.times.connected = time;
        break;
      case 'initialized':
      case 'finalized':
        row.state = event.type;
        row.times[event.type] = time;
        break;
      case 'entered':
        if (event.number < MAX_BARRIERS) {
          const entered = (row.times.entered ??= []);
          while (entered.length < event.number) entered.push(null);
          entered[event.number] = time;
        }
        break;
      case 'aborted':
        row.times.aborted = time;
        break;
      case 'disconnected':
        if (row.state !== 'finalized') row.state = 'disconnected';
        row.times.disconnected = time;
        break;
      case 'exited':
        row.times.exited = time;
        if ('code' in event) row.code = event.code;
        if ('signal' in event) row.signal = event.signal;
    }
  }

  /** Those that were started as a whole, in the order of their numbers. */
  get groups(): SpawnedGroup[] {
    return [...this.#groups].sort((a, b) => a.group - b.group);
  }

  #of(group: number): Collected {
    const known = this.#open.get(group);
    if (known !== undefined) return known;
    const made: Collected = { barriers: { count: 0, times: [] }, ranks: new Map() };
    if (this.#open.size < MAX_SPAWNED_RANKS) this.#open.set(group, made);
    return made;
  }
}

function rowOf(ranks: Map<number, Row>, rank: number): Row {
  const known = ranks.get(rank);
  if (known !== undefined) return known;
  const made: Row = { state: 'absent', times: {} };
  ranks.set(rank, made);
  return made;
}
