// Compiles the addon, the small programs and the libraries with node-gyp into build/Release.
// Node's own headers are used if they lie beside the running node, so that nothing is downloaded.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the package. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** A checkout has its own node-gyp. An installed package has only that of npm. */
function findNodeGyp() {
  try {
    return createRequire(join(root, 'package.json')).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return process.env.npm_config_node_gyp;
  }
}

/** The programs that compiling needs and PATH does not have. */
export function missingPrograms() {
  const compiler = (process.env.CXX ?? 'g++').split(' ')[0];
  const python = process.env.npm_config_python ?? process.env.PYTHON ?? 'python3';
  return [compiler, 'make', python].filter(
    (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined,
  );
}

/**
 * Compiles the package in `folder`: everything, or with `update` only what has changed since the last time. `arch` and the
 * compilers in `env` are for another processor. Throws an error with the output of the compiler if it fails.
 */
export function compile({ folder = root, update = false, arch = process.arch, env = {} } = {}) {
  const nodeGyp = findNodeGyp();
  if (nodeGyp === undefined)
    throw new Error('node-gyp was not found: run `npm rebuild wireup`, which brings one');
  const prefix = join(dirname(process.execPath), '..');
  const headers = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
  // CMake or cmake-js may have written their own makefile to build/ since the last time.
  const canUpdate =
    existsSync(join(folder, 'build/config.gypi')) && !existsSync(join(folder, 'build/CMakeCache.txt'));
  const commands = update && canUpdate ? ['configure', 'build'] : ['rebuild'];
  const { status, stdout, stderr, error } = spawnSync(
    process.execPath,
    [
      nodeGyp,
      ...commands,
      `--arch=${arch}`,
      `--jobs=${availableParallelism()}`,
      '--loglevel=warn',
      ...headers,
    ],
    { cwd: folder, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 1 << 26 },
  );
  // The output of make and of the compiler is needed only after a failure.
  if (status !== 0)
    throw new Error(`the native parts could not be compiled\n${error?.message ?? stdout + stderr}`);
  describeLibraries(folder);
}

/** Writes the files for pkg-config. Their paths are relative to their own folder, so that the package can be moved. */
function describeLibraries(folder) {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const values = {
    version,
    libdir: '${pcfiledir}',
    includedir: '${pcfiledir}/../../native/tools/libpmi/include',
  };
  for (const name of ['pmi', 'pmi2']) {
    const text = readFileSync(join(folder, `native/tools/lib${name}/wireup-${name}.pc.in`), 'utf8');
    writeFileSync(
      join(folder, `build/Release/wireup-${name}.pc`),
      text.replace(/@(\w+)@/g, (_, key) => values[key]),
    );
  }
}
