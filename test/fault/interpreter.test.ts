// If a program cannot be executed because its interpreter is missing, the message names the interpreter.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { program } from '../support/programs';
import { run, toolLines, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'interpreter-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');

describe('the message about a missing interpreter', () => {
  it.each([
    ['#!/no/such/interpreter -x\n', '/no/such/interpreter'],
    ['#! /bin/sh\r\n', '/bin/sh, with a carriage return behind it: the lines end as in DOS'],
    ['#!/no/such\u001b[31m\n', '/no/such\\x1b[31m'],
  ])('names it for a script that begins with %j', async (head, named) => {
    const script = join(folder, 'script');
    writeFileSync(script, `${head}exit 0\n`, { mode: 0o755 });
    const result = await run(wireupRun(2, 'fd', script));
    expect(result.code).toBe(127);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringContaining(`execve ${script} (its interpreter ${named}): No such file or directory`),
    ]);
    const shimmed = await run(wireupRun(1, 'unix', script));
    expect(shimmed.code).toBe(127);
    expect(shimmed.stderr).toContain(
      `wireup-exec: cannot run ${script} (its interpreter ${named}): No such file or directory\n`,
    );
  });

  it.skipIf(compiler.missing)(`names the loader of an ELF file${compiler.note}`, async () => {
    const file = join(folder, 'elf');
    const bytes = readFileSync(program('no_pmi'));
    const loader = /\/[\w./-]*ld-linux[\w.-]*/.exec(bytes.toString('latin1'))![0];
    bytes.write('X'.repeat(3), bytes.indexOf(loader) + 1, 'latin1');
    writeFileSync(file, bytes, { mode: 0o755 });
    const result = await run(wireupRun(1, 'fd', file));
    expect(result.code).toBe(127);
    expect(result.stderr).toContain(
      `execve ${file} (its interpreter /XXX${loader.slice(4)}): No such file or directory`,
    );
  });
});
