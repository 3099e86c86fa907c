// PmiClient and PmiServer in the other versions than PMI-1.1: PMI-2, barriers of groups, names, and spawns.

import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import {
  describeStatus,
  PmiClient,
  PmiServer,
  type PmiServerOptions,
  type PmiVersion,
  type SpawnEvent,
} from '../../dist/index.js';

async function job(
  versions: PmiVersion[],
  options: Partial<PmiServerOptions> = {},
): Promise<[PmiServer, PmiClient[]]> {
  const server = await PmiServer.listen({ size: versions.length, address: 'unix', ...options });
  const clients = versions.map((version, rank) => PmiClient.fromEnv({ env: server.env(rank), version }));
  return [server, await Promise.all(clients)];
}

async function end(server: PmiServer, clients: PmiClient[]): Promise<void> {
  await Promise.all(clients.map((client) => client.finalize()));
  await server.close();
}

test('clients of all versions share one key-value space and one barrier', async () => {
  const [server, clients] = await job([1, 1.1, 1.2, 2, 2]);
  expect(clients.map(({ version }) => version)).toEqual(['1.1', '1.1', '1.2', '2.0', '2.0']);
  await Promise.all(clients.map((client) => client.put(`k${client.rank}`, `value of ${client.rank}`)));
  await Promise.all(clients.map((client) => client.barrier()));
  const keys = clients.map(({ rank }) => `k${rank}`);
  for (const client of clients) {
    expect(await client.getMany(keys)).toEqual(clients.map(({ rank }) => `value of ${rank}`));
    expect(client).toMatchObject({
      size: 5,
      universeSize: 5,
      kvsname: server.kvsname,
      appnum: 0,
      spawned: false,
    });
    expect(await client.cliqueRanks()).toEqual([0, 1, 2, 3, 4]);
  }
  expect((await server.status()).barrier.number).toBe(1);
  await end(server, clients);
});

