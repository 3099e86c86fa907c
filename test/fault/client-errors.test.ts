// If there is no server, a wrong one, or one that ends, PmiClient (behind `wireup pmi`) and libpmi fail with an error
// that names the server and the reason, and never hang.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { PmiClient, PmiError, PmiServer } from '../../dist/index.js';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, Run, wireup } from '../support/run';
import { closeFakeServers, isCommand, normalExcept, startFakeServer } from '../support/fake-server';
import { needsRoot, OTHER_UID } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 45_000 });

const library = join(root, 'build/Release/libpmi.so.0');
const noMpi = needs('cc');

const closers: (() => void)[] = [];
afterEach(() => {
  closeFakeServers();
  for (const close of closers.splice(0)) close();
});

interface ErrorCase {
  title: string;
  environment: () => Promise<Record<string, string>> | Record<string, string>;
  /** The code of PmiClient and the exit code of `wireup pmi`. The messages of both and of libpmi must match `message`. */
  code: string;
  exitCode: number;
  message: RegExp;
  /** Only a process that is started for the case has this environment. */
  ownProcess?: boolean;
}

const rows: ErrorCase[] = [
  {
    title: 'a PMI_FD that is not open',
    environment: () => ({ PMI_FD: '977', PMI_RANK: '0', PMI_SIZE: '1' }),
    code: 'ERR_PMI_CONNECT',
    exitCode: 3,
    message: /PMI_FD=977: Bad file descriptor/,
  },
  {
    title: 'a PMI_FD that is not a socket',
    // fd 0 of the programs that are run here is /dev/null.
    environment: () => ({ PMI_FD: '0', PMI_RANK: '0', PMI_SIZE: '1' }),
    ownProcess: true,
    code: 'ERR_PMI_CONNECT',
    exitCode: 3,
    message: /PMI_FD=0.*(no socket|non-socket)/,
  },
  {
    title: 'PMI_FD without PMI_RANK',
    environment: () => ({ PMI_FD: '977', PMI_SIZE: '1' }),
    code: 'ERR_PMI_ENVIRONMENT',
    exitCode: 3,
    message: /PMI_RANK=\(not set\)/,
  },
  {
    title: 'PMI_PORT without PMI_ID',
    environment: () => ({ PMI_PORT: '127.0.0.1:1' }),
    code: 'ERR_PMI_ENVIRONMENT',
    exitCode: 3,
    message: /PMI_ID is not/,
  },
  {
    title: 'an invalid address',
    environment: () => ({ PMI_PORT: 'http://127.0.0.1:80', PMI_ID: '1' }),
    code: 'ERR_PMI_ADDRESS',
    exitCode: 3,
    message: /http:.*expected the scheme tcp:\/\/ or unix:\/\//,
  },
  {
    title: 'a refused TCP port',
    environment: () => ({ PMI_PORT: '127.0.0.1:1', PMI_ID: '1' }),
    code: 'ERR_PMI_CONNECT',
    exitCode: 3,
    message: /tcp:\/\/127\.0\.0\.1:1: Connection refused/,
  },
  {
    title: 'a host name without an address',
    environment: () => ({ PMI_PORT: 'no-such-host.invalid:4000', PMI_ID: '1' }),
    code: 'ERR_PMI_ADDRESS',
    exitCode: 3,
    message: /no-such-host\.invalid/,
  },
  {
    title: 'a socket that does not exist',
    environment: () => ({ PMI_PORT: 'unix:///no/such/socket', PMI_ID: '1' }),
    code: 'ERR_PMI_CONNECT',
    exitCode: 3,
    message: /unix:\/\/\/no\/such\/socket: No such file or directory/,
  },
  {
    title: 'a server that is not a PMI server',
    environment: async () => ({
      PMI_PORT: await startFakeServer(() => 'HTTP/1.1 400 Bad Request\r\n\r\n'),
      PMI_ID: '1',
    }),
    code: 'ERR_PMI_PROTOCOL',
    exitCode: 3,
    message: /tcp:\/\/127\.0\.0\.1:\d+: expected the answer to initack/,
  },
  {
    title: 'a server that supports only PMI-2',
    environment: async () => ({
      PMI_PORT: await startFakeServer(
        normalExcept((line) =>
          line.startsWith('cmd=init ')
            ? 'cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n'
            : 'normal',
        ),
      ),
      PMI_ID: '1',
    }),
    code: 'ERR_PMI_PROTOCOL',
    exitCode: 3,
    message: /tcp:\/\/127\.0\.0\.1:\d+: the server supports only PMI 2/,
  },
  {
    title: 'a wrong PMI_ID',
    environment: async () => {
      const server = await PmiServer.listen({ size: 1, address: 'unix' });
      closers.push(() => void server.close());
      return { PMI_PORT: server.env(0).PMI_PORT!, PMI_ID: '1' };
    },
    code: 'ERR_PMI_REFUSED',
    exitCode: 3,
    message: /unix:\/\/.*PMI_ID is wrong or has been used/,
  },
];

