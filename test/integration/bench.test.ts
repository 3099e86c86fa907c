/** `wireup bench` with few ranks and one turn. These tests check that it measures, not the values. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, expect, test } from 'vitest';
import type { Traffic } from '../../lib/cli/bench/fence.mjs' with { 'resolution-mode': 'import' };
import type { Figure } from '../../lib/cli/bench/measure.mjs' with { 'resolution-mode': 'import' };
import type { Report } from '../../lib/cli/bench/run.mjs' with { 'resolution-mode': 'import' };

const cli = join(__dirname, '../../dist/cli.js');
const benchPath = join(__dirname, '../../build/Release/wireup-bench');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;
const scratch = mkdtempSync(join(tmpdir(), 'bench-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The only folder in PATH, so that no other launcher is found. */
symlinkSync('/bin/true', join(scratch, 'true'));

function bench(args: string[], path = scratch): { stdout: string; stderr: string; status: number | null } {
  const env = { ...process.env, PATH: path };
  const { stdout, stderr, status } = spawnSync(process.execPath, [cli, 'bench', ...args], {
    encoding: 'utf8',
    timeout,
    env,
  });
  return { stdout, stderr, status };
}

function report(...args: string[]): Report {
  const { stdout, stderr, status } = bench([...args, '--pairs', '1', '--json', '-']);
  expect({ stderr, status }, stdout.slice(-2000)).toEqual({ stderr: '', status: 0 });
  return JSON.parse(stdout) as Report;
}

test.each(['exchange', 'barrier', 'get', 'put', 'connect'] as const)(
  'wireup bench measures %s over each transport',
  (what) => {
    const { figures, machine, pairs } = report(what, '--ranks', '3');
    expect(machine.node).toBe(process.version);
    expect(pairs).toBe(1);
    expect(figures.map((figure) => [figure.what, figure.pmi, figure.ranks, figure.swarm])).toEqual(
      ['fd', 'tcp', 'unix'].map((pmi) => [what, pmi, 3, false]),
    );
    for (const { series, toFloor } of figures) {
      expect(Object.keys(series)).toEqual(['floor', 'wireup', 'floor again']);
      for (const { milliseconds, spreadMs, serverNs, memoryBytes } of Object.values(series)) {
        for (const values of [milliseconds, spreadMs, serverNs]) {
          expect(values).toHaveLength(1);
          expect(values![0]).toBeGreaterThanOrEqual(0);
        }
        expect(memoryBytes?.length).toBe(what === 'connect' ? 1 : undefined);
      }
      // One turn is not enough for an interval.
      expect(toFloor.wireup!.time).toEqual({
        median: series.wireup!.milliseconds[0]! / series.floor!.milliseconds[0]!,
        low: null,
        high: null,
      });
      expect(Object.keys(toFloor)).toEqual(['wireup', 'floor again']);
    }
  },
);

test.each(['exchange', 'barrier', 'connect'] as const)('wireup bench --swarm measures %s', (what) => {
  const { figures } = report(what, '--swarm', '--ranks', '20,100');
  expect(figures.map(({ pmi, ranks, swarm }) => [pmi, ranks, swarm])).toEqual(
    ['tcp', 'unix'].flatMap((pmi) => [20, 100].map((ranks) => [pmi, ranks, true])),
  );
});

