import { Option, type Command } from 'commander';
import { PmiServer } from '../index';
import { MAX_RANKS } from '../limits';
import { addAdmissionOptions, toAdmission, type AdmissionFlags } from './admission';
import { say, wholeNumber } from './report';
import { TroubleReport, troubleTypes } from './trouble';

interface ServeOptions extends AdmissionFlags {
  ranks: number;
  address: string;
  allowHost?: string[];
  nodePerRank: boolean;
  json: boolean;
}

export function addServe(program: Command): void {
  addAdmissionOptions(program.command('serve'))
    .description('serve PMI to ranks that are started elsewhere: other terminals, containers, launchers')
    .addOption(
      new Option('-n, --ranks <N>', 'how many ranks')
        .argParser(wholeNumber(1, MAX_RANKS))
        .makeOptionMandatory(),
    )
    .requiredOption(
      '--address <address>',
      'where to listen: host:port, tcp://host:port (port 0: any), unix:///path, unix://@name, or just tcp or unix',
    )
    .option(
      '--allow-host <host>',
      "another machine that may join over TCP, an address or a range such as 10.0.0.0/8; may be given again; none by default. What it says, PMI_ID too, travels in clear text; where all ranks are wireup's own clients, give --pmi-id long too, which cannot be guessed (MPICH sends numbers only)",
      (host: string, previous: string[] | undefined) => [...(previous ?? []), host],
    )
    .option(
      '--node-per-rank',
      'tell ranks that each is on a node of its own: for containers with a /dev/shm each',
      false,
    )
    .option('--json', 'print one JSON document instead of shell lines', false)
    .addHelpText(
      'after',
      `
Prints the environment of each rank, one line a rank, and serves until every rank has finalized. PMI_ID is the
rank's secret: keep it in environments and files of your own, off command lines. The exit code is 0, what abort said,
or 1 when a rank was lost.

An MPI that knows only host:port reaches a unix socket behind wireup-exec.

Example:
  wireup serve -n 2 --address unix:///tmp/job.sock > ranks &
  until [ "$(wc -l < ranks)" = 2 ]; do sleep 0.1; done
  ( eval "$(sed -n 1p ranks)"; wireup exchange ) &
  ( eval "$(sed -n 2p ranks)"; wireup exchange )`,
    )
    .action(serve);
}

/** `export A='1' B='2'`. */
function shellLine(env: Record<string, string>): string {
  const quoted = Object.entries(env).map(([name, value]) => `${name}='${value.replaceAll("'", `'\\''`)}'`);
  return `export ${quoted.join(' ')}`;
}

async function serve(options: ServeOptions): Promise<void> {
  // Before there is a socket to leave behind.
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
  await using server = await PmiServer.listen({
    size: options.ranks,
    address: options.address,
    ...toAdmission(options),
    ...(options.allowHost === undefined ? {} : { allowHosts: options.allowHost }),
    ...(options.nodePerRank ? { ranksPerNode: 1 } : {}),
  });
  const events = server.events({
    types: ['finalized', 'aborted', ...troubleTypes.filter((type) => type !== 'spawn-refused')],
  });
  close = () => void server.close();
  if (stopped) return;
  const ranks = Array.from({ length: server.size }, (_, rank) => ({ rank, env: server.env(rank) }));
  if (options.json) {
    console.log(
      JSON.stringify({ address: server.address, size: server.size, kvsname: server.kvsname, ranks }),
    );
  } else {
    for (const { env } of ranks) console.log(shellLine(env));
  }

  const trouble = new TroubleReport();
  process.once('exit', () => trouble.end());
  let running = server.size;
  for await (const event of events) {
    if (event.type === 'finalized' && --running === 0) return;
    if (event.type === 'disconnected' && event.lost) {
      say(
        `rank ${event.rank} ${event.reason === undefined ? 'left without PMI finalize' : `was cut off from PMI: ${event.reason}`}`,
      );
      process.exitCode = 1;
      return;
    }
    if (event.type === 'aborted') {
      say(
        `rank ${event.rank} aborted the job with code ${event.exitCode}${event.message === '' ? '' : `: ${event.message}`}`,
      );
      process.exitCode = event.exitCode & 0xff || 1;
      return;
    }
    trouble.add(event);
  }
}
