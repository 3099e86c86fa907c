/** Answers ranks of a launch that ask for processes (MPI_Comm_spawn): with a group of their own, or with the reason why not. */
import { hostname } from 'node:os';
import type { JobEvent, SpawnedEvent } from './job';
import {
  native,
  type NativeGroupOptions,
  type NativeNotice,
  type NativeProgram,
  type NativeSpawn,
} from './native';
import { MAX_RANKS } from './limits';
import { checkInteger } from './options';
import { softCount } from './soft';
import type { LaunchPlan } from './launch-plan';

/** What spawned groups may run at a time where nothing is said: enough for programs, and an end to those that spawn for ever. */
const DEFAULT_MAX_SPAWN = 1024;

/** The return code of a spawn that is refused (PMI_FAIL). */
const FAIL = -1;

/** What is asked of a spawned process by MPI_Info and done; all else is ignored, as MPI has it. */
const knownInfo = new Set(['wdir', 'path', 'host', 'soft', 'env']);

interface Group {
  size: number;
  kvsname: string;
  /** The program of each of its ranks, for those that they spawn, and what it is called. */
  programs: NativeProgram[];
  appnums: number[];
  /** The number of the node of each rank. */
  nodes: number[];
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function checkSpawnLimit(maxSpawn: unknown, universeSize: number | undefined, size: number): number {
  if (maxSpawn === undefined) return universeSize === undefined ? DEFAULT_MAX_SPAWN : universeSize - size;
  return checkInteger('maxSpawn', maxSpawn, 0, MAX_RANKS);
}

/** What is wrong with a spawn: told to the rank as one word, to people as a sentence. */
class Refusal extends Error {
  constructor(
    readonly word: string,
    message: string,
  ) {
    super(message);
  }
}

export class Spawner {
  readonly #plan: LaunchPlan;
  readonly #tell: (event: JobEvent) => void;
  readonly #groups = new Map<number, Group>();
  /** Events of groups that are being started. */
  readonly #pending = new Map<number, Omit<SpawnedEvent, 'time'>>();
  #lastGroup = 0;
  #spawned = 0;

  constructor(plan: LaunchPlan, tell: (event: JobEvent) => void) {
    this.#plan = plan;
    this.#tell = tell;
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
    });
  }

  /** How many groups have been spawned so far. */
  get spawned(): number {
    return this.#spawned;
  }

  /** What a rank of a spawned group runs. */
  programOf(group: number, rank: number): string | undefined {
    const { programs, appnums } = this.#groups.get(group) ?? {};
    return programs?.[appnums?.[rank] ?? 0]?.args[0];
  }

  /** @param launch the native handle */
  heard(
    launch: number,
    notice: Extract<NativeNotice, { type: 'spawn' | 'spawned' | 'spawnFailed' | 'groupEnded' }>,
  ): void {
    const { group } = notice;
    switch (notice.type) {
      case 'spawn':
        return this.#ask(launch, group, notice, notice.time);
      case 'spawned':
        this.#spawned++;
        this.#tell({ ...this.#pending.get(group)!, time: notice.time });
        break;
      case 'spawnFailed': {
        const { by } = this.#pending.get(group)!;
        this.#groups.delete(group);
        this.#tell({ type: 'spawn-refused', time: notice.time, by, reason: notice.message });
        break;
      }
      case 'groupEnded':
        // One that was never whole has been told of.
        if (this.#groups.delete(group)) this.#tell({ type: 'group-ended', time: notice.time, group });
        return;
    }
    this.#pending.delete(group);
  }

  #ask(launch: number, asker: number, question: NativeSpawn, time: number): void {
    const by = { group: asker, rank: question.rank };
    try {
      const { options, group, errcodes, ignoredInfo } = this.#answer(by, question);
      const number = ++this.#lastGroup;
      this.#groups.set(number, group);
      this.#pending.set(number, {
        type: 'spawned',
        group: number,
        by,
        size: group.size,
        programs: group.programs.map(({ args }) => args[0]!),
        ignoredInfo,
      });
      native.spawn(launch, number, asker, question.id, options, errcodes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      native.answerSpawn(launch, asker, question.id, {
        rc: FAIL,
        message: error.word,
        kvsname: '',
        errcodes: [],
      });
      this.#tell({ type: 'spawn-refused', time, by, reason: error.message });
    }
  }

  #answer(by: { group: number; rank: number }, { commands, preput }: NativeSpawn) {
    const { maxSpawn } = this.#plan;
    if (maxSpawn === 0) throw new Refusal('not_supported', 'this job may not spawn');
    const asker = this.#groups.get(by.group)!;
    const parent = asker.programs[asker.appnums[by.rank]!]!;
    const ignoredInfo = new Set<string>();
    const programs: NativeProgram[] = [];
    const sizes: number[] = [];
    const nodes: number[] = [];
    const errcodes: number[] = [];
    for (const command of commands) {
      const info = new Map(command.info);
      for (const key of info.keys()) if (!knownInfo.has(key)) ignoredInfo.add(key);
      const soft = info.get('soft');
      // What cannot be read allows nothing; more than the job may have need not be tried.
      const ranks =
        soft === undefined ? command.ranks : (softCount(soft, Math.min(command.ranks, maxSpawn)) ?? 0);
      if (ranks === 0)
        throw new Refusal('soft_allows_none', `soft=${soft} allows none of 1 to ${command.ranks} processes`);
      const hosts = info
        .get('host')
        ?.split(',')
        .map((name) => this.#nodeOf(name));
      programs.push(childProgram(parent, command, info));
      sizes.push(ranks);
      for (let i = 0; i < ranks; i++) nodes.push(hosts?.[i % hosts.length] ?? asker.nodes[by.rank]!);
      for (let i = 0; i < command.ranks; i++) errcodes.push(i < ranks ? 0 : FAIL);
    }
    const size = nodes.length;
    this.#checkRoom(size);
    // The layout's nodes have numbers without gaps.
    const nodeNumbers = [...new Set(nodes)].sort((x, y) => x - y);
    const { hosts } = this.#plan.native;
    const options: NativeGroupOptions = {
      ...this.#plan.makeGroup(size),
      spawner: asker.kvsname,
      preput,
      programs,
      appSizes: sizes,
      nodes: nodes.map((node) => nodeNumbers.indexOf(node)),
      nodeNumbers,
      hosts: hosts.length === 0 ? [] : nodeNumbers.map((node) => hosts[node]!),
    };
    const group: Group = {
      size,
      kvsname: options.kvsname,
      programs,
      nodes,
      appnums: sizes.flatMap((ranks, i) => Array<number>(ranks).fill(i)),
    };
    return { options, group, errcodes, ignoredInfo: [...ignoredInfo] };
  }

  #nodeOf(name: string): number {
    const { hosts } = this.#plan.native;
    const node = hosts.indexOf(name);
    if (node >= 0) return node;
    if (hosts.length === 0 && (name === 'localhost' || name === hostname())) return 0;
    throw new Refusal(
      'unknown_host',
      `host=${name} is none of this job's (${hosts.length === 0 ? hostname() : hosts.join(', ')})`,
    );
  }

  #checkRoom(size: number): void {
    const { maxSpawn } = this.#plan;
    let running = 0;
    for (const [number, group] of this.#groups) if (number !== 0) running += group.size;
    if (running + size > maxSpawn) {
      throw new Refusal(
        'over_max_spawn',
        `${size} more beside ${running} spawned processes would be more than the ${maxSpawn} that this job may have`,
      );
    }
  }
}

/** The child is started as its parent was, but for what is said of it. */
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
