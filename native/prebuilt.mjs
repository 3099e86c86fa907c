// The prebuilt binaries of the package: prebuilds/<platform>-<arch>/, the names that prebuildify and node-gyp-build use.
// docs/install.md tells why neither of these is used.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './compile.mjs';

export const platform = `${process.platform}-${process.arch}`;
export const prebuiltFolder = join(root, 'prebuilds', platform);

/** The version of the C library that this Node runs on; undefined if it is not glibc. */
function runningGlibc() {
  // Otherwise the report looks up the names of all peers of this process.
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime;
}

function isOlder(version, than) {
  return version.localeCompare(than, 'en', { numeric: true }) < 0;
}

/** Why this machine cannot use the prebuilt binaries; undefined if it can. */
export function findMisfit() {
  const manifest = join(prebuiltFolder, 'manifest.json');
  if (!existsSync(manifest)) return `the package has no prebuilt binaries for ${platform}`;
  const needed = JSON.parse(readFileSync(manifest, 'utf8')).glibc;
  const running = runningGlibc();
  if (running === undefined) return 'the prebuilt binaries need glibc, and the C library here is another one';
  if (isOlder(running, needed)) return `the prebuilt binaries need glibc ${needed}, and ${running} is here`;
  // In processes of their own, since a fault may also be a signal.
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
