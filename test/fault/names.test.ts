// Names that two launches share by `wireup names serve`, and what becomes of them when somebody dies, lies or is another
// user.

import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';

import { listNames, NameServer, PmiClient, PmiServer } from '../../dist/index.js';
import { root } from '../support/root';
import { lines, Run, run, wireup } from '../support/run';
import { needsRoot, OTHER_UID, stranger, Stranger } from '../support/strangers';

vi.setConfig({ testTimeout: 60_000 });

let address: string;
beforeEach(() => {
  // Everybody may pass through: what keeps other users out is not the folder.
  const folder = mkdtempSync(join(tmpdir(), 'names-'));
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  address = join(folder, 'names');
});

/**
 * A rank that does what it is told, one step after the other, and says what came of each: `publish NAME PORT`,
 * `unpublish NAME`, `lookup NAME`, or `wait` for a USR1.
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

/** What a launch of its own gets. */
async function ask(version: 1 | 2, ...steps: string[]): Promise<string[]> {
  const result = await run(launchArgs(version, ...steps));
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return lines(result.stdout);
}

/** A launch that has published `ocean` and waits. */
async function publisher(
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

/** Asks again and again until nothing is published any more. */
async function untilForgotten(): Promise<void> {
  while ((await listNames(address)).length > 0);
}

describe('two launches', () => {
  it.each([1, 2] as const)(
    'the second, over PMI-%i, finds what the first has published, and can neither take nor remove it',
    async (version) => {
      const server = await serve();
      const job = await publisher({}, 'unpublish ocean');
      expect(
        await ask(version, 'lookup ocean', 'lookup river', 'publish ocean other', 'unpublish ocean'),
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

  it('are told of the server by WIREUP_NAME_SERVER too', async () => {
    const server = await serve();
    const job = await publisher();
    const environment = { WIREUP_NAME_SERVER: address };
    const looking = wireup('run', '-n', '1', process.execPath, '-e', rank, '1', 'lookup ocean');
    expect(await run(looking, { environment })).toMatchObject({ code: 0, stdout: 'lookup: tag#0$\n' });
    expect((await run(wireup('names', 'list'), { environment })).stdout).toMatch(/^ocean\t/);
    // Without, names are each launch's own.
    expect((await run(looking)).stdout).toBe('lookup: ERR_PMI_RESULT 1 lookup ocean: service_not_found\n');
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0 });
    await stop(server);
  });
});

describe('names go with their job', () => {
  it('that has ended', async () => {
    const server = await serve();
    const job = await publisher();
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0 });
    await untilForgotten();
    expect(await ask(1, 'publish ocean other', 'lookup ocean')).toEqual(['publish: ok', 'lookup: other']);
    await stop(server);
  });

  it('whose launcher was killed', async () => {
    const server = await serve();
    const job = await publisher({ mayLeaveFiles: true });
    job.kill('SIGKILL');
    await untilForgotten();
    expect(await ask(1, 'lookup ocean')).toEqual([
      'lookup: ERR_PMI_RESULT 1 lookup ocean: service_not_found',
    ]);
    expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
    await stop(server);
  });
});

