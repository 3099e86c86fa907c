/** The manual pages in dist/man, which lib/build.mjs makes of the commands and of the tables of options. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeProgram } from '../../lib/cli/commands';
import { grammarOf } from '../../lib/cli/completion/grammar';
import { installed, needs } from '../support/installed';

const folder = join(__dirname, '../../dist/man');
const pages = readdirSync(folder).sort();
const commands = grammarOf(makeProgram({ name: 'wireup', words: [], notes: -1 })).filter(
  ({ path }) => !path.endsWith(' help'),
);
const pageOf = (path: string): string => `${path.replaceAll(' ', '-')}.1`;

/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

test('each command has a page, and package.json lists all pages for npm', () => {
  expect(pages).toEqual(['mpiexec.wireup.1', ...commands.map(({ path }) => pageOf(path))].sort());
  const { man } = JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8')) as {
    man: string[];
  };
  expect([...man].sort()).toEqual(pages.map((page) => `./dist/man/${page}`));
});

const tools = needs('mandoc');

describe.skipIf(tools.missing)(`mandoc${tools.note}`, () => {
  const mandoc = (...words: string[]): string => {
    const { stdout, stderr } = spawnSync(installed('mandoc'), words, {
      cwd: folder,
      encoding: 'utf8',
      timeout,
    });
    expect(stderr).toBe('');
    // A bold letter is printed twice, with a backspace between.
    return stdout
      .split('\b')
      .map((part, i, parts) => (i < parts.length - 1 ? part.slice(0, -1) : part))
      .join('');
  };

  test.each(pages)('finds no fault in %s', (page) => {
    // The page of mpiexec.wireup includes another one, by a path that exists where pages are installed.
    if (page === 'mpiexec.wireup.1')
      expect(readFileSync(join(folder, page), 'utf8')).toBe('.so man1/wireup-run.1\n');
    else expect(mandoc('-T', 'lint', '-W', 'warning', page)).toBe('');
  });

  test.each(commands)('shows all options and subcommands of $path', ({ path, options, children }) => {
    const shown = mandoc('-T', 'utf8', '-O', 'width=200', pageOf(path));
    const lines = shown.split('\n').map((line) => line.trim());
    for (const option of options)
      expect(
        lines.some((line) => line.split(/[ =,[]+/).includes(option.shown)),
        option.shown,
      ).toBe(true);
    for (const { name } of children.filter((child) => child.name !== 'help'))
      expect(shown).toContain(`${path.replaceAll(' ', '-')}-${name}(1)`);
  });

  test('shows examples, exit codes and what roff treats in its own way as they are', () => {
    const shown = mandoc('-T', 'utf8', '-O', 'width=200', 'wireup-run.1');
    expect(shown).toContain('\n       wireup run -n 4 ./a.out\n');
    expect(shown).toMatch(/EXIT STATUS\n[^]*\n +124 +a time limit passed\n/);
    expect(shown).toContain('put "[rank] " before each line');
    expect(shown).toContain('~/.config/wireup/config');
  });
});
