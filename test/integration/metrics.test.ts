/** Metrics of servers and jobs, and the HTTP server of --metrics, with Debian's Prometheus. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, PmiClient, PmiServer } from '../../dist/index.js';
import { freePorts } from '../support/free-ports';
import { installed, needs } from '../support/installed';
import { root } from '../support/root';
import { Run, run, wireup } from '../support/run';

/** In milliseconds, for a busy machine. */
const timeout = 60_000;

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'metrics-'))));
afterAll(() => rmSync(folder, { recursive: true }));

async function get(
  where: { socketPath: string } | { host: string; port: number },
  path = '/metrics',
  method = 'GET',
): Promise<{ code: number; page: string; type: string }> {
  const sent = request({ ...where, path, method }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  return {
    code: response.statusCode!,
    page: await text(response),
    type: response.headers['content-type'] ?? '',
  };
}

/** The value of a row of a page. */
function valueOf(page: string, row: string): number {
  const line = page.split('\n').find((one) => one.startsWith(`${row} `));
  if (line === undefined) throw new Error(`no ${row} in\n${page}`);
  return Number(line.slice(row.length + 1));
}

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + timeout; !(await condition()); await delay(50))
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
}

/** Ranks that exchange and then wait until the file exists. */
const exchangeUntil = (gate: string): string[] => [
  'sh',
  '-c',
  `"$0" "$1" exchange > /dev/null; while [ ! -e "$2" ]; do sleep 0.05; done`,
  process.execPath,
  join(root, 'dist/cli.js'),
  gate,
];

describe('PmiServer.metrics()', () => {
  it('counts messages, barriers, refusals and events', async () => {
    await using server = await PmiServer.listen({ size: 2, address: 'unix' });
    const lazy = server.events();
    const clients = await Promise.all([0, 1].map((rank) => PmiClient.fromEnv({ env: server.env(rank) })));
    const before = await server.metrics();
    expect(before).toMatchObject({
      processGroups: 1,
      ranks: { initialized: 2 },
      barriers: 0,
      requests: { identify: 2, init: 2, put: 0 },
      refused: { pmi_id: 0, protocol: 0 },
    });
    await clients[0]!.put('key', 'value');
    const waits = clients[0]!.barrier();
    await until('a rank waits', async () => (await server.metrics()).waitingRanks === 1);
    await clients[1]!.barrier();
    await waits;
    expect(await clients[1]!.get('key')).toBe('value');

    // The message of an unidentified connection counts too.
    const unproved = connect(new URL(server.address!).pathname);
    unproved.write('cmd=get key=x\n');
    await once(unproved, 'close');

    const metrics = await server.metrics();
    expect(metrics.requests).toMatchObject({ put: 1, get: 2, barrier: 2 });
    expect(metrics).toMatchObject({ barriers: 1, waitingRanks: 0, refused: { protocol: 1, pmi_id: 0 } });
    expect(metrics.kvsKeys).toBe(before.kvsKeys + 1);
    expect(metrics.kvsBytes).toBeGreaterThan(before.kvsBytes);
    expect(metrics.receivedBytes).toBeGreaterThan(before.receivedBytes);
    expect(metrics.sentBytes).toBeGreaterThan(before.sentBytes);
    expect(metrics.reactorTurns).toBeGreaterThan(before.reactorTurns);
    const { bounds, counts, sum } = metrics.barrierDurations;
    expect(counts).toHaveLength(bounds.length + 1);
    expect(counts.reduce((a, b) => a + b)).toBe(1);
    expect(sum).toBeGreaterThan(0);
    // Two connected, two initialized, the barrier, the refusal.
    expect(metrics).toMatchObject({ eventsWaiting: 6, eventsMissed: 0 });
    await lazy.return!();
    expect(await server.metrics()).toMatchObject({ eventsWaiting: 0 });
    for (const client of clients) await client.close();
  });

  it('is over when the server is closed', async () => {
    const server = await PmiServer.listen({ size: 1 });
    await server.close();
    await expect(server.metrics()).rejects.toMatchObject({ code: 'ERR_PMI_CLOSED' });
  });
});