describe('the server', () => {
  it('that is killed is missed by no job that does not ask; who asks is answered, and the next takes its address over', async () => {
    const server = await serve();
    const job = await publisher({}, 'lookup ocean', 'publish river x', 'unpublish ocean');
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

  it('that is not there is told at the start, with what to do', async () => {
    const told = `name server unix://${address}: No such file or directory: start one there with \`wireup names serve --address unix://${address}\``;
    expect(await run(launchArgs(1))).toMatchObject({ code: 1, stdout: '', stderr: `wireup: ${told}\n` });
    expect(await run(wireup('names', 'list', '--address', address))).toMatchObject({
      code: 1,
      stderr: `wireup: ${told}\n`,
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

  it('that is a PMI server is no name server', async () => {
    await using server = await PmiServer.listen({ size: 1, address, handshakeTimeout: 100 });
    await expect(listNames(server.address!)).rejects.toMatchObject({ code: 'ERR_PMI_NAME_SERVER' });
  });

  it('has its address for itself', async () => {
    const server = await serve();
    await expect(NameServer.listen({ address })).rejects.toMatchObject({ code: 'ERR_PMI_ADDRESS_IN_USE' });
    expect(await run(wireup('names', 'serve', '--address', address))).toMatchObject({
      code: 1,
      stderr: `wireup: bind ${address}: Address already in use\n`,
    });
    expect(await ask(1, 'publish ocean x')).toEqual(['publish: ok']);
    await stop(server);
  });

  // Each run fails when a file or a folder of it stays.
  it.each([
    ['in $XDG_RUNTIME_DIR', {}, /^unix:\/\/.*\/wireup-names\n$/],
    [
      'in a private folder where there is none',
      { XDG_RUNTIME_DIR: '' },
      /^unix:\/\/.*\/wireup-\w{6}\/pmi\n$/,
    ],
  ])('is by default %s, and leaves nothing', async (_, environment, where) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const server = new Run(wireup('names', 'serve'), { environment });
      await server.until(({ stdout }) => stdout.endsWith('\n'));
      expect(server.stdout).toMatch(where);
      expect(await listNames(server.stdout.trim())).toEqual([]);
      server.kill(signal);
      expect(await server.done).toMatchObject({ code: 0, stderr: '' });
    }
  });

  it('and its job are not asked for names of 10,000 characters', async () => {
    const server = await serve();
    const long = 'x'.repeat(10_000);
    for (const version of [1, 2] as const) {
      const [publish, lookup, after] = await ask(
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
      await untilForgotten();
    }
    await stop(server);
  });

  it('is held up by nobody of our own user who speaks nonsense', async () => {
    const server = await serve();
    const target = { path: address };
    using noise = new Stranger({ target, manner: 'noise', count: 4 });
    using endless = new Stranger({ target, manner: 'endless', text: '     5hello', count: 4 });
    using idle = new Stranger({ target, manner: 'idle', count: 100 });
    await Promise.all([noise.ready, endless.ready, idle.ready]);
    const job = await publisher();
    expect(await ask(1, 'lookup ocean')).toEqual(['lookup: tag#0$']);
    job.kill('SIGUSR1');
    expect(await job.done).toMatchObject({ code: 0, stderr: '' });
    await stop(server);
    expect((await server.done).stderr).toMatch(
      /^wireup: refused a connection \(uid \d+, pid \d+\): it does not speak as a client of names does\n/,
    );
  });
});

const other = needsRoot();
it.skipIf(other.missing)(`another user neither reads nor publishes${other.note}`, async () => {
  const server = await serve();
  const job = await publisher();
  // The mode of its file is not what keeps them out here.
  chmodSync(address, 0o777);
  // Hello, of kvsname "k", and what asks for all names.
  const hello = '    10\0\u0001\0\0\0\u0001\0\0\0k';
  const list = '     5\u0002\0\0\0\0';
  expect(await stranger({ target: { path: address }, manner: 'talk', text: hello + list }, OTHER_UID)).toBe(
    '',
  );
  using own = new Stranger({ target: { path: address }, manner: 'idle', text: hello + list });
  await own.ready;
  expect(await ask(1, 'lookup ocean')).toEqual(['lookup: tag#0$']);
  job.kill('SIGUSR1');
  expect(await job.done).toMatchObject({ code: 0 });
  await stop(server);
  expect((await server.done).stderr).toMatch(
    new RegExp(
      `^wireup: refused a connection \\(uid ${OTHER_UID}, pid \\d+\\): uid ${OTHER_UID} is not allowed\\n$`,
    ),
  );
});

it("a launcher of one's own shares names too, as long as its server is open", async () => {
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
  await untilForgotten();
  const events = second.events();
  await names.close();
  for await (const event of events) if (event.type === 'name-server-lost') break;
  await expect(looks.lookup('ocean')).rejects.toMatchObject({
    code: 'ERR_PMI_RESULT',
    message: 'lookup ocean: name_server_has_gone',
  });
});
