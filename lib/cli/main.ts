/** The tool: one file a subcommand. */
import { Command } from 'commander';
import { version } from '../../package.json';
import { addExchange } from './exchange';
import { addLibpmiPath } from './libpmi-path';
import { addPmi } from './pmi';
import { addRun } from './run';
import { addServe } from './serve';
import { fail, usageError } from './report';

const program = new Command('wireup')
  .description('Starts parallel programs (MPI and others) and serves them PMI, by which their processes find each other.')
  .version(version, '-V, --version')
  .enablePositionalOptions()
  .showHelpAfterError(false)
  .exitOverride()
  .configureOutput({ outputError: usageError });

addRun(program);
addExchange(program);
addServe(program);
addPmi(program);
addLibpmiPath(program);

program.parseAsync().catch(fail);
