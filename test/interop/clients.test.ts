// Every client with every server, as jobs of eight ranks; and the table of them in docs/transports.md.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, Run, wireup, wireupRun, type Result } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });

const size = 8;
const libpmi = join(root, 'build/Release/libpmi.so.0');
const exec = join(root, 'build/Release/wireup-exec');

/** A client, and the line that each rank prints at success. */
interface Client {
  name: string;
  argv: () => string[];
  expected: (rank: number) => RegExp;
}
const clients: Client[] = [
  {
    name: '`PmiClient`',
    argv: () => wireup('exchange'),
    expected: (rank) => new RegExp(`^rank ${rank} of ${size}, .*: has the cards of all ranks$`),
  },
  {
    name: '`libpmi.so.0`',
    argv: () => [program('libpmi_exchange'), libpmi],
    expected: (rank) => new RegExp(`^libpmi: rank ${rank} of ${size} ok$`),
  },
  {
    name: 'MPICH',
    argv: () => [program('hello')],
    expected: (rank) => new RegExp(`^hello: rank ${rank} of ${size} ok$`),
  },
  {
    name: 'MPICH behind `wireup-exec`',
    argv: () => [exec, program('hello')],
    expected: (rank) => new RegExp(`^hello: rank ${rank} of ${size} ok$`),
  },
];

/** A server. `job` returns the output of all ranks together. */
interface Server {
  name: string;
  job: (argv: string[]) => Promise<Result>;
}

async function serve(argv: string[]): Promise<Result> {
  const name = `wireup-test-${process.pid}-${Math.random().toString(36).slice(2)}`;
  const server = new Run(wireup('serve', '-n', String(size), '--address', `unix://@${name}`, '--json'));
  await server.until(({ stdout }) => stdout.endsWith('\n'));
  const { ranks } = JSON.parse(server.stdout) as { ranks: { env: Record<string, string> }[] };
  const results = await Promise.all(ranks.map(({ env }) => run(argv, { environment: env })));
  const bad = results.find(({ code }) => code !== 0);
  if (bad !== undefined) server.kill('SIGTERM');
  const { code } = await server.done;
  return {
    code: bad?.code ?? code,
    signal: bad?.signal ?? null,
    stdout: results.map(({ stdout }) => stdout).join(''),
    stderr: results.map(({ stderr }) => stderr).join(''),
  };
}

const servers: Server[] = [
  { name: 'wireup fd', job: (argv) => run(wireupRun(size, 'fd', ...argv)) },
  { name: 'wireup tcp', job: (argv) => run(wireupRun(size, 'tcp', ...argv)) },
  {
    name: 'wireup unix',
    job: (argv) => run(wireup('run', '-n', String(size), '--pmi', 'unix', '--no-exec-shim', ...argv)),
  },
  { name: 'wireup unix, abstract', job: serve },
  { name: '`mpiexec` fd', job: (argv) => run([installed('mpiexec'), '-n', String(size), ...argv]) },
  {
    name: '`mpiexec -pmi-port`',
    job: (argv) => run([installed('mpiexec'), '-pmi-port', '-n', String(size), ...argv]),
  },
];

/** MPICH parses what precedes the first ":" of PMI_PORT as a host name. */
const needsShim = (client: Client, server: Server): boolean =>
  client.name === 'MPICH' && server.name.includes('unix');

const peers = needs('cc', 'mpicc', 'mpiexec', 'hostname');
describe.skipIf(peers.missing)(`8 ranks${peers.note}`, () => {
  describe.each(servers)('at $name', (server) => {
    it.each(clients)('of $name work, or fail, as docs/transports.md states', async (client) => {
      const result = await server.job(client.argv());
      if (needsShim(client, server)) {
        expect(result.code).not.toBe(0);
        // MPICH resolves the host name "unix".
        expect(result.stderr).toMatch(/(host entry for|connect to) unix\b/);
        return;
      }
      expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
      for (let rank = 0; rank < size; rank++) {
        expect(lines(result.stdout)).toContainEqual(expect.stringMatching(client.expected(rank)));
      }
    });
  });
});

it('docs/transports.md has the table of clients and servers', () => {
  const row = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    row(['client', ...servers.map(({ name }) => name)]),
    row(['---', ...servers.map(() => '---')]),
    ...clients.map((client) =>
      row([
        client.name,
        ...servers.map((server) => (needsShim(client, server) ? 'needs `wireup-exec`' : 'yes')),
      ]),
    ),
  ].join('\n');
  expect(readFileSync(join(root, 'docs/transports.md'), 'utf8')).toContain(`\n${table}\n`);
});