test('a client uses PMI-2 over TCP and on an inherited channel', async () => {
  await using server = await PmiServer.listen({ size: 2, address: 'tcp' });
  const { fd } = server.channel(1);
  const clients = await Promise.all([
    PmiClient.fromEnv({ env: server.env(0), version: 2 }),
    PmiClient.fromEnv({ env: server.env(1, { fd }), version: 2 }),
  ]);
  await Promise.all(clients.map((client) => client.barrier()));
  await expect(clients[0].put('k', 'a;b')).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
  await expect(clients[0].get('none')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
  await Promise.all(clients.map((client) => client.finalize()));
});

test('PMI-2 clients put and get attributes of nodes, and get attributes of the job', async () => {
  const [server, clients] = await job([2, 2, 2, 1], { ranksPerNode: 2, universeSize: 9 });
  const [zero, one, two, old] = clients as [PmiClient, PmiClient, PmiClient, PmiClient];
  const waiting = one.getNodeAttribute('shm', { wait: true });
  await two.putNodeAttribute('shm', 'of node 1');
  await zero.putNodeAttribute('shm', 'of node 0');
  expect([await waiting, await two.getNodeAttribute('shm')]).toEqual(['of node 0', 'of node 1']);
  await expect(zero.getNodeAttribute('none')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT' });
  expect(await zero.getJobAttribute('universeSize')).toBe('9');
  expect(await zero.getJobAttribute('PMI_process_mapping')).toBe('(vector,(0,2,2))');
  await expect(old.getJobAttribute('universeSize')).rejects.toMatchObject({
    code: 'ERR_PMI_OPTION',
    message: expect.stringContaining('PMI 2'),
  });
  await end(server, clients);
});

describe('barriers of groups of ranks', () => {
  test('are selected by ranks, nodes and tags', async () => {
    const [server, clients] = await job([1.2, 1.2, 1.2, 1.2], { ranksPerNode: 2 });
    await Promise.all([clients[3]!, clients[1]!].map((client) => client.barrier({ group: [3, 1] })));
    await Promise.all(clients.slice(0, 2).map((client) => client.barrier({ group: 'node', tag: 5 })));
    await Promise.all(clients.map((client) => client.barrier({ tag: 7 })));
    expect((await server.status()).barrier.number).toBe(0);
    const inside = [
      clients[0]!.barrier({ group: [0, 2, 3], tag: 9 }),
      clients[3]!.barrier({ group: [0, 2, 3], tag: 9 }),
    ];
    let status = await server.status();
    while (status.groupBarriers[0]?.inside !== '0,3') status = await server.status();
    expect(status).toMatchObject({
      groupBarriers: [{ tag: 9, inside: '0,3', missing: '2' }],
      openGroupBarriers: 1,
    });
    expect(describeStatus(status)).toContain('in a barrier of a group, tag 9: 0,3; missing: 2');
    await Promise.all([...inside, clients[2]!.barrier({ group: [0, 2, 3], tag: 9 })]);
    expect(await server.status()).toMatchObject({ groupBarriers: [], openGroupBarriers: 0 });
    await expect(clients[0]!.barrier({ group: [1, 2] })).rejects.toMatchObject({
      code: 'ERR_PMI_RESULT',
      message: 'barrier 1,2:0: not_in_group',
    });
    await expect(clients[0]!.barrier({ group: [4] })).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
    await expect(clients[0]!.barrier({ tag: -1 })).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
    const waiting = clients[0]!.barrier({ group: [0, 1] });
    await clients[1]!.close();
    await expect(waiting).rejects.toMatchObject({
      code: 'ERR_PMI_RESULT',
      message: 'barrier 0,1:0: rank_1_has_left',
    });
    await Promise.all([clients[0]!, clients[2]!].map((client) => client.barrier({ group: [0, 2] })));
    await server.close();
  });

  test('need PMI-1.2, which pmiSubversion: 2 enables', async () => {
    for (const pmiSubversion of [1, 2] as const) {
      const [server, clients] = await job([1, 1], { pmiSubversion });
      expect(clients[0]!.version).toBe(`1.${pmiSubversion}`);
      const both = Promise.all(clients.map((client) => client.barrier({ group: [0, 1] })));
      if (pmiSubversion === 2) await both;
      else
        await expect(both).rejects.toMatchObject({
          code: 'ERR_PMI_OPTION',
          message: expect.stringContaining('PMI 1.2'),
        });
      await end(server, clients);
    }
  });
});

test('clients publish, look up and unpublish names', async () => {
  const [server, clients] = await job([1, 2]);
  const [one, two] = clients as [PmiClient, PmiClient];
  await one.publish('ocean', 'tag#0$port#1$');
  expect(await two.lookup('ocean')).toBe('tag#0$port#1$');
  await expect(two.publish('ocean', 'x')).rejects.toMatchObject({
    code: 'ERR_PMI_RESULT',
    rc: 1,
    message: 'publish ocean: key_already_present',
  });
  await two.unpublish('ocean');
  await expect(one.lookup('ocean')).rejects.toMatchObject({
    code: 'ERR_PMI_RESULT',
    rc: 1,
    message: 'lookup ocean: service_not_found',
  });
  await end(server, clients);
});

test('an unknown version is wrong use', async () => {
  await expect(PmiClient.fromEnv({ env: {}, version: 2 })).resolves.toMatchObject({ singleton: true });
  await expect(
    PmiClient.connect({ address: '127.0.0.1:1', id: '1', version: 3 as PmiVersion }),
  ).rejects.toMatchObject({
    code: 'ERR_PMI_OPTION',
    message: expect.stringMatching(/^version: expected 1, 1.1, 1.2 or 2, got 3/),
  });
});

describe('a spawn', () => {
  /** As rank 0, sends a spawn request. Returns the reply. */
  async function requestSpawn(server: PmiServer): Promise<string> {
    const socket = connect(Number(server.address!.split(':').pop()), '127.0.0.1');
    socket.write(`cmd=initack pmiid=${server.env(0).PMI_ID}\ncmd=init pmi_version=1 pmi_subversion=1\n`);
    socket.write(
      'mcmd=spawn\nnprocs=2\nexecname=a.out\nargcnt=1\narg1=x y\ninfo_num=1\ninfo_key_0=wdir\ninfo_val_0=/tmp\n',
    );
    socket.write('preput_num=1\npreput_key_0=k\npreput_val_0=v\nendcmd\n');
    let received = '';
    for await (const bytes of socket) {
      received += String(bytes);
      const answer = /^cmd=spawn_result.*$/m.exec(received);
      if (answer !== null) return answer[0];
    }
    throw new Error(`the server closed the connection: ${received}`);
  }

  async function answerSpawn(server: PmiServer, answer: (event: SpawnEvent) => void): Promise<SpawnEvent> {
    for await (const event of server.events()) {
      if (event.type !== 'spawn') continue;
      answer(event);
      return event;
    }
    throw new Error('no spawn');
  }

  test.each([
    [
      'accepted',
      (spawn: SpawnEvent) => spawn.accept({ kvsname: 'child', errcodes: [0, 3] }),
      'cmd=spawn_result rc=0 errcodes=0,3',
    ],
    ['accepted without options', (spawn: SpawnEvent) => spawn.accept(), 'cmd=spawn_result rc=0 errcodes=0,0'],
    ['rejected', (spawn: SpawnEvent) => spawn.reject(5, 'no room'), 'cmd=spawn_result rc=5 msg=no_room'],
    [
      'answered twice',
      (spawn: SpawnEvent) => (spawn.reject(5), spawn.accept()),
      'cmd=spawn_result rc=5 msg=failed',
    ],
  ])('that is %s has one reply', async (_, answer, expected) => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    const [event, reply] = await Promise.all([answerSpawn(server, answer), requestSpawn(server)]);
    expect(event).toMatchObject({
      rank: 0,
      commands: [{ program: 'a.out', args: ['x y'], ranks: 2, info: { wdir: '/tmp' } }],
      preput: { k: 'v' },
    });
    expect(reply).toBe(expected);
  });

  test('is refused if no reader reads the events', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    expect(await requestSpawn(server)).toBe('cmd=spawn_result rc=-1 msg=not_supported');
  });

  test('is still open after an invalid answer, which is wrong use', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    const wrong = { code: 'ERR_PMI_OPTION' };
    const answer = (spawn: SpawnEvent): void => {
      expect(() => spawn.accept({ errcodes: [0] })).toThrow(expect.objectContaining(wrong));
      expect(() => spawn.reject(0)).toThrow(expect.objectContaining(wrong));
      spawn.accept();
    };
    const [, reply] = await Promise.all([answerSpawn(server, answer), requestSpawn(server)]);
    expect(reply).toBe('cmd=spawn_result rc=0 errcodes=0,0');
  });

  test('is visible to the ranks of a server with the options spawner and preput', async () => {
    const [server, clients] = await job([1, 2], { spawner: 'kvs_parent', preput: { PARENT: 'tag#0' } });
    expect(server.env(0).PMI_SPAWNED).toBe('1');
    for (const client of clients) {
      expect(client.spawned).toBe(true);
      expect(await client.get('PARENT')).toBe('tag#0');
    }
    await end(server, clients);
    await expect(PmiServer.listen({ size: 1, preput: { 'a b': 'v' } })).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
    });
  });
});
