/** The package as others get it: packed, installed by another user into an empty folder, and used there. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { needsRoot } from '../support/strangers';

const checkout = join(__dirname, '../..');
/** Debian's `nobody`: a user who owns nothing here. */
const NOBODY = 65534;
const root = needsRoot();

/** For each step of which vitest cannot interrupt any; installing compiles. */
const timeout = 500_000;

if (root.missing) test.skip(`npm pack, install elsewhere as another user, run${root.note}`, () => undefined);

test(
  `npm pack, install elsewhere as ${root.missing ? 'ourselves' : 'another user'}, run`,
  { timeout: 600_000 },
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'pack-test-'));
    try {
      // Of a copy: packing makes dist/ anew, which others use.
      const copy = join(folder, 'checkout');
      mkdirSync(copy);
      for (const name of [
        'lib',
        'native',
        'docs',
        'dist',
        'binding.gyp',
        'package.json',
        'tsconfig.json',
        'README.md',
        'LICENSE',
      ]) {
        cpSync(join(checkout, name), join(copy, name), { recursive: true });
      }
      symlinkSync(join(checkout, 'node_modules'), join(copy, 'node_modules'));
      const pack = ['pack', '--json', '--foreground-scripts=false', '--pack-destination', folder];
      const packed = spawnSync('npm', pack, { cwd: copy, encoding: 'utf8', timeout });
      expect(packed.status, packed.stderr).toBe(0);
      const [{ filename, files }] = JSON.parse(packed.stdout) as [
        { filename: string; files: { path: string }[] },
      ];
      const top = new Set(files.map(({ path }) => path.split('/')[0]));
      expect([...top].sort()).toEqual([
        'LICENSE',
        'README.md',
        'binding.gyp',
        'dist',
        'docs',
        'native',
        'package.json',
      ]);
      expect(
        files
          .map(({ path }) => path)
          .filter((path) => /test|\.(o|node|ts)$/.test(path) && !path.endsWith('.d.ts')),
      ).toEqual([]);

      const home = join(folder, 'home');
      const project = join(home, 'project');
      mkdirSync(project, { recursive: true });
      writeFileSync(join(project, 'package.json'), '{ "private": true }');
      writeFileSync(
        join(project, 'both.mjs'),
        "import { launch } from 'wireup';\nimport { createRequire } from 'node:module';\n" +
          "console.log(launch === createRequire(import.meta.url)('wireup').launch);\n",
      );
      chmodSync(folder, 0o755);
      const who = root.missing ? {} : { uid: NOBODY, gid: NOBODY };
      if (!root.missing)
        for (const path of [home, project, join(project, 'package.json')]) chownSync(path, NOBODY, NOBODY);
      // Not optimised: only that takes long.
      const env = { PATH: process.env.PATH, HOME: home, TMPDIR: home, CXXFLAGS: '-O0' };
      const run = (command: string, ...args: string[]): string => {
        const { stdout, stderr, status } = spawnSync(command, args, {
          cwd: project,
          encoding: 'utf8',
          timeout,
          env,
          ...who,
        });
        expect({ args, status, said: status === 0 ? '' : stdout + stderr }).toEqual({
          args,
          status: 0,
          said: '',
        });
        return stdout;
      };
      run('npm', 'install', '--no-audit', '--no-fund', join(folder, filename));
      expect(run('npx', 'wireup', 'run', '-n', '4', 'npx', 'wireup', 'exchange')).toMatch(
        /4 ranks exchanged their cards/,
      );
      expect(run('npx', 'wireup', 'run', '-n', '2', '--pmi', 'unix', 'npx', 'wireup', 'exchange')).toMatch(
        /2 ranks exchanged/,
      );
      expect(run('node', 'both.mjs')).toBe('true\n');
      // Both commands are the starter, which loses no variable of whatever name.
      for (const command of [['wireup', 'run'], ['mpiexec.wireup']]) {
        const [name, ...words] = command as [string, ...string[]];
        const tool = join(project, 'node_modules/.bin', name);
        expect(
          run('env', 'BASH_FUNC_module%%=() { :; }', tool, ...words, '-n', '1', 'env').split('\n'),
        ).toContain('BASH_FUNC_module%%=() { :; }');
      }
      // The same package, as it is where no install script has run, and in a folder for all users.
      const prefix = join(home, 'global');
      run(
        'npm',
        'install',
        '--global',
        '--ignore-scripts',
        '--prefix',
        prefix,
        '--no-audit',
        '--no-fund',
        join(folder, filename),
      );
      const unbuilt = spawnSync(join(prefix, 'bin/mpiexec.wireup'), ['-n', '1', 'true'], {
        encoding: 'utf8',
        timeout,
        env,
        ...who,
        shell: true,
      });
      expect(unbuilt).toMatchObject({
        status: 1,
        stdout: '',
        stderr: expect.stringMatching(/^wireup: .*npm rebuild wireup.*\n$/) as string,
      });
      // Compiled once, in the project.
      const globally = join(prefix, 'lib/node_modules/wireup');
      cpSync(join(project, 'node_modules/wireup/build'), join(globally, 'build'), { recursive: true });
      copyFileSync(join(globally, 'build/Release/wireup-start'), join(globally, 'dist/wireup'));
      expect(run(join(prefix, 'bin/mpiexec.wireup'), '-n', '1', 'echo', 'global')).toBe('global\n');
      // No socket's folder stays behind.
      expect(readdirSync(home).filter((name) => name.startsWith('wireup-'))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
