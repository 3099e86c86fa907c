// Names that two launches share through `wireup names serve`, also when a process is killed, sends invalid data, or
// belongs to another user.

import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';

import { listNames, NameServer, PmiClient, PmiServer } from '../../dist/index.js';
import { root } from '../support/root';
import { lines, Run, run, wireup } from '../support/run';
import { needsRoot, OTHER_UID, HostileClient, runHostileClient } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

let address: string;
beforeEach(() => {
  // Other users can pass through the folder, so that only the checks of the server keep them out.
  const folder = mkdtempSync(join(tmpdir(), 'names-'));
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  address = join(folder, 'names');
});

/**
 * A rank that performs its arguments in turn and prints the result of each: `publish NAME PORT`, `unpublish NAME`,
 * `lookup NAME`, or `wait` for USR1.
 */
const rank = `
const { PmiClient } = require(${JSON.stringify(join(root, 'dist/index.js'))});
(async () => {
  let signalled = () => {};
  const signal = new Promise((resolve) => (signalled = resolve));
  process.on('SIGUSR1', signalled);
  const keepAlive = setInterval(() => {}, 1 << 30);
  const pmi = await PmiClient.fromEnv({ version: Number(process.argv[1]) });
  for (const step of process.argv.slice(2)) {
    const [what, name, port] = step.split(' ');
    if (what === 'wait') {
      console.log('waiting');
      await signal;
    } else {
      const done = what === 'publish' ? pmi.publish(name, port) : pmi[what](name);
      console.log(await done.then((found) => what + ': ' + (found ?? 'ok'), ({ code, rc, message }) => what + ': ' + code + ' ' + rc + ' ' + message));
    }
  }
  clearInterval(keepAlive);
  await pmi.finalize();
})();`;

function launchArgs(version: 1 | 2, ...steps: string[]): string[] {
  return wireup(
    'run',
    '--name-server',
    address,
    '-n',
    '1',
    process.execPath,
    '-e',
    rank,
    String(version),
    ...steps,
  );
}

/** Runs a launch with these steps, and returns its output. */
async function resultsOf(version: 1 | 2, ...steps: string[]): Promise<string[]> {
  const result = await run(launchArgs(version, ...steps));
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return lines(result.stdout);
}

/** Starts a launch that publishes `ocean` and waits. */
async function startPublisher(
  options: ConstructorParameters<typeof Run>[1] = {},
  ...more: string[]
): Promise<Run> {
  const job = new Run(launchArgs(1, 'publish ocean tag#0$', 'wait', ...more), options);
  await job.until(({ stdout }) => stdout.endsWith('waiting\n'));
  expect(job.stdout).toBe('publish: ok\nwaiting\n');
  return job;
}

async function serve(...options: string[]): Promise<Run> {
  const server = new Run(wireup('names', 'serve', '--address', address, ...options), { mayLeaveFiles: true });
  await server.until(({ stdout }) => stdout.endsWith('\n'));
  expect(server.stdout).toBe(`unix://${address}\n`);
  return server;
}

async function stop(server: Run): Promise<void> {
  server.kill('SIGTERM');
  expect(await server.done).toMatchObject({ code: 0 });
  expect(existsSync(address)).toBe(false);
}

/** Lists the names until there are none. */
async function untilNoNames(): Promise<void> {
  while ((await listNames(address)).length > 0);
}

describe('two launches', () => {
  it.each([1, 2] as const)(
    'share a name: the second, over PMI-%i, finds it, and can neither publish nor unpublish it',
    async (version) => {
      const server = await serve();
      const job = await startPublisher({}, 'unpublish ocean');
      expect(
        await resultsOf(version, 'lookup ocean', 'lookup river', 'publish ocean other', 'unpublish ocean'),
      ).toEqual([
        'lookup: tag#0$',
        'lookup: ERR_PMI_RESULT 1 lookup river: service_not_found',
        'publish: ERR_PMI_RESULT 1 publish ocean: key_already_present',
        'unpublish: ERR_PMI_RESULT 1 unpublish ocean: service_not_found',
      ]);
      const [name] = await listNames(address);
      expect(name).toEqual({
        service: 'ocean',
        port: 'tag#0$',
        pid: job.pid,
        kvsname: expect.stringMatching(/^wireup-/) as string,
      });
      const list = wireup('names', 'list', '--address', address);
      expect(await run(list)).toMatchObject({
        code: 0,
        stderr: '',
        stdout: `ocean\ttag#0$\t${job.pid}\t${name!.kvsname}\n`,
      });
      expect(JSON.parse((await run([...list, '--json'])).stdout)).toEqual({ address, names: [name] });
      job.kill('SIGUSR1');
      expect(await job.done).toMatchObject({
        code: 0,
        stdout: 'publish: ok\nwaiting\nunpublish: ok\n',
        stderr: '',
      });
      expect(await listNames(address)).toEqual([]);
      await stop(server);
    },
  );

  it('can get the server from WIREUP_NAME_SERVER', async () => {
    const server = await serve();
    const job = await startPublisher();
    const environment = { WIREUP_NAME_SERVER: address };
    const lookupArgs = wireup('run', '-n', '1', process.execPath, '-e', rank, '1', 'lookup ocean');
    expect(await run(lookupArgs, { environment })).toMatchObject({ code: 0, stdout: 'lookup: tag#0$\n' });
    expect((await run(wireup('names', 'list'), { environment })).stdout).toMatch(/^ocean\t/);
    // Without a name server, each launch has its own names.
    expect((await run(lookupArgs)).stdout).toBe('lookup: ERR_PMI_RESULT 1 lookup ocean: service_not_found\n');
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0 });
    await stop(server);
  });
});

