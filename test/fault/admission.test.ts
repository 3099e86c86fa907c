// Only the ranks of a job get in. The server refuses connections of other users before it reads a byte, whatever they
// send and however they end. Wrong PMI_IDs, silence and random bytes do not affect other connections.

import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { PmiClient, PmiServer, type PmiEvent, type PmiServerOptions } from '../../dist/index.js';
import {
  needsRoot,
  OTHER_UID,
  refusedCode,
  runHostileClient,
  HostileClient,
  targetOf,
  type Behaviour,
  type Target,
} from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

type Rejected = PmiEvent & { type: 'rejected' };

/** What a rank sends at first, with requests that would do harm at once. */
function impersonate(server: PmiServer, rank: number): string {
  const { PMI_ID: id } = server.env(rank);
  return (
    `cmd=initack pmiid=${id}\ncmd=init pmi_version=1 pmi_subversion=1\n` +
    `cmd=put kvsname=${server.kvsname} key=intruder value=here\ncmd=barrier_in\n`
  );
}

async function connectRank(server: PmiServer, rank: number, address = server.address!): Promise<PmiClient> {
  return PmiClient.connect({ address, id: server.env(rank).PMI_ID! });
}

async function nextRejected(events: AsyncIterableIterator<PmiEvent>): Promise<Rejected> {
  for await (const event of { [Symbol.asyncIterator]: () => ({ next: () => events.next() }) }) {
    if (event.type === 'rejected') return event;
  }
  throw new Error('no connection was refused');
}

/** Checks that the server has accepted no connection before. It accepts this client after those that came earlier. */
async function expectUntouched(server: PmiServer, address?: string): Promise<void> {
  const pmi = await connectRank(server, 0, address);
  const status = await server.status();
  expect(status).toMatchObject({
    ranks: { initialized: '0', connected: '' },
    barrier: { number: 0, inside: '' },
    kvsEntries: 1,
  });
  await pmi.close();
}

const root = needsRoot();

// A folder that every user can pass through.
const folder = mkdtempSync(join(tmpdir(), 'admission-'));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true }));

const listeners: [string, PmiServerOptions['address'], (server: PmiServer) => Target[]][] = [
  ['unix', `unix://${folder}/socket`, (server) => [targetOf(server.address!)]],
  ['127.0.0.1', 'tcp', (server) => [targetOf(server.address!)]],
  ['::1', 'tcp://[::1]:0', (server) => [targetOf(server.address!)]],
  [
    'dual-stack',
    'tcp://[::]:0',
    (server) => {
      const port = Number(server.address!.split(':').pop());
      return ['127.0.0.1', '::1', '::ffff:127.0.0.1'].map((host) => ({ host, port }));
    },
  ],
];

/** Lets every user connect to the socket, so that only the check of the uid remains. */
function makeAccessible(server: PmiServer): void {
  const target = targetOf(server.address!);
  if ('path' in target) chmodSync(target.path, 0o777);
}

