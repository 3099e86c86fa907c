// `npm test`: sets everything up and runs all tests. Ends with one line that counts the tests of all runners.
//
//   node test/run.mjs                                    the short form
//   node test/run.mjs --long [--fuzz-seconds N]          `npm run test:long`: everything in its long form
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { lint } from './run/lint.mjs';
import { buildCore, fuzz, testAddon, testCore, testManyHosts } from './run/native.mjs';
import { installPackages, missingPackages, packages } from './run/packages.mjs';
import { count, out, step } from './run/report.mjs';
import { vitest } from './run/vitest.mjs';

const { values } = parseArgs({
  options: { long: { type: 'boolean', default: false }, 'fuzz-seconds': { type: 'string' } },
});
const long = values.long;
/** Seconds for each target. The server's session gets more, because any process that reaches a port can send to it. */
const fuzzSeconds = {
  server_session: 30,
  client_session: 15,
  link_framer: 5,
  exchange: 15,
  recording: 5,
  boot_record: 5,
};
if (long) {
  const seconds = Number(values['fuzz-seconds'] ?? 3600);
  for (const target of Object.keys(fuzzSeconds)) fuzzSeconds[target] = seconds;
}
const env = long ? { WIREUP_TEST_LONG: '1' } : {};

const build = (preset) =>
  step(`build of the core, preset ${preset}`, (command) => buildCore(preset, command));

/** The C++ tests have deadlines, so no other step runs beside them. */
async function testCores({ asan, tsan }) {
  await Promise.all([
    asan && step('core, preset asan', (command) => testCore('asan', command)),
    tsan && step('core, preset tsan', (command) => testCore('tsan', command)),
  ]);
  if (!asan) return;
  await step('jobs with the addon, preset asan', testAddon);
  await step('fuzzing', (command) => fuzz(fuzzSeconds, command));
}

async function texts(missing) {
  await step('types', (command) => command('npx', ['tsc', '-p', '.']));
  await lint(long, missing);
}

/** Returns whether the checkout can be tested. */
const setUp = () =>
  step('checkout: packages of the lock file, native parts, dist/', (command) =>
    command(process.execPath, ['lib/setup.mjs']),
  );

async function testAll() {
  // Without a network, the tests run with the packages that are installed.
  await step('Debian packages', installPackages);
  const missing = missingPackages();
  for (const name of missing) console.log(`${name} is not installed; skipped without it: ${packages[name]}`);
  if (missing.length > 0 && process.env.CI === 'true') {
    console.error(`wireup: CI=true, but these packages are missing: ${missing.join(' ')}`);
    count.failed++;
    return;
  }
  const testsCore = !missing.includes('doctest-dev');
  if (!testsCore) count.skipped++;
  // TSan is for code with threads. wire, engine and the agent have none. Its build needs nothing that the set-up makes.
  const tsanBuilt = testsCore && build('tsan');
  if (await setUp()) {
    if (long) await step('MPICH that can spawn', (command) => command('test/interop/build-mpich.sh', []));
    const computed = Promise.all([testsCore && build('asan'), tsanBuilt]).then(async ([asan, tsan]) => {
      await texts(missing);
      return { asan, tsan };
    });
    // Steps that compute, beside tests that mostly wait.
    await step('tests in parallel', (command) => vitest('parallel', env, command));
    await testCores(await computed);
    if (long && testsCore)
      await step('an engine for each of 1,024 hosts', (command) => testManyHosts(env, command));
    await step('tests one at a time', (command) => vitest('serial', env, command));
  }
  await tsanBuilt;
}

mkdirSync(out, { recursive: true });
await testAll();
console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
process.exit(count.failed === 0 ? 0 : 1);
