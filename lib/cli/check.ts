/** `wireup check`: its command line. The checks are loaded only if it runs. */
import { Argument, Option, type Command } from 'commander';
import { versions } from '../conformance/rule';
import { rulesFor } from '../conformance/rules';
import { addOptions } from './commander-options';
import { InvalidValue, seconds, wholeNumber, type OptionTable, type Values } from './option';
import { transportNames } from '../transports';

const group = 'Options:';

/** Each is a process of this machine. */
const MAX_CLIENT_RANKS = 1024;

/** One hour, for a launcher that waits for its nodes. */
const MAX_TIMEOUT = 3_600_000;

const destructiveRules = rulesFor('server')
  .filter(({ destructive }) => destructive)
  .map(({ id }) => id);

function destructive(text: string): readonly string[] {
  if (text === 'all') return destructiveRules;
  const rules = text.split(',');
  const unknown = rules.find((rule) => !destructiveRules.includes(rule));
  if (unknown !== undefined)
    throw new InvalidValue(
      `expected all, or some of ${destructiveRules.join(', ')}, with commas between them`,
    );
  return rules;
}

const outputOptions = {
  tap: { help: 'print TAP 14', group, conflicts: ['json'] },
  json: { help: 'print one JSON document, in one line', group, conflicts: ['tap'] },
} as const satisfies OptionTable;

const serverOptions = {
  pmiVersion: {
    value: '<version>',
    choices: versions,
    help: 'the version of PMI to check. Without it: 1.1, or with a launcher all of them, in a job each',
    group,
  },
  timeout: {
    value: '<seconds>',
    read: seconds(0.001, MAX_TIMEOUT),
    default: 10_000,
    defaultText: '10',
    help: 'how long the server may take for one reply',
    group,
  },
  destructive: {
    value: '<rules>',
    read: destructive,
    help: 'also run the checks that may end the connection or the job: all, or rules with commas between them. With a launcher, each has a job of its own',
    group,
  },
  ...outputOptions,
} as const satisfies OptionTable;

const clientOptions = {
  ranks: {
    short: 'n',
    value: '<N>',
    read: wholeNumber(1, MAX_CLIENT_RANKS),
    default: 2,
    help: 'how many ranks the program has',
    group,
  },
  pmi: {
    value: '<transport>',
    choices: transportNames,
    default: 'fd',
    help: 'how the ranks reach the server',
    group,
  },
  timeout: {
    value: '<seconds>',
    read: seconds(0.001, MAX_TIMEOUT),
    default: 30_000,
    defaultText: '30',
    help: 'how long the program may run with one server',
    group,
  },
  ...outputOptions,
} as const satisfies OptionTable;

export type ClientValues = Values<typeof clientOptions>;

export type ServerValues = Values<typeof serverOptions> & {
  /** The folder of the process that has started the launcher, for lib/conformance/server/journal.ts. */
  readonly journal?: string;
  /** Rules whose checks have ended earlier jobs, with commas between them. */
  readonly skip?: string;
};

export function addCheck(program: Command): void {
  const check = program
    .command('check')
    .description('check whether a PMI server or a PMI client keeps the rules of the PMI specifications');
  addOptions(check.command('server'), serverOptions)
    .description('check a PMI server, as its ranks')
    .addArgument(new Argument('[launcher...]', 'after --: the launcher, with its options'))
    // Between this process and the ranks of the launcher that it starts.
    .addOption(new Option('--journal <folder>').hideHelp())
    .addOption(new Option('--skip <rules>').hideHelp())
    .addHelpText('after', HELP)
    .action((launcher: string[], options: ServerValues) => {
      const { checkServer } = require('./check/run') as typeof import('./check/run.js');
      return checkServer(launcher, options);
    });
  addOptions(check.command('client'), clientOptions)
    .description('check a PMI client: run its program with servers of every allowed manner')
    .addArgument(new Argument('<program...>', 'after --: the program, with its arguments'))
    .addHelpText('after', CLIENT_HELP)
    .action((program: string[], options: ClientValues) => {
      const { checkProgram } = require('./check/run') as typeof import('./check/run.js');
      return checkProgram(program, options);
    });
}

const CLIENT_HELP = `
wireup starts the program several times, as the ranks of a server of its own: one that follows the documents, and
then servers that order or divide their replies in other ways that the documents allow, have small limits, or refuse a
put. It judges what the program sends, and whether it ends with code 0. What the program prints is not shown.

docs/conformance.md lists the rules.

Exit codes:
  0  no MUST is broken
  1  a MUST is broken, or the checks could not run
  2  wrong use

Example:
  wireup check client -n 2 -- ./a.out`;

const HELP = `
Every rank of a job must run it. Rank 0 prints the report. With a launcher after --, wireup starts the launcher with these
ranks itself, as often as the checks need a new job, and prints one report.

docs/conformance.md lists the rules. Each has a level: MUST, SHOULD or MAY. A rule is passed, failed, not offered (the
server does not have an optional feature) or not tried.

Exit codes:
  0  no MUST is broken
  1  a MUST is broken, or the checks could not run
  2  wrong use

Examples:
  wireup check server -- mpiexec.hydra -n 4
  wireup check server --destructive all -- wireup run -n 4
  srun --mpi=pmi2 -n 4 wireup check server --pmi-version 2`;
