/** Where the tool begins. Called as mpiexec.wireup it is `wireup run`. */
import { basename } from 'node:path';

const MPIEXEC = 'mpiexec.wireup';

// What is not needed is not loaded: that takes as long as starting a rank. Not by import(), which loads Node's loader of
// modules first: that takes as long as starting Node.
function main(): void {
  const words = process.argv.slice(2);
  const isMpiexec = basename(process.argv[1] ?? '') === MPIEXEC;
  if (isMpiexec || words[0] === 'run') {
    const { RUN, startRun } = require('./run') as typeof import('./run.js');
    return isMpiexec ? startRun(MPIEXEC, words) : startRun(RUN, words.slice(1));
  }
  const { startCommand } = require('./commands') as typeof import('./commands.js');
  startCommand();
}

main();
