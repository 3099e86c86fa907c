import type { Command } from 'commander';
import { PmiServer, type PmiServerOptions } from '../index';
import { MAX_RANKS } from '../limits';
import { transportNames, transports } from '../transports';
import { admissionOptions } from './admission';
import { addOptions, givenTo } from './commander-options';
import { metricsOptions, startMetrics } from './metrics-options';
import {
  addVariables,
  listOf,
  namingOptions,
  settingsOf,
  wholeNumber,
  type Fits,
  type Misfits,
  type OptionTable,
  type Values,
} from './option';
import { report } from './report';
import { finishTrace, traceOf, traceOptions } from './trace-options';
import { TroubleReport, troubleTypes } from './trouble';

/** The transports whose name alone is an address. */
const places = transportNames.filter((name) => !transports[name].inherited);

const serveOptions = {
  ranks: {
    short: 'n',
    value: '<N>',
    read: wholeNumber(1, MAX_RANKS),
    required: true,
    help: 'how many ranks the job has',
    group: 'Options:',
    setting: 'size',
  },
  address: {
    value: '<address>',
    required: true,
    help: `where to listen: host:port, tcp://host:port (with port 0 the kernel chooses one), unix:///path, unix://@name, or just ${listOf(places)}`,
    group: 'Options:',
    setting: 'address',
  },
  allowHost: {
    value: '<host>',
    read: (host: string, before: string[] = []): string[] => [...before, host],
    help: "another machine that may join over TCP, as an address or a range such as 10.0.0.0/8; can be given several times; without it no other machine may join. Its messages travel as clear text, with PMI_ID. If all ranks are wireup's own clients, use --pmi-id long, which cannot be guessed (MPICH sends numbers only)",
    group: 'Options:',
    setting: 'allowHosts',
  },
  nodePerRank: {
    help: 'report to each rank a node of its own: for containers that have a /dev/shm each',
    group: 'Options:',
    setting: 'ranksPerNode',
    toSetting: () => 1,
  },
  json: { help: 'print one JSON document instead of shell lines', group: 'Options:' },
  verbose: {
    short: 'v',
    help: 'report each invalid request and each refused connection on stderr, not one of a kind each second',
    group: 'Options:',
  },
  ...admissionOptions,
  ...traceOptions,
  ...metricsOptions,
} as const satisfies OptionTable;

type ServeValues = Values<typeof serveOptions>;

/** Checked by the compiler: each setting exists, and has the type of the option. */
export type Checked = Fits<Misfits<typeof serveOptions, PmiServerOptions>>;

export function addServe(program: Command): void {
  addOptions(program.command('serve'), serveOptions)
    .description('serve PMI to ranks that are started elsewhere: other terminals, containers, launchers')
    .addHelpText(
      'after',
      `
Prints the environment of each rank, one line for each, and serves until every rank has finalized. PMI_ID is the secret
of its rank: pass it on in environments and private files, not on command lines. The exit code is 0 if all ranks
finalized, the code of an abort, or 1 if a rank was lost.

An MPI library that can read only host:port reaches a unix socket with wireup-exec before its program.

Example:
  wireup serve -n 2 --address unix:///tmp/job.sock > ranks &
  until [ "$(wc -l < ranks)" = 2 ]; do sleep 0.1; done
  ( eval "$(sed -n 1p ranks)"; wireup exchange ) &
  ( eval "$(sed -n 2p ranks)"; wireup exchange )`,
    )
    .action((options: ServeValues, command: Command) => {
      addVariables(serveOptions, options, givenTo(command));
      return namingOptions(serveOptions, () => serve(options));
    });
}

/** `export A='1' B='2'`. */
function shellLine(env: Record<string, string>): string {
  const quoted = Object.entries(env).map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`);
  return `export ${quoted.join(' ')}`;
}

async function serve(options: ServeValues): Promise<void> {
  // The handlers come first: without them a signal would leave the socket behind.
  let stopped = false;
  let close = (): void => void (stopped = true);
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      process.exitCode = code;
      close();
    });
  }
  const metrics = await startMetrics(options, options.verbose);
  const server = await PmiServer.listen({
    ...settingsOf<PmiServerOptions>(serveOptions, options),
    ...traceOf(options, 'wireup serve'),
  });
  metrics?.serve(server);
  try {
    await serveRanks(server, options, (end) => {
      close = end;
      return stopped;
    });
  } finally {
    metrics?.close();
    await server.close();
    await finishTrace(server.traced);
  }
}

/** @param onClose takes what a signal does from now on; returns true if one has come already */
async function serveRanks(
  server: PmiServer,
  options: ServeValues,
  onClose: (close: () => void) => boolean,
): Promise<void> {
  const events = server.events({
    types: ['finalized', 'aborted', ...troubleTypes.filter((type) => type !== 'spawn-refused')],
  });
  if (onClose(() => void server.close())) return;
  const ranks = Array.from({ length: server.size }, (_, rank) => ({ rank, env: server.env(rank) }));
  if (options.json) {
    console.log(
      JSON.stringify({ address: server.address, size: server.size, kvsname: server.kvsname, ranks }),
    );
  } else {
    for (const { env } of ranks) console.log(shellLine(env));
  }

  const trouble = new TroubleReport(options.verbose);
  process.once('exit', () => trouble.end());
  let running = server.size;
  for await (const event of events) {
    if (event.type === 'finalized' && --running === 0) return;
    if (event.type === 'disconnected' && event.lost) {
      report(
        event.reason === undefined
          ? `rank ${event.rank} left without PMI finalize`
          : `rank ${event.rank} was cut off from PMI: ${event.reason}`,
      );
      process.exitCode = 1;
      return;
    }
    if (event.type === 'aborted') {
      report(
        `rank ${event.rank} aborted the job with code ${event.exitCode}${event.message === '' ? '' : `: ${event.message}`}`,
      );
      process.exitCode = event.exitCode & 0xff || 1;
      return;
    }
    trouble.add(event);
  }
}
