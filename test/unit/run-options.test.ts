/**
 * The table of `wireup run`'s options, and what is generated from it. `npx vitest run test/unit/run-options.test.ts -u`
 * writes docs/options.md.
 */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readRun, UnknownOption } from '../../lib/cli/mpiexec-args';
import { defaultOf, flagsOf, longName, settingsOf, type OptionRow } from '../../lib/cli/option';
import { unsupported } from '../../lib/cli/other-mpiexecs';
import { runOptions } from '../../lib/cli/run-options';

const rows = Object.entries(runOptions);

const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const code = (text: string): string => `\`${text}\``;

function line([key, row]: [string, OptionRow]): string {
  const choices = row.choices === undefined ? '' : ` One of ${row.choices.map(code).join(', ')}.`;
  const cells = [
    code(flagsOf(key, row)),
    (row.also ?? []).map((name) => code(`-${name}`)).join(', '),
    escape(row.help.charAt(0).toUpperCase() + row.help.slice(1)) + '.' + choices,
    escape(defaultOf(row)),
    row.setting === undefined ? '' : code(row.setting),
  ];
  return `| ${cells.join(' | ')} |`;
}

function page(): string {
  const groups = [...new Set(rows.map(([, { group }]) => group!))];
  const tables = groups.map((group) =>
    [
      `## ${group.replace(/:$/, '')}`,
      '',
      '| option | other names | meaning | default | `launch()` |',
      '| --- | --- | --- | --- | --- |',
      ...rows.filter(([, row]) => row.group === group).map(line),
      '',
    ].join('\n'),
  );
  return `# Options of wireup run

<!-- test/unit/run-options.test.ts compares this file with lib/cli/run-options.ts, and writes it with -u. -->

An option has one dash or two. [mpiexec.md](mpiexec.md) describes the command line, \`wireup run --help\` prints this list. The
last column names the option of \`launch()\` that an option of the command line sets; without one, the command itself uses the
value, or combines it with others.

${tables.join('\n')}`;
}

test('docs/options.md has the generated table', async () => {
  await expect(page()).toMatchFileSnapshot(join(__dirname, '../../docs/options.md'));
});

test('each name belongs to one option', () => {
  const names = rows.flatMap(([key, { short, also = [] }]) => [
    longName(key),
    ...Array.from(short ?? ''),
    ...also,
  ]);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  expect(names.filter((name) => name in unsupported || name === 'help' || name === 'h')).toEqual([]);
});

test('the options that an option refers to exist', () => {
  const others = rows.flatMap(([, { conflicts = [], needs }]) => [
    ...conflicts,
    ...(needs === undefined ? [] : [needs]),
  ]);
  expect(others.filter((key) => !(key in runOptions))).toEqual([]);
});

test('a default is a value that the option accepts', () => {
  const wrong = rows.filter(
    ([, row]) =>
      row.choices !== undefined && row.default !== undefined && !row.choices.includes(row.default as string),
  );
  expect(wrong).toEqual([]);
});

const settings = (...words: string[]): Record<string, unknown> =>
  settingsOf(runOptions, readRun([...words, 'true']).job);

test('the settings are those of the command line, and otherwise the defaults', () => {
  expect(settings()).toEqual({
    bind: 'none',
    pmi: 'fd',
    pmiId: 'number',
    kvsLimit: 2 ** 30,
    stdin: [0],
    killTimeout: 5000,
    onFailure: 'kill',
    onEarlyExit: 'fail',
  });
  expect(
    settings(
      '-pmi-port',
      '-l',
      '--kill-timeout=0.5',
      '-debugger',
      'gdb --args',
      '-debug-ranks',
      '1',
      '--close-fds',
    ),
  ).toMatchObject({
    pmi: 'tcp',
    label: '[%r] ',
    killTimeout: 500,
    debugger: { command: ['gdb', '--args'], ranks: [1] },
    fds: [],
  });
  // The pattern replaces the label, whichever of the two options comes first.
  expect(settings('-prepend-pattern', 'x', '-l')).toMatchObject({ label: 'x' });
});

test('an option of the job applies to all programs of the line, an option of a program to that program', () => {
  const { job, programs } = readRun([
    '-n',
    '2',
    '-genv',
    'A',
    '1',
    'a',
    'b',
    ':',
    '-genv',
    'B=2',
    '--pmi',
    'tcp',
    '-wdir',
    '/',
    'c',
  ]);
  expect(job).toMatchObject({ genv: { A: '1', B: '2' }, pmi: 'tcp' });
  expect(programs).toMatchObject([
    { program: 'a', args: ['b'], options: { ranks: 2, wdir: undefined } },
    { program: 'c', args: [], options: { ranks: undefined, wdir: '/' } },
  ]);
});

test.each([
  [['-n'], '-n needs a value: -n <N>'],
  [['-env', 'A'], '-env needs a name and a value'],
  [['--np=x'], "--np: expected a whole number from 1 to 1048576, got 'x'"],
  [['-l=1'], '-l takes no value'],
  [['--pmi', 'pigeon'], "--pmi: expected fd, tcp or unix, got 'pigeon'"],
  [['-envnone', '-envall', 'a'], '--envall and --envnone: expected one of them'],
  [['-debug-ranks', '0', 'a'], '--debug-ranks needs --debugger'],
  [['-n', '1', 'a', ':'], 'expected a program in part 2 of the command line'],
  [['-1'], "unknown option '-1'"],
])('%j fails with %s', (words, message) => {
  expect(() => readRun(words)).toThrow(new Error(message));
});

test('an unknown option has an error of its own, so that another one can be suggested', () => {
  expect(() => readRun(['--prepend-patern', 'x'])).toThrow(UnknownOption);
});
