// Ranks on another machine: two connected network namespaces, and a server with a list of allowed hosts.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { lines, Run, run, wireup } from '../support/run';
import { needsRoot } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

/** Addresses for documentation (RFC 5737), which no host has. */
const here = '192.0.2.1';
const there = '192.0.2.2';

const root = needsRoot();
const tools = root.missing ? { missing: false, note: '' } : needs('ip', 'nsenter', 'unshare');

describe.skipIf(root.missing || tools.missing)(
  `a server and ranks on another machine${root.note}${tools.note}`,
  () => {
    const machines: ChildProcess[] = [];
    const folder = mkdtempSync(join(tmpdir(), 'machines-'));
    const on = (machine: 0 | 1): string[] => [
      installed('nsenter'),
      `--net=/proc/${machines[machine]!.pid}/ns/net`,
    ];

    beforeAll(async () => {
      for (let i = 0; i < 2; i++) {
        const machine = spawn(installed('unshare'), ['-n', 'sh', '-c', 'echo; exec cat'], {
          stdio: ['pipe', 'pipe', 'inherit'],
        });
        machines.push(machine);
        // It prints a line once it is in its namespace.
        await once(machine.stdout, 'data');
      }
      const ip = (...args: string[]): void => void execFileSync(installed('ip'), args, { timeout: 20_000 });
      const [first, second] = machines.map(({ pid }) => String(pid));
      ip('link', 'add', 'wire', 'netns', first!, 'type', 'veth', 'peer', 'name', 'wire', 'netns', second!);
      for (const [machine, address] of [
        [0, here],
        [1, there],
      ] as const) {
        const [command, ...enter] = on(machine);
        const inside = (...args: string[]): void =>
          void execFileSync(command!, [...enter, installed('ip'), ...args], { timeout: 20_000 });
        inside('addr', 'add', `${address}/30`, 'dev', 'wire');
        inside('link', 'set', 'wire', 'up');
        inside('link', 'set', 'lo', 'up');
      }
      // The address of the host name for ranks on the other machine.
      writeFileSync(join(folder, 'hosts'), `${here} ${hostname()}\n`);
    });
    afterAll(() => {
      for (const machine of machines) machine.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    });

    async function serve(
      address: string,
      ...options: string[]
    ): Promise<{ server: Run; ranks: Record<string, string>[] }> {
      const server = new Run([
        ...on(0),
        ...wireup('serve', '-n', '2', '--address', address, '--json', ...options),
      ]);
      await server.until(({ stdout }) => stdout.endsWith('\n'));
      const document = JSON.parse(server.stdout) as { ranks: { env: Record<string, string> }[] };
      return { server, ranks: document.ranks.map(({ env }) => env) };
    }

    const probe = (machine: 0 | 1, environment: Record<string, string>) =>
      run([...on(machine), ...wireup('pmi', 'exchange')], { environment });

    it('the server refuses ranks of other machines by default, and reports it', async () => {
      const { server, ranks } = await serve(`${here}:0`);
      const refused = await probe(1, ranks[1]!);
      expect(refused).toMatchObject({ code: 3, stdout: '' });
      expect(refused.stderr).toMatch(/^wireup: tcp:\/\/192\.0\.2\.1:\d+: /);
      // Ranks on the server's machine are accepted at the same address.
      const results = await Promise.all(ranks.map((env) => probe(0, env)));
      expect(results.map(({ code }) => code)).toEqual([0, 0]);
      const { code, stderr } = await server.done;
      expect(code).toBe(0);
      expect(lines(stderr)).toEqual([
        expect.stringMatching(/^wireup: refused 192\.0\.2\.2:\d+: host 192\.0\.2\.2 is not allowed$/),
      ]);
    });

    it('the server refuses a machine that is not on its list', async () => {
      const { server, ranks } = await serve(
        `${here}:0`,
        '--allow-host',
        '192.0.2.3',
        '--allow-host',
        '198.51.100.0/24',
      );
      expect((await probe(1, ranks[1]!)).code).toBe(3);
      server.kill('SIGTERM');
      expect((await server.done).stderr).toMatch(/host 192\.0\.2\.2 is not allowed/);
    });

    it.each([
      ['its address', there, 'number'],
      ['a range (with long PMI_IDs)', '192.0.2.0/30', 'long'],
    ])(
      'a rank on a machine allowed by %s and a rank on the machine of the server are accepted',
      async (_, host, kind) => {
        const { server, ranks } = await serve(`${here}:0`, '--allow-host', host, '--pmi-id', kind);
        const results = await Promise.all([probe(0, ranks[0]!), probe(1, ranks[1]!)]);
        expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
          { code: 0, stderr: '' },
          { code: 0, stderr: '' },
        ]);
        expect(await server.done).toMatchObject({ code: 0, stderr: '' });
      },
    );

    it('the PMI_PORT of a server on every address has the host name', async () => {
      const { server, ranks } = await serve('0.0.0.0:0', '--allow-host', there);
      expect(ranks[1]!.PMI_PORT).toMatch(/:\d+$/);
      expect(ranks[1]!.PMI_PORT!.split(':')[0]).toBe(hostname());
      const named = [
        ...on(1),
        installed('unshare'),
        '-m',
        'sh',
        '-c',
        'mount --bind "$0" /etc/hosts && exec "$@"',
        join(folder, 'hosts'),
        ...wireup('pmi', 'exchange'),
      ];
      // The host name may have no address on the server's machine.
      const local = { ...ranks[0]!, PMI_PORT: `127.0.0.1:${ranks[0]!.PMI_PORT!.split(':')[1]}` };
      const results = await Promise.all([probe(0, local), run(named, { environment: ranks[1]! })]);
      expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
        { code: 0, stderr: '' },
        { code: 0, stderr: '' },
      ]);
      expect((await server.done).code).toBe(0);
    });
  },
);
