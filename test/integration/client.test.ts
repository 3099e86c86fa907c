// PmiClient with PmiServer. The fault tests cover servers that end, fail or do not reply.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { PmiClient, PmiServer, type PmiError } from '../../dist/index.js';
import { closeFakeServers, isCommand, normalExcept, startFakeServer } from '../support/fake-server';

afterEach(closeFakeServers);

const root = join(__dirname, '../..');

async function pair(options: { pipeline?: boolean } = {}): Promise<[PmiServer, PmiClient, PmiClient]> {
  const server = await PmiServer.listen({ size: 2, address: 'unix' });
  const connect = (rank: number): Promise<PmiClient> =>
    PmiClient.fromEnv({ env: server.env(rank), ...options });
  const [first, second] = await Promise.all([connect(0), connect(1)]);
  return [server, first, second];
}

test.each([true, false])(
  'putMany() and getMany() store and return 1000 keys with pipeline: %s',
  async (pipeline) => {
    const [server, one, two] = await pair({ pipeline });
    const entries = Array.from({ length: 1000 }, (_, i): [string, string] => [
      `key-${i}`,
      i % 7 === 0 ? '' : `value ${i} = ${'x'.repeat(i % 900)}`,
    ]);
    await Promise.all([
      one.putMany(entries.slice(0, 500)),
      two.putMany(Object.fromEntries(entries.slice(500))),
    ]);
    await Promise.all([one.barrier(), two.barrier()]);
    const keys = entries.map(([key]) => key).reverse();
    expect(await two.getMany(keys)).toEqual(entries.map(([, value]) => value).reverse());
    expect(await one.getMany([])).toEqual([]);
    await one.putMany({});
    await Promise.all([one.finalize(), two.finalize()]);
    await server.close();
  },
);

test('pipeline: false sends one request at a time, true sends many; the default depends on the server', async () => {
  // The server replies only once it has received `hold` requests. Returns the largest number of requests without a reply.
  const mostInFlight = async (
    pipeline: boolean | undefined,
    hold: number,
    kvsname = 'kvs',
  ): Promise<number> => {
    const waiting: (() => void)[] = [];
    let most = 0;
    const answer = (text: string) => (): Promise<string> =>
      new Promise((resolve) => {
        waiting.push(() => resolve(text));
        most = Math.max(most, waiting.length);
        // By then the server has read all requests that were sent with this one.
        setImmediate(() => {
          if (most >= hold) for (const release of waiting.splice(0)) release();
        });
      });
    const [put, get] = [answer('cmd=put_result rc=0\n'), answer('cmd=get_result rc=0 value=x\n')];
    const address = await startFakeServer(
      normalExcept((line) =>
        isCommand(line, 'put')
          ? put()
          : isCommand(line, 'get')
            ? get()
            : isCommand(line, 'get_my_kvsname')
              ? `cmd=my_kvsname kvsname=${kvsname}\n`
              : 'normal',
      ),
    );
    const pmi = await PmiClient.connect({ address, id: '1', pipeline });
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    const options = { timeout: 20_000 };
    await Promise.all([
      pmi.putMany(
        keys.map((key) => [key, 'x'] as const),
        options,
      ),
      pmi.getMany(keys, options),
      ...keys.map((key) => pmi.get(key, options)),
    ]);
    await pmi.close();
    return most;
  };
  expect(await mostInFlight(false, 1)).toBe(1);
  expect(await mostInFlight(true, 20)).toBeGreaterThanOrEqual(20);
  // The kvsnames of Slurm, Hydra and wireup.
  expect(await mostInFlight(undefined, 1, '12.0')).toBe(1);
  expect(await mostInFlight(undefined, 20, 'kvs_4711_0_1_host')).toBeGreaterThanOrEqual(20);
  expect(await mostInFlight(undefined, 20, 'wireup-0123')).toBeGreaterThanOrEqual(20);
});

