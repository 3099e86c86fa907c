// `npm test`: sets everything up and runs everything, the core's tests first. Ends with one line that counts all
// tests of all runners.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run, setUp } from '../lib/setup.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'out');
const inCi = process.env.CI === 'true';

/** Debian packages that the tests need beside the compiler. */
const packages = ['mpich', 'libmpich-dev', 'doctest-dev', 'gdb', 'bubblewrap', 'pkg-config', 'libpmi2-0', 'libpmi2-0-dev'];
/** Seconds of fuzzing by target. Whoever reaches a port can say anything to a server's session. */
const fuzzSeconds = { server_session: 60, client_session: 30 };

const count = { passed: 0, failed: 0, skipped: 0 };

function headline(text) {
  console.log(`\n== ${text}`);
}

function missingPackages() {
  return packages.filter((name) => {
    const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f=${Status}', name], { encoding: 'utf8' });
    return status !== 0 || !stdout.startsWith('install ok installed');
  });
}

function installPackages() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const canInstall = process.getuid() === 0 && spawnSync('apt-get', ['--version']).status === 0;
  if (!canInstall) {
    console.log(`Not installed, so the tests that need them are skipped: ${missing.join(' ')}`);
    return;
  }
  headline(`installing with apt-get: ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-q'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], { env, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Builds a preset of the core and runs its tests. */
function testCore(preset) {
  headline(`core, preset ${preset}`);
  const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
  run('cmake', ['--preset', preset], quiet);
  run('cmake', ['--build', '--preset', preset, '-j', `${availableParallelism()}`], quiet);
  const report = join(out, `ctest-${preset}.xml`);
  const { status } = spawnSync('ctest', ['--preset', preset, '-j', `${availableParallelism()}`, '--progress', '--output-junit', report], {
    cwd: root,
    stdio: 'inherit',
  });
  const attribute = (name) => Number(new RegExp(`${name}="(\\d+)"`).exec(readFileSync(report, 'utf8'))?.[1] ?? 0);
  const failed = attribute('failures');
  const skipped = attribute('skipped') + attribute('disabled');
  count.passed += attribute('tests') - failed - skipped;
  count.failed += failed;
  count.skipped += skipped;
  if (status !== 0 && failed === 0) count.failed++;
}

function fuzz() {
  for (const [target, seconds] of Object.entries(fuzzSeconds)) {
    headline(`fuzzing ${target} for ${seconds} seconds`);
    const { status } = spawnSync(join(out, `asan/test/fuzz/${target}_fuzz`), ['--seconds', `${seconds}`, '--seed', `${Date.now() % 1e9}`], {
      cwd: root,
      stdio: 'inherit',
    });
    count[status === 0 ? 'passed' : 'failed']++;
  }
}

function testCmakeJs() {
  headline('the addon by cmake-js');
  run('npx', ['cmake-js', 'compile', '--out', 'out/cmake-js', '--log-level', 'error', '--parallel', `${availableParallelism()}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function testJavaScript() {
  headline('types and TypeScript tests');
  run('npx', ['tsc', '-p', '.']);
  const report = join(out, 'vitest.json');
  rmSync(report, { force: true });
  const { status } = spawnSync('npx', ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(report, 'utf8'));
  count.passed += numPassedTests;
  count.failed += numFailedTests;
  count.skipped += numPendingTests + numTodoTests;
  if (status !== 0 && numFailedTests === 0) count.failed++;
}

headline('setting up');
mkdirSync(out, { recursive: true });
setUp();
installPackages();
const missing = missingPackages();
if (missing.length > 0 && inCi) {
  console.error(`wireup: CI=true, but these packages are missing: ${missing.join(' ')}`);
  process.exit(1);
}
if (missing.includes('doctest-dev')) {
  console.log('doctest-dev is missing: the tests of the core are skipped');
  count.skipped++;
} else {
  for (const preset of ['dev', 'asan', 'tsan']) testCore(preset);
  fuzz();
}
testCmakeJs();
testJavaScript();

console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
process.exit(count.failed === 0 ? 0 : 1);
