// The Debian packages that the tests need beside the compiler.
import { spawnSync } from 'node:child_process';

/** For each package, the tests that are skipped without it. */
export const packages = {
  mpich: 'every comparison with mpiexec',
  'libmpich-dev': 'every MPI program',
  clang: 'nothing, but the tests of the core take longer to compile',
  'libclang-rt-dev': 'nothing, but the tests of the core take longer to compile',
  'clang-format': 'the format of the C++',
  'clang-tidy': 'defects in the C++ that tools find',
  'doctest-dev': 'the tests of the core, and fuzzing',
  chromium: 'the pages of timelines and benchmarks',
  fish: 'commands for the shells of other hosts, completion in fish',
  elfutils: 'the stacks of ranks',
  gdb: 'debuggers, and the stacks of ranks',
  valgrind: 'the cost of a get',
  busybox: 'the start of an agent that is sent to a host',
  bubblewrap: 'ranks in sandboxes',
  'pkg-config': 'the calls of libpmi',
  prometheus: 'metrics',
  iproute2: 'ranks on another machine',
  'openssh-client': 'hosts that are reached by ssh',
  'openssh-server': 'hosts that are reached by ssh',
  tcsh: 'commands for the shells of other hosts',
  'libpmi2-0': 'ranks that use Slurm’s PMI-2 client',
  'libpmi2-0-dev': 'ranks that use Slurm’s PMI-2 client',
  libzmq5: 'links over ZeroMQ',
  mandoc: 'the man pages',
  munge: 'ranks under Slurm',
  slurmctld: 'ranks under Slurm',
  slurmd: 'ranks under Slurm',
  'slurm-client': 'ranks under Slurm',
  zsh: 'completion in zsh',
};

export function missingPackages() {
  return Object.keys(packages).filter((name) => {
    const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' });
    return status !== 0 || !stdout.startsWith('install ok installed');
  });
}

/** Installs the missing packages if the tests run as root and apt-get exists. */
export async function installPackages(command) {
  const missing = missingPackages();
  const canInstall = process.getuid() === 0 && spawnSync('apt-get', ['--version']).status === 0;
  if (missing.length === 0 || !canInstall) return;
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  await command('apt-get', ['update', '-q'], { env, quiet: true });
  await command('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], {
    env,
    quiet: true,
  });
}
