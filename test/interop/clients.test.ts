// Every client against every way to a server, each a job of eight ranks; and the table of them in docs/transports.md.

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

/** What each prints once a rank, when all went well. */
interface Client {
  name: string;
  argv: () => string[];
  said: (rank: number) => RegExp;
}
const clients: Client[] = [
  {
    name: '`PmiClient`',
    argv: () => wireup('exchange'),
    said: (rank) => new RegExp(`^rank ${rank} of ${size}, .*: has the cards of all ranks$`),
  },
  {
    name: '`libpmi.so.0`',
    argv: () => [program('libpmi_exchange'), libpmi],
    said: (rank) => new RegExp(`^libpmi: rank ${rank} of ${size} ok$`),
  },
  {
    name: 'MPICH',
    argv: () => [program('hello')],
    said: (rank) => new RegExp(`^hello: rank ${rank} of ${size} ok$`),
  },
  {
    name: 'MPICH behind `wireup-exec`',
    argv: () => [exec, program('hello')],
    said: (rank) => new RegExp(`^hello: rank ${rank} of ${size} ok$`),
  },
];

/** The ranks' output together. */
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

/** MPICH takes what stands before the first ":" of PMI_PORT for a host. */
const needsShim = (client: Client, server: Server): boolean =>
  client.name === 'MPICH' && server.name.includes('unix');

const peers = needs('cc', 'mpicc', 'mpiexec', 'hostname');
describe.skipIf(peers.missing)(`8 ranks${peers.note}`, () => {
  describe.each(servers)('$name', (server) => {
    it.each(clients)('$name', async (client) => {
      const result = await server.job(client.argv());
      if (needsShim(client, server)) {
        expect(result.code).not.toBe(0);
        // The reason is MPICH's own: it asks for a host of that name.
        expect(result.stderr).toMatch(/(host entry for|connect to) unix\b/);
        return;
      }
      expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
      for (let rank = 0; rank < size; rank++) {
        expect(lines(result.stdout)).toContainEqual(expect.stringMatching(client.said(rank)));
      }
    });
  });
});

it('docs/transports.md has this table', () => {
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
