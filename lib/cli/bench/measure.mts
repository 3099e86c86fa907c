/** Measures launchers in turn and computes figures. */
import type { Benchmark, Transport } from '../bench.js';
import { conduct, type Conducted } from './conduct.mjs';
import type { Counted } from './fence.mjs';
import { client, echoFloor, findPeers, startFloor, wireup, type Launcher } from './launchers.mjs';
import { median, pairedRatio, type Ratio } from './statistics.mjs';
import { conductSwarm } from './swarm.mjs';

/** The measurements of one launcher, with one value for each turn. */
export interface Series {
  /** The time of one round, in which every rank performs the operation once; for `launch`, of the whole command. */
  milliseconds: number[];
  /** The time between the first and the last rank that completes. */
  spreadMs?: number[];
  /** The processor time of the server's threads, user and system, for each operation of a rank. */
  serverNs?: number[];
  /** The memory of all processes of the launcher, for each connected rank. */
  memoryBytes?: number[];
  /** Of `fence`: the processor time for one fence of the root, and of the inner host and the leaf with the most. */
  nodes?: { rootNs: number[]; innerNs: number[]; leafNs: number[] };
}

export interface Figure {
  what: Benchmark;
  /** Of `fence` also the number of hosts. */
  ranks: number;
  /** Absent for `launch` and `fence`. */
  pmi?: Transport;
  swarm: boolean;
  /** The number of busy loops that ran at the same time. */
  load: number;
  /** The number of complete turns, and of planned ones. */
  turns: number;
  planned: number;
  /** Of `fence`: how many hosts are below each one, 0 for a flat tree, and whether each rank puts a card before. */
  tree?: number;
  puts?: boolean;
  /** Of `fence`: what one fence sends over the links. */
  counted?: Counted;
  series: Record<string, Series>;
  /** Ratios to the floor: of the time, and of the server's processor time. */
  toFloor: Record<string, { time: Ratio; server?: Ratio }>;
  /** Of `fence`: the ratios to the floor whose processes serve a rank each. */
  toServing?: Record<string, Ratio>;
  /** The ratio of wireup's time to that of another launcher. */
  toPeer: Record<string, Ratio>;
}

export interface Plan {
  what: Benchmark;
  ranks: number;
  pmi: Transport;
  swarm: boolean;
  load: number;
  pairs: number;
}

/** The number of gets in an exchange, or of barriers, gets or puts, of each rank in a run. */
const counts: Record<Benchmark, number> = {
  exchange: 64,
  barrier: 20,
  get: 100,
  put: 100,
  connect: 0,
  launch: 0,
  fence: 0,
};

/** The floor, measured a second time. Its difference from the floor is noise. */
export const AGAIN = 'floor again';

export function launchersOf({ what, pmi, swarm }: Plan): Launcher[] {
  const floor = what === 'launch' ? startFloor : echoFloor;
  const peers = swarm ? [] : findPeers();
  return [floor, wireup, { ...floor, name: AGAIN }, ...peers].filter(({ transports }) =>
    transports.includes(pmi),
  );
}

function roundsOf({ what, ranks }: Plan): { rounds: number; operations: number } {
  if (what === 'exchange')
    return { rounds: 1, operations: ranks * (3 + Math.min(counts.exchange, ranks - 1)) };
  const rounds = counts[what] || 1;
  return { rounds, operations: ranks * rounds };
}

/** Runs one turn of one launcher, and adds what it has measured to its series. */
export type TakeTurn = (launcher: Launcher, series: Series) => Promise<void>;

export function takeTurn(plan: Plan, signal: AbortSignal): TakeTurn {
  return async (launcher, series) => add(series, plan, launcher, await runTurn(plan, launcher, signal));
}

/** Runs one turn of one launcher. */
async function runTurn(plan: Plan, launcher: Launcher, signal: AbortSignal): Promise<Conducted[]> {
  const conducting = { what: plan.what, ranks: plan.ranks, count: counts[plan.what], signal };
  if (plan.swarm)
    return [
      await conductSwarm(
        { ...launcher, name: launcher.name === AGAIN ? 'floor' : launcher.name },
        plan.pmi,
        conducting,
      ),
    ];
  const program = plan.what === 'launch' ? ['true'] : client;
  const runs: Conducted[] = [];
  for (const command of launcher.commands(program, plan.ranks, plan.pmi))
    runs.push(await conduct({ ...conducting, command }));
  return runs;
}

