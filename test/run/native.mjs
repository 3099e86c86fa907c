// The C++ tests: the core under sanitizers, fuzzing, and the addon.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism, machine } from 'node:os';
import { join } from 'node:path';
import { count, out, root } from './report.mjs';

const jobs = `${availableParallelism()}`;

/** The path of ASan's library for programs that are not compiled with it. Undefined: the compiler has none. */
function asanLibrary(compiler, name) {
  const { stdout } = spawnSync(compiler, [`-print-file-name=${name}`], { encoding: 'utf8' });
  const path = stdout?.trim();
  return path && existsSync(path) ? path : undefined;
}

const asanOfClang = () => asanLibrary('clang++', `libclang_rt.asan-${machine()}.so`);

/** clang compiles the preset asan in 0.6 of the time that g++ takes. Without it, CMake chooses. */
const withCompiler = () => (asanOfClang() ? { env: { CXX: 'clang++' } } : {});

/** Builds with all warnings as errors. The preset asan includes the addon, so cmake-js configures and builds its tree. */
export async function buildCore(preset, command) {
  if (preset === 'asan') {
    const tree = ['--out', join(out, preset), '--config', 'Debug', '--log-level', 'error'];
    await command('npx', ['cmake-js', 'configure', ...tree, '--', '--preset', preset], {
      quiet: true,
      ...withCompiler(),
    });
    await command('npx', ['cmake-js', 'build', ...tree, '--parallel', jobs], { quiet: true });
  } else {
    await command('cmake', ['--preset', preset], { quiet: true });
    await command('cmake', ['--build', '--preset', preset, '-j', jobs], { quiet: true });
  }
}

/** Runs the tests of a preset that has been built. */
export async function testCore(preset, command) {
  const report = join(out, `ctest-${preset}.xml`);
  // Some tests wait more than they compute.
  const parallel = `${2 * availableParallelism()}`;
  const code = await command('ctest', ['--preset', preset, '-j', parallel, '--output-junit', report], {
    mayFail: true,
  });
  const attribute = (name) =>
    Number(new RegExp(`${name}="(\\d+)"`).exec(readFileSync(report, 'utf8'))?.[1] ?? 0);
  const failed = attribute('failures');
  const skipped = attribute('skipped') + attribute('disabled');
  count.passed += attribute('tests') - failed - skipped;
  count.failed += failed;
  count.skipped += skipped;
  if (code !== 0 && failed === 0) throw new Error('ctest failed');
}

/** The long form of test/native/engine/many_hosts_test.cpp, without sanitizers, with which it takes many times as long. */
export async function testManyHosts(env, command) {
  await command('cmake', ['--preset', 'dev'], { quiet: true });
  await command('cmake', ['--build', '--preset', 'dev', '-j', jobs, '--target', 'engine_tests'], {
    quiet: true,
  });
  const code = await command(join(out, 'dev/test/native/engine_tests'), ['-tc=many hosts*'], {
    env,
    mayFail: true,
  });
  count[code === 0 ? 'passed' : 'failed']++;
}

/** Fuzzes all targets at the same time. Each keeps one processor busy. */
export async function fuzz(seconds, command) {
  const runs = Object.entries(seconds).map(([target, time]) =>
    command(
      join(out, `asan/test/fuzz/${target}_fuzz`),
      ['--seconds', `${time}`, '--seed', `${Date.now() % 1e9}`],
      { mayFail: true },
    ),
  );
  for (const code of await Promise.all(runs)) count[code === 0 ? 'passed' : 'failed']++;
}

/** Runs a job over each transport, with the addon and the agent of the preset asan. */
export async function testAddon(command) {
  // The library looks for the addon in ../build/Release.
  const place = join(out, 'asan-package');
  rmSync(place, { recursive: true, force: true });
  cpSync(join(root, 'dist'), join(place, 'dist'), { recursive: true });
  mkdirSync(join(place, 'build'));
  symlinkSync(join(out, 'asan/Debug'), join(place, 'build/Release'));
  const wireup = [process.execPath, join(place, 'dist/cli.js')];
  const libasan = asanOfClang() ?? asanLibrary('g++', 'libasan.so');
  // Node itself does not free all of its memory at its end.
  const env = { LD_PRELOAD: libasan, ASAN_OPTIONS: 'detect_leaks=0' };
  for (const pmi of ['fd', 'tcp', 'unix']) {
    const [file, ...args] = [...wireup, 'run', '-n', '4', '--pmi', pmi, ...wireup, 'exchange'];
    const code = await command(file, args, { env, mayFail: true });
    count[code === 0 ? 'passed' : 'failed']++;
  }
}
