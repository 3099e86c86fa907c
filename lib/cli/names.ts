import type { Command } from 'commander';
import { listNames, NameServer } from '../index';
import { defaultNameServer } from '../names';
import { printable } from '../printable';
import { UsageError } from './mpiexec-args';
import { print } from './report';
import { TroubleReport } from './trouble';

/** Where `wireup run` and `wireup names list` look for a name server when they are not told. */
export const NAME_SERVER_VARIABLE = 'WIREUP_NAME_SERVER';

/** An empty variable is as one that is not set. */
export function nameServerOfEnvironment(): string | undefined {
  return process.env[NAME_SERVER_VARIABLE] || undefined;
}

export function addNames(program: Command): void {
  const names = program
    .command('names')
    .description('published names (MPI_Publish_name) that several launches share');

  names
    .command('serve')
    .description('serve names to the launches of one user, until INT, TERM or HUP')
    .option(
      '--address <address>',
      'where: unix:///path, /path or unix://@name; by default $XDG_RUNTIME_DIR/wireup-names, or a fresh private folder',
    )
    .addHelpText(
      'after',
      `
Prints its address, which wireup run takes as --name-server. Only processes of the same user may use it. A name goes
with the job that published it; all of them go with the server.

Example:
  wireup names serve --address /tmp/names-$USER &
  wireup run --name-server /tmp/names-$USER -n 2 ./server &
  wireup run --name-server /tmp/names-$USER -n 4 ./client`,
    )
    .action(serve);

  names
    .command('list')
    .description(
      'what is published: name, port, process id of the launcher and kvsname of the job, a line each, between tabs',
    )
    .option(
      '--address <address>',
      `the name server's; ${NAME_SERVER_VARIABLE}, else $XDG_RUNTIME_DIR/wireup-names by default`,
    )
    .option('--json', 'print one JSON document', false)
    .action(list);
}

async function serve(options: { address?: string }): Promise<void> {
  // Before there is a socket to leave behind.
  let close = (): void => void (stopped = true);
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => close());
  await using server = await NameServer.listen(options);
  const events = server.events();
  close = () => void server.close();
  if (stopped) return;
  print(`${server.address}\n`);
  const trouble = new TroubleReport();
  for await (const event of events) trouble.add(event);
  trouble.end();
}

async function list(options: { address?: string; json: boolean }): Promise<void> {
  const address = options.address ?? nameServerOfEnvironment() ?? defaultNameServer();
  if (address === undefined)
    throw new UsageError(
      `which name server? Neither ${NAME_SERVER_VARIABLE} nor XDG_RUNTIME_DIR is set: say --address`,
    );
  const names = await listNames(address);
  if (options.json) return print(`${JSON.stringify({ address, names })}\n`);
  for (const { service, port, pid, kvsname } of names) {
    print(`${[service, port, pid === undefined ? '-' : String(pid), kvsname].map(printable).join('\t')}\n`);
  }
}
