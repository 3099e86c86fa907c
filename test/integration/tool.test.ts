/** The commands of `wireup` other than those with tests of their own. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const cli = join(__dirname, '../../dist/cli.js');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;
const scratch = mkdtempSync(join(tmpdir(), 'tool-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const wireup = (args: string[], input?: string) =>
  spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', input, maxBuffer: 1 << 26, timeout });

async function ended(child: ChildProcess): Promise<unknown> {
  return (
    child.exitCode ??
    child.signalCode ??
    (await new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal))))
  );
}

/** Starts `wireup serve`, and waits until it has printed a whole document or all of its lines. */
async function serve(...args: string[]): Promise<{ child: ChildProcess; printed: string }> {
  const child = spawn(process.execPath, [cli, 'serve', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = args.includes('--json') ? 1 : Number(args[args.indexOf('-n') + 1]);
  let printed = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    printed += chunk as string;
    if (printed.split('\n').length > lines) break;
  }
  return { child, printed };
}

interface Document {
  address: string;
  size: number;
  ranks: { rank: number; env: Record<string, string> }[];
}

describe('wireup serve', () => {
  test.each(['tcp', `unix://${scratch}/json.sock`, `unix://@tool-test-${process.pid}`])(
    'at %s serves ranks that use its JSON document',
    async (address) => {
      const { child, printed } = await serve('-n', '3', '--address', address, '--json');
      const document = JSON.parse(printed) as Document;
      expect(document.size).toBe(3);
      expect(document.ranks.map(({ rank, env }) => [rank, env.PMI_RANK, env.PMI_SIZE])).toEqual(
        [0, 1, 2].map((rank) => [rank, `${rank}`, '3']),
      );
      expect(new Set(document.ranks.map(({ env }) => env.PMI_ID)).size).toBe(3);
      const ranks = document.ranks.map(({ env }) =>
        spawn(process.execPath, [cli, 'exchange'], {
          env: { PATH: process.env.PATH, ...env },
          stdio: ['ignore', 'ignore', 'inherit'],
        }),
      );
      expect(await Promise.all(ranks.map(ended))).toEqual([0, 0, 0]);
      expect(await ended(child)).toBe(0);
    },
  );

  test('serves ranks that use its shell lines', async () => {
    const { child, printed } = await serve('-n', '2', '--address', `${scratch}/with 'quotes`);
    const ranks = printed
      .trimEnd()
      .split('\n')
      .map((line) =>
        spawn('sh', ['-c', `${line}; exec "$0" "$1" exchange`, process.execPath, cli], {
          stdio: ['ignore', 'ignore', 'inherit'],
        }),
      );
    expect(await Promise.all(ranks.map(ended))).toEqual([0, 0]);
    expect(await ended(child)).toBe(0);
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('ends at TERM and removes its socket', async () => {
    const { child } = await serve('-n', '2', '--address', `${scratch}/term.sock`);
    expect(readdirSync(scratch)).toEqual(['term.sock']);
    child.kill('SIGTERM');
    expect(await ended(child)).toBe(143);
    expect(readdirSync(scratch)).toEqual([]);
  });
});

describe('the version that a client of PMI-1.1 gets in reply', () => {
  const withVariable = (value: string) => ({ ...process.env, WIREUP_PMI_SUBVERSION: value });
  const run = (env: NodeJS.ProcessEnv, ...options: string[]) =>
    spawnSync(process.execPath, [cli, 'run', ...options, process.execPath, cli, 'pmi', 'info'], {
      encoding: 'utf8',
      timeout,
      env,
    });

  test.each([
    ['', [], '1.1'],
    ['', ['--pmi-subversion', '1'], '1.1'],
    ['', ['-pmi-subversion', '2'], '1.2'],
    ['2', [], '1.2'],
    ['2', ['--pmi-subversion', '1'], '1.1'],
  ])('with WIREUP_PMI_SUBVERSION=%s and %j is %s', (value, options, version) => {
    const { status, stdout } = run(withVariable(value), ...options);
    expect(status).toBe(0);
    expect(/^PMI: *(.*)$/m.exec(stdout)?.[1]).toBe(version);
  });

  test('is set by --pmi-subversion of wireup serve', async () => {
    const { child, printed } = await serve('-n', '1', '--address', 'tcp', '--json', '--pmi-subversion', '2');
    const { env } = (JSON.parse(printed) as Document).ranks[0]!;
    const { stdout } = spawnSync(process.execPath, [cli, 'pmi', 'info'], {
      encoding: 'utf8',
      timeout,
      env: { ...process.env, ...env },
    });
    expect(/^PMI: *(.*)$/m.exec(stdout)?.[1]).toBe('1.2');
    expect(await ended(child)).toBe(0);
  });

  test('must be 1 or 2; another number is wrong use', () => {
    expect(run(withVariable('3'))).toMatchObject({
      status: 2,
      stdout: '',
      stderr: 'wireup: WIREUP_PMI_SUBVERSION=3: expected 1 or 2 (see --help)\n',
    });
    const result = run(withVariable(''), '--pmi-subversion', '3');
    expect(result).toMatchObject({ status: 2, stdout: '' });
    expect(result.stderr).toBe("wireup: --pmi-subversion: expected 1 or 2, got '3' (see --help)\n");
  });
});

describe('wireup run', () => {
  test('-l labels whole lines of both streams', () => {
    const { stdout, stderr, status } = wireup([
      'run',
      '-n',
      '3',
      '-l',
      'sh',
      '-c',
      'echo out; echo err >&2; printf unended',
    ]);
    expect(status).toBe(0);
    expect(stdout.split('\n').sort()).toEqual(
      ['', ...[0, 1, 2].flatMap((rank) => [`[${rank}] out`, `[${rank}] unended`])].sort(),
    );
    expect(stderr.split('\n').sort()).toEqual(['', '[0] err', '[1] err', '[2] err']);
  });

  test('passes a megabyte of standard input to rank 0 only', () => {
    const input = 'line of input\n'.repeat(75_000);
    const { stdout, status } = wireup(['run', '-n', '3', '-l', 'wc', '-c'], input);
    expect(status).toBe(0);
    expect(stdout.split('\n').sort()).toEqual(['', `[0] ${input.length}`, '[1] 0', '[2] 0']);
  });

  test('passes options after the program to the program', () => {
    expect(wireup(['run', 'echo', '-n', '7', '--help']).stdout).toBe('7 --help');
  });

  test('passes signals on to the ranks, and ends the job at a second INT', async () => {
    const script = "trap 'echo got INT' INT; trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    const child = spawn(process.execPath, [cli, 'run', '-n', '1', 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let received = '';
    for await (const chunk of child.stdout.setEncoding('utf8')) {
      received += chunk as string;
      if (received === 'ready\n') child.kill('SIGINT');
      if (received === 'ready\ngot INT\n') child.kill('SIGUSR1');
    }
    expect(received).toBe('ready\ngot INT\n');
    expect(await ended(child)).toBe(9);

    const ignoring = spawn(
      process.execPath,
      [cli, 'run', '-n', '1', 'sh', '-c', "trap 'echo got INT' INT; echo ready; while :; do sleep 0.1; done"],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    // Two signals that are sent together may be delivered as one, so each waits for the effect of the last. A signal
    // more than two seconds later counts as the first again.
    for await (const _ of ignoring.stdout) ignoring.kill('SIGINT');
    expect(await ended(ignoring)).toBe(130);
  });
});

test('--version is the version of the package', () => {
  const { version } = JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  expect(wireup(['--version']).stdout).toBe(`${version}\n`);
  expect(
    execFileSync(join(__dirname, '../../build/Release/wireup-exec'), ['--version'], {
      encoding: 'utf8',
      timeout,
    }),
  ).toBe(`${version}\n`);
});

describe('files and values without an end', () => {
  test.each([
    [['-f', '/dev/zero', 'true']],
    [['-configfile', '/dev/zero']],
    [['-file', '/dev/zero', 'true']],
  ])('%s is refused', (words) => {
    const { status, stderr } = wireup(['run', ...words]);
    expect([status, stderr.split('\n')]).toEqual([
      2,
      [expect.stringMatching(/^wireup: --\w+ \/dev\/zero: expected a file of at most \d+ bytes/), ''],
    ]);
  });

  test('a file of hosts may be a pipe', () => {
    const command = `"$1" "$2" run -f <(echo localhost:2) sh -c 'echo $PMI_SIZE'`;
    const { stdout } = spawnSync('bash', ['-c', command, 'bash', process.execPath, cli], {
      encoding: 'utf8',
      timeout,
    });
    expect(stdout).toBe('2\n2\n');
  });

  test('a wrong list of hosts is shown in part', () => {
    const { status, stderr } = wireup(['run', '--hosts', `a,,${'b'.repeat(100_000)}`, 'true']);
    expect([status, stderr.split('\n').length]).toEqual([2, 2]);
    expect(stderr).toMatch(/^wireup: --hosts: .{1,300}\.\.\.'/);
  });
});
