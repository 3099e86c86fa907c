// Makes a checkout ready: the packages of the lock file, the native parts, dist/. Skips what is up to date. Uses only
// Node's own modules, because it runs before any package is installed.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** Throws an error if it fails. */
export function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (status === 0) return;
  throw new Error(
    `${command} ${args.join(' ')} failed (${error?.message ?? signal ?? `exit code ${status}`})`,
  );
}

function packagesAreCurrent() {
  const installed = join(root, 'node_modules/.package-lock.json');
  return (
    existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs
  );
}

export function setUp() {
  if (!existsSync(join(root, 'build/Release/wireup.node'))) {
    console.log(
      'wireup: the first start installs packages and compiles, which takes one to three minutes; later ones take seconds',
    );
  }
  if (!packagesAreCurrent()) run('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit']);
  run(process.execPath, ['native/build.mjs', '--update']);
  run(process.execPath, ['lib/build.mjs']);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    setUp();
  } catch (error) {
    console.error(`wireup: ${error.message}`);
    process.exitCode = 1;
  }
}
