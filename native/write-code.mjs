// Writes V8's code of the command's files for this version of Node, so that the command starts faster
// (lib/cli/code-cache.ts). The command works without it, so no error matters.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './compile.mjs';

/** In milliseconds. It runs a job of two ranks. */
const LIMIT = 20_000;

export function writeCode() {
  const script = join(root, 'dist/write-code.js');
  if (!existsSync(script)) return;
  spawnSync(process.execPath, [script], { stdio: 'ignore', timeout: LIMIT, killSignal: 'SIGKILL' });
}
