/**
 * `wireup tap`. The starter executes wireup-tap (native/tools/tap) for it, which parses the options and prints the help. The
 * table here is for the completion; a test compares it with that help.
 */
import type { Command } from 'commander';
import { tapPath } from '../native';
import { addOptions } from './commander-options';
import type { OptionTable } from './option';

/** Exported for tests. */
export const tapOptions = {
  traceFile: {
    value: '<file>',
    help: 'record to this file instead of stderr: JSON lines if its name ends with .json or .jsonl, for wireup trace and wireup replay; otherwise lines of text. %r is the rank, %h the host, %p the process id, %% a percent sign',
  },
  traceSecrets: { help: 'keep PMI_ID in the recording, which otherwise has *** in its place' },
  verbose: {
    short: 'v',
    help: 'report on stderr which PMI connection is recorded, or why none is',
  },
  help: { short: 'h', help: 'print this help' },
  version: { short: 'V', help: 'print the version' },
} as const satisfies OptionTable;

export function addTap(program: Command): void {
  addOptions(program.command('tap'), tapOptions)
    .description('record the PMI messages of a rank under any launcher')
    .usage('[options] [--] <program> [args...]')
    .argument('<program...>', 'the program and its arguments')
    .helpOption(false)
    .passThroughOptions()
    .action(() => {
      // Node would be the parent of the program, which must keep the process.
      throw new Error(
        `the command was started without its starter, because the install script has not run; use ${tapPath} in place of \`wireup tap\``,
      );
    });
}
