// The `install` script of the package: builds the addon and the small programs with node-gyp into build/Release.
// Node's own headers are used where they lie beside the running node, so that nothing is downloaded.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The checkout's own node-gyp; a user's install has only the one that comes with npm. */
function findNodeGyp() {
  try {
    return createRequire(join(root, 'package.json')).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return process.env.npm_config_node_gyp;
  }
}

const nodeGyp = findNodeGyp();
if (nodeGyp === undefined) {
  console.error('wireup: node-gyp not found: run this by `npm install`, which brings one');
  process.exit(1);
}
const prefix = join(dirname(process.execPath), '..');
const headers = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
// `rebuild` starts from nothing; with --update only what has changed is compiled again, unless CMake or cmake-js has
// put its own makefile into build/ meanwhile.
const isOurs = existsSync(join(root, 'build/config.gypi')) && !existsSync(join(root, 'build/CMakeCache.txt'));
const command = process.argv.includes('--update') && isOurs ? ['configure', 'build'] : ['rebuild'];
if (command[0] === 'rebuild')
  console.log('wireup: compiling the native parts, which takes half a minute to a minute');
const { status, stdout, stderr } = spawnSync(
  process.execPath,
  [nodeGyp, ...command, `--jobs=${availableParallelism()}`, '--loglevel=warn', ...headers],
  { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 },
);
// What make and the compiler say is of interest only when something is wrong.
if (status !== 0) console.error(`${stdout}${stderr}wireup: the native parts could not be built`);
else {
  describeLibrary();
  placeStarter();
}
process.exit(status ?? 1);

/** In the place of the stub that the package came with, to which npm has linked the commands. */
function placeStarter() {
  const command = join(root, 'dist/wireup');
  // In a checkout without dist/, lib/build.mjs does it.
  if (!existsSync(command)) return;
  // At once, and not in the place of a file that may be running.
  copyFileSync(join(root, 'build/Release/wireup-start'), `${command}.new`);
  renameSync(`${command}.new`, command);
}

/** What pkg-config says of libpmi and libpmi2, by paths from its own folder, so that the package can be moved. */
function describeLibrary() {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const values = {
    version,
    libdir: '${pcfiledir}',
    includedir: '${pcfiledir}/../../native/tools/libpmi/include',
  };
  for (const name of ['pmi', 'pmi2']) {
    const text = readFileSync(join(root, `native/tools/lib${name}/wireup-${name}.pc.in`), 'utf8');
    writeFileSync(
      join(root, `build/Release/wireup-${name}.pc`),
      text.replace(/@(\w+)@/g, (_, key) => values[key]),
    );
  }
}
