/** The tool: one file a subcommand. Called as mpiexec.wireup it is `wireup run`. */
import { basename } from 'node:path';
import { Command } from 'commander';
import { addBench } from './bench';
import { addExchange } from './exchange';
import { addLibpmiPath } from './libpmi-path';
import { addNames } from './names';
import { addPmi } from './pmi';
import { addRun, run } from './run';
import { addServe } from './serve';
import { fail, helpStyle, print, usageError } from './report';
import { version } from './version';

const program = new Command('wireup')
  .description('Starts parallel programs (MPI and others) and serves them PMI, by which their processes find each other.')
  .version(version, '-V, --version')
  .enablePositionalOptions()
  .showHelpAfterError(false)
  .exitOverride()
  .configureOutput({ outputError: usageError, writeOut: print })
  .configureHelp(helpStyle);

addRun(program);
addExchange(program);
addServe(program);
addPmi(program);
addNames(program);
addBench(program);
addLibpmiPath(program);

const MPIEXEC = 'mpiexec.wireup';

const done = basename(process.argv[1] ?? '') === MPIEXEC ? run(MPIEXEC, process.argv.slice(2)) : program.parseAsync();
done.catch(fail);
