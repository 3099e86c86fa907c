/** `wireup bench`: the command; what it does is loaded when it is asked for. */
import { availableParallelism } from 'node:os';
import { Argument, InvalidArgumentError, Option, type Command } from 'commander';
import { MAX_RANKS } from '../limits';
import { UsageError } from './mpiexec-args';
import { wholeNumber } from './report';

export const benchmarks = ['exchange', 'barrier', 'get', 'put', 'launch', 'connect'] as const;
export type Benchmark = (typeof benchmarks)[number];

export const transports = ['fd', 'tcp', 'unix'] as const;
export type Transport = (typeof transports)[number];

/** A machine that is busy for all of its users. */
const LOAD_PER_PROCESSOR = 3;
/** More makes every run time out (conduct.mts). */
const MAX_LOAD = 1000;

/** Seconds for one run of one launcher, longer than any should take: one that waits for what never comes is given up. */
export const RUN_LIMIT = 300;

export interface BenchOptions {
  ranks: number[];
  pmi: Transport[];
  pairs: number;
  swarm: boolean;
  load?: number;
  json?: string;
  html?: string;
}

function list<T>(one: (text: string) => T): (text: string) => T[] {
  return (text) => [...new Set(text.split(',').map(one))];
}

function transport(text: string): Transport {
  const found = transports.find((each) => each === text);
  if (found === undefined)
    throw new InvalidArgumentError(`Expected ${transports.join(', ')}, or several of them.`);
  return found;
}

/** A swarm's ranks are no processes, so they can neither be launched nor inherit. */
function check(what: readonly Benchmark[], options: BenchOptions): BenchOptions {
  if (!options.swarm) return options;
  if (what.includes('launch')) throw new UsageError('--swarm: launch is of processes');
  const pmi = options.pmi.filter((each) => each !== 'fd');
  if (pmi.length === 0)
    throw new UsageError('--swarm: expected tcp or unix; an fd is inherited by a process of its own');
  return { ...options, pmi };
}

export function addBench(program: Command): void {
  program
    .command('bench')
    .description(
      'measure what wire-up costs here, beside a plain loop that does no more, and beside other launchers',
    )
    .addArgument(
      new Argument('[benchmarks...]', 'what to measure')
        .choices(benchmarks)
        .default(['exchange'], 'exchange'),
    )
    .addOption(
      new Option('--ranks <counts>', 'how many ranks, such as 64,256')
        .argParser(list(wholeNumber(1, MAX_RANKS)))
        .default([64], '64'),
    )
    .addOption(
      new Option('--pmi <transports>', 'how ranks reach their server')
        .argParser(list(transport))
        .default([...transports], transports.join(',')),
    )
    .addOption(
      new Option('--pairs <N>', 'how often each is run, in turn with the others')
        .argParser(wholeNumber(1, 1000))
        .default(11),
    )
    .option(
      '--swarm',
      'connections of few processes in place of a process for each rank: for high counts, over tcp and unix',
      false,
    )
    .addOption(
      new Option(
        '--load [processes]',
        'measure beside so many busy loops, each in a session of its own (without a number: three a processor)',
      )
        .preset(String(LOAD_PER_PROCESSOR * availableParallelism()))
        .argParser(wholeNumber(1, MAX_LOAD)),
    )
    .option('--json <file>', 'write all figures to a file, as JSON; - is stdout')
    .option('--html <file>', 'write a report with plots to a file, which needs no other')
    .addHelpText(
      'after',
      `
exchange  each rank puts a card of 128 bytes, waits in a barrier, gets the cards of 64 others, waits in a barrier
barrier   one barrier over all ranks
get, put  one by each rank, all at once
connect   each rank connects and says all that comes before its first put
launch    \`true\` in each rank, from the start of the launcher to its end; always over the default transport

Ranks are a small C program that sends a request and waits for its answer, as MPICH's client does. It runs under wireup
run, under mpiexec.hydra, srun and flux where they are in PATH, and under the echo floor: a plain epoll loop of canned
answers on the same sockets. launch has the spawn floor: posix_spawn and waiting, and \`node -e 0\`. All take turns, so
that what the machine does meanwhile meets all. The ratio is the median of those of each turn, with its 95 % interval;
that of the floor to itself is what the noise is worth. On a busy machine (--load) the scheduler shares the processors
between sessions first: a launcher whose ranks stand in one session gets less of them.

A run that takes longer than ${RUN_LIMIT} s is ended and has failed. Another launcher that fails is named once and left out from
there on. Where wireup or the floor fails, that benchmark ends, and the next begins. What has been measured by then, or by
^C, is kept and reported, of each benchmark the turns that are complete. The exit code is 1 where wireup or the floor has
failed.

Examples:
  wireup bench
  wireup bench exchange barrier --ranks 64,256,1024 --html report.html
  wireup bench launch exchange --ranks 4 --load
  wireup bench barrier --swarm --ranks 10000 --pmi tcp --pairs 5`,
    )
    .action(async (what: Benchmark[], options: BenchOptions) => {
      const checked = check(what, options);
      const { runBench } = await import('./bench/run.mjs');
      await runBench([...new Set(what)], checked);
    });
}
