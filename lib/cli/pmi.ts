import type { Command } from 'commander';
import { formatIdset, PmiClient, PmiError, type PmiErrorCode, type Waiting } from '../index';
import { printable } from '../printable';
import { bench, benchLines } from './pmi-bench';
import { exchange, exchangeLines } from './exchange';
import { say, wholeNumber } from './report';

interface ProbeOptions {
  timeout?: number;
  json: boolean;
  label: boolean;
  verbose: boolean;
  pipeline: boolean;
}

/** What a probe found out: an object for --json, lines for people. */
interface Finding {
  json: Record<string, unknown>;
  lines: string[];
}

/** What can be told apart by scripts. Anything else is 1, wrong use 2. */
const exitCodes: Partial<Record<PmiErrorCode, number>> = {
  ERR_PMI_ENVIRONMENT: 3,
  ERR_PMI_ADDRESS: 3,
  ERR_PMI_CONNECT: 3,
  ERR_PMI_SERVER_UID: 3,
  ERR_PMI_REFUSED: 3,
  ERR_PMI_PROTOCOL: 3,
  ERR_PMI_TIMEOUT: 4,
  ERR_PMI_HUNG_UP: 5,
  ERR_PMI_RESULT: 6,
};

const help = `
Runs as a rank of any PMI-1 launcher (wireup run, mpiexec, srun --mpi=pmi2, flux run), or started by hand, by PMI_FD or
PMI_PORT of the environment.

Exit codes: 0 all went well; 2 wrong use; 3 no server: neither PMI_FD nor PMI_PORT is set, PMI variables that make no
sense, an address that cannot be reached or is no PMI server's, refused; 4 not in time; 5 the server went away; 6 it answered with an error, such as a
key that is not there; 1 anything else.`;

export function addPmi(program: Command): void {
  const pmi = program
    .command('pmi')
    .description(
      'ask the PMI server of this process: what it says, whether a barrier works, what a key holds, how fast it is',
    );

  probe(pmi, 'info', 'what the server says of this rank and its job').action((options: ProbeOptions) =>
    run(options, info),
  );

  probe(pmi, 'barrier', 'one barrier over all ranks, and how long this rank was in it').action(
    (options: ProbeOptions) =>
      run(options, async (client, waiting) => {
        const begin = performance.now();
        await client.barrier(waiting());
        const milliseconds = performance.now() - begin;
        return {
          json: { milliseconds },
          lines: [`rank ${client.rank} of ${client.size}: ${milliseconds.toFixed(1)} ms in the barrier`],
        };
      }),
  );

  probe(pmi, 'exchange', 'put a card, barrier, get the cards of all ranks, barrier').action(
    (options: ProbeOptions) =>
      run(options, async (client, waiting) => {
        const milliseconds = await exchange(client, waiting);
        return { json: { milliseconds }, lines: exchangeLines(client, milliseconds) };
      }),
  );

  probe(pmi, 'get', 'the values of keys, such as PMI_process_mapping, one a line')
    .argument('<keys...>', 'what to ask for')
    .action((keys: string[], options: ProbeOptions) =>
      run(options, async (client, waiting) => {
        const values = await client.getMany(keys, waiting());
        return {
          json: { values: Object.fromEntries(keys.map((key, i) => [key, values[i]])) },
          lines: values,
        };
      }),
    );

  probe(pmi, 'bench', 'time puts, gets one by one and pipelined, and barriers, on every rank at once')
    .option('-k, --keys <N>', 'how many keys each rank puts and gets', wholeNumber(1, 1_000_000), 1000)
    .action((options: ProbeOptions & { keys: number }) =>
      run(options, async (client, waiting) => {
        const measures = await bench(client, options.keys, waiting);
        return { json: { measures }, lines: benchLines(client, measures) };
      }),
    );
}

function probe(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option(
      '--timeout <seconds>',
      'give up after that long in all; without it only connecting has a limit, 10',
      wholeNumber(1, 86_400),
    )
    .option('--json', 'one JSON document a rank, on one line', false)
    .option('-l, --label', 'put "[rank] " before each line', false)
    .option('-v, --verbose', 'say on stderr which server it is', false)
    .option('--no-pipeline', 'one request at a time')
    .addHelpText('after', help);
}

async function run(
  options: ProbeOptions,
  work: (client: PmiClient, waiting: () => Waiting) => Promise<Finding>,
): Promise<void> {
  const end = performance.now() + (options.timeout ?? 0) * 1000;
  const waiting = (): Waiting =>
    options.timeout === undefined ? {} : { timeout: Math.max(1, Math.ceil(end - performance.now())) };
  let client: PmiClient | undefined;
  try {
    client = await PmiClient.fromEnv({ ...waiting(), ...(options.pipeline ? {} : { pipeline: false }) });
    // To a program it is a job of size 1; a user who asks about the server is to hear that there is none.
    if (client.singleton)
      throw new PmiError(
        'ERR_PMI_ENVIRONMENT',
        'no PMI server: neither PMI_FD nor PMI_PORT is set; run it as a rank, such as `wireup run -n 2 wireup pmi info`',
      );
    if (options.verbose) say(`rank ${client.rank} of ${client.size} by ${client.server!}`);
    const { json, lines } = await work(client, waiting);
    const label = options.label ? `[${client.rank}] ` : '';
    if (options.json)
      console.log(`${label}${JSON.stringify({ rank: client.rank, size: client.size, ...json })}`);
    else for (const line of lines) console.log(`${label}${line}`);
    await client.finalize(waiting());
  } catch (error) {
    const { message, code } = error as PmiError;
    say(client === undefined || client.singleton ? message : `rank ${client.rank}: ${message}`);
    await client?.close();
    // Not only the exit code: the look-up of a name that was given up still runs, and cannot be stopped.
    process.exit(exitCodes[code] ?? 1);
  }
}

async function info(client: PmiClient, waiting: () => Waiting): Promise<Finding> {
  const { spawned, appnum, universeSize, kvsname, maxes, version, server } = client;
  const clique = await client.cliqueRanks(waiting());
  const rows: [string, string | number][] = [
    ['rank', `${client.rank} of ${client.size}`],
    ['server', server!],
    ['PMI', version],
    ['kvsname', kvsname],
    ['appnum', appnum],
    ['universe size', universeSize === -1 ? 'not said' : universeSize],
    ['spawned', spawned ? 'yes' : 'no'],
    ['ranks on this node', `${clique.length} (${formatIdset(clique)})`],
    [
      'bytes at most',
      `kvsname ${maxes.kvsname}, key ${maxes.key}, value ${maxes.value}, terminators included`,
    ],
  ];
  return {
    json: { server, version, kvsname, appnum, universeSize, spawned, clique, maxes },
    lines: rows.map(([name, value]) => `${`${name}:`.padEnd(20)}${printable(`${value}`)}`),
  };
}
