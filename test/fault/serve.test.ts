// `wireup serve` with other users and under restrictions: which connections it accepts, which it refuses, how it
// reports that, and what it leaves behind.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { PmiClient } from '../../dist/index.js';
import { needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, wireup } from '../support/run';
import {
  needsRoot,
  OTHER_UID,
  refusedCode,
  runHostileClient,
  targetOf,
  type Target,
} from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

interface ServeRun {
  server: Run;
  target: Target;
  env: Record<string, string>;
  /** All requests of a rank that reads no reply. */
  text: string;
}

async function serve(address: string, ...options: string[]): Promise<ServeRun> {
  return serveThrough([], address, ...options);
}

async function serveThrough(wrapper: string[], address: string, ...options: string[]): Promise<ServeRun> {
  const server = new Run([
    ...wrapper,
    ...wireup('serve', '-n', '1', '--address', address, '--json', ...options),
  ]);
  await server.until(({ stdout }) => stdout.endsWith('\n'));
  const document = JSON.parse(server.stdout) as { address: string; ranks: { env: Record<string, string> }[] };
  const { env } = document.ranks[0]!;
  const text = `cmd=initack pmiid=${env.PMI_ID}\ncmd=init pmi_version=1 pmi_subversion=1\ncmd=finalize\n`;
  return { server, target: targetOf(document.address), env, text };
}

it('wireup serve refuses to spawn, and the rank goes on', async () => {
  const { server, env, target } = await serve('tcp');
  const socket = connect(target);
  let received = '';
  socket.setEncoding('utf8').on('data', (text: string) => {
    received += text;
    if (text.includes('spawn_result')) socket.write('cmd=finalize\n');
  });
  socket.write(
    `cmd=initack pmiid=${env.PMI_ID}\ncmd=init pmi_version=1 pmi_subversion=1\nmcmd=spawn\nnprocs=1\nexecname=true\ntotspawns=1\nspawnssofar=1\nendcmd\n`,
  );
  expect(await server.done).toMatchObject({ code: 0, stderr: '' });
  expect(received).toMatch(/^cmd=spawn_result rc=-1 msg=not_supported\ncmd=finalize_ack\n$/m);
});

const root = needsRoot();
describe.skipIf(root.missing).each(['tcp', 'unix'])(
  `over %s, another user that has the PMI_ID${root.note}`,
  (kind) => {
    /** In a folder that every user can pass through. */
    function address(): string {
      if (kind === 'tcp') return 'tcp';
      const folder = mkdtempSync(join(tmpdir(), 'serve-'));
      chmodSync(folder, 0o755);
      onTestFinished(() => rmSync(folder, { recursive: true }));
      return `unix://${folder}/socket`;
    }

    it.each([`${OTHER_UID}`, `${OTHER_UID - 1}-${OTHER_UID + 1}`])(
      'is accepted with --allow-uid %s, and the user of the server is refused',
      async (uid) => {
        const { server, env, target, text } = await serve(address(), '--allow-uid', uid);
        await expect(PmiClient.fromEnv({ env })).rejects.toMatchObject({
          code: expect.stringMatching(refusedCode) as string,
        });
        expect(await runHostileClient({ target, behaviour: 'send and read', text }, OTHER_UID)).toMatch(
          /cmd=finalize_ack\n$/,
        );
        expect(await server.done).toMatchObject({
          code: 0,
          stderr: expect.stringMatching(/^wireup: refused .*\(uid 0.*\): uid 0 is not allowed\n$/) as string,
        });
      },
    );

    it('is refused without --allow-uid, and by a list without its uid', async () => {
      for (const options of [[], ['--allow-uid', '0', '--allow-uid', `${OTHER_UID + 1}`]]) {
        const { server, env, target, text } = await serve(address(), ...options);
        // With this mode, only the check of the uid refuses the connection.
        if ('path' in target) chmodSync(target.path, 0o777);
        expect(await runHostileClient({ target, behaviour: 'send and read', text }, OTHER_UID)).toBe('');
        const pmi = await PmiClient.fromEnv({ env });
        await pmi.finalize();
        expect(await server.done).toMatchObject({
          code: 0,
          stderr: expect.stringMatching(
            new RegExp(`^wireup: refused .*\\(uid ${OTHER_UID}.*\\): uid ${OTHER_UID} is not allowed\n$`),
          ) as string,
        });
      }
    });
  },
);

const compiler = needs('cc');
it.skipIf(compiler.missing)(
  `if the kernel does not permit sock_diag, every TCP connection is refused with that reason${compiler.note}`,
  async () => {
    const { server, env } = await serveThrough([program('no_sock_diag')], 'tcp');
    await expect(PmiClient.fromEnv({ env })).rejects.toMatchObject({
      code: expect.stringMatching(refusedCode) as string,
    });
    const refusal =
      /^wireup: refused 127\.0\.0\.1:\d+: the kernel does not report the owner of the TCP connection \(sock_diag\)\n$/;
    expect(await eventually(() => refusal.test(server.stderr), 20_000), server.stderr).toBe(true);
    server.kill('SIGTERM');
    expect((await server.done).code).toBe(143);
  },
);

describe('wireup serve ends at TERM, INT and HUP and leaves nothing behind', () => {
  // Each run fails if a file, a folder or a process of it remains.
  it.each(['unix', 'unix://$TMPDIR/serve.sock', '$TMPDIR/serve.sock', 'tcp'])(
    'at the address %s',
    async (address) => {
      const script = `exec "$@" serve -n 2 --address "${address}"`;
      for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
        const server = new Run(['sh', '-c', script, 'sh', ...wireup()]);
        await server.until(({ stdout }) => lines(stdout).length === 2);
        const waiting = /PMI_PORT='([^']*)'.*PMI_ID='(\d+)'|PMI_ID='(\d+)'.*PMI_PORT='([^']*)'/.exec(
          server.stdout,
        )!;
        const pmi = await PmiClient.connect({
          address: (waiting[1] ?? waiting[4])!,
          id: (waiting[2] ?? waiting[3])!,
        });
        server.kill(signal);
        expect((await server.done).code).toBe({ SIGTERM: 143, SIGINT: 130, SIGHUP: 129 }[signal]);
        await pmi.close();
      }
    },
  );
});