test('getMany() and putMany() reject with the name of the key that fails, and affect no other request', async () => {
  const [server, one, two] = await pair();
  await one.putMany({ a: '1', b: '2' });
  const many = one.getMany(['a', 'missing', 'b', 'also-missing']);
  const single = one.get('b');
  await expect(many).rejects.toMatchObject({
    code: 'ERR_PMI_RESULT',
    rc: -1,
    rank: 0,
    message: 'get missing: key_not_found',
  });
  expect(await single).toBe('2');
  await expect(
    one.putMany([
      ['good', '1'],
      ['PMI_reserved', '2'],
      ['also-good', '3'],
    ]),
  ).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: 4 });
  expect(await one.getMany(['good', 'also-good'])).toEqual(['1', '3']);
  await Promise.all([one.close(), two.close()]);
  await server.close();
});

test.each<[string, (pmi: PmiClient) => Promise<unknown>, RegExp]>([
  ['a key with =', (pmi) => pmi.put('k=1', 'v'), /^key: expected 1 to 63 bytes .*, got 'k=1'$/],
  ['an empty key', (pmi) => pmi.put('', 'v'), /^key: /],
  ['a long key', (pmi) => pmi.put('k'.repeat(64), 'v'), /^key: expected 1 to 63 bytes/],
  ['a long key in UTF-8', (pmi) => pmi.get('\u00e9'.repeat(32)), /^key: expected 1 to 63 bytes/],
  ['a key that is not a string', (pmi) => pmi.get(1 as unknown as string), /^key: expected a string, got 1$/],
  [
    'a value of two lines',
    (pmi) => pmi.put('k', 'a\nb'),
    /^value: expected at most 1023 bytes without newlines/,
  ],
  ['a long value', (pmi) => pmi.put('k', 'v'.repeat(1024)), /^value: /],
  ['a key of putMany()', (pmi) => pmi.putMany({ good: '1', 'bad key': '2' }), /^entries: .*'bad key'$/],
  ['a key of getMany()', (pmi) => pmi.getMany(['good', 'a b']), /^keys\[1\]: .*'a b'$/],
  ['an invalid service name', (pmi) => pmi.lookup('a b'), /^service: expected 1 to 1023 bytes/],
  [
    'a name and a port that are too long for a line',
    (pmi) => pmi.publish('s'.repeat(600), 'p'.repeat(600)),
    /^port: expected at most 423 bytes/,
  ],
  [
    'a node attribute, over PMI-1',
    (pmi) => pmi.getNodeAttribute('a'),
    /^version: expected PMI 2.0 at both sides for attributes, got '1.1'$/,
  ],
  [
    'a barrier group, over PMI-1.1',
    (pmi) => pmi.barrier({ group: [0] }),
    /^version: expected PMI 1.2 at both sides for barriers of groups, got '1.1'$/,
  ],
  ['no programs', (pmi) => pmi.spawn([]), /^programs: /],
  ['a program without a name', (pmi) => pmi.spawn([{ program: '' }]), /^programs\[0\]\.program: /],
  [
    'an argument of two lines',
    (pmi) => pmi.spawn([{ program: 'a', args: ['x\ny'] }]),
    /^programs\[0\]\.args\[0\]: /,
  ],
])('wrong use rejects without a request to the server: %s', async (_, call, message) => {
  const [server, one, two] = await pair();
  // The server replies only after the end of this barrier, so a call that rejects before has sent no request.
  const waiting = one.barrier();
  await expect(call(one)).rejects.toMatchObject({
    code: 'ERR_PMI_OPTION',
    message: expect.stringMatching(message) as string,
  });
  await two.barrier();
  await waiting;
  await expect(one.get('good')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT' });
  await Promise.all([one.finalize(), two.finalize()]);
  await server.close();
});

test('after a barrier has timed out, requests reject until the barrier ends, and work again then', async () => {
  const [server, one, two] = await pair();
  await expect(one.barrier({ timeout: 20 })).rejects.toMatchObject({ code: 'ERR_PMI_TIMEOUT' });
  const pending = {
    code: 'ERR_PMI_PENDING',
    rank: 0,
    message: expect.stringMatching(
      /: put k: the wait for barrier was given up, and the server answers in order/,
    ) as string,
  };
  await expect(one.put('k', '1')).rejects.toMatchObject(pending);
  await expect(one.finalize()).rejects.toMatchObject({ code: 'ERR_PMI_PENDING' });
  await two.barrier();
  // The reply to the barrier may not have arrived yet.
  let put = one.put('k', '1');
  while (
    await put.then(
      () => false,
      (error: unknown) => (error as PmiError).code === 'ERR_PMI_PENDING',
    )
  ) {
    await new Promise((resolve) => setImmediate(resolve));
    put = one.put('k', '1');
  }
  expect(await two.get('k')).toBe('1');
  await Promise.all([one.finalize(), two.finalize()]);
  await server.close();
});

test('events of a server have the times at which they happened', async () => {
  const begin = performance.now();
  const server = await PmiServer.listen({ size: 1, address: 'unix' });
  const events = server.events();
  const pmi = await PmiClient.fromEnv({ env: server.env(0) });
  await pmi.barrier();
  await pmi.finalize();
  await server.close();
  const times: number[] = [];
  for await (const event of events) if (event.type !== 'missed') times.push(event.time);
  expect(times.length).toBeGreaterThanOrEqual(4);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(times[0]).toBeGreaterThan(0);
  expect(times.at(-1)).toBeLessThan(performance.now() - begin);
});

test('a missing key with the prefix PMI_ has an empty value in PMI-1, as RFC 13 specifies', async () => {
  const [server, one, two] = await pair();
  expect(await one.getMany(['PMI_no_such_key', 'PMI_process_mapping'])).toEqual(['', '(vector,(0,1,2))']);
  await expect(one.get('no_such_key')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
  await Promise.all([one.finalize(), two.finalize()]);
  await server.close();
});

test.each([1, 2] as const)('spawn() over PMI-%s sends the request and returns the reply', async (version) => {
  await using server = await PmiServer.listen({ size: 1, address: 'unix' });
  const events = server.events();
  await using pmi = await PmiClient.fromEnv({ env: server.env(0), version });
  const spawned = pmi.spawn(
    [{ program: './worker', args: ['-x', 'a b'], ranks: 2, info: { wdir: '/tmp' } }, { program: 'other' }],
    { preput: { hello: 'world' } },
  );
  for await (const event of events) {
    if (event.type !== 'spawn') continue;
    expect(event).toMatchObject({
      rank: 0,
      commands: [
        { program: './worker', args: ['-x', 'a b'], ranks: 2, info: { wdir: '/tmp' } },
        { program: 'other', args: [], ranks: 1, info: {} },
      ],
      preput: { hello: 'world' },
    });
    event.accept({ kvsname: 'the-new-one', errcodes: [0, -1, 0] });
    break;
  }
  expect(await spawned).toEqual({
    ...(version === 2 ? { kvsname: 'the-new-one' } : {}),
    errcodes: [0, -1, 0],
  });
  const again = pmi.spawn([{ program: 'x', ranks: 3 }]);
  for await (const event of server.events()) {
    if (event.type !== 'spawn') continue;
    event.reject(7, 'no_room');
    break;
  }
  await expect(again).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: 7, message: 'spawn x: no_room' });
});