function uriOf(target: Target): string {
  if ('path' in target) return `unix://${target.path}`;
  return `tcp://${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
}

describe.skipIf(root.missing)(`another user with the right PMI_ID${root.note}`, () => {
  describe.each(listeners)('%s', (_, address, targetsOf) => {
    it('is refused without a reply, and the event has its uid and the reason', async () => {
      await using server = await PmiServer.listen({ size: 2, address: address! });
      makeAccessible(server);
      for (const target of targetsOf(server)) {
        const events = server.events();
        expect(
          await runHostileClient(
            { target, behaviour: 'send and read', text: impersonate(server, 0) },
            OTHER_UID,
          ),
        ).toBe('');
        const { peer, reason } = await nextRejected(events);
        expect(peer.uid).toBe(OTHER_UID);
        expect(peer.pid === undefined).toBe(!('path' in target));
        expect(reason).toBe(`uid ${OTHER_UID} is not allowed`);
      }
      await expectUntouched(server, uriOf(targetsOf(server)[0]!));
    });

    it.each<Behaviour>(['send and close', 'reset'])(
      'is refused if it sends everything and ends the connection at once (%s)',
      async (behaviour) => {
        await using server = await PmiServer.listen({ size: 2, address: address! });
        makeAccessible(server);
        const targets = targetsOf(server);
        for (const target of targets) {
          if ('path' in target && behaviour === 'reset') continue; // there is no RST on a unix socket
          await runHostileClient({ target, behaviour, text: impersonate(server, 0), count: 100 }, OTHER_UID);
        }
        await expectUntouched(server, uriOf(targets[0]!));
      },
    );

    it('is accepted if its uid is allowed, and the user of the server is refused', async () => {
      await using server = await PmiServer.listen({ size: 1, address: address!, allowedUids: [OTHER_UID] });
      const [target] = targetsOf(server);
      // The server itself makes the socket accessible to the allowed users.
      const output = runHostileClient(
        { target: target!, behaviour: 'send and read', text: `${impersonate(server, 0)}cmd=finalize\n` },
        OTHER_UID,
      );
      const events = server.events();
      for await (const event of events) if (event.type === 'finalized') break;
      await expect(connectRank(server, 0, uriOf(target!))).rejects.toMatchObject({
        code: expect.stringMatching(refusedCode) as string,
      });
      await server.close();
      expect(await output).toContain('cmd=finalize_ack');
    });
  });

  it.each([
    ['a list', [OTHER_UID - 1, OTHER_UID]],
    ['a range, as of a user namespace', [[OTHER_UID - 10, OTHER_UID + 10] as const]],
  ])('is accepted if its uid is allowed by %s', async (_, allowedUids) => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp', allowedUids });
    const events = server.events();
    using one = new HostileClient(
      { target: targetOf(server.address!), behaviour: 'idle', text: impersonate(server, 0) },
      OTHER_UID,
    );
    await one.ready;
    for await (const event of events) if (event.type === 'initialized') break;
    expect((await server.status()).rejected).toBe(0);
  });
});

describe.skipIf(root.missing)(`a server of a user other than root${root.note}`, () => {
  // A copy of the library that this user can read.
  const place = join(folder, 'library');
  const script = `
    const { PmiServer } = require(${JSON.stringify(join(place, 'dist/index.js'))});
    PmiServer.listen({ size: 1, address: process.argv[1] }).then(async (server) => {
      const { PMI_ID } = server.env(0);
      const events = server.events();
      console.log(JSON.stringify({ address: server.address, text: 'cmd=initack pmiid=' + PMI_ID + '\\ncmd=init pmi_version=1 pmi_subversion=1\\ncmd=finalize\\n' }));
      for await (const event of events) {
        if (event.type === 'rejected') console.log(event.reason);
        if (event.type === 'finalized') break;
      }
      await server.close();
    });`;

  it.each(['tcp', `unix://${folder}/theirs`])(
    'at %s accepts its own user, and refuses root and other users',
    async (address) => {
      cpSync(join(__dirname, '../../dist/index.js'), join(place, 'dist/index.js'));
      cpSync(join(__dirname, '../../build/Release/wireup.node'), join(place, 'build/Release/wireup.node'));
      chmodSync(folder, 0o777);
      const owner = spawn(process.execPath, ['-e', script, address], {
        cwd: '/',
        stdio: ['ignore', 'pipe', 'inherit'],
        uid: OTHER_UID,
        gid: OTHER_UID,
      });
      const output = createInterface(owner.stdout)[Symbol.asyncIterator]();
      const line = async (): Promise<string> => String((await output.next()).value);
      const { address: uri, text } = JSON.parse(await line()) as { address: string; text: string };
      const target = targetOf(uri);
      if ('path' in target) chmodSync(target.path, 0o777);
      for (const uid of [0, OTHER_UID + 1]) {
        expect(await runHostileClient({ target, behaviour: 'send and read', text }, uid)).toBe('');
        expect(await line()).toBe(`uid ${uid} is not allowed`);
      }
      expect(await runHostileClient({ target, behaviour: 'send and read', text }, OTHER_UID)).toMatch(
        /cmd=finalize_ack\n$/,
      );
      expect((await output.next()).done).toBe(true);
    },
  );
});

