// Wrong use of the command line gives an exit code and one clear line on stderr, and leaves nothing behind. Each run
// fails if a process or a file of it remains.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { lines, run, Run, toolLines, transports, wireup, wireupRun, type Result } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'use-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const failure = [1, 2];

function expectOneLine(result: Result, code: number | number[], line: RegExp): void {
  expect([code].flat(), result.stderr).toContain(result.code);
  expect(result).toMatchObject({ signal: null, stdout: '' });
  expect(lines(result.stderr), result.stderr).toHaveLength(1);
  expect(toolLines(result.stderr), result.stderr).toHaveLength(1);
  expect(result.stderr).toMatch(line);
}

describe.each(transports)('with --pmi %s', (transport) => {
  it.each([
    ['a path', '/nonexistent/program'],
    ['a name', 'no-such-program-anywhere'],
  ])('a missing program, given as %s, gives exit code 127', async (_, name) => {
    expectOneLine(await run(wireupRun(2, transport, name)), 127, new RegExp(name));
  });

  it('a program that is not executable gives exit code 126', async () => {
    const file = join(folder, 'not-executable');
    writeFileSync(file, '#!/bin/sh\n', { mode: 0o644 });
    expectOneLine(await run(wireupRun(2, transport, file)), 126, /not-executable/);
  });

  it('a folder gives exit code 126', async () => {
    expectOneLine(await run(wireupRun(2, transport, folder)), 126, /use-/);
  });
});

describe('the message about a command line of mpiexec without `run`', () => {
  it.each([
    [['-n', '2', './a.out'], "there is no command '-n'; did you mean `wireup run -n 2 ./a.out`?"],
    [['./a.out', '-x'], "there is no command './a.out'; did you mean `wireup run ./a.out -x`?"],
    [['/bin/echo', 'a b'], "there is no command '/bin/echo'; did you mean `wireup run ...`?"],
  ])('mentions the command that fits: %j', async (words, message) => {
    const result = await run(wireup(...words));
    expectOneLine(result, 2, /^wireup: .* \(see --help\)\n$/);
    expect(result.stderr).toContain(message);
  });
});

describe('the number of ranks', () => {
  it.each(['0', '-1', 'x', '2x', '1.5', '', '99999999999999999999'])(
    "refuses -n '%s' with exit code 2",
    async (size) => {
      expectOneLine(await run(wireup('run', '-n', size, 'true')), 2, /-n\b/);
    },
  );
});

describe('an error of launch() names the option of the command line', () => {
  it.each([
    [['-usize', '1'], '--usize: expected a whole number from 2 to'],
    [['-stdin', '7'], '--stdin: expected a whole number from 0 to 1, got 7'],
    [['-output-from', '0,5'], '--output-from: expected a whole number from 0 to 1, got 5'],
    [['-debugger', 'env', '-debug-ranks', '5'], '--debug-ranks: expected a whole number from 0 to 1, got 5'],
    [['-debug-ranks', '0'], '--debug-ranks needs --debugger'],
    [['-allow-uid', '5-3'], '--allow-uid: expected a whole number from 5 to'],
    [['-prepend-pattern', 'x'.repeat(2000)], '--prepend-pattern: expected up to 1024 letters'],
    [['-name-server', '127.0.0.1:1'], '--name-server: expected a unix address'],
    [['-mca', 'btl', 'self'], "option '-mca' is not supported: it belongs to Open MPI"],
  ])('for %j', async (options, message) => {
    const result = await run(wireup('run', '-n', '2', ...options, 'true'));
    expectOneLine(result, 2, /^wireup: .* \(see --help\)\n$/);
    expect(result.stderr.slice('wireup: '.length)).toMatch(new RegExp(`^${message.replace(/[()]/g, '.')}`));
  });
});

const prlimit = needs('prlimit');
describe.skipIf(prlimit.missing)(`the limit on open files${prlimit.note}`, () => {
  it.each(transports)(
    'with --pmi %s is reported with the numbers if there are too many ranks',
    async (transport) => {
      const result = await run([
        installed('prlimit'),
        '--nofile=64:64',
        ...wireupRun(200, transport, 'true'),
      ]);
      expectOneLine(result, 1, /\b200\b.*\b64\b|\b64\b.*\b200\b/);
    },
  );

  it.each(transports)('with --pmi %s is raised if the hard limit is enough', async (transport) => {
    const result = await run([
      installed('prlimit'),
      '--nofile=64:1024',
      ...wireupRun(100, transport, 'true'),
    ]);
    expect(result).toMatchObject({ code: 0, stderr: '' });
  });
});

// Starts a server that listens for ranks that never connect. Its address is in its output.
async function serve(address: string): Promise<{ server: Run; port: string }> {
  const server = new Run(wireup('serve', '-n', '2', '--address', address, '--json'));
  const parsed = (): string | undefined => {
    try {
      return /"PMI_PORT":"([^"]+)"/.exec(JSON.stringify(JSON.parse(server.stdout)))?.[1];
    } catch {
      return undefined;
    }
  };
  await server.until(() => parsed() !== undefined);
  return { server, port: parsed() ?? '' };
}

function connected(target: string): Promise<Socket> {
  const [host, port] = target.startsWith('/') ? [] : target.split(':');
  return new Promise((fulfil, reject) => {
    const socket = port === undefined ? connect(target) : connect(Number(port), host);
    socket.once('connect', () => fulfil(socket)).once('error', reject);
  });
}

describe('wireup serve refuses', () => {
  it('a unix path in use', async () => {
    const path = join(folder, 'twice.sock');
    const { server } = await serve(`unix://${path}`);
    expectOneLine(await run(wireup('serve', '-n', '2', '--address', `unix://${path}`)), 1, /in use/i);
    // The first server goes on, and removes its socket.
    (await connected(path)).destroy();
    server.kill('SIGTERM');
    await server.done;
    expect(existsSync(path)).toBe(false);
  });

  it('a TCP port in use', async () => {
    const { server, port } = await serve('127.0.0.1:0');
    expectOneLine(await run(wireup('serve', '-n', '2', '--address', port)), 1, /in use/i);
    (await connected(port)).destroy();
    server.kill('SIGTERM');
    await server.done;
  });

  it('an abstract name in use', async () => {
    const address = `unix://@wrong-use-${process.pid}`;
    const { server } = await serve(address);
    expectOneLine(await run(wireup('serve', '-n', '2', '--address', address)), 1, /in use/i);
    server.kill('SIGTERM');
    await server.done;
  });

  it('a path that is too long for a socket', async () => {
    const path = join(folder, 'x'.repeat(120));
    const result = await run(wireup('serve', '-n', '2', '--address', `unix://${path}`));
    expectOneLine(result, failure, /\b107\b|too long/i);
    expect(existsSync(path)).toBe(false);
  });

  it.each(['', 'nonsense', 'tcp://', 'unix://', 'http://localhost:1', '127.0.0.1:99999', '127.0.0.1:x'])(
    "the invalid address '%s'",
    async (address) => {
      const result = await run(wireup('serve', '-n', '2', '--address', address));
      expectOneLine(result, failure, /address/);
    },
  );
});
