/** Where the tool begins. Called as mpiexec.wireup it is `wireup run`. */
import { readStart } from './start';

const MPIEXEC = 'mpiexec.wireup';

// What is not needed is not loaded: that takes as long as starting a rank. Not by import(), which loads Node's loader of
// modules first: that takes as long as starting Node.
function main(): void {
  const start = readStart();
  const isMpiexec = start.name === MPIEXEC;
  if (isMpiexec || start.words[0] === 'run') {
    const { RUN, startRun } = require('./run') as typeof import('./run.js');
    return isMpiexec ? startRun(MPIEXEC, start) : startRun(RUN, { ...start, words: start.words.slice(1) });
  }
  const { startCommand } = require('./commands') as typeof import('./commands.js');
  startCommand(start);
}

main();
