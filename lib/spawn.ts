/**
 * Answers the spawns of a launch's ranks (MPI_Comm_spawn): starts a process group, or refuses with a reason.
 */
import type { JobEvent, SpawnedEvent } from './job';
import { native, type NativeGroupOptions, type NativeProgram } from './native';
import type { NativeNotice, NativeSpawn } from './native-notices';
import { MAX_RANKS } from './limits';
import { checkInteger } from './options';
import { softCount } from './soft';
import { Refusal, SpawnHosts } from './spawn-placement';
import type { LaunchPlan } from './launch-plan';

/**
 * The default limit of running spawned processes: enough for most programs, and a stop for those that spawn
 * without end.
 */
const DEFAULT_MAX_SPAWN = 1024;

/** The rc of a refused spawn (PMI_FAIL). */
const FAIL = -1;

/** The keys of MPI_Info that wireup knows. It ignores others, as MPI permits. */
const knownInfo = new Set(['wdir', 'path', 'host', 'hosts', 'soft', 'env']);

interface Group {
  size: number;
  kvsname: string;
  /** Its programs, by appnum. Spawned children inherit the settings of their parent's program. */
  programs: NativeProgram[];
  appnums: number[];
  /** The node of each rank. With several hosts: the index of its host in `LaunchPlan.spawnHosts`. */
  nodes: number[];
  /** The ranks that have exited. */
  exited: Set<number>;
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function checkSpawnLimit(maxSpawn: unknown, universeSize: number | undefined, size: number): number {
  if (maxSpawn === undefined) return universeSize === undefined ? DEFAULT_MAX_SPAWN : universeSize - size;
  return checkInteger('maxSpawn', maxSpawn, 0, MAX_RANKS);
}

/** The types of the notices that a {@link Spawner} needs. */
type SpawnerNotice =
  'spawn' | 'spawned' | 'spawnFailed' | 'groupEnded' | 'exited' | 'hostStarted' | 'hostLost';

export class Spawner {
  readonly #plan: LaunchPlan;
  readonly #emit: (event: JobEvent) => void;
  readonly #hosts: SpawnHosts;
  readonly #groups = new Map<number, Group>();
  /** The events of process groups that are being started. */
  readonly #pending = new Map<number, Omit<SpawnedEvent, 'time'>>();
  #lastGroup = 0;
  #spawned = 0;

