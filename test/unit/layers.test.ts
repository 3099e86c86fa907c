/** The rules for the layers of native/ that the build does not enforce. The build enforces the includes among wire, engine, os and runtime. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const native = join(__dirname, '../../native');

const layers = ['glibc', 'wire', 'engine', 'os', 'runtime', 'addon', 'tools'];

const sources = layers.flatMap((layer) =>
  readdirSync(join(native, layer), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(cpp|h)$/.test(file))
    .map((file) => ({ layer, file: join(layer, file) })),
);

test.each(sources.filter(({ layer }) => layer === 'addon' || layer === 'tools'))(
  'addon and tools include no header of each other: $file',
  ({ layer, file }) => {
    const text = readFileSync(join(native, file), 'utf8');
    const included = [...text.matchAll(/^#include "(\w+)\//gm)].map((match) => match[1]!);
    expect(included).not.toContain(layer === 'addon' ? 'tools' : 'addon');
  },
);

test.each(sources.filter(({ layer }) => layer === 'wire' || layer === 'engine'))(
  '$file does no I/O',
  ({ file }) => {
    const text = readFileSync(join(native, file), 'utf8');
    const forbidden =
      /^#include <(sys\/|unistd|fcntl|iostream|fstream|thread|mutex|atomic|cstdio|filesystem|signal|poll)/m;
    expect(text).not.toMatch(forbidden);
    expect(text).not.toMatch(/\b(steady_clock|system_clock)::now|\bgetenv\b/);
  },
);

// They would add all locales of the standard library to each program: 430 KB.
test.each(sources.filter(({ file }) => !file.startsWith(join('tools', 'bench'))))(
  '$file has no streams of the standard library',
  ({ file }) => {
    const text = readFileSync(join(native, file), 'utf8');
    expect(text).not.toMatch(/^#include <(iostream|fstream|sstream|iomanip|locale|regex|istream|ostream)>/m);
  },
);

test('sources.json lists every source file, and every file that it lists exists', () => {
  const listed = Object.values(
    JSON.parse(readFileSync(join(native, 'sources.json'), 'utf8')) as Record<string, string[]>,
  ).flat();
  // Some files are parts of two libraries.
  expect([...new Set(listed)].sort()).toEqual(
    sources
      .map(({ file }) => file)
      .filter((file) => file.endsWith('.cpp'))
      .sort(),
  );
});
