// The programs and libraries that the tests use: the path of each, and the Debian package that has it.

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { delimiter, join } from 'node:path';

import { long } from './long';

/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

// The Debian package of each, or another requirement. The title of a skipped suite names it.
const packages = {
  bash: 'bash',
  busybox: 'busybox',
  bwrap: 'bubblewrap, where namespaces can be made',
  'c++': 'g++',
  cc: 'gcc',
  'eu-stack': 'elfutils',
  fish: 'fish',
  gdb: 'gdb',
  // mpiexec -pmi-port passes the host name to its ranks, which resolve it.
  hostname: 'a host name that resolves',
  chromium: 'chromium',
  cmake: 'cmake',
  csh: 'tcsh',
  ip: 'iproute2, where root can make network namespaces',
  // Slurm's PMI-2 client library.
  libpmi2: 'libpmi2-0',
  mandoc: 'mandoc',
  mpicc: 'libmpich-dev',
  mpiexec: 'mpich',
  munged: 'munge',
  nohup: 'coreutils',
  nsenter: 'util-linux',
  'pkg-config': 'pkg-config',
  prlimit: 'util-linux',
  prometheus: 'prometheus',
  promtool: 'prometheus',
  script: 'bsdutils',
  setsid: 'util-linux',
  slurmctld: 'slurmctld',
  slurmd: 'slurmd',
  srun: 'slurm-client',
  ssh: 'openssh-client',
  sshd: 'openssh-server',
  tcsh: 'tcsh',
  unshare: 'util-linux',
  valgrind: 'valgrind',
  zsh: 'zsh',
} as const;
type Name = keyof typeof packages;

function onPath(name: string, path = process.env['PATH'] ?? ''): string | undefined {
  for (const folder of path.split(delimiter)) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

function lookFor(name: Name): string | undefined {
  switch (name) {
    case 'bwrap': {
      const path = onPath(name);
      const probe = ['--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
      return path !== undefined && spawnSync(path, probe, { timeout }).status === 0 ? path : undefined;
    }
    case 'hostname':
      return spawnSync('getent', ['hosts', hostname()], { timeout }).status === 0 ? hostname() : undefined;
    case 'ip': {
      const path = onPath(name);
      const probe = ['-n', path ?? '', 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'other'];
      return path !== undefined && spawnSync('unshare', probe, { timeout }).status === 0 ? path : undefined;
    }
    case 'libpmi2': {
      const listed = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8', timeout }).stdout ?? '';
      return /libpmi2\.so\.0 .* => (\S+)/.exec(listed)?.[1];
    }
    case 'mpicc':
    case 'mpiexec':
      // The plain names may be those of Open MPI, which does not use PMI-1.
      return onPath(`${name}.mpich`) ?? (onPath('mpichversion') === undefined ? undefined : onPath(name));
    case 'sshd':
      // Not in every user's PATH.
      return onPath(name, '/usr/sbin:/usr/local/sbin');
    default:
      return onPath(name);
  }
}

const found = new Map<Name, string | undefined>();

function find(name: Name): string | undefined {
  if (!found.has(name)) {
    found.set(name, lookFor(name));
  }
  return found.get(name);
}

/** The path of a program or library that `needs()` has found. */
export function installed(name: Name): string {
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not installed (Debian package ${packages[name]})`);
  return path;
}

/**
 * For `describe.skipIf(tools.missing)(`title${tools.note}`)`: the note names the missing packages. Throws if a package
 * is missing and CI=true, because CI must skip no test.
 */
export function needs(...names: Name[]): { missing: boolean; note: string } {
  const missing = [
    ...new Set(names.filter((name) => find(name) === undefined).map((name) => packages[name])),
  ];
  if (missing.length === 0) return { missing: false, note: '' };
  if (process.env['CI'] === 'true') throw new Error(`CI=true and not installed: ${missing.join(', ')}`);
  return { missing: true, note: ` (needs ${missing.join(', ')})` };
}

/**
 * The mpicc of the MPICH that test/interop/build-mpich.sh builds. This MPICH can spawn, open ports and connect. The
 * build takes a quarter of an hour, so only the long form of the tests fails without it.
 */
export function dynamicMpich(): { missing: boolean; note: string; mpicc: string } {
  const cache =
    process.env['WIREUP_TEST_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'wireup');
  const mpicc = join(cache, 'mpich-ch3-nemesis/bin/mpicc');
  const missing = !existsSync(mpicc);
  if (missing && long) throw new Error(`test/interop/build-mpich.sh has not built ${mpicc}`);
  return { missing, note: missing ? ' (needs test/interop/build-mpich.sh to have been run)' : '', mpicc };
}
