// The prebuilt binaries of the package: prebuilds/<platform>-<arch>/, the folder names of prebuildify and node-gyp-build.
// docs/install.md gives the reason why the package uses neither.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './compile.mjs';

export const platform = `${process.platform}-${process.arch}`;
export const prebuiltFolder = join(root, 'prebuilds', platform);

/** The version of the C library that this Node process uses; undefined if it is not glibc. */
function runningGlibc() {
  // Without this, the report resolves the names of all network peers of this process.
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime;
}

function isOlder(version, than) {
  return version.localeCompare(than, 'en', { numeric: true }) < 0;
}

/** The reason why this machine cannot use the prebuilt binaries; undefined if it can. */
export function findMisfit() {
  const manifest = join(prebuiltFolder, 'manifest.json');
  if (!existsSync(manifest)) return `the package has no prebuilt binaries for ${platform}`;
  const needed = JSON.parse(readFileSync(manifest, 'utf8')).glibc;
  const running = runningGlibc();
  if (running === undefined) return 'the prebuilt binaries need glibc, and the C library here is another one';
  if (isOlder(running, needed)) return `the prebuilt binaries need glibc ${needed}, and ${running} is here`;
  // In a process of its own, because a binary that does not fit may end it by a signal.
  for (const [program, ...args] of [
    [process.execPath, '-e', 'require(process.argv[1])', join(prebuiltFolder, 'wireup.node')],
    [join(prebuiltFolder, 'wireup-exec'), '--version'],
  ]) {
    const { status, signal, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
    if (status === 0) continue;
    const reason =
      /^.*Error: (.*)$/m.exec(stderr ?? '')?.[1] ?? error?.message ?? signal ?? `exit code ${status}`;
    return `the prebuilt binaries do not run here (${reason})`;
  }
  return undefined;
}
