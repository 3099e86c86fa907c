/** The shell code that stores and starts wireup-agent on another host. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stagedAgentWords } from '../../lib/staged-agent';
import { needsRoot } from '../support/hostile-clients';
import { installed, needs } from '../support/installed';

// Ends with code 2 without arguments, as wireup-agent does. Else it shows how it was started, and copies stdin.
const script = `#!/bin/sh
[ $# -gt 0 ] || exit 2
echo "$@; $(ls "$TMPDIR")"
exec cat
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'wireup-test-'));
  mkdirSync(join(folder, 'tmp'));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a command with `input` as its stdin. */
async function feed(
  argv: readonly string[],
  input: Buffer,
  env: Record<string, string> = {},
): Promise<Result> {
  const child = spawn(argv[0]!, argv.slice(1), {
    env: { PATH: process.env['PATH'], TMPDIR: join(folder, 'tmp'), HOME: folder, ...env },
    stdio: 'pipe',
    timeout: 40_000,
  });
  const result: Result = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('latin1').on('data', (text: string) => (result.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text));
  // EPIPE: the command may end before it has read all.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return new Promise((fulfil, reject) => {
    child.on('error', reject);
    child.on('close', (code) => fulfil({ ...result, code }));
  });
}

/** The code for a program of that size, as one argument of `sh -c`. */
function codeFor(program: Buffer, machine?: string): string {
  return stagedAgentWords(machine)[2]!.replaceAll('%s', String(program.length));
}

