import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PmiClient, PmiServer, type PmiEvent } from '../../dist/index.js';

const cli = join(__dirname, '../../dist/cli.js');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

/** Runs an exchange of business cards between clients of all ranks, in this process. */
async function exchange(server: PmiServer): Promise<void> {
  await Promise.all(
    Array.from({ length: server.size }, async (_, rank) => {
      await using pmi = await PmiClient.connect({ address: server.address!, id: server.env(rank).PMI_ID! });
      expect([pmi.rank, pmi.size, pmi.kvsname]).toEqual([rank, server.size, server.kvsname]);
      await pmi.put(`k${rank}`, `value of ${rank}`);
      await pmi.barrier();
      for (let other = 0; other < server.size; other++)
        expect(await pmi.get(`k${other}`)).toBe(`value of ${other}`);
      await pmi.barrier();
    }),
  );
}

function scratch(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'server-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

describe('the address', () => {
  test.each([
    'tcp',
    'unix',
    '127.0.0.1:0',
    'tcp://127.0.0.1:0',
    'tcp://localhost:0',
    'tcp://[::1]:0',
    `unix://@wireup-test-${process.pid}`,
  ])('%s serves an exchange', async (address) => {
    await using server = await PmiServer.listen({ size: 4, address });
    expect(server.address).toMatch(/^(tcp:\/\/.*:[1-9]\d*|unix:\/\/.+)$/);
    await exchange(server);
  });

  test('of a TCP server is in PMI_PORT as host:port, which every MPI can parse', async () => {
    await using server = await PmiServer.listen({ size: 2, address: 'tcp' });
    expect(server.env(1)).toMatchObject({
      PMI_PORT: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      PMI_RANK: '1',
      PMI_SIZE: '2',
    });
    expect(server.env(1)).not.toHaveProperty('PMI_FD');
  });

  test.each(['0.0.0.0:0', '[::]:0'])(
    '%s is replaced in PMI_PORT by one that the ranks can connect to',
    async (address) => {
      await using server = await PmiServer.listen({ size: 2, address });
      expect(server.env(0).PMI_PORT).toMatch(/^127\.0\.0\.1:\d+$/);
      await Promise.all(
        [0, 1].map(async (rank) => {
          await using pmi = await PmiClient.fromEnv({ env: server.env(rank) });
          await pmi.barrier();
        }),
      );
      // With allowed hosts, PMI_PORT has the host name, for ranks on other machines.
      await using open = await PmiServer.listen({ size: 2, address, allowHosts: ['192.0.2.1'] });
      expect(open.env(0).PMI_PORT).toMatch(/^[^:]+:\d+$/);
      expect(open.env(0).PMI_PORT!.split(':')[0]).toBe(hostname());
    },
  );

  test('`unix` is a socket with mode 0600 in a folder with mode 0700, and close() removes both', async () => {
    const server = await PmiServer.listen({ size: 1, address: 'unix' });
    const path = server.address!.slice('unix://'.length);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    await server.close();
    expect(existsSync(dirname(path))).toBe(false);
  });

  test('in use is refused', async () => {
    using folder = scratch();
    const address = `unix://${folder.path}/s`;
    await using first = await PmiServer.listen({ size: 1, address });
    await expect(PmiServer.listen({ size: 1, address })).rejects.toMatchObject({
      code: 'ERR_PMI_ADDRESS_IN_USE',
    });
    await using tcp = await PmiServer.listen({ size: 1, address: 'tcp' });
    await expect(PmiServer.listen({ size: 1, address: tcp.address! })).rejects.toMatchObject({
      code: 'ERR_PMI_ADDRESS_IN_USE',
    });
    expect(first.address).toBe(address);
  });

  test.each([
    [`unix:///${'x'.repeat(200)}`, 'ERR_PMI_ADDRESS'],
    ['localhost', 'ERR_PMI_ADDRESS'],
    ['::1:5000', 'ERR_PMI_ADDRESS'],
    ['tcp://localhost:99999', 'ERR_PMI_ADDRESS'],
    ['http://localhost:1', 'ERR_PMI_ADDRESS'],
    ['/no/such/folder/s', 'ERR_PMI_LISTEN'],
    ['tcp://192.0.2.1:0', 'ERR_PMI_LISTEN'],
  ])('%s is refused with %s', async (address, code) => {
    await expect(PmiServer.listen({ size: 1, address })).rejects.toMatchObject({ name: 'PmiError', code });
  });
});

describe('wrong use is refused', () => {
  test.each([
    [{ size: 0 }, /size: expected a whole number from 1 to 1048576, got 0/],
    [{ size: 1.5 }, /size/],
    [{ size: '4' }, /got '4'/],
    [{ size: 4, universeSize: 3 }, /universeSize/],
    [{ size: 4, adress: 'tcp' }, /options\.adress/],
    [{ size: 4, address: 5 }, /address: expected a string/],
    [undefined, /options: expected an object/],
  ])('listen(%j)', async (options, message) => {
    await expect(PmiServer.listen(options as never)).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
      message: expect.stringMatching(message) as string,
    });
  });

  test('a signal that is no AbortSignal', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'unix' });
    await using pmi = await PmiClient.fromEnv({ env: server.env(0) });
    const wrong = { signal: 'soon' } as never;
    const error = { code: 'ERR_PMI_OPTION', message: "signal: expected an AbortSignal, got 'soon'" };
    expect(() => server.events(wrong)).toThrow(expect.objectContaining(error) as Error);
    await expect(PmiClient.fromEnv({ ...(wrong as object), env: server.env(0) })).rejects.toMatchObject(
      error,
    );
    await expect(pmi.barrier(wrong)).rejects.toMatchObject(error);
    await expect(pmi.barrier({ timeout: -1 })).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
    expect((await server.status()).barrier.number).toBe(0);
  });

  test('env() and channel()', async () => {
    await using server = await PmiServer.listen({ size: 2 });
    expect(() => server.env(2)).toThrow(/rank: expected a whole number from 0 to 1, got 2/);
    expect(() => server.env(0)).toThrow(/the server has no address/);
    expect(() => server.channel(-1)).toThrow(/rank/);
    await server.close();
    await server.close();
    expect(() => server.channel(0)).toThrow(expect.objectContaining({ code: 'ERR_PMI_CLOSED' }));
    await expect(server.status()).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
  });
});

