// `npm test`: sets everything up and runs everything, the core's tests first. Ends with one line that counts all
// tests of all runners.
import { deepEqual } from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, setUp } from '../lib/setup.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'out');
const inCi = process.env.CI === 'true';

/** Debian packages that the tests need beside the compiler, and what is skipped without each. */
const packages = {
  mpich: 'every comparison with mpiexec',
  'libmpich-dev': 'every MPI program',
  'doctest-dev': 'the tests of the core, and fuzzing',
  gdb: 'debuggers',
  valgrind: 'what a get costs',
  bubblewrap: 'ranks in sandboxes',
  'pkg-config': 'the calls of libpmi',
  iproute2: 'ranks on another machine',
  'libpmi2-0': 'ranks that stand on Slurm’s PMI-2 client',
  munge: 'ranks under Slurm',
  slurmctld: 'ranks under Slurm',
  slurmd: 'ranks under Slurm',
  'slurm-client': 'ranks under Slurm',
  'libpmi2-0-dev': 'ranks that stand on Slurm’s PMI-2 client',
};
/** Seconds of fuzzing by target. Whoever reaches a port can say anything to a server's session. */
const fuzzSeconds = { server_session: 60, client_session: 30 };

const count = { passed: 0, failed: 0, skipped: 0 };

function headline(text) {
  console.log(`\n== ${text}`);
}

/** What fails is counted, and is no reason not to do the rest. */
async function step(work) {
  try {
    await work();
    return true;
  } catch (error) {
    console.error(`wireup: ${error.message}`);
    count.failed++;
    return false;
  }
}

/** What a build says on its standard output (ninja: the compiler's errors too) is of interest only when it fails. */
function build(command, args) {
  const { status, stdout } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status === 0) return;
  console.log(stdout ?? '');
  throw new Error(`${command} ${args.join(' ')} failed`);
}

function missingPackages() {
  return Object.keys(packages).filter((name) => {
    const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' });
    return status !== 0 || !stdout.startsWith('install ok installed');
  });
}

function installPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const canInstall = process.getuid() === 0 && spawnSync('apt-get', ['--version']).status === 0;
  if (!canInstall) return;
  headline(`installing with apt-get: ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-q'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Builds a preset of the core and runs its tests. */
function testCore(preset) {
  headline(`core, preset ${preset}`);
  build('cmake', ['--preset', preset]);
  build('cmake', ['--build', '--preset', preset, '-j', `${availableParallelism()}`]);
  const report = join(out, `ctest-${preset}.xml`);
  // Some of them wait more than they compute.
  const { status } = spawnSync(
    'ctest',
    ['--preset', preset, '-j', `${2 * availableParallelism()}`, '--progress', '--output-junit', report],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  const attribute = (name) =>
    Number(new RegExp(`${name}="(\\d+)"`).exec(readFileSync(report, 'utf8'))?.[1] ?? 0);
  const failed = attribute('failures');
  const skipped = attribute('skipped') + attribute('disabled');
  count.passed += attribute('tests') - failed - skipped;
  count.failed += failed;
  count.skipped += skipped;
  if (status !== 0 && failed === 0) count.failed++;
}

/** All targets at once: each keeps one core busy. */
async function fuzz() {
  const said = Object.entries(fuzzSeconds).map(([target, seconds]) => `${target} for ${seconds} seconds`);
  headline(`fuzzing ${said.join(', ')}`);
  const runs = Object.entries(fuzzSeconds).map(([target, seconds]) =>
    spawn(
      join(out, `asan/test/fuzz/${target}_fuzz`),
      ['--seconds', `${seconds}`, '--seed', `${Date.now() % 1e9}`],
      { cwd: root, stdio: 'inherit' },
    ),
  );
  const ends = await Promise.all(runs.map((run) => once(run, 'close').catch((error) => [error.code])));
  for (const [code] of ends) count[code === 0 ? 'passed' : 'failed']++;
}

/**
 * The addon is compiled with warnings only here: node-gyp's build is a user's. So is each file of the core by itself; the
 * tools are by the presets. Not optimised: that is tested by its own build.
 */
function testCmakeJs() {
  headline('the addon by cmake-js');
  const options = [
    '--out',
    'out/cmake-js',
    '--config',
    'Debug',
    '--CDCMAKE_CXX_FLAGS_DEBUG=-O0',
    '--CDWIREUP_WERROR=ON',
    '--log-level',
    'error',
  ];
  build('npx', [
    'cmake-js',
    'compile',
    '--target',
    'wireup',
    ...options,
    '--parallel',
    `${availableParallelism()}`,
  ]);
  const { parseAddress } = createRequire(import.meta.url)('../out/cmake-js/Debug/wireup.node');
  deepEqual(parseAddress('[::1]:5000'), { kind: 'tcp', host: '::1', port: 5000, uri: 'tcp://[::1]:5000' });
  count.passed++;
}

function testJavaScript() {
  headline('types and TypeScript tests');
  run('npx', ['tsc', '-p', '.']);
  const report = join(out, 'vitest.json');
  rmSync(report, { force: true });
  const { status } = spawnSync(
    'npx',
    ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`],
    {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    },
  );
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  count.passed += numPassedTests;
  count.failed += numFailedTests;
  count.skipped += numPendingTests + numTodoTests;
  if (status !== 0 && numFailedTests === 0) count.failed++;
}

async function testAll() {
  headline('setting up');
  mkdirSync(out, { recursive: true });
  setUp();
  // Without the network what is there is tried.
  await step(installPackages);
  const missing = missingPackages();
  for (const name of missing) console.log(`${name} is not installed; skipped without it: ${packages[name]}`);
  if (missing.length > 0 && inCi)
    throw new Error(`CI=true, but these packages are missing: ${missing.join(' ')}`);
  if (missing.includes('doctest-dev')) {
    count.skipped++;
  } else {
    // TSan is for what has threads: wire and job have none.
    const built = await step(() => testCore('asan'));
    await step(() => testCore('tsan'));
    if (built) await step(fuzz);
  }
  await step(testCmakeJs);
  await step(testJavaScript);
}

await step(testAll);
console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
process.exit(count.failed === 0 ? 0 : 1);
