// PMI-2 through an independent client (Slurm's libpmi2) and through libpmi2.so.0: every function of its API, and jobs
// whose ranks use different versions.

import { execFileSync, spawn as spawnChild } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it as base, vi } from 'vitest';

import { PmiServer, scrubEnvironment } from '../../dist/index.js';
import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, reported, toolLines, wireup } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const ours = join(root, 'build/Release/libpmi2.so.0');
const compiler = needs('cc');
const slurm = needs('cc', 'libpmi2');
const libraries = [
  { name: `Slurm's libpmi2${slurm.note}`, missing: slurm.missing, path: () => installed('libpmi2') },
  { name: `libpmi2.so.0${compiler.note}`, missing: compiler.missing, path: () => ours },
];

describe.each(libraries)('$name', ({ missing, path }) => {
  const it = base.skipIf(missing);
  const calls = (what: string): string[] => [program('pmi2_calls'), path(), what];

  it.each([
    ['--pmi', 'fd'],
    ['--pmi', 'tcp'],
    ['--pmi', 'unix'],
  ])('every function works with 16 ranks, %s %s', async (...options) => {
    const result = await run(wireup('run', '-n', '16', ...options, ...calls('calls')));
    expect(result).toMatchObject({ code: 0, stdout: 'ok\n'.repeat(16) });
    // Each rank tries to spawn a program that does not exist.
    expect(reported(result.stderr, ' could not spawn: execve one: No such file or directory')).toBe(16);
    expect(lines(result.stderr)).toEqual(toolLines(result.stderr));
  });

  it('every function works with 8 ranks on four pretended hosts', async () => {
    const result = await run(wireup('run', '-n', '8', '--map', 'block:4', ...calls('calls')));
    expect(result).toMatchObject({ code: 0, stdout: 'ok\n'.repeat(8) });
    expect(reported(result.stderr, ' could not spawn: on node')).toBe(8);
  });

  it.each([
    ['one host', []],
    ['three pretended hosts', ['--launcher', 'fork', '--hosts', 'a,b,c']],
  ])('a spawn starts its programs on %s', async (_, options) => {
    const folder = mkdtempSync(join(tmpdir(), 'pmi2-'));
    try {
      for (const name of ['one', 'two']) {
        writeFileSync(
          join(folder, name),
          `#!/bin/sh\necho "${name} $PMI_RANK of $PMI_SIZE, $PMI_SPAWNED: $*"\n`,
          { mode: 0o755 },
        );
      }
      const result = await run(wireup('run', '-n', '1', ...options, '-l', ...calls('spawn')), {
        environment: { PATH: `${folder}:${process.env['PATH']}` },
      });
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(lines(result.stdout).sort()).toEqual([
        expect.stringMatching(/^\[0\] wireup-[0-9a-f]+$/),
        '[1:0] one 0 of 3, 1: a b c',
        '[1:1] one 1 of 3, 1: a b c',
        '[1:2] two 2 of 3, 1: ',
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('abort ends the job', async () => {
    const job = await run(wireup('run', '-n', '3', ...calls('abort')));
    expect(job.code).toBe(1);
    expect(job.stderr).toMatch(/rank 1 .*farewell/);
  });

  it('a spawn is an event of PmiServer', async () => {
    await using server = await PmiServer.listen({ size: 1 });
    const spawnRequest = (async () => {
      for await (const event of server.events()) {
        if (event.type !== 'spawn') continue;
        event.accept({ kvsname: 'kvs_of_the_child' });
        return event;
      }
      return undefined;
    })();
    const [command, ...args] = calls('spawn');
    using channel = server.channel(0);
    const child = spawnChild(command!, args, {
      env: { ...scrubEnvironment(process.env), ...server.env(0, { fd: 3 }) },
      stdio: ['ignore', 'pipe', 'inherit', channel.fd],
    });
    let stdout = '';
    child.stdout!.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
    const [code] = (await once(child, 'close')) as [number];
    expect([code, stdout]).toEqual([0, 'kvs_of_the_child\n']);
    expect(await spawnRequest).toMatchObject({
      rank: 0,
      commands: [
        { program: 'one', args: ['a', 'b c'], ranks: 2, info: {} },
        { program: 'two', args: [], ranks: 1, info: {} },
      ],
      preput: {},
    });
  });

  it('ranks of PMI-1.1, PMI-1.2 and PMI-2 are one job', async () => {
    const result = await run(wireup('run', '-n', '12', program('mixed'), path()));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout)).toEqual(new Array(12).fill('ok'));
  });
});

describe.skipIf(compiler.missing)(`libpmi2.so.0${compiler.note}`, () => {
  base('is a process group of size 1 without a server', async () => {
    const result = await run([program('pmi2_calls'), ours, 'calls']);
    expect(result).toMatchObject({ code: 0, stdout: 'ok\n', stderr: '' });
  });

  base('exports only the API and needs only a libc', () => {
    const symbols = lines(execFileSync('nm', ['-D', '--defined-only', ours], { encoding: 'utf8' }));
    const names = symbols.map((line) => line.split(' ').at(-1)!).sort();
    expect(names).toHaveLength(21);
    expect(names.filter((name) => !name.startsWith('PMI2_'))).toEqual([]);
    const dynamic = execFileSync('readelf', ['-d', ours], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name!);
    expect(needed.filter((name) => !/^(lib(c|pthread)\.so|ld-linux)/.test(name))).toEqual([]);
    expect(dynamic).toMatch(/\(SONAME\).*\[libpmi2\.so\.0\]/);
  });
});