it('job.metrics() sums over hosts, and over process groups that have ended', async () => {
  const gate = join(folder, 'hosts');
  const job = await launch({
    program: 'sh',
    args: exchangeUntil(gate).slice(1),
    ranks: 4,
    hosts: ['node0:2', 'node1:2'],
    launcher: 'fork',
    stdout: 'ignore',
  });
  await until('all ranks have finalized', async () => (await job.metrics()).ranks.finalized === 4);
  const metrics = await job.metrics();
  writeFileSync(gate, '');
  const { barriers } = await job.result;
  expect(metrics.requests).toMatchObject({ init: 4, finalize: 4, barrier: 4 * barriers.count });
  expect(metrics.barriers).toBe(barriers.count);
  // Each host measures its own ranks.
  expect(metrics.barrierDurations.counts.reduce((a, b) => a + b)).toBe(2 * barriers.count);
});

describe('--metrics', () => {
  const unixRun = (socket: string, ranks: number, ...words: string[]): string[] =>
    wireup('run', '--metrics', `unix://${socket}`, '-n', `${ranks}`, ...words);

  it('answers on a private unix socket while the job runs', async () => {
    const socketPath = join(folder, 'a.sock');
    const gate = join(folder, 'a');
    const job = new Run(unixRun(socketPath, 3, ...exchangeUntil(gate)));
    await until('the socket is there', () => existsSync(socketPath));
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    await until('all ranks have finalized', async () =>
      (await get({ socketPath })).page.includes('wireup_ranks{state="finalized"} 3'),
    );
    const { code, page, type } = await get({ socketPath });
    expect({ code, type }).toEqual({ code: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    expect(valueOf(page, 'wireup_pmi_requests_total{command="init"}')).toBe(3);
    expect((await get({ socketPath }, '/metrics', 'HEAD')).page).toBe('');
    expect((await get({ socketPath }, '/')).code).toBe(404);
    expect((await get({ socketPath }, '/metrics', 'POST')).code).toBe(405);
    writeFileSync(gate, '');
    expect(await job.done).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(socketPath)).toBe(false);
  });

  it('takes over a socket on which no process listens, and no other file', async () => {
    const stale = join(folder, 'stale.sock');
    // A process that is killed leaves its socket behind.
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(statSync(stale).isSocket()).toBe(true);
    expect(await run(unixRun(stale, 1, 'true'))).toMatchObject({ code: 0, stderr: '' });
    expect(existsSync(stale)).toBe(false);

    const file = join(folder, 'file');
    writeFileSync(file, 'content');
    expect(await run(unixRun(file, 1, 'true'))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not a stale socket of this user') as string,
    });
    expect(readFileSync(file, 'utf8')).toBe('content');

    const used = join(folder, 'used.sock');
    const other = createServer().listen(used);
    await once(other, 'listening');
    expect((await run(unixRun(used, 1, 'true'))).code).toBe(1);
    expect(statSync(used).isSocket()).toBe(true);
    other.close();
  });

  it('is refused where other machines or users can connect, unless --metrics-remote is given', async () => {
    const tried = (...words: string[]) => run(wireup('run', ...words, 'true'));
    for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:9464'])
      expect(await tried('--metrics', address)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(
          /^wireup: --metrics .*: other machines may reach this address/,
        ) as string,
      });
    expect(await tried('--metrics', 'unix://@name')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('every user can connect to an abstract socket') as string,
    });
    // The address is allowed now, but this machine does not have it.
    expect(await tried('--metrics', '192.0.2.1:9464', '--metrics-remote')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('EADDRNOTAVAIL') as string,
    });
    expect((await tried('--metrics-remote')).stderr).toContain('--metrics-remote needs --metrics');
  });

  it('is refused if another process has the port, and starts no rank then', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as import('node:net').AddressInfo;
    expect(await run(wireup('run', '--metrics', `127.0.0.1:${port}`, 'echo', 'started'))).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('EADDRINUSE') as string,
    });
    other.close();
  });

  it('serve has it too, and reports a port that the kernel has chosen', async () => {
    const serve = new Run(wireup('serve', '-n', '2', '--address', 'tcp', '--metrics', 'localhost:0'));
    const at = /metrics at http:\/\/(?:127\.0\.0\.1|\[::1\]):(\d+)\/metrics/;
    await serve.until(({ stderr, stdout }) => at.test(stderr) && stdout.includes('PMI_RANK'));
    const { page } = await get({ host: 'localhost', port: Number(at.exec(serve.stderr)![1]) });
    expect(valueOf(page, 'wireup_ranks{state="absent"}')).toBe(2);
    serve.kill('SIGTERM');
    expect((await serve.done).code).toBe(143);
  });
});