describe('channels', () => {
  test('a child process uses the channel that it inherits', async () => {
    await using server = await PmiServer.listen({ size: 3 });
    const events = server.events();
    const codes = await Promise.all(
      [0, 1, 2].map((rank) => {
        using channel = server.channel(rank);
        const child = spawn(process.execPath, [cli, 'exchange'], {
          env: { ...process.env, ...server.env(rank, { fd: 3 }) },
          stdio: ['ignore', 'ignore', 'inherit', channel.fd],
        });
        return new Promise((resolve) => child.on('exit', resolve));
      }),
    );
    expect(codes).toEqual([0, 0, 0]);
    expect((await server.status()).ranks.finalized).toBe('0-2');
    await server.close();
    const seen: PmiEvent[] = [];
    for await (const event of events) seen.push(event);
    expect(seen.filter(({ type }) => type === 'initialized')).toHaveLength(3);
    expect(seen.filter(({ type }) => type === 'finalized')).toHaveLength(3);
    expect(seen.filter(({ type }) => type === 'barrier')).toEqual([
      { type: 'barrier', number: 0, time: expect.any(Number) as number },
      { type: 'barrier', number: 1, time: expect.any(Number) as number },
    ]);
  });

  test('a rank has only one connection', async () => {
    await using server = await PmiServer.listen({ size: 1 });
    const events = server.events();
    // A client owns its PMI_FD and closes it, so the test does not close the channels.
    const first = server.channel(0);
    await using pmi = await PmiClient.fromEnv({ env: server.env(0, { fd: first.fd }) });
    const second = server.channel(0);
    await expect(PmiClient.fromEnv({ env: server.env(0, { fd: second.fd }) })).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_PMI_/) as string,
    });
    await pmi.put('a', 'the first lives on');
    expect(await pmi.get('a')).toBe('the first lives on');
    for await (const event of events) {
      if (event.type !== 'rejected') continue;
      expect(event).toMatchObject({
        peer: { transport: 'fd' },
        reason: 'open_channel: the rank has a connection',
      });
      break;
    }
    expect((await server.status()).rejected).toBe(1);
  });
});

describe('status and events', () => {
  test('list the ranks that are in the barrier and those that are missing', async () => {
    await using server = await PmiServer.listen({ size: 4, address: 'tcp' });
    const client = (rank: number): Promise<PmiClient> =>
      PmiClient.connect({ address: server.address!, id: server.env(rank).PMI_ID! });
    expect((await server.status()).ranks.absent).toBe('0-3');
    const zero = await client(0);
    const two = await client(2);
    const waiting = [zero.barrier(), two.barrier()];
    let status = await server.status();
    while (status.barrier.inside !== '0,2') status = await server.status();
    expect(status).toMatchObject({
      size: 4,
      ranks: { absent: '1,3', initialized: '0,2' },
      barrier: { number: 0, inside: '0,2', missing: '1,3' },
    });
    const others = [await client(1), await client(3)];
    await Promise.all([...waiting, ...others.map((other) => other.barrier())]);
    expect((await server.status()).barrier).toEqual({ number: 1, inside: '', missing: '' });
    await Promise.all([zero, two, ...others].map((each) => each.finalize()));
  });

  test('report a refused connection with a wrong PMI_ID', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'unix' });
    const events = server.events();
    await expect(PmiClient.connect({ address: server.address!, id: '12345' })).rejects.toMatchObject({
      code: 'ERR_PMI_REFUSED',
    });
    expect((await events.next()).value).toMatchObject({
      type: 'rejected',
      peer: { transport: 'unix', uid: process.getuid!(), pid: process.pid },
    });
    expect((await server.status()).rejected).toBe(1);
  });

  test('show no effect of an incomplete line from an unidentified connection', async () => {
    await using server = await PmiServer.listen({ size: 4, address: 'tcp' });
    const unidentified = connect(Number(server.address!.split(':').pop()), '127.0.0.1');
    await new Promise<void>((resolve) => unidentified.write('cmd=ini', () => resolve()));
    await exchange(server);
    unidentified.destroy();
  });

  test('end the iteration when its signal is aborted', async () => {
    await using server = await PmiServer.listen({ size: 1 });
    const controller = new AbortController();
    const next = server.events({ signal: controller.signal }).next();
    controller.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
  });

  test('report a rank that disconnects without finalize', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'unix' });
    const events = server.events();
    const pmi = await PmiClient.connect({ address: server.address!, id: server.env(0).PMI_ID! });
    await pmi.close();
    for await (const event of events) {
      if (event.type !== 'disconnected') continue;
      expect(event).toMatchObject({ type: 'disconnected', rank: 0, lost: true });
      break;
    }
  });
});