describe.each(rows)('$title', ({ environment, code, exitCode, message, ownProcess = false }) => {
  if (!ownProcess)
    it('PmiClient rejects with the code', async () => {
      const env = await environment();
      const failure = await PmiClient.fromEnv({ env }).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(PmiError);
      expect((failure as PmiError).code).toBe(code);
      expect((failure as PmiError).message).toMatch(message);
    });

  it('wireup pmi info reports it in one line', async () => {
    const result = await run(wireup('pmi', 'info'), { environment: await environment() });
    expect(result).toMatchObject({ code: exitCode, signal: null, stdout: '' });
    expect(lines(result.stderr)).toHaveLength(1);
    expect(result.stderr).toMatch(message);
  });

  it.skipIf(noMpi.missing)(`libpmi returns PMI_FAIL and prints one line${noMpi.note}`, async () => {
    const result = await run([program('libpmi_calls'), library, 'init'], {
      environment: await environment(),
    });
    expect(result).toMatchObject({ code: 0, signal: null, stdout: 'ok\n' });
    expect(lines(result.stderr)).toHaveLength(1);
    expect(result.stderr).toMatch(/^libpmi: /);
    expect(result.stderr).toMatch(message);
  });
});

describe('the end of the server', () => {
  const drop = (command: string) =>
    startFakeServer(normalExcept((line) => (isCommand(line, command) ? undefined : 'normal')));

  it.each([
    ['get', (pmi: PmiClient) => pmi.get('key')],
    ['get', (pmi: PmiClient) => pmi.getMany(Array.from({ length: 500 }, (_, i) => `key-${i}`))],
    ['barrier_in', (pmi: PmiClient) => pmi.barrier()],
    ['publish_name', (pmi: PmiClient) => pmi.publish('service', 'port')],
    ['finalize', (pmi: PmiClient) => pmi.finalize()],
  ] as const)('during %s rejects with ERR_PMI_HUNG_UP', async (command, call) => {
    const address = await drop(command);
    const pmi = await PmiClient.connect({ address, id: '1' });
    await expect(call(pmi)).rejects.toMatchObject({
      code: 'ERR_PMI_HUNG_UP',
      rank: 1,
      message: expect.stringContaining(`tcp://${address}: `),
    });
    await expect(pmi.get('key')).rejects.toMatchObject({ code: 'ERR_PMI_HUNG_UP' });
    await pmi.close();
  });

  it.skipIf(noMpi.missing).each([
    ['get', 'lost'],
    ['barrier_in', 'barrier'],
  ])('during %s makes libpmi fail and name the server', async (command, mode) => {
    const address = await drop(command);
    const result = await run([program('libpmi_calls'), library, mode], {
      environment: { PMI_PORT: address, PMI_ID: '1' },
    });
    expect(result).toMatchObject({ code: 0, stdout: 'ready\nok\n' });
    expect(lines(result.stderr)[0]).toBe(`libpmi: tcp://${address}: the server closed the connection`);
  });
});

