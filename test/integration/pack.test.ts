/** The npm package: packed, installed by another user without a compiler, and used in an empty project. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { needsRoot } from '../support/hostile-clients';
import { long } from '../support/long';
import { examplesOf, masked } from '../support/readme';
import { makeBareBin, pack, timeout, User, type Packed } from '../support/packed';

const root = needsRoot();
const platform = `linux-${process.arch}`;
const npmInstall = ['install', '--no-audit', '--no-fund'];
const mebibyte = 2 ** 20;

let folder: string;
let packed: Packed;
let user: User;
/** The path of the package in the user's project. */
let installed: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'pack-test-'));
  packed = pack(folder);
  user = new User(folder, { PATH: makeBareBin(folder) });
  installed = join(user.project, 'node_modules/wireup');
  user.run('npm', ...npmInstall, packed.tarball);
}, timeout);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the tarball has what running and compiling need, and is small', () => {
  const top = new Set(packed.files.map((path) => path.split('/')[0]));
  expect([...top].sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'binding.gyp',
    'dist',
    'docs',
    'examples',
    'native',
    'package.json',
    'prebuilds',
  ]);
  const sources = packed.files.filter((path) => !path.startsWith('prebuilds/') && !path.endsWith('.d.ts'));
  expect(sources.filter((path) => /test|\.(o|node|ts)$/.test(path))).toEqual([]);
  expect(packed.size).toBeLessThan(10 * mebibyte);
});

test('the prebuilt binaries need no newer glibc than Node does, and no C++ runtime', () => {
  const prebuilt = join(installed, 'prebuilds', platform);
  expect(JSON.parse(readFileSync(join(prebuilt, 'manifest.json'), 'utf8'))).toEqual({ glibc: '2.28' });
  const binaries = readdirSync(prebuilt).filter((name) => !/\.(json|pc)$/.test(name));
  expect(binaries.sort()).toEqual([
    'libpmi.so.0',
    'libpmi2.so.0',
    'wireup-agent',
    'wireup-bench',
    'wireup-bench-client',
    'wireup-exec',
    'wireup-start',
    'wireup-tap',
    'wireup.node',
  ]);
  const text = execFileSync('readelf', ['--dynamic', '--wide', ...binaries], {
    cwd: prebuilt,
    encoding: 'utf8',
  });
  const needed = [...text.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!);
  expect(needed).toContain('libc.so.6');
  expect(needed.filter((name) => !/^(lib(c|dl|m|pthread)\.so|ld-linux)/.test(name))).toEqual([]);
});

test(`${root.missing ? 'the same' : 'another'} user can use the package that was installed without a compiler`, () => {
  expect(readdirSync(installed)).not.toContain('build');
  const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    version: string;
  };
  expect(user.run('npx', 'wireup', '--version')).toBe(`${version}\n`);
  for (const transport of ['fd', 'unix']) {
    const words = ['wireup', 'run', '-n', '4', '--pmi', transport, 'npx', 'wireup', 'exchange'];
    expect(user.run('npx', ...words)).toMatch(/4 ranks exchanged their cards/);
  }
  const tapped = ['wireup', 'run', '-n', '1', 'npx', 'wireup', 'tap', '--trace-file', 'tap.jsonl'];
  user.run('npx', ...tapped, 'npx', 'wireup', 'exchange');
  expect(user.run('npx', 'wireup', 'trace', 'tap.jsonl')).toMatch(
    / 0: C: cmd=init [^]* 0: S: cmd=finalize_ack/,
  );
  writeFileSync(
    join(user.project, 'both.mjs'),
    "import { launch } from 'wireup';\nimport { createRequire } from 'node:module';\n" +
      "const job = await launch({ program: 'echo', ranks: 2 });\n" +
      "console.log(launch === createRequire(import.meta.url)('wireup').launch, (await job.result).exitCode);\n",
  );
  expect(user.run('node', 'both.mjs')).toBe('\n\ntrue 0\n');
  // The folders of the sockets have been removed.
  expect(readdirSync(user.home).filter((name) => name.startsWith('wireup-'))).toEqual([]);
});

test.each(examplesOf('README.md'))(
  'the README example "$title" runs in an empty project',
  ({ code, output }) => {
    writeFileSync(join(user.project, 'example.mjs'), code);
    // PATH has the programs of the system, which the ranks execute.
    const { stdout, ...rest } = user.try('node', ['example.mjs'], { PATH: process.env.PATH! });
    expect({ stdout: masked(stdout), ...rest }).toEqual({ stdout: masked(output), stderr: '', status: 0 });
  },
);

