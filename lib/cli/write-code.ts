/**
 * Runs a job over two pretended hosts as the command does, and writes the code that V8 has made of the command's files. The
 * scripts that build and install the package run it.
 */
import { chmodSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Script } from 'node:vm';
import { codeFile, onRequire, runFile } from './code-cache';

const scripts = new Map<string, Script>();
onRequire((module, file) => void scripts.set(file, runFile(module, file)));

const command = join(__dirname, 'cli.js');
process.argv.splice(
  1,
  Infinity,
  command,
  'run',
  '--no-defaults',
  '--launcher',
  'fork',
  '--hosts',
  'a,b',
  'true',
);
process.once('exit', (exitCode) => {
  if (exitCode !== 0) return;
  // Node loads cli.js itself.
  scripts.delete(command);
  for (const [file, script] of scripts) {
    const written = `${codeFile(file)}.new`;
    writeFileSync(written, script.createCachedData());
    // Who may read the file may read its code, whatever the umask is.
    chmodSync(written, statSync(file).mode);
    // A rename, because another process may be reading it.
    renameSync(written, codeFile(file));
  }
});
require(command);