it.skipIf(noMpi.missing)(`signals do not shorten the timeout of libpmi${noMpi.note}`, async () => {
  let answer = (_text: string): void => undefined;
  const slow = new Promise<string>((resolve) => (answer = resolve));
  const address = await startFakeServer(normalExcept((line) => (isCommand(line, 'get') ? slow : 'normal')));
  const ticking = new Run([program('libpmi_calls'), library, 'timer'], {
    environment: { PMI_PORT: address, PMI_ID: '1' },
  });
  await ticking.until(({ stdout }) => stdout === 'ticked\n');
  answer('cmd=get_result rc=0 value=x\n');
  expect(await ticking.done).toMatchObject({ code: 0, stdout: 'ticked\nok\n', stderr: '' });
});

describe('a silent server', () => {
  it('is a timeout in the handshake', async () => {
    const address = await startFakeServer(() => '');
    await expect(PmiClient.connect({ address, id: '1', timeout: 100 })).rejects.toMatchObject({
      code: 'ERR_PMI_TIMEOUT',
      // The time includes the lookup of the address, so it varies.
      message: expect.stringMatching(new RegExp(`${address}.*: no (PMI )?answer within \\d+ ms$`)) as string,
    });
    const controller = new AbortController();
    const waiting = PmiClient.connect({ address, id: '1', timeout: 0, signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  it.each([
    ['put', (pmi: PmiClient, options: object) => pmi.put('key', 'value', options)],
    ['put', (pmi: PmiClient, options: object) => pmi.putMany({ a: '1', b: '2' }, options)],
    ['get', (pmi: PmiClient, options: object) => pmi.get('key', options)],
    ['get', (pmi: PmiClient, options: object) => pmi.getMany(['a', 'b'], options)],
    ['barrier_in', (pmi: PmiClient, options: object) => pmi.barrier(options)],
    ['publish_name', (pmi: PmiClient, options: object) => pmi.publish('service', 'port', options)],
    ['unpublish_name', (pmi: PmiClient, options: object) => pmi.unpublish('service', options)],
    ['lookup_name', (pmi: PmiClient, options: object) => pmi.lookup('service', options)],
    ['get', (pmi: PmiClient, options: object) => pmi.cliqueRanks(options)],
    ['finalize', (pmi: PmiClient, options: object) => pmi.finalize(options)],
  ] as const)('is a timeout of %s', async (command, call) => {
    const address = await startFakeServer(normalExcept((line) => (isCommand(line, command) ? '' : 'normal')));
    const pending = {
      code: 'ERR_PMI_PENDING',
      message: expect.stringMatching(/was given up, and the server answers in order/) as string,
    };
    const late = await PmiClient.connect({ address, id: '1' });
    await expect(call(late, { timeout: 50 })).rejects.toMatchObject({
      code: 'ERR_PMI_TIMEOUT',
      message: expect.stringContaining(address),
    });
    // The client sends no request after that, and no call hangs.
    await expect(late.get('key')).rejects.toMatchObject(pending);
    await expect(late.finalize()).rejects.toMatchObject(pending);
    await late.close();

    const aborted = await PmiClient.connect({ address, id: '1' });
    const controller = new AbortController();
    const waiting = call(aborted, { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(aborted.barrier()).rejects.toMatchObject(pending);
    await aborted.close();
  });

  it('gives wireup pmi barrier --timeout exit code 4', async () => {
    const address = await startFakeServer(
      normalExcept((line) => (line.startsWith('cmd=barrier') ? '' : 'normal')),
    );
    const result = await run(wireup('pmi', 'barrier', '--timeout', '1'), {
      environment: { PMI_PORT: address, PMI_ID: '1' },
    });
    expect(result).toMatchObject({ code: 4, stdout: '' });
    expect(result.stderr).toMatch(/^wireup: rank 1: tcp:\/\/.*: barrier: no answer within \d+ ms\n$/);
  });
});

it('a clique is computed from flux.taskmap if the server has no process mapping', async () => {
  const address = await startFakeServer(
    normalExcept((line) => {
      if (!isCommand(line, 'get')) return 'normal';
      if (line.endsWith('key=PMI_process_mapping')) return 'cmd=get_result rc=0 value=\n';
      return line.endsWith('key=flux.taskmap')
        ? 'cmd=get_result rc=0 value={"version":1,"map":[[0,1,2,1]]}\n'
        : undefined;
    }),
  );
  const pmi = await PmiClient.connect({ address, id: '1' });
  expect(await pmi.cliqueRanks()).toEqual([0, 1]);
  await pmi.close();
});

describe('the clique of rank 1 of 2', () => {
  const serve = (mapping: string): Promise<string> =>
    startFakeServer(
      normalExcept((line) =>
        line.endsWith('key=PMI_process_mapping') ? `cmd=get_result rc=0 value=${mapping}\n` : 'normal',
      ),
    );
  const rows: [string, number[]][] = [
    ['(vector,(0,1,2))', [0, 1]],
    ['(vector,(0,1,1))', [0, 1]],
    ['(vector,[(0,1,1)]x2)', [0, 1]],
    ['(vector,(3,1,1),3)', [0, 1]],
    ['(vector,1,0)', [1]],
  ];

  it.each(rows)('is computed by PmiClient from %s', async (mapping, ranks) => {
    const pmi = await PmiClient.connect({ address: await serve(mapping), id: '1' });
    expect(await pmi.cliqueRanks()).toEqual(ranks);
    await pmi.close();
  });

  it.skipIf(noMpi.missing).each(rows)(
    `is computed by libpmi from %s${noMpi.note}`,
    async (mapping, ranks) => {
      const result = await run([program('libpmi_calls'), library, 'clique'], {
        environment: { PMI_PORT: await serve(mapping), PMI_ID: '1' },
      });
      expect(result).toMatchObject({
        code: 0,
        stderr: '',
        stdout: `size 0 ${ranks.length} ranks 0 ${ranks.join(' ')}\nok\n`,
      });
    },
  );

  it.each(['(vector,[(0,1,1)]x', '(matrix,(0,1,2))', 'x'])(
    'is an error of PmiClient for the malformed %s, and the connection still works',
    async (mapping) => {
      const address = await serve(mapping);
      const pmi = await PmiClient.connect({ address, id: '1' });
      await expect(pmi.cliqueRanks()).rejects.toMatchObject({
        code: 'ERR_PMI_PROTOCOL',
        rank: 1,
        message: `tcp://${address}: PMI_process_mapping of the server is malformed: expected (vector,(node,nodes,ranks),...)`,
      });
      await pmi.finalize();
      const result = await run(wireup('pmi', 'info'), { environment: { PMI_PORT: address, PMI_ID: '1' } });
      expect(result).toMatchObject({
        code: 3,
        stdout: '',
        stderr: expect.stringContaining('PMI_process_mapping') as string,
      });
    },
  );

  it.skipIf(noMpi.missing)(
    `is PMI_FAIL of libpmi for a malformed mapping, and the connection still works${noMpi.note}`,
    async () => {
      const result = await run([program('libpmi_calls'), library, 'clique'], {
        environment: { PMI_PORT: await serve('(vector,[0]x'), PMI_ID: '1' },
      });
      expect(result).toMatchObject({ code: 0, stdout: 'size -1 0 ranks -1\nok\n' });
      expect(lines(result.stderr)).toHaveLength(2);
      expect(result.stderr).toMatch(/PMI_process_mapping of the server is malformed/);
    },
  );
});

it('a socket without permission gives ERR_PMI_CONNECT', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'denied-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const address = await startFakeServer(() => '', join(folder, 'socket'));
  chmodSync(folder, 0);
  closers.unshift(() => chmodSync(folder, 0o700));
  const script = `
    const { PmiClient } = require(${JSON.stringify(join(root, 'dist/index.js'))});
    if (process.getuid() === 0) process.seteuid(65534);
    PmiClient.connect({ address: ${JSON.stringify(address)}, id: '1' }).catch(({ code, message }) => console.log(code, message));`;
  const result = await run([process.execPath, '-e', script]);
  expect(result).toMatchObject({
    code: 0,
    stderr: '',
    stdout: `ERR_PMI_CONNECT ${address}: Permission denied\n`,
  });
});

const asRoot = needsRoot();

describe.skipIf(asRoot.missing || noMpi.missing)(
  `a server of another user at the address of an earlier one${asRoot.note}${noMpi.note}`,
  () => {
    it.each(['tcp', `unix://@wireup-impostor-${process.pid}`])('at %s gets no PMI_ID', async (address) => {
      const server = await PmiServer.listen({ size: 1, address });
      const { PMI_PORT, PMI_ID } = server.env(0) as { PMI_PORT: string; PMI_ID: string };
      await server.close();
      const impostor = new Run([
        program('impostor'),
        String(OTHER_UID),
        address === 'tcp' ? PMI_PORT.split(':')[1]! : address.slice('unix://'.length),
      ]);
      await impostor.until(({ stdout }) => stdout === 'listening\n');
      const message = new RegExp(
        `served by uid ${OTHER_UID}, not by us \\(uid 0\\) or root; PMI_ID was not sent`,
      );
      await expect(PmiClient.fromEnv({ env: { PMI_PORT, PMI_ID } })).rejects.toMatchObject({
        code: 'ERR_PMI_SERVER_UID',
        message: expect.stringMatching(message) as string,
      });
      for (const client of [
        [join(root, 'build/Release/wireup-exec'), 'true'],
        [program('libpmi_calls'), library, 'init'],
      ]) {
        const { stderr } = await run(client, { environment: { PMI_PORT, PMI_ID } });
        expect(stderr).toMatch(message);
        expect(lines(stderr)).toHaveLength(1);
      }
      await impostor.until(({ stdout }) => lines(stdout).length === 4);
      expect(lines(impostor.stdout).slice(1)).toEqual(Array(3).fill('received 0 bytes'));
      impostor.kill('SIGTERM');
      await impostor.done;
    });
  },
);

it.skipIf(asRoot.missing)(
  `a server of another user gets no PMI_ID over TCP or a unix socket${asRoot.note}`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'other-'));
    chmodSync(folder, 0o777);
    closers.push(() => rmSync(folder, { recursive: true }));
    for (const path of [undefined, join(folder, 'socket')]) {
      // The kernel reports the uid of the user who called listen().
      const script = `
      process.seteuid(65534);
      const server = require('node:net').createServer((socket) => socket.on('data', (text) => console.log('received ' + text)).on('end', () => process.exit()));
      server.listen(${path === undefined ? '0, "127.0.0.1"' : JSON.stringify(path)}, () => console.log('port', server.address().port));`;
      const server = new Run([process.execPath, '-e', script]);
      await server.until(({ stdout }) => stdout.endsWith('\n'));
      const port = /port (\d+)/.exec(server.stdout)?.[1];
      const address = path === undefined ? `tcp://127.0.0.1:${port}` : `unix://${path}`;
      await expect(PmiClient.connect({ address, id: '4711' })).rejects.toMatchObject({
        code: 'ERR_PMI_SERVER_UID',
        message: `${address}: it is served by uid 65534, not by us (uid 0) or root; PMI_ID was not sent`,
      });
      const { stdout } = await server.done;
      expect(stdout).not.toContain('received');
    }
  },
);

it.each([['info'], ['barrier'], ['exchange'], ['get', 'PMI_process_mapping'], ['bench']])(
  'wireup pmi %s without PMI variables reports that there is no server',
  async (...words) => {
    const result = await run(wireup('pmi', ...words));
    expect(result).toMatchObject({ code: 3, stdout: '' });
    expect(result.stderr).toMatch(/^wireup: no PMI server: neither PMI_FD nor PMI_PORT is set; .*\n$/);
  },
);

it('a client without PMI variables is a process group of size 1', async () => {
  const pmi = await PmiClient.fromEnv({ env: {} });
  await pmi.putMany(
    new Map([
      ['a', '1'],
      ['b', '2'],
    ]),
  );
  expect(await pmi.getMany(['b', 'a'])).toEqual(['2', '1']);
  expect(await pmi.cliqueRanks()).toEqual([0]);
  await expect(pmi.get('c')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
  expect(await pmi.get('PMI_no_such_key')).toBe('');
  await expect(pmi.put('k=1', 'v')).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
  await expect(pmi.put('k', 'v'.repeat(1024))).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
  await expect(pmi.spawn([{ program: 'true' }])).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
  await expect(pmi.lookup('service')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
  await pmi.finalize();
});
