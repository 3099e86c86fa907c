// `npm test`: sets everything up and runs all tests. Ends with one line that counts the tests of all runners.
//
//   node test/run.mjs                                    the short form
//   node test/run.mjs --long [--fuzz-seconds N]          `npm run test:long`: everything in its long form
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setUp } from '../lib/setup.mjs';
import { lint } from './run/lint.mjs';
import { buildCore, fuzz, testAddon, testCore } from './run/native.mjs';
import { installPackages, missingPackages, packages } from './run/packages.mjs';
import { count, out, step } from './run/report.mjs';
import { vitest } from './run/vitest.mjs';

const { values } = parseArgs({
  options: { long: { type: 'boolean', default: false }, 'fuzz-seconds': { type: 'string' } },
});
const long = values.long;
/** Seconds for each target. The server's session gets more, because any process that reaches a port can send to it. */
const fuzzSeconds = { server_session: 30, client_session: 15, link_framer: 5, exchange: 15, recording: 5 };
if (long) {
  const seconds = Number(values['fuzz-seconds'] ?? 3600);
  for (const target of Object.keys(fuzzSeconds)) fuzzSeconds[target] = seconds;
}
const env = long ? { WIREUP_TEST_LONG: '1' } : {};

/** The steps that compute. They overlap with the tests that mostly wait. */
async function computing(missing) {
  if (!missing.includes('doctest-dev')) {
    const [asan] = await Promise.all(
      // TSan is for code with threads. wire, engine and the agent have none.
      ['asan', 'tsan'].map((preset) =>
        step(`build of the core, preset ${preset}`, (command) => buildCore(preset, command)),
      ),
    );
    await Promise.all([
      step('core, preset asan', (command) => testCore('asan', command)),
      step('core, preset tsan', (command) => testCore('tsan', command)),
    ]);
    if (asan) {
      await step('jobs with the addon, preset asan', testAddon);
      await step('fuzzing', (command) => fuzz(fuzzSeconds, command));
    }
  } else {
    count.skipped++;
  }
  await step('types', (command) => command('npx', ['tsc', '-p', '.']));
  await lint(long, missing);
}

/** Returns whether there is something to test. */
async function prepare() {
  mkdirSync(out, { recursive: true });
  const ready = await step('checkout: packages of the lock file, native parts, dist/', setUp);
  // Without a network, the tests run with the packages that are installed.
  await step('Debian packages', installPackages);
  return ready;
}

async function testAll() {
  const missing = missingPackages();
  for (const name of missing) console.log(`${name} is not installed; skipped without it: ${packages[name]}`);
  if (missing.length > 0 && process.env.CI === 'true') {
    console.error(`wireup: CI=true, but these packages are missing: ${missing.join(' ')}`);
    count.failed++;
    return;
  }
  if (long) await step('MPICH that can spawn', (command) => command('test/interop/build-mpich.sh', []));
  await Promise.all([
    computing(missing),
    step('tests in parallel', (command) => vitest('parallel', env, command)),
  ]);
  await step('tests one at a time', (command) => vitest('serial', env, command));
}

if (await prepare()) await testAll();
console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
process.exit(count.failed === 0 ? 0 : 1);
