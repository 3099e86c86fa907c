// The `prepack` script: builds prebuilds/ for this machine's processor and, if Debian's cross compiler is installed,
// for the other one. `npm publish` fails without both.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile, root } from './compile.mjs';

/** The prefixes of the names of the cross compiler's programs. */
const crossPrefixes = { x64: 'x86_64-linux-gnu-', arm64: 'aarch64-linux-gnu-' };
const programs = [
  'wireup-agent',
  'wireup-exec',
  'wireup-start',
  'wireup-tap',
  'wireup-bench',
  'wireup-bench-client',
];
const libraries = ['wireup.node', 'libpmi.so.0', 'libpmi2.so.0'];
const texts = ['wireup-pmi.pc', 'wireup-pmi2.pc'];

/** Compiles for another processor in a folder of its own, because node-gyp has only one build/. */
function crossCompile(arch, prefix) {
  const folder = join(root, 'out', `linux-${arch}`);
  rmSync(join(folder, 'native'), { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ['native', 'binding.gyp', 'package.json'])
    cpSync(join(root, name), join(folder, name), { recursive: true, preserveTimestamps: true });
  rmSync(join(folder, 'node_modules'), { force: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const env = { CC: `${prefix}gcc`, CXX: `${prefix}g++`, LINK: `${prefix}g++`, AR: `${prefix}ar` };
  compile({ folder, update: true, arch, env });
  return folder;
}

/** The newest version of glibc whose symbols a binary needs. */
function neededGlibc(files) {
  const text = execFileSync('readelf', ['--wide', '--version-info', ...files], { encoding: 'utf8' });
  const versions = [...text.matchAll(/Name: GLIBC_([\d.]+)/g)].map((match) => match[1]);
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}

/** Copies the binaries of build/Release and strips their symbol tables, except the variables that debuggers look up. */
function collect(folder, arch, prefix) {
  const target = join(root, 'prebuilds', `linux-${arch}`);
  mkdirSync(target, { recursive: true });
  for (const name of [...programs, ...libraries, ...texts])
    copyFileSync(join(folder, 'build/Release', name), join(target, name));
  const binaries = [...programs, ...libraries].map((name) => join(target, name));
  execFileSync(`${prefix}strip`, ['--strip-unneeded', '--wildcard', '--keep-symbol=MPIR_*', ...binaries]);
  for (const name of programs) chmodSync(join(target, name), 0o755);
  const glibc = neededGlibc(binaries);
  writeFileSync(join(target, 'manifest.json'), `${JSON.stringify({ glibc })}\n`);
  console.error(`wireup: prebuilt for linux-${arch}, needs glibc ${glibc}`);
}

rmSync(join(root, 'prebuilds'), { recursive: true, force: true });
for (const [arch, crossPrefix] of Object.entries(crossPrefixes)) {
  const isHere = arch === process.arch;
  const prefix = isHere ? '' : crossPrefix;
  if (!isHere && spawnSync(`${prefix}g++`, ['--version']).error !== undefined) {
    const message = `not prebuilt for linux-${arch}: ${prefix}g++ is not installed`;
    if (process.env.npm_command === 'publish') throw new Error(message);
    console.error(`wireup: ${message}`);
    continue;
  }
  if (isHere) compile({ update: true });
  collect(isHere ? root : crossCompile(arch, prefix), arch, prefix);
}