function add(series: Series, plan: Plan, launcher: Launcher, runs: readonly Conducted[]): void {
  if (plan.what === 'launch') {
    series.milliseconds.push(runs.reduce((sum, { wallNs }) => sum + wallNs, 0) / 1e6);
    return;
  }
  const { firstNs, lastNs, threads, memory } = runs[0]!;
  const { rounds, operations } = roundsOf(plan);
  series.milliseconds.push(lastNs.at(-1)! / rounds / 1e6);
  // The first value is the time before the first round.
  (series.spreadMs ??= []).push(median(lastNs.slice(1).map((last, i) => last - firstNs[i + 1]!)) / 1e6);
  const server = threads.filter(({ name }) => launcher.server?.test(name));
  if (server.length > 0)
    (series.serverNs ??= []).push(server.reduce((sum, { cpuNs }) => sum + cpuNs, 0) / operations);
  if (plan.what === 'connect') (series.memoryBytes ??= []).push((memory[1] - memory[0]) / plan.ranks);
}

/**
 * @param launchers each comes first in equally many turns
 * @param done called after each turn of each launcher
 * @param failed called when a launcher has failed, which is then left out; if it is essential, the figure ends
 * @returns the figure of the complete turns; undefined if no turn is complete
 */
export async function measure(
  plan: Plan,
  launchers: readonly Launcher[],
  take: TakeTurn,
  signal: AbortSignal,
  done: () => void,
  failed: (launcher: Launcher, why: string) => void,
): Promise<Figure | undefined> {
  const series: Record<string, Series> = Object.fromEntries(
    launchers.map(({ name }) => [name, { milliseconds: [] }]),
  );
  const out = new Set<Launcher>();
  for (let turn = 0; turn < plan.pairs; turn++) {
    for (let i = 0; i < launchers.length; i++) {
      const launcher = launchers[(turn + i) % launchers.length]!;
      try {
        if (!out.has(launcher)) await take(launcher, series[launcher.name]!);
      } catch (error) {
        if (signal.aborted) return summarise(plan, launchers, series);
        failed(launcher, (error as Error).message);
        if (launcher.essential) return summarise(plan, launchers, series);
        out.add(launcher);
      }
      done();
    }
  }
  return summarise(plan, launchers, series);
}

/** The values of the first turns. */
function firstTurns({ milliseconds, spreadMs, serverNs, memoryBytes, nodes }: Series, turns: number): Series {
  return {
    milliseconds: milliseconds.slice(0, turns),
    ...(spreadMs === undefined ? {} : { spreadMs: spreadMs.slice(0, turns) }),
    ...(serverNs === undefined ? {} : { serverNs: serverNs.slice(0, turns) }),
    ...(memoryBytes === undefined ? {} : { memoryBytes: memoryBytes.slice(0, turns) }),
    ...(nodes === undefined
      ? {}
      : {
          nodes: {
            rootNs: nodes.rootNs.slice(0, turns),
            innerNs: nodes.innerNs.slice(0, turns),
            leafNs: nodes.leafNs.slice(0, turns),
          },
        }),
  };
}

function summarise(
  { what, ranks, pmi, swarm, load, pairs }: Plan,
  launchers: readonly Launcher[],
  measured: Record<string, Series>,
): Figure | undefined {
  const turns = Math.min(
    ...launchers.filter(({ essential }) => essential).map(({ name }) => measured[name]!.milliseconds.length),
  );
  const complete = Object.entries(measured).filter(([, { milliseconds }]) => milliseconds.length > 0);
  if (turns === 0) return undefined;
  const series = Object.fromEntries(complete.map(([name, all]) => [name, firstTurns(all, turns)]));
  const { floor, [AGAIN]: again, wireup: own, ...peers } = series;
  const others = floor === undefined ? [] : Object.entries(series).filter(([name]) => name !== 'floor');
  return {
    what,
    ranks,
    ...(what === 'launch' || what === 'fence' ? {} : { pmi }),
    swarm,
    load,
    turns,
    planned: pairs,
    series,
    toFloor: Object.fromEntries(
      others.map(([name, { milliseconds, serverNs }]) => [
        name,
        {
          time: pairedRatio(milliseconds, floor!.milliseconds),
          ...(serverNs === undefined || floor!.serverNs === undefined
            ? {}
            : { server: pairedRatio(serverNs, floor!.serverNs) }),
        },
      ]),
    ),
    toPeer: Object.fromEntries(
      Object.entries(peers).map(([name, { milliseconds }]) => [
        name,
        pairedRatio(own!.milliseconds, milliseconds),
      ]),
    ),
  };
}
