/** The start of the command. If it is called as mpiexec, it is `wireup run`. */
import { useCode } from './code-cache';
import { readStart } from './start';

/** The installed link, and a link that users can make to it (docs/spawn.md). */
const MPIEXECS = ['mpiexec.wireup', 'mpiexec'];

// It loads only the files that the command needs, because loading the others takes as long as starting a rank. It uses
// require(), because import() first loads Node's module loader, which takes as long as starting Node.
function main(): void {
  useCode();
  const start = readStart();
  const isMpiexec = MPIEXECS.includes(start.name);
  if (isMpiexec || start.words[0] === 'run') {
    const { RUN, startRun } = require('./run') as typeof import('./run.js');
    return isMpiexec ? startRun(start.name, start) : startRun(RUN, { ...start, words: start.words.slice(1) });
  }
  const { startCommand } = require('./commands') as typeof import('./commands.js');
  startCommand(start);
}

try {
  main();
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  // The native parts are missing, or do not run here. The message names the remedy.
  if (code !== 'MODULE_NOT_FOUND' && code !== 'ERR_DLOPEN_FAILED') throw error;
  console.error(`wireup: ${message}`);
  process.exitCode = 1;
}