test('the words can be protected by single quotes', () => {
  const [sh, option, code] = stagedAgentWords();
  expect([sh, option]).toEqual(['/bin/sh', '-c']);
  expect(code).not.toMatch(/['!\n]/);
  expect(code!.match(/%/g)).toHaveLength(1);
});

const optional = needs('busybox', 'csh', 'unshare');
const root = needsRoot();

describe.skipIf(optional.missing)(`the code that starts a sent agent${optional.note}`, () => {
  const shells = {
    dash: ['dash', '-c'],
    bash: ['bash', '-c'],
    'bash as sh': ['bash', '--posix', '-c'],
    busybox: ['busybox', 'sh', '-c'],
  };

  describe.each(Object.entries(shells))('in %s', (_, shell) => {
    test('reads exactly the program, removes its folder, and executes the program', async () => {
      const program = Buffer.from(`${script}${'#'.repeat(200_000)}\n`);
      const input = Buffer.concat([program, Buffer.from('the first bytes of the link')]);
      const result = await feed([...shell, codeFor(program)], input);
      expect(result).toEqual({ code: 0, stdout: 'link; \nthe first bytes of the link', stderr: '' });
      expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
    });

    test('executes a program of this machine', async () => {
      // grep ends with code 2 without arguments, and here prints the lines with "link".
      const grep = readFileSync('/bin/grep');
      const result = await feed(
        [...shell, codeFor(grep)],
        Buffer.concat([grep, Buffer.from('no\na link\n')]),
      );
      expect(result).toEqual({ code: 0, stdout: 'a link\n', stderr: '' });
    });

    test('refuses a program of another machine type', async () => {
      const program = Buffer.from(script);
      const result = await feed([...shell, codeFor(program, 'pdp11')], program);
      expect(result.code).toBe(126);
      expect(result.stdout).toBe('');
      expect(result.stderr).toMatch(
        /^wireup-agent cannot be executed on this host: it is a program for pdp11, and the host is \w+\n$/,
      );
    });

    test('reports a program that the host cannot load', async () => {
      const grep = readFileSync('/bin/grep');
      // The interpreter of another C library.
      const at = grep.indexOf('/ld-');
      grep.write('/no-', at, 'latin1');
      const result = await feed([...shell, codeFor(grep)], grep);
      expect(result.code).toBe(126);
      expect(result.stderr).toMatch(
        /^wireup-agent cannot be executed on this host: its C library may be older .*: .*not found\n$/i,
      );
      expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
    });

    test('reports a program that ends at once', async () => {
      const program = Buffer.from('#!/bin/sh\necho "version GLIBC_9.9 not found" >&2; exit 1\n');
      const result = await feed([...shell, codeFor(program)], program);
      expect(result.code).toBe(126);
      expect(result.stderr).toMatch(/another one: version GLIBC_9\.9 not found\n$/);
    });

    test('ends if stdin ends early', async () => {
      const program = Buffer.from(script);
      const result = await feed([...shell, codeFor(program)], program.subarray(10));
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(/^wireup-agent cannot be stored in .*: only \d+ of \d+ bytes\n$/);
      expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
    });

    test('removes its folder if the command that sends the program has been killed', async () => {
      const program = Buffer.from(script);
      const child = spawn(shell[0]!, [...shell.slice(1), codeFor(program)], {
        env: { PATH: process.env['PATH'], TMPDIR: join(folder, 'tmp'), HOME: folder },
        stdio: 'pipe',
        timeout: 40_000,
      });
      // The message that the program is incomplete has no reader either.
      child.stderr.once('close', () => child.stdin.end(program.subarray(10))).destroy();
      await once(child, 'exit');
      expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
    });

    test.skipIf(root.missing)(`takes another folder if one is mounted noexec${root.note}`, async () => {
      const program = Buffer.from(script);
      const noexec = join(folder, 'noexec');
      mkdirSync(noexec);
      const command = (...folders: string[]): string[] => {
        const binds = folders.map((name) => `mount --bind "${noexec}" ${name}`).join(' && ');
        const mount = `mount -t tmpfs -o noexec none "${noexec}" && ${binds} && exec "$@"`;
        return [installed('unshare'), '-m', 'sh', '-c', mount, 'sh', ...shell, codeFor(program)];
      };
      // A folder outside of /tmp, since the test's own is hidden there.
      const home = mkdtempSync('/var/tmp/wireup-test-');
      try {
        const found = await feed(command('/dev/shm', '/tmp'), program, {
          TMPDIR: '/tmp',
          HOME: home,
          XDG_RUNTIME_DIR: '/tmp',
        });
        expect(found).toEqual({ code: 0, stdout: 'link; \n', stderr: '' });
        expect(readdirSync(home)).toEqual([]);
        const none = await feed(command('/dev/shm', '/var/tmp', '/tmp'), program, {
          TMPDIR: '/tmp',
          HOME: '/tmp',
          XDG_RUNTIME_DIR: '',
        });
        expect(none.code).toBe(126);
        expect(none.stderr).toMatch(/^wireup-agent cannot be executed on this host: no folder .*\n$/);
      } finally {
        rmSync(home, { recursive: true });
      }
    });
  });

  test('needs only the programs of BusyBox', async () => {
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    execFileSync(installed('busybox'), ['--install', '-s', bin], { timeout: 20_000 });
    // Its head may read more than the program: nothing follows before the agent has answered.
    const program = Buffer.from(script);
    const result = await feed([join(bin, 'sh'), '-c', codeFor(program)], program, { PATH: bin });
    expect(result).toEqual({ code: 0, stdout: 'link; \n', stderr: '' });
  });

  test('csh leaves the words unchanged in single quotes', async () => {
    const program = Buffer.from(script);
    const quoted = `sh -c '${codeFor(program)}'`;
    const result = await feed(
      [installed('csh'), '-f', '-c', quoted],
      Buffer.concat([program, Buffer.from('x')]),
    );
    expect(result).toEqual({ code: 0, stdout: 'link; \nx', stderr: '' });
  });

  test('stores the program where other users cannot reach it', async () => {
    const program = Buffer.from(
      '#!/bin/sh\n[ $# -gt 0 ] || { ls -ld "$TMPDIR"/* >"$HOME/listed"; exit 2; }\n',
    );
    chmodSync(join(folder, 'tmp'), 0o777);
    const result = await feed(['sh', '-c', codeFor(program)], program);
    expect(result).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(readFileSync(join(folder, 'listed'), 'utf8')).toMatch(/^drwx------ .*\/wireup-\w{6}\n$/);
  });
});