test('wireup bench measures fences over trees of hosts, and counts their messages', () => {
  const { figures } = report('fence', '--hosts', '2,5', '--tree', '2,flat');
  expect(figures.map(({ ranks, tree, puts, turns }) => [ranks, tree, puts, turns])).toEqual(
    [true, false].flatMap((puts) => [2, 0].flatMap((tree) => [2, 5].map((hosts) => [hosts, tree, puts, 1]))),
  );
  for (const { ranks, tree, puts, series, toServing, counted } of figures) {
    expect(Object.keys(series)).toEqual([
      ...['floor', 'wireup', 'wireup, ZeroMQ', 'wireup, CURVE'],
      ...['floor, ranks', 'floor, CURVE', 'floor, CURVE, ranks', 'floor again'],
    ]);
    expect(Object.keys(toServing!)).toEqual(['wireup', 'wireup, ZeroMQ', 'wireup, CURVE']);
    const isDeep = tree === 2 && ranks === 5;
    for (const { milliseconds, nodes } of Object.values(series)) {
      expect(milliseconds[0]).toBeGreaterThan(0);
      expect(nodes!.rootNs[0]).toBeGreaterThan(0);
      expect(nodes!.leafNs[0]).toBeGreaterThan(0);
      expect(nodes!.innerNs[0]! > 0).toBe(isDeep);
    }
    // A root has `width` messages in and out at most, and a tree is at most log_width hosts deep.
    const width = Math.min(tree === 0 ? ranks : tree!, ranks - 1);
    expect(counted!.depth).toBe(isDeep ? 2 : 1);
    expect(counted!.root).toMatchObject({ messagesIn: width, messagesOut: width });
    expect(counted!.leaf).toMatchObject({ messagesIn: 1, messagesOut: 1 });
    // Two lengths of four bytes, a key such as card-8-0, the value. A host gets each key of the others once.
    const entry = puts ? 8 + 8 + 128 : 0;
    expect(counted!.root.bytesIn).toBe((ranks - 1) * entry);
    expect(counted!.leaf).toMatchObject({ bytesIn: (ranks - 1) * entry, bytesOut: entry });
    expect(counted!.inner).toEqual(
      isDeep
        ? { messagesIn: 3, messagesOut: 3, bytesIn: 4 * entry, bytesOut: expect.any(Number) as number }
        : undefined,
    );
  }
});

test('the model of a fence finds the costs that measured times consist of, and computes more hosts', async () => {
  const { fitCosts, simulate } = await import('../../lib/cli/bench/fence-model.mjs');
  const costs = { emptyNs: 5000, putNs: 7000, messageNs: 300, receiveNs: 2, sendNs: 1, storeNs: 4 };
  const node = (hosts: number, messages: number, puts: boolean): Traffic => {
    const bytes = puts ? hosts * 100 : 0;
    return { messagesIn: messages, messagesOut: messages, bytesIn: bytes, bytesOut: messages * bytes };
  };
  const figureOf = (hosts: number, tree: number, puts: boolean): Figure => {
    const [root, leaf] = [node(hosts, tree, puts), node(hosts, 1, puts)];
    const time = ({ messagesIn, messagesOut, bytesIn, bytesOut }: Traffic): number =>
      (puts ? costs.putNs : costs.emptyNs) +
      costs.messageNs * (messagesIn + messagesOut) +
      costs.receiveNs * bytesIn +
      costs.sendNs * bytesOut +
      costs.storeNs * leaf.bytesIn;
    return {
      what: 'fence',
      ranks: hosts,
      swarm: false,
      load: 0,
      turns: 1,
      planned: 1,
      tree,
      puts,
      counted: { depth: 1, root, leaf },
      series: {
        wireup: { milliseconds: [1], nodes: { rootNs: [time(root)], innerNs: [0], leafNs: [time(leaf)] } },
      },
      toFloor: {},
      toPeer: {},
    };
  };
  const figures = [true, false].flatMap((puts) =>
    [8, 20].flatMap((hosts) => [2, 5].map((tree) => figureOf(hosts, tree, puts))),
  );
  const fitted = fitCosts(figures, costs)!;
  for (const [name, value] of Object.entries(costs))
    expect(fitted[name as keyof typeof costs]).toBeCloseTo(value, 6);
  expect(fitCosts(figures.slice(0, 1), costs)).toBeUndefined();
  const { points } = (await simulate(figures, new AbortController().signal, costs))!;
  expect(points).toHaveLength(2 * 2 * 5);
  expect(points.slice(0, 5).map(({ hosts, tree, puts }) => [hosts, tree, puts])).toEqual(
    [8, 20, 1024, 10_000, 100_000].map((hosts) => [hosts, 2, false]),
  );
  const [first] = points;
  expect(first!.root).toMatchObject({ messagesIn: 2, messagesOut: 2, processorNs: 5000 + 4 * 300 });
});