  constructor(plan: LaunchPlan, emit: (event: JobEvent) => void) {
    this.#plan = plan;
    this.#hosts = new SpawnHosts(plan.spawnHosts);
    this.#emit = emit;
    const { programs, appSizes, kvsname, nodes, ranksPerNode } = plan.native;
    this.#groups.set(0, {
      size: plan.size,
      kvsname,
      programs,
      appnums: appSizes.flatMap((ranks, appnum) => Array<number>(ranks).fill(appnum)),
      nodes:
        nodes.length > 0
          ? nodes
          : Array.from({ length: plan.size }, (_, rank) => Math.floor(rank / ranksPerNode)),
      exited: new Set(),
    });
  }

  /** How many process groups have been spawned so far. */
  get spawned(): number {
    return this.#spawned;
  }

  /** The program of a rank of a spawned process group. */
  programOf(group: number, rank: number): string | undefined {
    const { programs, appnums } = this.#groups.get(group) ?? {};
    return programs?.[appnums?.[rank] ?? 0]?.args[0];
  }

  /** The name of the host of a rank of a spawned process group. */
  hostOf(group: number, rank: number): string {
    const host = this.#hosts.get(this.#groups.get(group)?.nodes[rank] ?? -1);
    return host === undefined || host.number === 0 ? this.#plan.hostName : host.name;
  }

  /** The ranks of a spawned process group on the host with that number. */
  ranksOn(group: number, host: number): number[] {
    const nodes = this.#groups.get(group)?.nodes ?? [];
    return nodes.flatMap((node, rank) => (this.#hosts.get(node)?.number === host ? [rank] : []));
  }

  /**
   * Handles a notice about a spawn, or about ranks and hosts, which decide where there is room.
   *
   * @param launch the addon's handle of the launch
   */
  onNotice(launch: number, notice: Extract<NativeNotice, { type: SpawnerNotice }>): void {
    switch (notice.type) {
      case 'hostStarted':
        return this.#hosts.started(notice.host, notice.ownName);
      case 'hostLost':
        return this.#hosts.lose(notice.host);
      case 'exited':
        this.#groups.get(notice.group)?.exited.add(notice.rank);
        return;
    }
    const { group } = notice;
    switch (notice.type) {
      case 'spawn':
        return this.#ask(launch, group, notice, notice.time);
      case 'spawned':
        this.#spawned++;
        this.#emit({ ...this.#pending.get(group)!, time: notice.time });
        break;
      case 'spawnFailed': {
        const { by } = this.#pending.get(group)!;
        this.#groups.delete(group);
        this.#emit({ type: 'spawn-refused', time: notice.time, by, reason: this.#explain(notice.message) });
        break;
      }
      case 'groupEnded':
        // If not all of it could be started, spawnFailed has reported that.
        if (this.#groups.delete(group)) this.#emit({ type: 'group-ended', time: notice.time, group });
        return;
    }
    this.#pending.delete(group);
  }

  /** The reason of a refusal, with advice about a host that could not be started. */
  #explain(message: string): string {
    const [, host, why] = /^host (\S+) could not be started: (.*)$/s.exec(message) ?? [];
    const advice = host === undefined ? undefined : this.#plan.advise(host, why!);
    return advice === undefined ? message : `${message} (${advice})`;
  }

  #ask(launch: number, asker: number, query: NativeSpawn, time: number): void {
    const by = { group: asker, rank: query.rank };
    try {
      const { options, group, errcodes, ignoredInfo } = this.#answer(by, query);
      const number = ++this.#lastGroup;
      this.#groups.set(number, group);
      this.#pending.set(number, {
        type: 'spawned',
        group: number,
        by,
        size: group.size,
        programs: group.programs.map(({ args }) => args[0]!),
        hosts: group.nodes.map((_, rank) => this.hostOf(number, rank)),
        ignoredInfo,
      });
      native.spawn(launch, number, query.id, options, errcodes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      native.answerSpawn(launch, query.id, {
        rc: FAIL,
        message: error.word,
        kvsname: '',
        errcodes: [],
      });
      this.#emit({ type: 'spawn-refused', time, by, reason: error.message });
    }
  }

  #answer(by: { group: number; rank: number }, { commands, preput }: NativeSpawn) {
    const { maxSpawn } = this.#plan;
    if (maxSpawn === 0) throw new Refusal('not_supported', 'spawning is not allowed in this job');
    const asker = this.#groups.get(by.group)!;
    const parent = asker.programs[asker.appnums[by.rank]!]!;
    const ignoredInfo = new Set<string>();
    const programs: NativeProgram[] = [];
    const sizes: number[] = [];
    const nodes: number[] = [];
    const errcodes: number[] = [];
    const running = this.#running();
    for (const command of commands) {
      const info = new Map(command.info);
      for (const key of info.keys()) if (!knownInfo.has(key)) ignoredInfo.add(key);
      const soft = info.get('soft');
      // A malformed `soft` allows no count. Counts over maxSpawn need not be tried.
      const ranks =
        soft === undefined ? command.ranks : (softCount(soft, Math.min(command.ranks, maxSpawn)) ?? 0);
      if (ranks === 0)
        throw new Refusal('soft_allows_none', `soft=${soft} allows no count from 1 to ${command.ranks}`);
      const named = info.get('host') ?? info.get('hosts');
      for (const node of this.#hosts.place(ranks, named, running, asker.nodes[by.rank]!)) nodes.push(node);
      programs.push(childProgram(parent, command, info));
      sizes.push(ranks);
      for (let i = 0; i < command.ranks; i++) errcodes.push(i < ranks ? 0 : FAIL);
    }
    const size = nodes.length;
    this.#checkRoom(size);
    // The engine's layout numbers its nodes without gaps.
    const nodeNumbers = [...new Set(nodes)].sort((x, y) => x - y);
    const indexOf = new Map(nodeNumbers.map((node, i) => [node, i]));
    const hosts = nodeNumbers.flatMap((node) => this.#hosts.get(node) ?? []);
    const { hosts: all } = this.#plan.native;
    const options: NativeGroupOptions = {
      ...this.#plan.makeGroup(size),
      spawner: asker.kvsname,
      preput,
      programs,
      appSizes: sizes,
      nodes: nodes.map((node) => indexOf.get(node)!),
      nodeNumbers,
      nodeNames: hosts.map(({ name, number }) => (number === 0 && all.length > 1 ? all[0]!.name : name)),
      nodeHosts: hosts.map(({ number }) => number),
    };
    const group: Group = {
      size,
      kvsname: options.kvsname,
      programs,
      nodes,
      appnums: sizes.flatMap((ranks, i) => Array<number>(ranks).fill(i)),
      exited: new Set(),
    };
    return { options, group, errcodes, ignoredInfo: [...ignoredInfo] };
  }

  /** How many ranks run on each host of the job. */
  #running(): number[] {
    const running = Array<number>(this.#hosts.length).fill(0);
    for (const { nodes, exited } of this.#groups.values()) {
      for (const [rank, node] of nodes.entries()) if (node in running && !exited.has(rank)) running[node]!++;
    }
    return running;
  }

  #checkRoom(size: number): void {
    const { maxSpawn } = this.#plan;
    let running = 0;
    for (const [number, group] of this.#groups) if (number !== 0) running += group.size;
    if (running + size > maxSpawn) {
      throw new Refusal(
        'over_max_spawn',
        `${size} more processes would exceed the limit of ${maxSpawn} spawned processes; ${running} are running`,
      );
    }
  }
}

/** A child is started like its parent, except for what the spawn specifies. */
function childProgram(
  parent: NativeProgram,
  command: NativeSpawn['commands'][number],
  info: ReadonlyMap<string, string>,
): NativeProgram {
  const set = [
    ...(info.get('env')?.split('\n') ?? []).filter((variable) => variable.includes('=')),
    'PMI_SPAWNED=1',
  ];
  const names = new Set(set.map((variable) => variable.slice(0, variable.indexOf('='))));
  return {
    ...parent,
    directory: info.get('wdir') ?? parent.directory,
    path: info.get('path') ?? parent.path,
    args: [command.program, ...command.args],
    environment: {
      ...parent.environment,
      set: [
        ...parent.environment.set.filter((variable) => !names.has(variable.slice(0, variable.indexOf('=')))),
        ...set,
      ],
    },
  };
}
