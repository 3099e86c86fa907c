/** The tool's command line: one file a subcommand. */
import { Command } from 'commander';
import { addBench } from './bench';
import { addExchange } from './exchange';
import { addLibpmiPath } from './libpmi-path';
import { addNames } from './names';
import { addPmi } from './pmi';
import { addRun } from './run';
import { addServe } from './serve';
import { fail, helpStyle, print, usageError } from './report';
import { takeCaller, type Start } from './start';
import { version } from './version';

/** Does what the words of the command line ask for. */
export function startCommand(start: Start): void {
  // Without the starter there is nothing to close, and the addon is loaded for who needs it.
  if (start.notes >= 0) takeCaller(start);
  const program = new Command('wireup')
    .description('Starts parallel programs (MPI and others) and serves them PMI, by which their processes find each other.')
    .version(version, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle);
  addRun(program, start);
  for (const add of [addExchange, addServe, addPmi, addNames, addBench, addLibpmiPath]) add(program);
  program.parseAsync(start.words, { from: 'user' }).catch(fail);
}
