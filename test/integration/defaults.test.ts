/** The default options of a user: WIREUP_OPTIONS, and the file ~/.config/wireup/config. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { needsRoot } from '../support/hostile-clients';

const cli = join(__dirname, '../../dist/cli.js');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;
/** Debian's user `nobody`. */
const NOBODY = 65534;

let home: string;
let file: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'defaults-test-'));
  file = join(home, '.config/wireup/config');
  mkdirSync(dirname(file), { recursive: true });
});

afterEach(() => rmSync(home, { recursive: true }));

const write = (content: string | Buffer): void => writeFileSync(file, content, { mode: 0o644 });

interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** @param before words of a command that runs it */
function run(
  words: readonly string[],
  environment: Record<string, string> = {},
  before: readonly string[] = [],
): Outcome {
  const { XDG_CONFIG_HOME: _, ...own } = process.env;
  const [command, ...args] = [...before, process.execPath, cli, 'run', ...words];
  const { status, stdout, stderr } = spawnSync(command!, args, {
    env: { ...own, HOME: home, ...environment },
    encoding: 'utf8',
    timeout,
  });
  return { status, stdout, stderr };
}

const echo = ['sh', '-c', 'echo $PMI_RANK $A'];
const root = needsRoot();

test('the file and the variable give options, in any spelling', () => {
  write('# my defaults\n\nranks 2\n--label\n-genv A "one two"\r\nkill-timeout = 3\n');
  const { stdout, stderr } = run(echo);
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n').sort()).toEqual(['[0] 0 one two', '[1] 1 one two']);
  expect(run(['-n', '1', ...echo], { WIREUP_OPTIONS: "-genv A 'x y' --prepend-pattern '%r:'" }).stdout).toBe(
    '0:0 x y\n',
  );
});

test('XDG_CONFIG_HOME replaces ~/.config if it is absolute', () => {
  mkdirSync(join(home, 'other/wireup'), { recursive: true });
  writeFileSync(join(home, 'other/wireup/config'), 'genv A=other\n');
  write('genv A=home\n');
  expect(run(echo, { XDG_CONFIG_HOME: join(home, 'other') }).stdout).toBe('0 other\n');
  expect(run(echo, { XDG_CONFIG_HOME: 'other' }).stdout).toBe('0 home\n');
  // None of them is a folder with a file.
  for (const XDG_CONFIG_HOME of ['/nonexistent', '/dev/null'])
    expect(run(echo, { XDG_CONFIG_HOME })).toEqual({ status: 0, stdout: '0\n', stderr: '' });
});

test('--no-defaults ignores both', () => {
  write('no such option\n');
  expect(run(['--no-defaults', ...echo], { WIREUP_OPTIONS: '--also-none' }).stdout).toBe('0\n');
});

test('-v reports where a default is, whether it is itself a default or not', () => {
  write('\npmi tcp\n');
  expect(run(['-v', ...echo], { WIREUP_OPTIONS: '-genv A=1' }).stderr).toMatch(
    `wireup: --pmi tcp: a default from ${file}:2\nwireup: --genv A=1: a default from WIREUP_OPTIONS\n`,
  );
  expect(run(echo, { WIREUP_OPTIONS: '--verbose' }).stderr).toMatch('PMI over tcp');
});

test('ranks get WIREUP_OPTIONS unchanged, and a job that a rank starts reads it', () => {
  const options = '-genv A inner';
  const nested = `${process.execPath} ${cli} run sh -c 'echo $A $WIREUP_OPTIONS'`;
  expect(run(['-genv', 'A', 'outer', 'sh', '-c', nested], { WIREUP_OPTIONS: options }).stdout).toBe(
    `inner ${options}\n`,
  );
});

test.each([
  ['pmi pigeon\n', "1: --pmi: expected fd, tcp or unix, got 'pigeon'"],
  ['\n# x\nhosts "n[1-"\n', '3: --hosts: '],
  ['wdir /nonexistent\nmap block:0\n', '2: --map: '],
  ['genv A\0=1\n', '1: expected text, without NUL bytes'],
])('%j is an error with its place', (content, message) => {
  write(content);
  const { status, stdout, stderr } = run(echo);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toContain(`wireup: ${file}:${message}`);
  expect(stderr.split('\n')).toHaveLength(2);
});

describe('a file that cannot be trusted or read is refused in one line', () => {
  const refused = (text: string, before: readonly string[] = []): void => {
    const { status, stdout, stderr } = run(echo, {}, before);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^wireup: ${file}: [^\\n]*${text}[^\\n]*\\n$`));
  };

  test.each([0o664, 0o646])('with mode %o', (mode) => {
    write('pmi tcp\n');
    chmodSync(file, mode);
    refused('can be written by other users');
  });

  test('a folder', () => {
    mkdirSync(file);
    refused('not a regular file');
  });

  test('a FIFO', () => {
    execFileSync('mkfifo', [file]);
    refused('not a regular file');
  });

  test('a device', () => {
    symlinkSync('/dev/zero', file);
    refused('not a regular file');
  });

  test('a link to itself', () => {
    symlinkSync(file, file);
    refused('too many symbolic links encountered');
  });

  test('65,537 bytes', () => {
    write('#'.repeat(65_537));
    refused('more than 65536 bytes');
  });

  test('random bytes', () => {
    write(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) % 256)));
    const { status, stderr } = run(echo);
    expect(status).toBe(2);
    expect(stderr).toMatch(new RegExp(`^wireup: ${file}:\\d+: [^\\n]+\\n$`));
  });

  describe.skipIf(root.missing)(`of root or another user${root.note}`, () => {
    test('its owner is not this user', () => {
      write('pmi tcp\n');
      chownSync(file, NOBODY, NOBODY);
      refused(`belongs to another user \\(uid ${NOBODY}\\)`);
    });

    test('its mode keeps this user from reading it', () => {
      write('pmi tcp\n');
      chmodSync(file, 0);
      // Root reads it without these capabilities only if the mode permits it.
      refused('permission denied', ['setpriv', '--bounding-set', '-dac_override,-dac_read_search']);
    });
  });
});

test.skipIf(root.missing)(`a folder that this user may not search has no file${root.note}`, () => {
  write('pmi wrong\n');
  chmodSync(dirname(file), 0);
  try {
    const { status, stderr } = run(echo, {}, ['setpriv', '--bounding-set', '-dac_override,-dac_read_search']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  } finally {
    chmodSync(dirname(file), 0o755);
  }
});

test('a file of 65,536 bytes, and one that belongs to root, are read', () => {
  write(`${'#'.repeat(65_525)}\ngenv A=1\n`);
  expect(run(echo).stdout).toBe('0 1\n');
});
