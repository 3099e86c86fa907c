/** The code of V8 with which the command loads its files. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Module } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { afterAll, expect, test } from 'vitest';
import { root } from '../support/root';

/** In milliseconds. */
const timeout = 50_000;

const suffix = `.${process.version}-${process.arch}.code`;
const folder = mkdtempSync(join(tmpdir(), 'wireup-code-'));
afterAll(() => rmSync(folder, { recursive: true }));

const codeIn = (dist: string): string[] => readdirSync(dist).filter((file) => file.endsWith('.code'));

/** A copy of dist/ that uses the native parts of the checkout. */
function copyOf(name: string): string {
  const copy = join(folder, name);
  cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(root, 'build'), join(copy, 'build'));
  return join(copy, 'dist');
}

function run(dist: string): string {
  const args = [join(dist, 'cli.js'), 'run', '--launcher', 'fork', '--hosts', 'a,b', 'echo', 'here'];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout });
  return stdout + stderr;
}

test('V8 accepts the code of the files that a run over hosts loads', () => {
  const dist = join(root, 'dist');
  expect(codeIn(dist).sort()).toEqual([`run-hosts.js${suffix}`, `run.js${suffix}`]);
  for (const file of ['run.js', 'run-hosts.js']) {
    const cachedData = readFileSync(join(dist, file + suffix));
    const script = new Script(Module.wrap(readFileSync(join(dist, file), 'utf8')), { cachedData });
    expect(script.cachedDataRejected).toBe(false);
  }
});

test('the command works without code, and with code that V8 refuses', () => {
  const without = copyOf('without');
  for (const file of codeIn(without)) rmSync(join(without, file));
  expect(run(without)).toBe('here\nhere\n');
  expect(codeIn(without)).toEqual([]);

  const refused = copyOf('refused');
  const code = readFileSync(join(refused, `run.js${suffix}`));
  writeFileSync(join(refused, `run.js${suffix}`), code.subarray(0, code.length / 2));
  writeFileSync(join(refused, `run-hosts.js${suffix}`), 'no code');
  expect(run(refused)).toBe('here\nhere\n');
});

test('the code is written if it is missing', () => {
  const dist = copyOf('written');
  for (const file of codeIn(dist)) rmSync(join(dist, file));
  for (const file of ['run.js', 'run-hosts.js']) chmodSync(join(dist, file), 0o644);
  spawnSync('sh', ['-c', 'umask 077 && exec "$0" "$1"', process.execPath, join(dist, 'write-code.js')], {
    timeout,
  });
  expect(codeIn(dist).sort()).toEqual([`run-hosts.js${suffix}`, `run.js${suffix}`]);
  // The users of a shared installation can read it.
  for (const file of codeIn(dist)) expect(statSync(join(dist, file)).mode & 0o777).toBe(0o644);
});
