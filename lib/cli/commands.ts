/** The tool's command line: one file a subcommand. */
import { Command } from 'commander';
import { addBench } from './bench';
import { addExchange } from './exchange';
import { addLibpmiPath } from './libpmi-path';
import { addNames } from './names';
import { addPmi } from './pmi';
import { addRun } from './run';
import { addServe } from './serve';
import { fail, helpStyle, print, sayUsage, usageError } from './report';
import { takeCaller, type Start } from './start';
import { version } from './version';

/** Does what the words of the command line ask for. */
export function startCommand(start: Start): void {
  // Without the starter there are no notes to close, and only commands that need the addon load it.
  if (start.notes >= 0) takeCaller(start);
  const program = new Command('wireup')
    .description(
      'Starts parallel programs (MPI and others) and serves them PMI, by which their processes find each other.',
    )
    .version(version, '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: usageError, writeOut: print })
    .configureHelp(helpStyle);
  addRun(program, start);
  for (const add of [addExchange, addServe, addPmi, addNames, addBench, addLibpmiPath]) add(program);
  const mistaken = meantForRun(start.words);
  if (mistaken !== undefined) return sayUsage(mistaken);
  program.parseAsync(start.words, { from: 'user' }).catch(fail);
}

/** mpiexec's users begin with its options or the program. */
function meantForRun(words: readonly string[]): string | undefined {
  const [first] = words;
  if (first === undefined) return undefined;
  const own = ['-h', '--help', '-V', '--version'];
  if (first.startsWith('-') ? own.includes(first) : !first.includes('/')) return undefined;
  // What a shell would not take for one plain word is left out.
  const line = words.every((word) => /^[\w./:=,@%+-]+$/.test(word)) ? words.join(' ') : '...';
  return `'${first}' is no subcommand: did you mean \`wireup run ${line}\`?`;
}
