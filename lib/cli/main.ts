/** Where the tool begins. Called as mpiexec.wireup it is `wireup run`. */
import { basename } from 'node:path';
import { fail } from './report';
import { run, RUN } from './run';

const MPIEXEC = 'mpiexec.wireup';

function main(): void {
  const words = process.argv.slice(2);
  if (basename(process.argv[1] ?? '') === MPIEXEC) return start(MPIEXEC, words);
  // It reads its words itself: to load and describe all the others takes as long as starting a rank.
  if (words[0] === 'run') return start(RUN, words.slice(1));
  // Not by import(), which loads Node's loader of modules first: that takes as long as starting Node.
  const { runCommand } = require('./commands') as typeof import('./commands.js');
  runCommand();
}

function start(name: string, words: readonly string[]): void {
  run(name, words).catch(fail);
}

main();