test('wireup and mpiexec.wireup pass on variables whatever their names', () => {
  for (const command of [['wireup', 'run'], ['mpiexec.wireup']]) {
    const [name, ...words] = command as [string, ...string[]];
    const tool = join(user.project, 'node_modules/.bin', name);
    const output = user.run('env', 'BASH_FUNC_module%%=() { :; }', tool, ...words, '-n', '1', 'env');
    expect(output.split('\n')).toContain('BASH_FUNC_module%%=() { :; }');
  }
});

test('without the install script the commands work too, and only `wireup bench` loads its bundle', () => {
  const prefix = join(user.home, 'global');
  user.run('npm', ...npmInstall, '--global', '--ignore-scripts', '--prefix', prefix, packed.tarball);
  rmSync(join(prefix, 'lib/node_modules/wireup/dist/bench.js'));
  // The stub has no #! line, so execvp() runs it with a shell.
  const command = (name: string, ...words: string[]): string[] => ['sh', join(prefix, 'bin', name), ...words];
  const run = ([program, ...args]: string[]): string => user.run(program!, ...args);
  expect(run(command('mpiexec.wireup', '-n', '1', 'echo', 'global'))).toBe('global\n');
  // Yarn runs it with Node.
  expect(user.run('node', join(prefix, 'bin/mpiexec.wireup'), '-n', '1', 'echo', 'by Node')).toBe(
    'by Node\n',
  );
  const exchange = command('wireup', 'exchange');
  expect(run(command('wireup', 'run', '-n', '2', ...exchange))).toMatch(/2 ranks exchanged/);
  const [program, ...args] = command('wireup', 'bench', '--ranks', '1');
  expect(user.try(program!, args).stderr).toMatch(/Cannot find module '.*bench\.js'/);
});

test('the install script prints one line with what it does, or why it fails', () => {
  const script = join(installed, 'native/build.mjs');
  expect(user.try('node', [script])).toEqual({
    status: 0,
    stdout: `wireup: using the prebuilt binaries for ${platform}\n`,
    stderr: '',
  });
  const cannot = (reason: string): object => ({
    status: 1,
    stdout: '',
    stderr:
      `wireup: cannot be installed: ${reason}, and to compile it these programs are missing: ` +
      'g++, make, python3\n',
  });
  for (const value of ['true', 'other,wireup'])
    expect(user.try('node', [script], { npm_config_build_from_source: value })).toEqual(
      cannot('npm_config_build_from_source is set'),
    );
  expect(user.try('node', [script], { npm_config_build_from_source: 'other' }).status).toBe(0);

  const prebuilt = join(installed, 'prebuilds', platform);
  writeFileSync(join(prebuilt, 'wireup.node'), 'not an addon');
  expect(user.try('node', [script])).toEqual(
    cannot(`the prebuilt binaries do not run here (${join(prebuilt, 'wireup.node')}: file too short)`),
  );
  writeFileSync(join(prebuilt, 'manifest.json'), '{ "glibc": "2.1000" }');
  const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime: string } })
    .header;
  expect(user.try('node', [script])).toEqual(
    cannot(`the prebuilt binaries need glibc 2.1000, and ${glibcVersionRuntime} is here`),
  );
  rmSync(prebuilt, { recursive: true });
  expect(user.try('node', [script])).toEqual(cannot(`the package has no prebuilt binaries for ${platform}`));
  expect(user.try('npx', ['wireup', 'exchange'])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(
      /^wireup: the native parts cannot be loaded: .*; run `npm rebuild wireup`\n$/,
    ) as string,
  });
});

// Only in the long form. The short form compiles in the checkout, with the same function.
if (long)
  test(
    '`npm install --build-from-source` compiles, and `npm rebuild` uses the prebuilt binaries again',
    () => {
      const place = join(folder, 'compiles');
      // Without optimization, which takes most of the time.
      const compiler = new User(place, { PATH: process.env['PATH']!, CXXFLAGS: '-O0' });
      const compiled = join(compiler.project, 'node_modules/wireup');
      const install = [...npmInstall, '--foreground-scripts', '--build-from-source', packed.tarball];
      expect(compiler.run('npm', ...install)).toMatch(
        /^wireup: compiling the native parts, .* \(npm_config_build_from_source is set\)$/m,
      );
      const exchange = ['wireup', 'run', '-n', '2', 'npx', 'wireup', 'exchange'];
      // So that only the compiled binaries can be used.
      renameSync(join(compiled, 'prebuilds'), join(compiled, 'hidden'));
      expect(compiler.run('npx', ...exchange)).toMatch(/2 ranks exchanged/);

      renameSync(join(compiled, 'hidden'), join(compiled, 'prebuilds'));
      expect(compiler.run('npm', 'rebuild', '--foreground-scripts', 'wireup')).toMatch(
        /^wireup: using the prebuilt binaries/m,
      );
      expect(existsSync(join(compiled, 'build'))).toBe(false);
      expect(compiler.run('npx', ...exchange)).toMatch(/2 ranks exchanged/);
    },
    timeout,
  );
