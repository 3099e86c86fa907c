/** The tool: one file a subcommand. Called as mpiexec.wireup it is `wireup run`. */
import { basename } from 'node:path';
import { Command } from 'commander';
import { addBench } from './bench';
import { addExchange } from './exchange';
import { addLibpmiPath } from './libpmi-path';
import { addNames } from './names';
import { addPmi } from './pmi';
import { addRun, run, RUN } from './run';
import { addServe } from './serve';
import { fail, helpStyle, print, usageError } from './report';
import { version } from './version';

const MPIEXEC = 'mpiexec.wireup';

/** All subcommands, each described by its file. */
function makeProgram(): Command {
  const program = new Command('wireup')
    .description('Starts parallel programs (MPI and others) and serves them PMI, by which their processes find each other.')
    .version(version, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle);
  for (const add of [addRun, addExchange, addServe, addPmi, addNames, addBench, addLibpmiPath]) add(program);
  return program;
}

function main(): Promise<unknown> {
  const words = process.argv.slice(2);
  if (basename(process.argv[1] ?? '') === MPIEXEC) return run(MPIEXEC, words);
  // It reads its words itself, and describing all the others takes as long as starting a rank.
  if (words[0] === 'run') return run(RUN, words.slice(1));
  return makeProgram().parseAsync();
}

main().catch(fail);