describe('the names of a job', () => {
  it('are removed when it ends', async () => {
    const server = await serve();
    const job = await startPublisher();
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0 });
    await untilNoNames();
    expect(await resultsOf(1, 'publish ocean other', 'lookup ocean')).toEqual([
      'publish: ok',
      'lookup: other',
    ]);
    await stop(server);
  });

  it('are removed when its launcher is killed', async () => {
    const server = await serve();
    const job = await startPublisher({ mayLeaveFiles: true });
    job.kill('SIGKILL');
    await untilNoNames();
    expect(await resultsOf(1, 'lookup ocean')).toEqual([
      'lookup: ERR_PMI_RESULT 1 lookup ocean: service_not_found',
    ]);
    expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
    await stop(server);
  });
});

describe('a name server', () => {
  it('that is killed affects only requests for names, which fail, and the next server takes over its address', async () => {
    const server = await serve();
    const job = await startPublisher({}, 'lookup ocean', 'publish river x', 'unpublish ocean');
    server.kill('SIGKILL');
    expect(await server.done).toMatchObject({ signal: 'SIGKILL' });
    await job.until(({ stderr }) => stderr !== '');
    expect(job.stderr).toBe(
      `wireup: the name server ${address} has ended: ranks can no longer publish or look up names\n`,
    );
    const next = await serve();
    job.kill('SIGUSR1');
    const gone = (what: string): string => `ERR_PMI_RESULT 1 ${what}: name_server_has_gone`;
    expect(lines((await job.done).stdout)).toEqual([
      'publish: ok',
      'waiting',
      `lookup: ${gone('lookup ocean')}`,
      `publish: ${gone('publish river')}`,
      `unpublish: ${gone('unpublish ocean')}`,
    ]);
    expect((await job.done).code).toBe(0);
    expect(await listNames(address)).toEqual([]);
    await stop(next);
  });

  it('that does not run is reported at the start, with the command that starts it', async () => {
    const reason = `name server unix://${address}: No such file or directory: start one there with \`wireup names serve --address unix://${address}\``;
    expect(await run(launchArgs(1))).toMatchObject({ code: 1, stdout: '', stderr: `wireup: ${reason}\n` });
    expect(await run(wireup('names', 'list', '--address', address))).toMatchObject({
      code: 1,
      stderr: `wireup: ${reason}\n`,
    });
    expect(await run(wireup('names', 'list'), { environment: { XDG_RUNTIME_DIR: '' } })).toMatchObject({
      code: 2,
      stderr:
        'wireup: no name server is known, because neither WIREUP_NAME_SERVER nor XDG_RUNTIME_DIR is set; use --address (see --help)\n',
    });
    for (const command of [
      ['run', '-n', '1', '--name-server', '127.0.0.1:1', 'true'],
      ['names', 'serve', '--address', '127.0.0.1:1'],
    ]) {
      const result = await run(wireup(...command));
      expect(result).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          /^wireup: --(name-server|address): expected a unix address: .*, got '127\.0\.0\.1:1' \(see --help\)\n$/,
        ) as string,
      });
    }
  });

  it('must not be a PMI server', async () => {
    await using server = await PmiServer.listen({ size: 1, address, handshakeTimeout: 100 });
    await expect(listNames(server.address!)).rejects.toMatchObject({ code: 'ERR_PMI_NAME_SERVER' });
  });

  it('cannot listen at the address of another one', async () => {
    const server = await serve();
    await expect(NameServer.listen({ address })).rejects.toMatchObject({ code: 'ERR_PMI_ADDRESS_IN_USE' });
    expect(await run(wireup('names', 'serve', '--address', address))).toMatchObject({
      code: 1,
      stderr: `wireup: bind ${address}: Address already in use\n`,
    });
    expect(await resultsOf(1, 'publish ocean x')).toEqual(['publish: ok']);
    await stop(server);
  });

  // Each run fails if a file or a folder of it remains.
  it.each([
    ['in $XDG_RUNTIME_DIR', {}, /^unix:\/\/.*\/wireup-names\n$/],
    [
      'in a private folder if XDG_RUNTIME_DIR is not set',
      { XDG_RUNTIME_DIR: '' },
      /^unix:\/\/.*\/wireup-\w{6}\/pmi\n$/,
    ],
  ])('listens by default %s, and leaves nothing', async (_, environment, pattern) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const server = new Run(wireup('names', 'serve'), { environment });
      await server.until(({ stdout }) => stdout.endsWith('\n'));
      expect(server.stdout).toMatch(pattern);
      expect(await listNames(server.stdout.trim())).toEqual([]);
      server.kill(signal);
      expect(await server.done).toMatchObject({ code: 0, stderr: '' });
    }
  });

  it('gets no names of 10,000 characters, which the client refuses', async () => {
    const server = await serve();
    const long = 'x'.repeat(10_000);
    for (const version of [1, 2] as const) {
      const [publish, lookup, after] = await resultsOf(
        version,
        `publish ${long} p`,
        `lookup ${long}`,
        'publish river x',
      );
      for (const refused of [publish, lookup]) {
        expect(refused).toMatch(/^\w+: ERR_PMI_OPTION .* 9880 more characters$/);
        expect(refused!.length).toBeLessThan(300);
      }
      expect(after).toBe('publish: ok');
      await untilNoNames();
    }
    await stop(server);
  });

  it('is not delayed by invalid data from other connections of the same user', async () => {
    const server = await serve();
    const target = { path: address };
    using noise = new HostileClient({ target, behaviour: 'noise', count: 4 });
    using endless = new HostileClient({ target, behaviour: 'endless', text: '     5hello', count: 4 });
    using idle = new HostileClient({ target, behaviour: 'idle', count: 100 });
    await Promise.all([noise.ready, endless.ready, idle.ready]);
    const job = await startPublisher();
    expect(await resultsOf(1, 'lookup ocean')).toEqual(['lookup: tag#0$']);
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0, stderr: '' });
    await stop(server);
    expect((await server.done).stderr).toMatch(
      /^wireup: refused a connection \(uid \d+, pid \d+\): it does not use the protocol of the name server\n/,
    );
  });
});

