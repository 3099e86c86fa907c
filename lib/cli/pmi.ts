import type { Command } from 'commander';
import { formatIdset, PmiClient, PmiError, type PmiErrorCode, type Waiting } from '../index';
import { printable } from '../printable';
import { bench, benchLines } from './pmi-bench';
import { exchange, exchangeLines } from './exchange';
import { valueOption } from './commander-options';
import { wholeNumber } from './option';
import { report } from './report';

interface ProbeOptions {
  timeout?: number;
  json: boolean;
  label: boolean;
  verbose: boolean;
  pipeline: boolean;
}

/** The result of a probe: an object for --json, lines for people. */
interface Finding {
  json: Record<string, unknown>;
  lines: string[];
}

/** Exit codes by which scripts can distinguish failures. Any other failure is 1, wrong use is 2. */
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
Runs as a rank of any PMI-1 launcher (wireup run, mpiexec, srun --mpi=pmi2, flux run), or from a shell in which PMI_FD or
PMI_PORT is set.

Exit codes:
  0  success
  1  any other failure
  2  wrong use
  3  no connection to a server: neither PMI_FD nor PMI_PORT is set, a PMI variable has no valid value, the address cannot
     be reached, no PMI server listens there, or the server refused this process
  4  a time limit passed
  5  the server closed the connection
  6  the server answered with an error, for example because a key does not exist`;

export function addPmi(program: Command): void {
  const pmi = program
    .command('pmi')
    .description(
      'ask the PMI server of this process: what it offers, whether a barrier works, what a key holds, how fast it is',
    );

  probe(pmi, 'info', 'what the server reports about this rank and its job').action((options: ProbeOptions) =>
    run(options, info),
  );

  probe(pmi, 'barrier', 'enter a barrier of all ranks, and print how long this rank was in it').action(
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

  probe(
    pmi,
    'exchange',
    'put a business card, enter a barrier, get the cards of all ranks, enter a barrier',
  ).action((options: ProbeOptions) =>
    run(options, async (client, waiting) => {
      const milliseconds = await exchange(client, waiting);
      return { json: { milliseconds }, lines: exchangeLines(client, milliseconds) };
    }),
  );

  probe(pmi, 'get', 'print the values of keys, such as PMI_process_mapping, one in each line')
    .argument('<keys...>', 'the keys')
    .action((keys: string[], options: ProbeOptions) =>
      run(options, async (client, waiting) => {
        const values = await client.getMany(keys, waiting());
        return {
          json: { values: Object.fromEntries(keys.map((key, i) => [key, values[i]])) },
          lines: values,
        };
      }),
    );

  probe(
    pmi,
    'bench',
    'measure puts, gets (one by one and pipelined) and barriers, on all ranks at the same time',
  )
    .addOption(
      valueOption(
        '-k, --keys <N>',
        'how many keys each rank puts and gets',
        wholeNumber(1, 1_000_000),
      ).default(1000),
    )
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
    .addOption(
      valueOption(
        '--timeout <seconds>',
        'fail after that many seconds; without it only the connection has a limit, 10 seconds',
        wholeNumber(1, 86_400),
      ),
    )
    .option('--json', 'print one JSON document for each rank, in one line', false)
    .option('-l, --label', 'put "[rank] " before each line', false)
    .option('-v, --verbose', 'report on stderr which server it is', false)
    .option('--no-pipeline', 'send one request at a time')
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
    // A program would run as the only rank. A user of this command must learn that there is no server.
    if (client.singleton)
      throw new PmiError(
        'ERR_PMI_ENVIRONMENT',
        'no PMI server: neither PMI_FD nor PMI_PORT is set; run the command as a rank, for example `wireup run -n 2 wireup pmi info`',
      );
    if (options.verbose) report(`rank ${client.rank} of ${client.size} by ${client.server!}`);
    const { json, lines } = await work(client, waiting);
    const label = options.label ? `[${client.rank}] ` : '';
    if (options.json)
      console.log(`${label}${JSON.stringify({ rank: client.rank, size: client.size, ...json })}`);
    else for (const line of lines) console.log(`${label}${line}`);
    await client.finalize(waiting());
  } catch (error) {
    const { message, code } = error as PmiError;
    report(client === undefined || client.singleton ? message : `rank ${client.rank}: ${message}`);
    // It exits at once: the look-up of a name cannot be stopped when its time limit has passed, and a rank whose connection
    // ends long before its process has left without an exit code.
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
    ['universe size', universeSize === -1 ? 'unknown' : universeSize],
    ['spawned', spawned ? 'yes' : 'no'],
    ['ranks on this node', `${clique.length} (${formatIdset(clique)})`],
    [
      'limits in bytes',
      `kvsname ${maxes.kvsname}, key ${maxes.key}, value ${maxes.value}, terminators included`,
    ],
  ];
  return {
    json: { server, version, kvsname, appnum, universeSize, spawned, clique, maxes },
    lines: rows.map(([name, value]) => `${`${name}:`.padEnd(20)}${printable(`${value}`)}`),
  };
}
