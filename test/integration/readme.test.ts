/** The README is true: its examples are run, its tables are compared with the code. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { expect, test } from 'vitest';
import { readmeTable } from '../unit/wire-table';

const root = join(__dirname, '../..');
/** vitest cannot interrupt what is run synchronously. */
const timeout = 50_000;
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** Each example, with what it is said to print. */
const examples = [
  ...readme.matchAll(/^### (.*)\n(?:(?!^#)[^])*?^```ts\n([^]*?)^```\n\n```text\n([^]*?)^```/gm),
].map(([, title, code, output]) => ({ title: title!, code: code!, output: output! }));

test('every example says what it prints', () => {
  expect(examples).toHaveLength(readme.match(/^```ts$/gm)!.length);
});

/** Pids and the host's name differ from run to run. */
const masked = (text: string): string => text.replace(/\bpid \d+/g, 'pid N').replace(/\bon \S+/g, 'on HOST');

test.each(examples)('$title', ({ title, code, output }) => {
  // In the package's own folder `import 'wireup'` finds the package itself.
  const folder = join(root, 'out/examples');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${title.toLowerCase().replace(/\W+/g, '-')}.mjs`);
  writeFileSync(file, transformSync(code, { loader: 'ts', format: 'esm', target: 'node20' }).code);
  const { stdout, stderr, status } = spawnSync(process.execPath, [file], {
    cwd: root,
    encoding: 'utf8',
    timeout,
  });
  expect({ stdout: masked(stdout), stderr, status }).toEqual({
    stdout: masked(output),
    stderr: '',
    status: 0,
  });
});

test('the table of commands is the table of messages', () => {
  expect(readme).toContain(`\n${readmeTable('v1')}\n`);
  expect(readme).toContain(`\n${readmeTable('v2')}\n`);
});

test('the main job prints what the README shows', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: { start: string };
  };
  const [command, ...args] = scripts.start.split('&& ')[1]!.split(' ');
  const { stdout, stderr, status } = spawnSync(command!, args, { cwd: root, encoding: 'utf8', timeout });
  expect(status).toBe(0);
  expect(stderr).toMatch(
    /^wireup: 8 ranks of node on \S+, PMI over fd\nwireup: ended after \d+\.\d\d s with exit code 0\n$/,
  );
  const lines = stdout.trimEnd().split('\n').sort();
  expect(lines).toHaveLength(9);
  for (let rank = 0; rank < 8; rank++) {
    expect(lines).toContainEqual(
      expect.stringMatching(`^rank ${rank} of 8, pid \\d+ on \\S+: has the cards of all ranks$`),
    );
  }
  expect(lines).toContainEqual(expect.stringMatching(/^8 ranks exchanged their cards in \d+\.\d ms$/));
});

test.each(['', 'run', 'exchange', 'serve', 'names'])('wireup %s --help', (command) => {
  const { stdout, status } = spawnSync(
    process.execPath,
    ['dist/cli.js', ...(command === '' ? [] : [command]), '--help'],
    {
      cwd: root,
      encoding: 'utf8',
      timeout,
    },
  );
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Usage: wireup/);
});
