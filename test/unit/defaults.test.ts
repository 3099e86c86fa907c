/** Which options hold if the command line, WIREUP_OPTIONS and the file of defaults have some. */
import { afterEach, expect, test } from 'vitest';
import { readRun, type RunRequest } from '../../lib/cli/mpiexec-args';

/** Each line is a default of its own, as the reader of the file makes it. */
const read = (line: string, variable: string, ...file: string[]): RunRequest =>
  readRun(line.split(' '), () => ({
    variable: variable === '' ? [] : [{ from: 'WIREUP_OPTIONS', words: variable.split(' ') }],
    file: file.map((text, i) => ({ from: `config:${i + 1}`, words: text.split(' ') })),
  }));

afterEach(() => {
  delete process.env.MPIEXEC_TIMEOUT;
  delete process.env.HYDRA_LAUNCHER;
});

test('the command line comes before the variable, and the variable before the file', () => {
  expect(read('--pmi fd a', '--pmi tcp', '--pmi unix').job.pmi).toBe('fd');
  expect(read('a', '--pmi tcp', '--pmi unix').job.pmi).toBe('tcp');
  expect(read('a', '', '--pmi unix').job.pmi).toBe('unix');
  expect(read('a', '', '--pmi unix', '--pmi tcp').job.pmi).toBe('tcp');
  expect(read('a', '').job.pmi).toBe('fd');
});

test('the variable of an option comes before the file, and after WIREUP_OPTIONS', () => {
  process.env.MPIEXEC_TIMEOUT = '7';
  process.env.HYDRA_LAUNCHER = 'slurm';
  expect(read('a', '', '--timeout 3', '--launcher ssh').job).toMatchObject({
    timeout: 7000,
    launcher: undefined,
  });
  expect(read('a', '-t 4', '--timeout 3').job.timeout).toBe(4000);
});

test.each([
  ['--pmi-port a', '--pmi unix', { pmiPort: true, pmi: 'fd' }],
  ['--pmi fd a', '--pmi-port', { pmiPort: false, pmi: 'fd' }],
  ['-l a', '--prepend-pattern %h', { label: true, prependPattern: undefined }],
  ['--stage a', '--agent-path /x', { stage: true, agentPath: undefined }],
  ['-genvnone a', '-genvall', { genvnone: true, genvall: false }],
  ['-f file a', '--map block:2', { hostfile: 'file', map: undefined }],
  ['-hosts n1 a', '-f file', { hostfile: undefined }],
  ['--launcher ssh a', '--launcher-exec podman', { launcher: 'ssh', launcherExec: undefined }],
  ['a : -hosts n1 b', '-f file', { hostfile: undefined }],
])('`%s` replaces the default `%s`', (line, variable, job) => {
  expect(read(line, variable).job).toMatchObject(job);
  expect(read(line, '', variable).job).toMatchObject(job);
});

test('each program without the option gets the default of a program', () => {
  const { programs } = read('-n 2 a : b : -wdir /x c', '', '-n 3', '-wdir /y');
  expect(programs.map(({ options }) => [options.ranks, options.wdir])).toEqual([
    [2, '/y'],
    [3, '/y'],
    [3, '/x'],
  ]);
});

test('hosts of the command line replace those of the defaults for all programs', () => {
  const { programs } = read('-hosts n1 a : b', '', '--hosts n9');
  expect(programs.map(({ options }) => options.hosts)).toEqual(['n1', undefined]);
  expect(read('-f file a', '', '--hosts n9').programs[0]!.options.hosts).toBeUndefined();
});

test('variables of ranks are set beside each other, of the same name by the stronger source', () => {
  expect(
    read('-genv A 1 a', '-genv A 2 -genv B 2', '--genv A=3', '--genv B=3', '--genv C=3').job.genv,
  ).toEqual({
    A: '1',
    B: '2',
    C: '3',
  });
});

test('users of one source are allowed beside each other, those of a stronger source in their place', () => {
  expect(read('a', '', '--allow-uid 1', '--allow-uid 2').job.allowUid).toEqual([1, 2]);
  expect(read('--allow-uid 3 a', '', '--allow-uid 1').job.allowUid).toEqual([3]);
});

test('a default has no effect without the option that it needs', () => {
  expect(read('a', '', '--debug-ranks 1').job.debugRanks).toBeUndefined();
  expect(read('--debugger gdb a', '', '--debug-ranks 1').job.debugRanks).toEqual([1]);
});

test('the request lists the defaults that have an effect', () => {
  expect(read('--pmi tcp a : b', '-l', '--pmi unix', '-n 2', '-genv A=1').defaults).toEqual([
    { key: 'ranks', text: '--ranks 2', from: 'config:2' },
    { key: 'genv', text: '--genv A=1', from: 'config:3' },
    { key: 'label', text: '--label', from: 'WIREUP_OPTIONS' },
  ]);
});

test.each(['--no-defaults', '--info'])('%s reads no defaults', (option) => {
  const fail = (): never => {
    throw new Error('was read');
  };
  expect(readRun([option, 'a'], fail).defaults).toEqual([]);
});

test.each([
  [['--pmi pigeon'], "config:1: --pmi: expected fd, tcp or unix, got 'pigeon'"],
  [['-l', '--pmj fd'], "config:2: unknown option '--pmj'"],
  [['--map-by core'], /^config:1: option '--map-by' is not supported/],
  [['--pmi'], 'config:1: --pmi needs a value: --pmi <transport>'],
  [['--launcher-exec ssh -x 1'], /^config:1: /],
  [['-l extra'], "config:1: expected options with their values, got 'extra'"],
  [['--help'], 'config:1: help is only on the command line'],
  [['--file x'], 'config:1: --file has an effect only on the command line'],
  [['--configfile x'], 'config:1: --configfile has an effect only on the command line'],
  [['--env A=1'], 'config:1: --env has an effect only on the command line'],
  [['--genvnone', '--genvall'], 'config:2: --genvall and --genvnone: expected one of them'],
])('the file %j fails with %s', (file, message) => {
  expect(() => read('a', '', ...file)).toThrow(typeof message === 'string' ? new Error(message) : message);
});