test('calls that were not awaited settle in their order', async () => {
  const [server, one, two] = await pair();
  const order: string[] = [];
  const note = (name: string) => (value: unknown) => order.push(`${name}:${String(value)}`);
  await Promise.all([
    one.put('k', '1').then(note('put')),
    one.get('k').then(note('get')),
    one.barrier().then(note('barrier')),
    two.barrier(),
    one.put('k', '2').then(note('put')),
    one.getMany(['k', 'k']).then(note('getMany')),
    one.get('no').catch((error: unknown) => order.push((error as Error).message)),
  ]);
  expect(order).toEqual([
    'put:undefined',
    'get:1',
    'barrier:undefined',
    'put:undefined',
    'getMany:2,2',
    'get no: key_not_found',
  ]);
  await Promise.all([one.finalize(), two.finalize()]);
  await server.close();
});

test('a client has the properties of its rank and its job', async () => {
  const [server, one, two] = await pair();
  expect(two).toMatchObject({
    rank: 1,
    size: 2,
    appnum: 0,
    universeSize: 2,
    spawned: false,
    singleton: false,
    version: '1.1',
    kvsname: server.kvsname,
  });
  expect(two.maxes).toEqual({ kvsname: 256, key: 64, value: 1024 });
  expect(two.server).toBe(server.address);
  expect(await two.cliqueRanks()).toEqual([0, 1]);
  await two.publish('service', 'port');
  expect(await one.lookup('service')).toBe('port');
  await one.unpublish('service');
  await expect(two.lookup('service')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: 1 });
  await Promise.all([one.finalize(), two.finalize()]);
  await server.close();
});

