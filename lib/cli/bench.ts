/** `wireup bench`: its command line. The benchmarks are loaded only if it runs. */
import { availableParallelism } from 'node:os';
import { Argument, type Command } from 'commander';
import { MAX_HOSTS, MAX_RANKS } from '../limits';
import { transportNames, transports, type PmiTransport } from '../transports';
import { valueOption } from './commander-options';
import { InvalidValue, listOf, UsageError, wholeNumber } from './option';
import { checkFile } from './whole-file';

export const benchmarks = ['exchange', 'barrier', 'get', 'put', 'launch', 'connect', 'fence'] as const;
export type Benchmark = (typeof benchmarks)[number];

export type Transport = PmiTransport;

/** Those with a floor to compare with. */
const measurable = transportNames.filter((name) => transports[name].floor);

/** The busy loops of --load for each processor. With this many, the machine is busy in every session. */
const LOAD_PER_PROCESSOR = 3;
/** With more of them every run would reach its time limit (conduct.mts). */
const MAX_LOAD = 1000;

/** Seconds for one run of one launcher, longer than any should take. */
export const RUN_LIMIT = 300;

export interface BenchOptions {
  ranks: number[];
  pmi: Transport[];
  pairs: number;
  swarm: boolean;
  load?: number;
  /** Of `fence`; 0: a flat tree. */
  hosts: number[];
  tree: number[];
  json?: string;
  html?: string;
}

function list<T>(one: (text: string) => T): (text: string) => T[] {
  return (text) => [...new Set(text.split(',').map(one))];
}

const treeWidth = (text: string): number => (text === 'flat' ? 0 : wholeNumber(1, MAX_HOSTS)(text));

function transport(text: string): Transport {
  const found = measurable.find((each) => each === text);
  if (found === undefined)
    throw new InvalidValue(`expected ${listOf(measurable)}, or several with commas between them`);
  return found;
}

/** A run takes minutes, so what would fail at its end is reported before it. */
function checkFiles(options: BenchOptions): void {
  for (const option of ['json', 'html'] as const) {
    const file = options[option];
    const fault = file === undefined || (option === 'json' && file === '-') ? undefined : checkFile(file);
    if (fault !== undefined) throw new UsageError(`--${option} ${file}: ${fault}`);
  }
}

/** The ranks of a swarm are not processes, so they can neither be launched nor inherit an fd. */
function check(what: readonly Benchmark[], options: BenchOptions): BenchOptions {
  if (!options.swarm) return options;
  if (what.includes('launch'))
    throw new UsageError(
      '--swarm: the benchmark launch starts a process for each rank; expected another benchmark',
    );
  const pmi = options.pmi.filter((each) => each !== 'fd');
  if (pmi.length === 0)
    throw new UsageError(
      '--swarm: expected --pmi tcp or --pmi unix, because only a process of its own can inherit an fd',
    );
  return { ...options, pmi };
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description(
      'measure what PMI costs on this machine, in comparison with a plain loop (the floor) and with other launchers',
    )
    .addArgument(
      new Argument('[benchmarks...]', 'what to measure')
        .choices(benchmarks)
        .default(['exchange'], 'exchange'),
    )
    .addOption(
      valueOption(
        '--ranks <counts>',
        'how many ranks, such as 64,256',
        list(wholeNumber(1, MAX_RANKS)),
      ).default([64], '64'),
    )
    .addOption(
      valueOption('--pmi <transports>', 'how ranks reach their server', list(transport)).default(
        [...measurable],
        measurable.join(','),
      ),
    )
    .addOption(
      valueOption('--hosts <counts>', 'fence: how many hosts', list(wholeNumber(2, 1000))).default(
        [4, 16, 64],
        '4,16,64',
      ),
    )
    .addOption(
      valueOption(
        '--tree <widths>',
        'fence: how many other hosts each host has below it, or flat: all are below the first one',
        list(treeWidth),
      ).default([2, 8, 32, 0], '2,8,32,flat'),
    )
    .addOption(
      valueOption(
        '--pairs <N>',
        'how often each launcher runs, in turn with the others',
        wholeNumber(1, 1000),
      ).default(11),
    )
    .option(
      '--swarm',
      'a few processes hold the connections of all ranks: for many ranks, over tcp and unix',
      false,
    )
    .addOption(
      valueOption(
        '--load [processes]',
        'run so many busy loops meanwhile, each in a session of its own (without a number: three for each processor)',
        wholeNumber(1, MAX_LOAD),
      ).preset(String(LOAD_PER_PROCESSOR * availableParallelism())),
    )
    .option('--json <file>', 'write all figures to a file, as JSON (-: to stdout)')
    .option('--html <file>', 'write a report with plots to a file that needs no other file')
    .addHelpText(
      'after',
      `
Benchmarks:
  exchange  each rank puts a business card of 128 bytes, enters a barrier, gets the cards of 64 ranks, enters a barrier
  barrier   one barrier of all ranks
  get, put  one request of each rank, all at the same time
  connect   each rank connects, and sends all requests that come before its first put
  fence     barriers over pretended hosts with one rank each, with and without a put of 128 bytes before them
  launch    \`true\` in each rank, from the start of the launcher to its end; always over the default transport

The ranks are a small C program that sends one request at a time, as MPICH's client does. It runs under wireup run, under
mpiexec.hydra, srun and flux if they are in PATH, and under the floor: a plain epoll loop that sends fixed replies over the
same sockets. The floor of launch is posix_spawn and waitpid, and \`node -e 0\`. All take turns, so that other load on the
machine affects all of them. The floor of fence is a tree of processes that send the same bytes over plain libzmq, and
encrypted (CURVE) beside it. In a second tree of each kind, each process serves a rank, as in a job. wireup also counts the
messages of a fence, and computes what more hosts would take.

The ratio is the median of the ratios of all turns, with its 95 % interval. The ratio of the
floor to itself shows how large the measuring error is. On a busy machine (--load) the scheduler shares the processors
between sessions first: if a launcher has all ranks in one session, they get a smaller share.

wireup ends a run that takes longer than ${RUN_LIMIT} s, and counts it as failed. If another launcher fails, wireup reports it
once and continues without it. If wireup or the floor fails, this benchmark ends, the next one begins, and the exit code is
1. After a failure or ^C, wireup reports the turns that are complete.

Examples:
  wireup bench
  wireup bench exchange barrier --ranks 64,256,1024 --html report.html
  wireup bench launch exchange --ranks 4 --load
  wireup bench fence --hosts 4,16,64 --tree 2,8,flat --pairs 7
  wireup bench barrier --swarm --ranks 10000 --pmi tcp --pairs 5`,
    )
    .action(async (what: Benchmark[], options: BenchOptions) => {
      checkFiles(options);
      const checked = check(what, options);
      const { runBench } = await import('./bench/run.mjs');
      await runBench([...new Set(what)], checked);
    });
}
