import { dirname } from 'node:path';
import type { Command } from 'commander';
import { libpmiPath } from '../index';

export function addLibpmiPath(program: Command): void {
  program
    .command('libpmi-path')
    .description('print the path of libpmi.so.0, the PMI-1 library for C programs')
    .option(
      '--folder',
      'print its folder, which also contains libpmi2.so.0, wireup-exec and the files for PKG_CONFIG_PATH',
      false,
    )
    .addHelpText(
      'after',
      `
Examples:
  mpiexec -n 4 -genv LD_PRELOAD $(wireup libpmi-path) ./a.out
  PKG_CONFIG_PATH=$(wireup libpmi-path --folder) pkg-config --cflags --libs wireup-pmi`,
    )
    .action(({ folder }: { folder: boolean }) => {
      console.log(folder ? dirname(libpmiPath) : libpmiPath);
    });
}