test('a worker can be terminated while events are queued for it', () => {
  const { status, signal } = spawnSync(process.execPath, [join(__dirname, 'terminated-worker.cjs')], {
    stdio: 'inherit',
    timeout,
  });
  expect([status, signal]).toEqual([0, null]);
});

test.each(['process.exit(0)', "throw new Error('the script fails')"])(
  '%s leaves no socket of the server behind',
  (end) => {
    using folder = scratch();
    const script = `
    const { PmiServer } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    PmiServer.listen({ size: 1, address: 'unix' }).then((server) => {
      console.log(require('node:fs').existsSync(server.address.slice('unix://'.length)));
      setImmediate(() => { ${end}; });
    });`;
    const { stdout } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      timeout,
      env: { ...process.env, XDG_RUNTIME_DIR: folder.path },
    });
    expect(stdout).toBe('true\n');
    expect(readdirSync(folder.path)).toEqual([]);
  },
);

test('the server survives clients that reset their connections before it accepts them', async () => {
  const script = `
    const { PmiServer } = require(${JSON.stringify(join(__dirname, '../../dist/index.js'))});
    const { connect } = require('node:net');
    PmiServer.listen({ size: 1, address: 'tcp' }).then(async (server) => {
      const port = Number(server.address.split(':').pop());
      for (let round = 0; round < 20; round++) {
        await Promise.all(Array.from({ length: 100 }, () => new Promise((resolve) => {
          const socket = connect(port, '127.0.0.1', () => socket.resetAndDestroy());
          socket.on('error', () => {}).on('close', resolve);
        })));
      }
      console.log((await server.status()).ranks.absent);
      await server.close();
    });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.stdout.setEncoding('utf8');
  let out = '';
  child.stdout.on('data', (text: string) => (out += text));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('close', (...end) => resolve(end)),
  );
  expect([code, signal, out]).toEqual([0, null, '0\n']);
});

test('a rank that aborts a barrier can disconnect without waiting for it', async () => {
  await using server = await PmiServer.listen({ size: 2, address: 'unix' });
  const events = server.events();
  const leave = async (): Promise<void> => {
    await using pmi = await PmiClient.fromEnv({ env: server.env(0) });
    await pmi.barrier({ signal: AbortSignal.timeout(20) });
  };
  await expect(leave()).rejects.toMatchObject({ name: 'TimeoutError' });
  for await (const event of events) if (event.type === 'disconnected') return expect(event.lost).toBe(true);
});

test('a second client on the same PMI_FD is refused, and the first one still works', async () => {
  await using server = await PmiServer.listen({ size: 1 });
  const env = server.env(0, { fd: server.channel(0).fd });
  await using pmi = await PmiClient.fromEnv({ env });
  await expect(PmiClient.fromEnv({ env })).rejects.toMatchObject({
    code: 'ERR_PMI_CONNECT',
    message: expect.stringContaining('busy') as string,
  });
  await pmi.put('a', 'b');
  expect(await pmi.get('a')).toBe('b');
});

test('closing the server closes the connections of its clients, even in a barrier', async () => {
  const server = await PmiServer.listen({ size: 2, address: 'unix' });
  const pmi = await PmiClient.connect({ address: server.address!, id: server.env(0).PMI_ID! });
  const barrier = pmi.barrier();
  await server.close();
  await expect(barrier).rejects.toMatchObject({ code: 'ERR_PMI_HUNG_UP', rank: 0 });
  await expect(pmi.get('a')).rejects.toMatchObject({ code: 'ERR_PMI_HUNG_UP' });
  await pmi.close();
});

test('many clients and servers in one process leave no fds behind', async () => {
  const fds = (): number => readdirSync('/proc/self/fd').length;
  const round = async (): Promise<void> => {
    await using server = await PmiServer.listen({ size: 8, address: 'unix' });
    await exchange(server);
  };
  await round();
  const before = fds();
  for (let i = 0; i < 20; i++) await round();
  // The reactor thread closes its io_uring a moment after its last socket.
  await expect.poll(fds, { timeout: 10_000 }).toBe(before);
});
