// libpmi.so.0 from C: every function of RFC 13 with valid and invalid arguments over every transport, its exports, and
// programs that are linked with it.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, reported, toolLines, transports, wireup } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

const library = join(root, 'build/Release/libpmi.so.0');
const calls = (what: string): string[] => [program('libpmi_calls'), library, what];

const compiler = needs('cc', 'pkg-config');
describe.skipIf(compiler.missing)(`libpmi${compiler.note}`, () => {
  const shims = [true, false];
  it.each(transports)('returns what RFC 13 specifies for every function, --pmi %s', async (transport) => {
    for (const shim of shims) {
      const options = ['-n', '3', '--pmi', transport, ...(shim ? [] : ['--no-exec-shim'])];
      const result = await run(wireup('run', ...options, ...calls('calls')));
      expect(result).toMatchObject({ code: 0, stdout: 'ok\nok\nok\n' });
      // Each rank tries to put a reserved key.
      expect(reported(result.stderr, ' sent an invalid PMI request: put: reserved_key')).toBe(3);
      expect(lines(result.stderr)).toEqual(toolLines(result.stderr));
    }
  });

  it('is a process group of size 1 without a server', async () => {
    expect(await run(calls('calls'))).toMatchObject({ code: 0, stdout: 'ok\n', stderr: '' });
  });

  it('can be called from many threads at once', async () => {
    expect(await run(wireup('run', '-n', '2', ...calls('threads')))).toMatchObject({
      code: 0,
      stdout: 'ok\nok\n',
    });
  });

  it.each(transports)('starts processes by PMI_Spawn_multiple, --pmi %s', async (transport) => {
    const spawn = (what: string, ...options: string[]): string[] =>
      wireup('run', '--pmi', transport, '-l', ...options, program('libpmi_spawn'), library, what);
    const result = await run(spawn('all'));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual([
      '[0] spawn 0, errors 0 0 0',
      `[1:0] child 0 of 3, appnum 0, first word, in ${process.cwd()}, FROM=`,
      '[1:1] child 1 of 3, appnum 1, second, in /, FROM=info',
      '[1:2] child 2 of 3, appnum 1, second, in /, FROM=info',
    ]);
    // The ranks of a process group that could be started are ended if others could not.
    expect(await run(spawn('missing'))).toMatchObject({
      code: 0,
      stdout: '[0] spawn -1, errors -1 -1 -1\n',
      stderr: 'wireup: rank 0 could not spawn: execve /nonexistent/program: No such file or directory\n',
    });
    expect(await run(spawn('all', '--no-spawn'))).toMatchObject({
      code: 0,
      stdout: '[0] spawn -1, errors -1 -1 -1\n',
    });
    const failed = await run(spawn('fails'));
    expect(failed.code).toBe(3);
    expect(failed.stderr).toMatch(
      /^wireup: rank 0 of spawned group 1 \(pid \d+, \S+, past PMI finalize\) on \S+ exited with code 3/m,
    );
  });

  it('applies the info keys of a spawn', async () => {
    const spawn = async (
      options: string[],
      ...info: string[]
    ): Promise<{ code: number | null; stderr: string; lines: string[] }> => {
      const { code, stderr, stdout } = await run(
        wireup(
          'run',
          '--prepend-pattern',
          '%p:%g:%r ',
          ...options,
          program('libpmi_spawn'),
          library,
          'info',
          ...info,
        ),
      );
      return { code, stderr, lines: lines(stdout).sort() };
    };
    const children = (count: number, node: (rank: number) => number, from = ''): string[] =>
      Array.from(
        { length: count },
        (_, rank) =>
          `${node(rank)}:1:${rank} child ${rank} of ${count}, appnum 0, asked, in ${process.cwd()}, FROM=${from}`,
      );
    const all = '0:0:0 spawn 0, errors 0 0 0 0';
    expect((await spawn([])).lines).toEqual([all, ...children(4, () => 0)]);
    expect((await spawn([], 'env', 'FROM=here')).lines).toEqual([all, ...children(4, () => 0, 'here')]);
    expect((await spawn([], 'soft', '1:3:2')).lines).toEqual([
      '0:0:0 spawn 0, errors 0 0 0 -1',
      ...children(3, () => 0),
    ]);
    expect((await spawn(['--hosts', 'localhost,127.0.0.1', '-n', '2'], 'host', '127.0.0.1')).lines).toEqual([
      all,
      ...children(4, () => 1),
    ]);
    expect(
      (await spawn(['--hosts', 'localhost,127.0.0.1', '-n', '2'], 'host', 'localhost,127.0.0.1')).lines,
    ).toEqual([all, ...children(4, (rank) => rank % 2)].sort());
    expect(await spawn([], 'soft', '7')).toEqual({
      code: 0,
      stderr: 'wireup: rank 0 could not spawn: soft=7 allows no count from 1 to 4\n',
      lines: ['0:0:0 spawn -1, errors -1 -1 -1 -1'],
    });
    expect(await spawn([], 'host', 'elsewhere')).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(
        /^wireup: rank 0 could not spawn: host=elsewhere is not a host of this job \(\S+\)\n$/,
      ),
      lines: ['0:0:0 spawn -1, errors -1 -1 -1 -1'],
    });
    expect(await spawn([], 'wdir', '/nonexistent')).toMatchObject({
      code: 0,
      stderr: 'wireup: rank 0 could not spawn: chdir /nonexistent: No such file or directory\n',
    });
    expect(await spawn([], 'path', '/nonexistent')).toMatchObject({ code: 0 });
  });

  it('prints the message of PMI_Abort, ends the job, and exits with its code', async () => {
    const job = await run(wireup('run', '-n', '2', ...calls('abort')));
    expect(job.code).toBe(7);
    expect(job.stderr).toMatch(/^farewell$/m);
    expect(await run(calls('abort'))).toMatchObject({ code: 7, stdout: '', stderr: 'farewell\n' });
  });

  it.each([
    ['before init', 'early', /^wireup: rank 0 \(pid \d+, \S+\) on \S+ exited with code 7$/m],
    [
      'after finalize',
      'late',
      /^wireup: rank 0 \(pid \d+, \S+, past PMI finalize\) on \S+ exited with code 7$/m,
    ],
  ])(
    'prints the message of PMI_Abort %s and exits with its code, without a request to the server',
    async (_, what, reportLine) => {
      const job = await run(wireup('run', ...calls(what)));
      expect(job).toMatchObject({ code: 7, stdout: '' });
      expect(job.stderr).toMatch(/^farewell$/m);
      expect(job.stderr).toMatch(reportLine);
      expect(await run(calls(what))).toMatchObject({ code: 7, stdout: '', stderr: 'farewell\n' });
    },
  );

  it('is found by a program that was linked with the flags of pkg-config', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'link-'));
    try {
      const where = await run(wireup('libpmi-path', '--folder'));
      const PKG_CONFIG_PATH = where.stdout.trim();
      const flags = execFileSync(installed('pkg-config'), ['--cflags', '--libs', 'wireup-pmi'], {
        encoding: 'utf8',
        env: { ...process.env, PKG_CONFIG_PATH },
        timeout,
      });
      expect(flags).toContain('libpmi.so.0');
      const source = join(folder, 'linked.c');
      writeFileSync(
        source,
        '#include <wireup/pmi.h>\nint main(void) { int s; return PMI_Init(&s) || PMI_Barrier() || PMI_Finalize(); }\n',
      );
      const target = join(folder, 'linked');
      execFileSync(installed('cc'), ['-o', target, source, ...flags.trim().split(' ')], { timeout });
      const result = await run(wireup('run', '-n', '2', target), {
        environment: { LD_LIBRARY_PATH: PKG_CONFIG_PATH },
      });
      expect(result).toMatchObject({ code: 0, stderr: '' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('exports only the API and needs only a libc', () => {
    const symbols = lines(
      execFileSync('nm', ['-D', '--defined-only', library], { encoding: 'utf8', timeout }),
    );
    const names = symbols.map((line) => line.split(' ').at(-1)!).sort();
    expect(names).toHaveLength(33);
    expect(names.filter((name) => !name.startsWith('PMI_'))).toEqual([]);
    const dynamic = execFileSync('readelf', ['-d', library], { encoding: 'utf8', timeout });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!);
    expect(needed.filter((name) => !/^(lib(c|pthread)\.so|ld-linux)/.test(name))).toEqual([]);
    expect(dynamic).toMatch(/\(SONAME\).*\[libpmi\.so\.0\]/);
  });
});
