/** `wireup tap`. The starter executes wireup-tap (native/tools/tap) for it, which has the options and their help. */
import type { Command } from 'commander';
import { tapPath } from '../native';

export function addTap(program: Command): void {
  program
    .command('tap')
    .description('record the PMI messages of a rank under any launcher')
    .usage('[options] [--] <program> [args...]')
    .argument('<program...>', 'the program and its arguments')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(() => {
      // Node would be the parent of the program, which must keep the process.
      throw new Error(
        `the command was started without its starter, because the install script has not run; use ${tapPath} in place of \`wireup tap\``,
      );
    });
}
