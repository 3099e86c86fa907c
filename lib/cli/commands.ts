/** All commands except that of `wireup run`. Each is in a file of its own. */
import { Command } from 'commander';
import { addBench } from './bench';
import { addCheck } from './check';
import { addCompletion } from './completion/command';
import { addExchange } from './exchange';
import { addJobs } from './jobs';
import { addLibpmiPath } from './libpmi-path';
import { addNames } from './names';
import { addPmi } from './pmi';
import { addReplay } from './replay';
import { addReport } from './report-command';
import { addRun } from './run';
import { addServe } from './serve';
import { addTap } from './tap';
import { addTrace } from './trace';
import { helpStyle, usageError } from './commander-options';
import { fail, print, reportUsage } from './report';
import { takeCaller, type Start } from './start';
import { version } from './version';

/** Runs the command that the words of the command line name. */
export function startCommand(start: Start): void {
  // Without the starter there are no notes to close. Then only commands that need the addon load it.
  if (start.notes >= 0) takeCaller(start);
  const program = makeProgram(start);
  const mistaken = meantForRun(start.words);
  if (mistaken !== undefined) return reportUsage(mistaken);
  program.parseAsync(start.words, { from: 'user' }).catch(fail);
}

/** The command with all its subcommands. */
export function makeProgram(start: Start): Command {
  const program = new Command('wireup')
    .description(
      'Starts parallel programs (MPI and others) and serves them PMI, the protocol by which their processes find each other.',
    )
    .version(version, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle)
    .addHelpText(
      'after',
      `
\`wireup help run\` prints the help of a command. The manual pages have the same text: \`man wireup-run\`.`,
    );
  addRun(program, start);
  addReplay(program, start);
  for (const add of [
    addExchange,
    addServe,
    addJobs,
    addTrace,
    addReport,
    addPmi,
    addNames,
    addTap,
    addCheck,
    addBench,
    addLibpmiPath,
    addCompletion,
  ])
    add(program);
  return program;
}

/** Users of mpiexec begin with its options or with the program. */
function meantForRun(words: readonly string[]): string | undefined {
  const [first] = words;
  if (first === undefined) return undefined;
  const own = ['-h', '--help', '-V', '--version'];
  if (first.startsWith('-') ? own.includes(first) : !first.includes('/')) return undefined;
  // Words that a shell would need quotes for are left out.
  const line = words.every((word) => /^[\w./:=,@%+-]+$/.test(word)) ? words.join(' ') : '...';
  return `there is no command '${first}'; did you mean \`wireup run ${line}\`?`;
}
