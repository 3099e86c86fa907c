// The C programs of test/support/programs, which are compiled when a test first uses them.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';

import { installed } from './installed';
import { root } from './root';

const programs = join(__dirname, 'programs');
const compiled = join(root, 'out', 'programs');

/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

const built = new Map<string, string>();

/** The path of the compiled programs/NAME.c. mpicc compiles it if it is an MPI program. */
export function program(name: string): string {
  const isMpi = readFileSync(join(programs, `${name}.c`)).includes('"check.h"');
  return compile(name, isMpi ? installed('mpicc') : installed('cc'));
}

/** The path of programs/NAME.c, compiled by `compiler`. */
export function compile(name: string, compiler: string): string {
  const known = built.get(name);
  if (known !== undefined) return known;
  const source = readFileSync(join(programs, `${name}.c`));
  const include = join(root, 'native/tools/libpmi/include');
  const flags = ['-std=gnu17', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-I', include];
  const hash = createHash('sha256').update(source).update(compiler).update(flags.join(' '));
  for (const header of readdirSync(programs)
    .filter((file) => file.endsWith('.h'))
    .sort()) {
    hash.update(readFileSync(join(programs, header)));
  }
  const target = join(compiled, `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (!existsSync(target)) {
    mkdirSync(compiled, { recursive: true });
    // Test files run in parallel, and two may compile the same program. The rename makes the complete file appear at once.
    const unfinished = `${target}.${process.pid}`;
    execFileSync(compiler, [...flags, '-o', unfinished, join(programs, `${name}.c`)], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout,
    });
    renameSync(unfinished, target);
  }
  built.set(name, target);
  return target;
}