describe('a connection of the user of the server', () => {
  it.each(listeners)('over %s is accepted', async (_, address, targetsOf) => {
    await using server = await PmiServer.listen({ size: 1, address: address! });
    for (const target of targetsOf(server).slice(0, 1)) {
      const pmi = await connectRank(server, 0, uriOf(target));
      await pmi.barrier();
      await pmi.finalize();
    }
  });

  it.each(['unix', 'tcp'])(
    'over %s with a wrong PMI_ID is refused, and guesses do not delay other connections',
    async (address) => {
      await using server = await PmiServer.listen({ size: 2, address });
      const events = server.events();
      const target = targetOf(server.address!);
      expect(
        await runHostileClient({
          target,
          behaviour: 'send and read',
          text: 'cmd=initack pmiid=0\n',
          count: 3,
        }),
      ).toBe('');
      expect((await nextRejected(events)).reason).toBe('pmiid is not the PMI_ID of a rank');
      using guesser = new HostileClient({
        target,
        behaviour: 'idle',
        text: 'cmd=initack pmiid=0\n',
        count: 200,
      });
      await guesser.ready;
      const ranks = await Promise.all([connectRank(server, 0), connectRank(server, 1)]);
      await Promise.all(ranks.map((pmi) => pmi.barrier()));
      await Promise.all(ranks.map((pmi) => pmi.finalize()));
      // The delays of the guesses continue while the ranks connect and finalize.
      expect((await server.status()).unidentified).toBeGreaterThan(0);
    },
  );

  it.each(['unix', 'tcp'])(
    'over %s of a rank that is connected already is refused, and the first one goes on',
    async (address) => {
      await using server = await PmiServer.listen({ size: 2, address });
      const first = await connectRank(server, 0);
      const text = impersonate(server, 0);
      expect(
        await runHostileClient({ target: targetOf(server.address!), behaviour: 'send and read', text }),
      ).toBe('');
      const second = await connectRank(server, 1);
      await Promise.all([first.barrier(), second.barrier()]);
      expect((await server.status()).barrier.number).toBe(1);
    },
  );

  // The server must reply to an init of PMI-2 before fullinit identifies the connection.
  const init2 = 'cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n';
  it.each<[string, string, string?]>([
    ['PMI-1 before initack', 'cmd=init pmi_version=1 pmi_subversion=1\n'],
    [
      'PMI-2 with a wrong pmirank',
      'cmd=init pmi_version=2 pmi_subversion=0\n    33cmd=fullinit;pmijobid=x;pmirank=0;',
      init2,
    ],
    ['PMI-2 before fullinit', 'cmd=init pmi_version=2 pmi_subversion=0\n    14cmd=job-getid;', init2],
    [
      'an endless PMI-2 message',
      `cmd=init pmi_version=2 pmi_subversion=0\n999999${'x'.repeat(10_000)}`,
      init2,
    ],
    ['a newline', '\n'],
    ['only zeros', '\0'.repeat(5000)],
    ['an endless line', 'x'.repeat(100_000)],
    ['two initacks at once', 'cmd=initack pmiid=1\ncmd=initack pmiid=1\n'],
  ])('that sends %s is refused without a reply, and the ranks are accepted', async (_, text, reply = '') => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    const events = server.events();
    expect(
      await runHostileClient({ target: targetOf(server.address!), behaviour: 'send and read', text }),
    ).toBe(reply);
    await nextRejected(events);
    await expectUntouched(server);
  });

  it('that sends two initacks with the right PMI_ID gets a reply to the first and an error to the second', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    const events = server.events();
    const initack = `cmd=initack pmiid=${server.env(0).PMI_ID}\n`;
    const text = `${initack}${initack}cmd=init pmi_version=1 pmi_subversion=1\ncmd=finalize\n`;
    const output = runHostileClient({ target: targetOf(server.address!), behaviour: 'send and read', text });
    const seen: string[] = [];
    for await (const event of events) {
      seen.push(event.type);
      if (event.type === 'finalized') break;
    }
    await server.close();
    expect(seen).toEqual(['connected', 'protocol-error', 'initialized', 'finalized']);
    expect((await output).split('\n')).toEqual([
      'cmd=initack',
      'cmd=set size=1',
      'cmd=set rank=0',
      'cmd=set debug=0',
      'cmd=initack rc=-1 msg=already_identified',
      'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0',
      'cmd=finalize_ack',
      '',
    ]);
  });

  it('that is silent is refused after the handshake timeout', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp', handshakeTimeout: 50 });
    const events = server.events();
    expect(
      await runHostileClient({
        target: targetOf(server.address!),
        behaviour: 'send and read',
        text: 'cmd=ini',
      }),
    ).toBe('');
    expect((await nextRejected(events)).reason).toBe('no initack within 50 ms');
    // No client of the library, because 50 ms may be too short for it.
    expect(await server.status()).toMatchObject({ ranks: { absent: '0' }, rejected: 1, unidentified: 0 });
  });

  it('that never reads is closed, and no other connection waits for it', async () => {
    await using server = await PmiServer.listen({ size: 2, address: 'tcp' });
    const events = server.events();
    using nonReader = new HostileClient({
      target: targetOf(server.address!),
      behaviour: 'endless',
      text: `cmd=initack pmiid=${server.env(1).PMI_ID}\ncmd=init pmi_version=1 pmi_subversion=1\n`,
      over: `cmd=get kvsname=${server.kvsname} key=PMI_process_mapping\n`,
    });
    await nonReader.ready;
    const pmi = await connectRank(server, 0);
    for (let i = 0; i < 100; i++) await pmi.put(`k${i}`, 'v');
    for await (const event of events) if (event.type === 'disconnected' && event.rank === 1) break;
    await pmi.finalize();
  });
});
