import type { Command } from 'commander';
import { listNames, NameServer, type NameServerOptions } from '../index';
import { defaultNameServer } from '../names';
import { printable } from '../printable';
import { addOptions, givenTo } from './commander-options';
import { addVariables, namingOptions, settingsOf, UsageError, type OptionTable, type Values } from './option';
import { print } from './report';
import { NAME_SERVER_VARIABLE } from './run-options';
import { TroubleReport } from './trouble';

const serveOptions = {
  address: {
    value: '<address>',
    defaultText: '$XDG_RUNTIME_DIR/wireup-names, else a socket in a new private folder',
    help: 'where to listen: unix:///path, /path or unix://@name',
    setting: 'address',
  },
} as const satisfies OptionTable;

const listOptions = {
  address: {
    value: '<address>',
    variable: { names: [NAME_SERVER_VARIABLE], read: (text: string) => text },
    defaultText: '$XDG_RUNTIME_DIR/wireup-names',
    help: 'the address of the name server',
    checkedAs: 'address',
  },
  json: { help: 'print one JSON document' },
} as const satisfies OptionTable;

export function addNames(program: Command): void {
  const names = program
    .command('names')
    .description('published names (MPI_Publish_name) that several jobs share');

  addOptions(names.command('serve'), serveOptions)
    .description('serve names to the jobs of one user, until INT, TERM or HUP')
    .addHelpText(
      'after',
      `
Prints its address, for the option --name-server of wireup run. Only processes of the same user may use it. A name lives as
long as the job that published it, and no longer than the server.

Example:
  wireup names serve --address /tmp/names-$USER &
  wireup run --name-server /tmp/names-$USER -n 2 ./server &
  wireup run --name-server /tmp/names-$USER -n 4 ./client`,
    )
    .action((options: Values<typeof serveOptions>) => namingOptions(serveOptions, () => serve(options)));

  addOptions(names.command('list'), listOptions)
    .description(
      'list the published names, one line for each: name, port, process id of the launcher, and kvsname of the job, with tabs between them',
    )
    .action((options: Values<typeof listOptions>, command: Command) => {
      addVariables(listOptions, options, givenTo(command));
      return namingOptions(listOptions, () => list(options));
    });
}

async function serve(options: Values<typeof serveOptions>): Promise<void> {
  // The handlers come first: without them a signal would leave the socket behind.
  let close = (): void => void (stopped = true);
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => close());
  await using server = await NameServer.listen(settingsOf<NameServerOptions>(serveOptions, options));
  const events = server.events();
  close = () => void server.close();
  if (stopped) return;
  print(`${server.address}\n`);
  const trouble = new TroubleReport();
  for await (const event of events) trouble.add(event);
  trouble.end();
}

async function list(options: Values<typeof listOptions>): Promise<void> {
  const address = options.address ?? defaultNameServer();
  if (address === undefined)
    throw new UsageError(
      `no name server is known, because neither ${NAME_SERVER_VARIABLE} nor XDG_RUNTIME_DIR is set; use --address`,
    );
  const names = await listNames(address);
  if (options.json) return print(`${JSON.stringify({ address, names })}\n`);
  for (const { service, port, pid, kvsname } of names) {
    print(`${[service, port, pid === undefined ? '-' : String(pid), kvsname].map(printable).join('\t')}\n`);
  }
}
