// Hosts without libzmq, and hosts whose libzmq has no CURVE. They share the files of this machine otherwise.

import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { installed } from './installed';

/** The file of libzmq.so.5, which the loader finds. */
function libraryFile(): string {
  const listed = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  return realpathSync(/libzmq\.so\.5 .* => (\S+)/.exec(listed)![1]!);
}

function writeScript(path: string, script: string): string {
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}

/** A command that runs a program without libzmq: an empty file is in its place. It needs root. */
export function withoutZmq(folder: string): string[] {
  const empty = join(folder, 'empty');
  writeFileSync(empty, '');
  const script = `mount --bind '${empty}' '${libraryFile()}' && exec "$@"`;
  return [installed('unshare'), '--mount', 'sh', '-c', script, 'sh'];
}

/** A folder for LD_LIBRARY_PATH, whose libzmq.so.5 is this machine's without CURVE. */
export function makeZmqWithoutCurve(folder: string): string {
  // The loader opens one library of a name, so this machine's gets another name. It stands in the file's table of strings.
  const real = readFileSync(libraryFile()).toString('latin1').replaceAll('libzmq.so.5', 'libzmq.so.R');
  writeFileSync(join(folder, 'libzmq.so.R'), Buffer.from(real, 'latin1'));
  const source = join(folder, 'no_curve.c');
  writeFileSync(
    source,
    `#include <errno.h>
#include <string.h>
int zmq_has(const char* capability) { return strcmp(capability, "curve") != 0; }
int zmq_curve_keypair(char* a, char* b) { (void)a; (void)b; errno = ENOTSUP; return -1; }
int zmq_curve_public(char* a, const char* b) { (void)a; (void)b; errno = ENOTSUP; return -1; }
`,
  );
  execFileSync(installed('cc'), [
    ...['-shared', '-fPIC', '-o', join(folder, 'libzmq.so.5'), source],
    ...['-Wl,--no-as-needed', join(folder, 'libzmq.so.R'), `-Wl,-rpath,${folder}`],
  ]);
  return folder;
}

/** A command of the form COMMAND HOST PROGRAM that runs the program of one host by `words`, and those of others as they are. */
export function onHost(path: string, host: string, words: readonly string[]): string {
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  return writeScript(path, `host=$1; shift; [ "$host" != ${host} ] || exec ${quoted} "$@"; exec "$@"`);
}