it('run -v reports the phases of the job at its end', async () => {
  const { stderr } = await run(
    wireup('run', '-v', '-n', '2', '--pmi', 'tcp', process.execPath, join(root, 'dist/cli.js'), 'exchange'),
  );
  const time = /(\d+ ms|\d+\.\d\d s)/.source;
  expect(stderr).toMatch(
    new RegExp(
      `^wireup: phases: spawn ${time}, connect ${time}, init ${time}, first barrier ${time}, run ${time}, end ${time}$`,
      'm',
    ),
  );
  // Ranks that do not use PMI have no such phases.
  expect((await run(wireup('run', '-v', 'true'))).stderr).toMatch(
    new RegExp(`^wireup: phases: spawn ${time}, run ${time}, end ${time}$`, 'm'),
  );
});

const prometheus = needs('prometheus', 'promtool');
describe.skipIf(prometheus.missing)(`Prometheus${prometheus.note}`, () => {
  interface Answer {
    status: string;
    data: { result: { value: [number, string] }[] };
  }

  it(
    'finds the page valid, scrapes it, and evaluates each expression of the dashboard',
    { timeout: 3 * timeout },
    async () => {
      const gate = join(folder, 'prometheus');
      const [scraped, listens] = await freePorts(2);
      const job = new Run(
        wireup('run', '--metrics', `127.0.0.1:${scraped}`, '-n', '4', ...exchangeUntil(gate)),
        { deadline: 2 * timeout },
      );
      await until('all ranks have finalized', async () => {
        const { page } = await get({ host: '127.0.0.1', port: scraped! }).catch(() => ({ page: '' }));
        return page.includes('wireup_ranks{state="finalized"} 4');
      });
      const { page } = await get({ host: '127.0.0.1', port: scraped! });
      const check = spawnSync(installed('promtool'), ['check', 'metrics'], {
        input: page,
        encoding: 'utf8',
        timeout,
      });
      expect({ status: check.status, output: check.stdout + check.stderr }).toEqual({
        status: 0,
        output: '',
      });

      writeFileSync(
        join(folder, 'prometheus.yml'),
        `scrape_configs:
  - job_name: wireup
    scrape_interval: 1s
    static_configs: [{ targets: ['127.0.0.1:${scraped}'] }]
`,
      );
      const server = spawn(
        installed('prometheus'),
        [
          `--config.file=${join(folder, 'prometheus.yml')}`,
          `--storage.tsdb.path=${join(folder, 'tsdb')}`,
          `--web.listen-address=127.0.0.1:${listens}`,
        ],
        { stdio: 'ignore' },
      );
      const ended = once(server, 'exit');
      try {
        const query = async (expression: string): Promise<Answer> => {
          const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
          return JSON.parse((await get({ host: '127.0.0.1', port: listens! }, path)).page) as Answer;
        };
        // A rate needs two scrapes.
        await until('Prometheus has scraped twice', async () => {
          const answer = await query('count_over_time(wireup_kvs_keys[1m])').catch(() => undefined);
          return Number(answer?.data?.result[0]?.value[1] ?? 0) >= 2;
        });
        const dashboard = JSON.parse(readFileSync(join(root, 'docs/grafana-dashboard.json'), 'utf8')) as {
          panels: { title: string; targets: { expr: string }[] }[];
        };
        const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
        expect(expressions.length).toBeGreaterThan(10);
        for (const expression of expressions) {
          const answer = await query(
            expression.replaceAll(/\$(job|instance)\b/g, '.+').replaceAll('$__rate_interval', '1m'),
          );
          expect({ expression, status: answer.status, rows: answer.data?.result.length > 0 }).toEqual({
            expression,
            status: 'success',
            rows: true,
          });
        }
        const finalized = await query('sum(wireup_ranks{state="finalized"})');
        expect(finalized.data.result[0]!.value[1]).toBe('4');
      } finally {
        server.kill('SIGTERM');
        await ended;
        writeFileSync(gate, '');
      }
      expect((await job.done).code).toBe(0);
    },
  );
});
