// --reconnect: a rank whose connection has ended connects again with its PMI_ID, to PmiServer or to `wireup serve`.

import { connect, type Socket } from 'node:net';

import { describe, expect, it, vi } from 'vitest';

import { PmiClient, PmiServer, type PmiEvent } from '../../dist/index.js';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { lines, Run, run, toolLines, wireup } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const mpich = needs('mpicc');

/** A client that sends line by line, as a restored image of a rank does: without a new handshake. */
class LineClient {
  readonly #socket: Socket;
  readonly #received: AsyncIterator<string>;

  constructor(path: string) {
    this.#socket = connect(path).setEncoding('latin1');
    this.#received = this.#lines();
  }

  async *#lines(): AsyncGenerator<string> {
    let rest = '';
    for await (const text of this.#socket) {
      const complete = (rest + (text as string)).split('\n');
      rest = complete.pop()!;
      yield* complete;
    }
  }

  /** Sends the line and receives as many lines in reply. */
  async request(line: string, replies = 1): Promise<string[]> {
    this.#socket.write(`${line}\n`);
    const received: string[] = [];
    while (received.length < replies) {
      const { value, done } = await this.#received.next();
      if (done === true) throw new Error(`the connection was closed after '${line}'`);
      received.push(value);
    }
    return received;
  }

  close(): void {
    this.#socket.destroy();
  }
}

const accepted = (rank: number): string[] => [
  'cmd=initack',
  'cmd=set size=2',
  `cmd=set rank=${rank}`,
  'cmd=set debug=0',
];

interface Served {
  env: (rank: number) => Record<string, string>;
  kvsname: string;
}

/** Rank 1 of a job reconnects at each of its stages. At the end both ranks have finalized. */
async function reconnectAtEachStage({ env, kvsname }: Served): Promise<void> {
  const start = (rank: number): Promise<PmiClient> => PmiClient.fromEnv({ env: env(rank) });
  const path = env(1).PMI_PORT!.slice('unix://'.length);
  const restored = async (): Promise<LineClient> => {
    const client = new LineClient(path);
    expect(await client.request(`cmd=initack pmiid=${env(1).PMI_ID}`, 4)).toEqual(accepted(1));
    return client;
  };
  const zero = await start(0);

  // Before the first barrier, the rank may start anew. The key that it put remains.
  const first = await start(1);
  await first.put('early', '1');
  await first.close();
  const second = await start(1);
  expect(await second.get('early')).toBe('1');
  await Promise.all([zero.barrier(), second.barrier()]);

  // While its connection lives, a second one is refused.
  await expect(start(1)).rejects.toMatchObject({ code: 'ERR_PMI_REFUSED' });
  await second.put('late', '2');
  await second.close();

  // After a barrier, the rank goes on at the same point, and may not start anew.
  await expect(start(1)).rejects.toMatchObject({
    code: 'ERR_PMI_REFUSED',
    message: expect.stringContaining('a_rank_cannot_start_again_after_a_barrier') as string,
  });
  const image = await restored();
  expect(await image.request('cmd=init pmi_version=1 pmi_subversion=1')).toEqual([
    'cmd=response_to_init pmi_version=1 pmi_subversion=2 rc=-1 msg=a_rank_cannot_start_again_after_a_barrier',
  ]);
  expect(await image.request(`cmd=get kvsname=${kvsname} key=late`)).toEqual([
    'cmd=get_result rc=0 msg=success value=2',
  ]);

  // The rank disconnects in a barrier, reconnects, and enters it again.
  const waiting = zero.barrier();
  image.close();
  const again = await restored();
  const out = again.request('cmd=barrier_in');
  await waiting;
  expect(await out).toEqual(['cmd=barrier_out']);
  expect(await again.request('cmd=finalize')).toEqual(['cmd=finalize_ack']);
  again.close();

  // A rank that has finalized may not reconnect.
  await expect(start(1)).rejects.toMatchObject({ code: 'ERR_PMI_REFUSED' });
  await zero.finalize();
}