test('a client with PMI_SPAWNED=1 is spawned', async () => {
  const server = await PmiServer.listen({ size: 1, address: 'unix' });
  const pmi = await PmiClient.fromEnv({ env: { ...server.env(0), PMI_SPAWNED: '1' } });
  expect(pmi.spawned).toBe(true);
  await pmi.finalize();
  await server.close();
});

test('a client tries each address of a host name', async () => {
  const server = await PmiServer.listen({ size: 1, address: 'tcp' });
  const port = server.address!.split(':').at(-1)!;
  const pmi = await PmiClient.connect({ address: `localhost:${port}`, id: server.env(0).PMI_ID! });
  expect(pmi.size).toBe(1);
  await pmi.finalize();
  await server.close();
});

test('wrong use rejects at the call with ERR_PMI_OPTION', async () => {
  const [server, one, two] = await pair();
  const wrong: [Promise<unknown>, RegExp][] = [
    [one.getMany('key' as never), /keys: expected an array of strings/],
    [one.getMany([1 as never]), /keys\[0\]: expected a string/],
    [one.putMany(null as never), /entries: expected an object or pairs/],
    [one.putMany([['a']] as never), /entries: expected pairs/],
    [one.putMany([['a', 'b', 'c'], ['d']] as never), /entries: expected pairs/],
    [one.get('a', { timeout: -1 }), /timeout: expected a whole number/],
    [one.get('a', { retries: 3 } as never), /options\.retries: expected one of the options signal, timeout/],
    [
      PmiClient.connect({ address: 'h:1', id: '1', pipeline: 1 as never }),
      /pipeline: expected true or false/,
    ],
  ];
  for (const [call, message] of wrong)
    await expect(call).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
      message: expect.stringMatching(message),
    });
  await Promise.all([one.close(), two.close()]);
  await expect(one.get('a')).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
  await server.close();
});

test(
  '10,000 clients in one process exchange business cards through one server in another',
  { timeout: 120_000 },
  async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--expose-gc', 'test/bench/swarm.mjs', '10000'],
      { cwd: root },
    );
    expect(stdout).toMatch(
      /^10000 clients over unix: connected in \d+ ms, exchanged in \d+ ms, \d+\.\d KiB a client\n$/,
    );
  },
);

test('test/bench/get-many.mjs prints the times of get and getMany', { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['test/bench/get-many.mjs', '1000', '3'], {
    cwd: root,
  });
  expect(stdout).toMatch(
    /^unix: 1000 keys: one by one \d+\.\d ms, getMany \d+\.\d ms: \d+\.\d times as fast \(medians of 3\)$/m,
  );
});
