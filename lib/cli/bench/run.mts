/** The action of `wireup bench`. */
import { arch, availableParallelism, cpus, release } from 'node:os';
import type { Benchmark, BenchOptions } from '../bench.js';
import { print, report } from '../report.js';
import { version } from '../version.js';
import { writeJson, writeWhole } from '../whole-file.js';
import { fenceLaunchers, measureFence, type FencePlan } from './fence.mjs';
import { modelLines, simulate, treeName, type FenceModel } from './fence-model.mjs';
import type { Launcher } from './launchers.mjs';
import { figureLines } from './lines.mjs';
import { startLoad } from './load.mjs';
import { AGAIN, launchersOf, measure, takeTurn, type Figure, type Plan } from './measure.mjs';
import { BenchProgress } from './progress.mjs';
import { htmlReport } from './report.mjs';
import { growth, median } from './statistics.mjs';

/** The growth of the cost of a rank with the number of ranks. */
export interface Growth {
  what: Benchmark;
  pmi?: string;
  /** The time for each rank grows as N to the power of this exponent; 0 means that it does not depend on N. */
  exponent: number;
}

export interface Report {
  version: string;
  machine: { kernel: string; arch: string; cpu: string; cpus: number; node: string };
  begun: string;
  pairs: number;
  figures: Figure[];
  growth: Growth[];
  /** Of `fence`, if the costs of an agent follow from the figures. */
  model?: FenceModel;
  /** The failures as lines, each once with the benchmarks that it happened in; and whether a signal has stopped the run. */
  failures: string[];
}

function plansOf(
  what: readonly Benchmark[],
  { ranks, pmi, pairs, swarm, load = 0, hosts, tree }: BenchOptions,
): (Plan | FencePlan)[] {
  const fences = [true, false].flatMap((puts) =>
    tree.flatMap((width) =>
      hosts.map((count): FencePlan => ({
        what: 'fence',
        ranks: count,
        pmi: 'fd',
        swarm: false,
        load,
        pairs,
        tree: width,
        puts,
      })),
    ),
  );
  return what.flatMap((one): (Plan | FencePlan)[] =>
    one === 'fence'
      ? fences
      : (one === 'launch' ? (['fd'] as const) : pmi).flatMap((transport) =>
          ranks.map((count) => ({ what: one, ranks: count, pmi: transport, swarm, load, pairs })),
        ),
  );
}

/** All ranks take part in a barrier or an exchange, so the time is divided by their number. */
function growths(figures: readonly Figure[]): Growth[] {
  const groups = new Map<string, Figure[]>();
  for (const figure of figures.filter(({ what }) => what !== 'fence')) {
    const key = `${figure.what} ${figure.pmi}`;
    groups.set(key, [...(groups.get(key) ?? []), figure]);
  }
  return [...groups.values()].flatMap((group) => {
    const { what, pmi } = group[0]!;
    const exponent = growth(
      group.map(({ ranks, series }) => [ranks, median(series.wireup!.milliseconds) / ranks]),
    );
    return exponent === undefined ? [] : [{ what, ...(pmi === undefined ? {} : { pmi }), exponent }];
  });
}

/** At a signal, ends what is running and sets the exit code of the signal. */
function abortedBySignals(): AbortSignal {
  const controller = new AbortController();
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      process.exitCode = code;
      controller.abort();
    });
  }
  return controller.signal;
}

function save(file: string, why: string | undefined): void {
  if (why === undefined) return;
  report(`${file}: ${why}`);
  process.exitCode = 1;
}

export async function runBench(what: readonly Benchmark[], options: BenchOptions): Promise<void> {
  const plans = plansOf(what, options);
  const signal = abortedBySignals();
  const begun = new Date().toISOString();
  const launchersFor = (plan: Plan): readonly Launcher[] =>
    'tree' in plan ? fenceLaunchers : launchersOf(plan);
  const progress = new BenchProgress(
    plans.reduce((sum, plan) => sum + launchersFor(plan).length * plan.pairs, 0),
  );
  const figures: Figure[] = [];
  /** The other launchers that have failed once. */
  const excluded = new Set<string>();
  /** Each failure with its reason, and the benchmarks that it happened in. Each is reported once. */
  const failures = new Map<string, string[]>();
  const load = options.load === undefined ? undefined : await startLoad(options.load);
  try {
    for (const plan of plans) {
      if (signal.aborted) break;
      const title =
        'tree' in plan
          ? `fence, ${plan.ranks} hosts, ${treeName(plan.tree)}`
          : `${plan.what}, ${plan.pmi}, ${plan.ranks} ranks`;
      progress.at(title);
      const launchers = launchersFor(plan).filter(({ name }) => !excluded.has(name));
      const step = (): void => progress.step();
      const failed = ({ name, essential = false }: Launcher, why: string): void => {
        const line = `${name === AGAIN ? 'floor' : name} failed${essential ? '' : ' and is not used again'}: ${why}`;
        failures.set(line, [...(failures.get(line) ?? []), title]);
        if (essential) process.exitCode = 1;
        else excluded.add(name);
      };
      const figure =
        'tree' in plan
          ? await measureFence(plan, launchers, signal, step, failed)
          : await measure(plan, launchers, takeTurn(plan, signal), signal, step, failed);
      if (figure === undefined) continue;
      figures.push(figure);
      if (options.json === '-') continue;
      progress.hide();
      print(`${figureLines(figure).join('\n')}\n`);
    }
  } finally {
    await load?.stop();
    progress.hide();
  }
  const model = signal.aborted ? undefined : await simulate(figures, signal);
  if (options.json !== '-' && figures.some(({ what: one }) => one === 'fence'))
    print(`${modelLines(model).join('\n')}\n`);
  const lines = [...failures].map(([line, titles]) => `${titles.join('; ')}: ${line}`);
  if (signal.aborted) lines.push(`stopped: ${figures.length} of ${plans.length} benchmarks have figures`);
  for (const line of lines) report(line);
  // An older report is better than an empty one.
  if (figures.length === 0) return;
  const page: Report = {
    version,
    machine: {
      kernel: release(),
      arch: arch(),
      cpu: cpus()[0]?.model ?? '',
      cpus: availableParallelism(),
      node: process.version,
    },
    begun,
    pairs: options.pairs,
    figures,
    growth: growths(figures),
    ...(model === undefined ? {} : { model }),
    failures: lines,
  };
  if (options.json === '-') print(`${JSON.stringify(page)}\n`);
  if (options.json !== undefined && options.json !== '-') save(options.json, writeJson(options.json, page));
  if (options.html !== undefined) save(options.html, writeWhole(options.html, htmlReport(page)));
}
