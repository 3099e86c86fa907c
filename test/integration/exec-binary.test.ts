/** The file wireup-exec, which is bind-mounted into containers: what it needs there. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { needs, installed } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, wireup } from '../support/run';

/** In milliseconds. vitest cannot interrupt a synchronous call. A build takes a minute. */
const timeout = 500_000;

/** The needed libraries of a program, and its loader. */
function needed(file: string): { libraries: string[]; loader: string | undefined } {
  const output = execFileSync('readelf', ['--dynamic', '--program-headers', '--wide', file], {
    encoding: 'utf8',
    timeout,
  });
  return {
    libraries: [...output.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!),
    loader: /program interpreter: (\S+)\]/.exec(output)?.[1],
  };
}

it('wireup-exec needs only a libc', () => {
  const { libraries, loader } = needed(join(root, 'build/Release/wireup-exec'));
  expect(loader).toBeDefined();
  expect(libraries).toContainEqual(expect.stringMatching(/^libc\.so/));
  // Older versions of glibc have these as separate libraries. The last one is the loader.
  expect(
    libraries.filter((name) => !/^(lib(c|m|pthread|dl|rt|resolv)\.so\.\d+|ld-linux.*)$/.test(name)),
  ).toEqual([]);
});

// Only in the long form, because it compiles most of the core, which takes a minute.
if (long) testStatic();

function testStatic(): void {
  const tools = needs('cmake', 'cc');
  describe.skipIf(tools.missing)(`WIREUP_STATIC_EXEC=ON${tools.note}`, () => {
    it('builds a wireup-exec that needs no library, and works', { timeout }, async () => {
      const folder = join(root, 'out/static');
      const cmake = (...args: string[]): void =>
        void execFileSync(installed('cmake'), args, {
          cwd: root,
          stdio: ['ignore', 'ignore', 'inherit'],
          timeout,
        });
      // Without optimization and debug information, which take most of the time.
      cmake(
        '-B',
        folder,
        '-DWIREUP_STATIC_EXEC=ON',
        '-DWIREUP_TESTS=OFF',
        '-DCMAKE_UNITY_BUILD=ON',
        '-DCMAKE_BUILD_TYPE=None',
      );
      cmake('--build', folder, '--target', 'wireup-exec', '-j', '2');
      const exec = join(folder, 'wireup-exec');
      expect(needed(exec)).toEqual({ libraries: [], loader: undefined });
      for (const transport of ['unix', 'tcp']) {
        const result = await run(
          wireup('run', '-n', '3', '--pmi', transport, '--no-exec-shim', exec, program('raw_mapping')),
        );
        expect(result).toMatchObject({ code: 0, stderr: '' });
        expect(lines(result.stdout).sort()).toEqual(
          [0, 1, 2].map((rank) => `rank ${rank} of 3 mapping (vector,(0,1,3))`),
        );
      }
    });
  });
}
