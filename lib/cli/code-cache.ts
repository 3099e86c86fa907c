/**
 * Loads the command's files with the code that V8 has made of them before (write-code.ts). Compiling them takes several
 * milliseconds of the command's start. If V8 has another version or other flags, it refuses the code and compiles the file.
 */
import { readFileSync } from 'node:fs';
import { createRequire, Module } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

type Run = (
  exports: unknown,
  require: NodeJS.Require,
  module: NodeJS.Module,
  file: string,
  folder: string,
) => void;

/** Where the code of a file is, for this version of Node. */
export const codeFile = (file: string): string => `${file}.${process.version}-${process.arch}.code`;

/** Runs a file as require() does. */
export function runFile(module: NodeJS.Module, file: string, cachedData?: Buffer): Script {
  const text = Module.wrap(readFileSync(file, 'utf8'));
  const script = new Script(text, { filename: file, ...(cachedData === undefined ? {} : { cachedData }) });
  const run = script.runInThisContext() as Run;
  run.call(module.exports, module.exports, createRequire(file), module, file, dirname(file));
  return script;
}

/** Replaces what require() does with a file. */
export function onRequire(load: (module: NodeJS.Module, file: string) => void): void {
  // Node has no other way, and keeps this one for the many programs that use it.
  // eslint-disable-next-line @typescript-eslint/no-deprecated
  require.extensions['.js'] = load;
}

/** From now on require() uses the code of each file that has some. */
export function useCode(): void {
  // eslint-disable-next-line @typescript-eslint/no-deprecated
  const compile = require.extensions['.js'];
  onRequire((module, file) => {
    let code: Buffer;
    try {
      code = readFileSync(codeFile(file));
    } catch {
      compile(module, file);
      return;
    }
    runFile(module, file, code);
  });
}