test('wireup bench measures launch, and how its cost grows with the number of ranks', () => {
  const { figures, growth } = report('launch', '--ranks', '1,2,4');
  expect(figures.map(({ what, pmi, ranks }) => [what, pmi, ranks])).toEqual(
    [1, 2, 4].map((ranks) => ['launch', undefined, ranks]),
  );
  expect(growth).toEqual([{ what: 'launch', exponent: expect.any(Number) as number }]);
});

test('wireup bench --load measures beside busy loops, and ends them', () => {
  const busy = (): string[] =>
    readdirSync('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith([benchPath, 'load', '3'].join('\0'));
      } catch {
        return false;
      }
    });
  const { figures } = report('launch', '--ranks', '1', '--load', '3');
  expect(figures.map(({ load }) => load)).toEqual([3]);
  expect(busy()).toEqual([]);
});

test('wireup bench prints its figures, and its HTML report loads nothing', () => {
  const file = join(scratch, 'report.html');
  const { stdout, stderr, status } = bench([
    'exchange',
    '--pmi',
    'fd',
    '--ranks',
    '2',
    '--pairs',
    '2',
    '--html',
    file,
  ]);
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(stdout).toMatch(
    /^exchange, fd, 2 ranks:\n {2}floor +\S+ ms; .*\n {2}wireup +\S+ ms; \S+x the floor; .*\n {2}floor again .* \(noise\); .*\n$/,
  );
  const html = readFileSync(file, 'utf8');
  expect(html.match(/<svg /g)).toHaveLength(2);
  expect(html).toContain('exchange over fd');
  expect(html.match(/<svg role="img" aria-label="[^"]+"[^>]*>\n<title>/g)).toHaveLength(2);
  // Two turns are too few for an interval.
  expect(html.match(/<title>[^<]* Without an interval: fewer than 6 turns\.<\/title>/g)).toHaveLength(2);
  expect(html.match(/<tr><td>/g)).toHaveLength(3);
  // The colours are variables, which have other values on a dark ground.
  expect(html).toContain('prefers-color-scheme: dark');
  expect(html).toMatch(/(fill|stroke)="var\(--plot-\d+\)"/);
  // The names of SVG's namespaces are URLs, which browsers do not load.
  expect(html.replaceAll(/ xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/https?:|<script|<link|url\((?!#)|src=/);
});

test.each(['--json', '--html'])('wireup bench measures nothing if it cannot write %s', (option) => {
  const file = join(scratch, 'missing/report');
  expect(bench(['exchange', option, file])).toEqual({
    stdout: '',
    stderr: expect.stringMatching(`^wireup: ${option} ${file}: .*No such file or directory .*\\n$`) as string,
    status: 2,
  });
});

test('wireup bench reports a launcher that fails once, and does not use it again', () => {
  const folder = mkdtempSync(join(scratch, 'path-'));
  writeFileSync(
    join(folder, 'srun'),
    `#!/bin/sh\necho >> ${folder}/calls\necho no allocation >&2\nexit 1\n`,
    { mode: 0o755 },
  );
  const { stdout, stderr, status } = bench(
    ['exchange', 'barrier', 'put', '--pmi', 'fd', '--ranks', '2', '--pairs', '2'],
    folder,
  );
  expect(status).toBe(0);
  expect(stderr).toMatch(
    /^wireup: exchange, fd, 2 ranks: srun failed and is not used again: .*no allocation\n$/,
  );
  expect(readFileSync(join(folder, 'calls'), 'utf8')).toBe('\n');
  expect(stdout).not.toContain('srun');
  expect(stdout.match(/^ {2}wireup /gm)).toHaveLength(3);
});

test('wireup bench keeps the figures from before a failed run, and reports the failure once', () => {
  const file = join(scratch, 'kept.json');
  const words = [
    process.execPath,
    cli,
    'bench',
    'barrier',
    'put',
    '--pmi',
    'fd',
    '--ranks',
    '2,1000,3',
    '--pairs',
    '1',
    '--json',
    file,
  ];
  const { stdout, stderr, status } = spawnSync(
    'sh',
    ['-c', 'ulimit -n 400; PATH=$0 exec "$@"', scratch, ...words],
    { encoding: 'utf8', timeout },
  );
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^wireup: barrier, fd, 1000 ranks; put, fd, 1000 ranks: floor failed: [^\n]*: Too many open files\n$/,
  );
  expect(stdout.match(/^\w+, fd, \d+ ranks:$/gm)).toEqual([
    'barrier, fd, 2 ranks:',
    'barrier, fd, 3 ranks:',
    'put, fd, 2 ranks:',
    'put, fd, 3 ranks:',
  ]);
  expect((JSON.parse(readFileSync(file, 'utf8')) as Report).figures.map(({ ranks }) => ranks)).toEqual([
    2, 3, 2, 3,
  ]);
});

test('wireup bench keeps its figures at ^C, and those of complete turns of the last benchmark', async () => {
  const file = join(scratch, 'stopped.json');
  const tool = spawn(
    process.execPath,
    [cli, 'bench', 'barrier', '--pmi', 'fd', '--ranks', '1,2', '--pairs', '1000', '--json', file],
    {
      env: { ...process.env, PATH: scratch },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const printed = Promise.all([text(tool.stdout), text(tool.stderr)]);
  const ended = once(tool, 'close') as Promise<[number]>;
  // Each run is a process, and so is its server. When the 15th process is seen, some runs have ended.
  const runs = new Set<string>();
  const childrenOf = (pid: number): string[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
      .split(' ')
      .filter((word) => word !== '');
  while (runs.size < 15) {
    for (const child of childrenOf(tool.pid!)) runs.add(child);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  tool.kill('SIGINT');
  const [code] = await ended;
  const [stdout, stderr] = await printed;
  expect(code).toBe(130);
  expect(stderr).toBe('wireup: stopped: 1 of 2 benchmarks have figures\n');
  const { figures } = JSON.parse(readFileSync(file, 'utf8')) as Report;
  expect(figures).toHaveLength(1);
  const { turns, planned, series } = figures[0]!;
  expect(planned).toBe(1000);
  expect(turns).toBeGreaterThanOrEqual(1);
  expect(stdout).toContain(`barrier, fd, 1 ranks, ${turns} of 1000 turns:\n`);
  for (const { milliseconds } of Object.values(series)) expect(milliseconds).toHaveLength(turns);
});

test('a run of a benchmark that exceeds its time limit is ended, and the error names the limit', async () => {
  const { conduct } = await import('../../lib/cli/bench/conduct.mjs');
  const run = conduct({
    what: 'launch',
    ranks: 1,
    count: 0,
    command: ['tail', '-f', '/dev/null'],
    signal: new AbortController().signal,
    limit: 0.2,
  });
  await expect(run).rejects.toThrow('tail -f ...: exceeded the time limit of 0.2 s for a run');
  expect(bench(['--help']).stdout).toContain('longer than 300 s');
});

test.each([
  [['nonsense'], /nonsense.*invalid/],
  [['--pmi', 'pigeon'], /expected fd, tcp or unix/],
  [['--load', '0'], /expected a whole number from 1/],
  [['fence', '--tree', 'round'], /expected a whole number from 1/],
  [['--ranks', '0'], /expected a whole number from 1/],
  [['--swarm', '--pmi', 'fd'], /expected --pmi tcp or --pmi unix/],
  [['launch', '--swarm'], /the benchmark launch starts a process for each rank/],
])('wireup bench %j is wrong use', (args, complaint) => {
  const { stdout, stderr, status } = bench(args);
  expect({ stdout, status }).toEqual({ stdout: '', status: 2 });
  expect(stderr).toMatch(complaint);
});