describe('a rank that reconnects', () => {
  it('is accepted by PmiServer at each stage', async () => {
    await using server = await PmiServer.listen({ size: 2, address: 'unix', reconnect: true });
    const events = server.events();
    await reconnectAtEachStage({ env: (rank) => server.env(rank), kvsname: server.kvsname });
    expect((await server.status()).ranks.finalized).toBe('0-1');
    await server.close();
    const seen: PmiEvent[] = [];
    for await (const event of events) seen.push(event);
    // Neither time was the rank reported as lost.
    expect(seen.filter((event) => event.type === 'disconnected' && event.lost)).toEqual([]);
    expect(seen.filter(({ type }) => type === 'stuck')).toEqual([]);
    expect(seen.filter(({ type }) => type === 'barrier')).toHaveLength(2);
    expect(seen.flatMap((event) => (event.type === 'rejected' ? [event.reason] : []))).toEqual([
      'rank 1 has a connection already',
      'rank 1 has finalized',
    ]);
  });

  it('is accepted by wireup serve --reconnect at each stage', async () => {
    const server = new Run(wireup('serve', '-n', '2', '--address', 'unix', '--reconnect', '--json'));
    await server.until(({ stdout }) => stdout.endsWith('\n'));
    const { ranks, kvsname } = JSON.parse(server.stdout) as {
      kvsname: string;
      ranks: { env: Record<string, string> }[];
    };
    await reconnectAtEachStage({ env: (rank) => ranks[rank]!.env, kvsname });
    expect((await server.done).code).toBe(0);
  });

  it.skipIf(mpich.missing).each([
    ['one host', []],
    ['two pretended hosts', ['--map', 'block:2']],
  ])(`may run a second MPI program with --reconnect over TCP, on %s${mpich.note}`, async (_, options) => {
    const script = '"$0" && "$0"';
    const result = await run(
      wireup(
        'run',
        '-n',
        '4',
        ...options,
        '--pmi',
        'tcp',
        '--reconnect',
        'sh',
        '-c',
        script,
        program('hello'),
      ),
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(
      [0, 0, 1, 1, 2, 2, 3, 3].map((rank) => `hello: rank ${rank} of 4 ok`),
    );
  });

  it.skipIf(mpich.missing).each(['fd', 'tcp', 'unix'] as const)(
    `without --reconnect, over %s, fails at its second MPI program with a line that gives the reason${mpich.note}`,
    async (pmi) => {
      const result = await run(
        wireup('run', '-n', '2', '--pmi', pmi, 'sh', '-c', '"$0" && "$0"', program('hello')),
      );
      expect(result.code).toBe(141);
      expect(toolLines(result.stderr)).toContainEqual(
        expect.stringMatching(
          /^wireup: rank [01] \(pid \d+, sh, past PMI finalize\) on \S+ exited with code 141, as a second PMI program in one rank does: the first one's finalize ended the connection \(with reconnect, over tcp, each gets its own\)/,
        ),
      );
    },
  );

  it.skipIf(mpich.missing)(
    `with --reconnect, is reported as missing in a barrier if it has finalized and exited${mpich.note}`,
    async () => {
      const script = 'if [ $PMI_RANK = 1 ]; then exec "$0"; fi; "$0" && "$0"';
      const result = await run(
        wireup(
          'run',
          '-n',
          '3',
          '-t',
          '50',
          '--pmi',
          'tcp',
          '--reconnect',
          'sh',
          '-c',
          script,
          program('hello'),
        ),
      );
      expect(result.code).toBe(1);
      expect(toolLines(result.stderr)).toEqual([
        expect.stringMatching(
          /^wireup: rank 1 .*, past PMI finalize\) .*exited with code 0 while others wait in PMI barrier \d+: [02,-]+; missing: 1; 2 other ranks were ended$/,
        ),
      ]);
    },
  );

  it('without --reconnect, is refused, and its disconnection is a failure', async () => {
    const server = new Run(wireup('serve', '-n', '2', '--address', 'unix', '--json'));
    await server.until(({ stdout }) => stdout.endsWith('\n'));
    const { ranks } = JSON.parse(server.stdout) as { ranks: { env: Record<string, string> }[] };
    const pmi = await PmiClient.fromEnv({ env: ranks[1]!.env });
    await pmi.close();
    await expect(PmiClient.fromEnv({ env: ranks[1]!.env })).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_PMI_(REFUSED|CONNECT|HUNG_UP)$/) as string,
    });
    expect(await server.done).toMatchObject({
      code: 1,
      stderr: 'wireup: rank 1 left without PMI finalize\n',
    });
  });
});