const other = needsRoot();
it.skipIf(other.missing)(`another user can neither list nor publish names${other.note}`, async () => {
  const server = await serve();
  const job = await startPublisher();
  // With this mode, only the check of the uid refuses the connection.
  chmodSync(address, 0o777);
  // The first messages of a client: hello with the kvsname "k", and the request for all names.
  const hello = '    10\0\u0001\0\0\0\u0001\0\0\0k';
  const list = '     5\u0002\0\0\0\0';
  expect(
    await runHostileClient(
      { target: { path: address }, behaviour: 'send and read', text: hello + list },
      OTHER_UID,
    ),
  ).toBe('');
  using own = new HostileClient({ target: { path: address }, behaviour: 'idle', text: hello + list });
  await own.ready;
  expect(await resultsOf(1, 'lookup ocean')).toEqual(['lookup: tag#0$']);
  job.kill('SIGUSR1');
  expect(await job.done).toMatchObject({ code: 0 });
  await stop(server);
  expect((await server.done).stderr).toMatch(
    new RegExp(
      `^wireup: refused a connection \\(uid ${OTHER_UID}, pid \\d+\\): uid ${OTHER_UID} is not allowed\\n$`,
    ),
  );
});

it('the names of a PmiServer are shared until it is closed', async () => {
  await using names = await NameServer.listen({ address });
  const first = await PmiServer.listen({ size: 1, address: 'unix', nameServer: names.address });
  await using second = await PmiServer.listen({ size: 1, address: 'unix', nameServer: names.address });
  await using publishes = await PmiClient.fromEnv({ env: first.env(0) });
  await using looks = await PmiClient.fromEnv({ env: second.env(0) });
  await publishes.publish('ocean', 'tag#0$');
  expect(await looks.lookup('ocean')).toBe('tag#0$');
  expect(await listNames(names.address)).toMatchObject([
    { service: 'ocean', pid: process.pid, kvsname: first.kvsname },
  ]);
  await first.close();
  await untilNoNames();
  const events = second.events();
  await names.close();
  for await (const event of events) if (event.type === 'name-server-lost') break;
  await expect(looks.lookup('ocean')).rejects.toMatchObject({
    code: 'ERR_PMI_RESULT',
    message: 'lookup ocean: name_server_has_gone',
  });
});
