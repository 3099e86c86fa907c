// The commands that reach other hosts, with a stand-in for wireup-agent. Their stdin and stdout must be a link: every byte
// passes unchanged, at once, and to the end.

import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync, statSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { adviceOnStart } from '../../lib/host-advice';
import { hostCommand, launcherVariables, quoteForShells } from '../../lib/host-command';
import { hostNeeds, NamespaceHosts, SlurmHosts, SshHosts, type Hosts } from '../support/hosts';
import { needs } from '../support/installed';
import { eventually, isAlive, processOf } from '../support/processes';

const folder = mkdtempSync(join(tmpdir(), 'host commands '));
afterAll(() => rmSync(folder, { recursive: true }));

/** Replies with its host name, which must resolve, arguments and pid, then with what it reads. Its name needs quotes. */
const standIn = join(folder, "it's an agent!");
writeFileSync(
  standIn,
  '#!/bin/sh\n[ $# -gt 0 ] || exit 2\ngetent hosts "$(hostname)" >/dev/null || exit 1\necho "$(hostname) $* $$"\nexec cat\n',
  {
    mode: 0o755,
  },
);

interface Started {
  child: ChildProcessWithoutNullStreams;
  read(bytes: number): Promise<Buffer>;
  readLine(): Promise<string>;
  end(): Promise<{ code: number | null; stderr: string }>;
}

function start(argv: readonly string[], environment: NodeJS.ProcessEnv): Started {
  const [file, ...args] = argv as [string, ...string[]];
  const child = spawn(file, args, { env: { ...process.env, ...environment } });
  let received = Buffer.alloc(0);
  let look = (): void => undefined;
  child.stdout.on('data', (bytes: Buffer) => {
    received = Buffer.concat([received, bytes]);
    look();
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exit = once(child, 'close');
  const take = async (size: () => number): Promise<Buffer> => {
    const arrived = new Promise<void>((fulfil) => {
      look = () => {
        if (size() > 0 && received.length >= size()) fulfil();
      };
      look();
    });
    const ended = exit.then(() => {
      throw new Error(`${argv.join(' ')} has ended\n${stderr}`);
    });
    await Promise.race([arrived, ended]);
    ended.catch(() => undefined);
    const taken = received.subarray(0, size());
    received = received.subarray(size());
    return taken;
  };
  return {
    child,
    read: (bytes) => take(() => bytes),
    readLine: async () => (await take(() => received.indexOf('\n') + 1)).toString().trimEnd(),
    end: async () => {
      child.stdin.end();
      await exit;
      return { code: child.exitCode, stderr };
    },
  };
}

const variablesOf = (hosts: Hosts): NodeJS.ProcessEnv => ({
  ...launcherVariables[hosts.launcher.kind],
  ...hosts.environment,
});

/** Sends bytes to the stand-in, and expects them back. */
async function expectEcho(agent: Started): Promise<void> {
  // Without a newline, and each before the one before has come back: nothing on the way may wait for more.
  for (const bytes of ['\0', '\xff', '\r\n\r', '\x03\x04\x1a\x11\x13', '~.'].map((text) =>
    Buffer.from(text, 'latin1'),
  )) {
    agent.child.stdin.write(bytes);
    expect(await agent.read(bytes.length)).toEqual(bytes);
  }
  const many = randomBytes(1_000_000);
  agent.child.stdin.write(many);
  expect((await agent.read(many.length)).equals(many)).toBe(true);
}

const kinds = [
  ['ssh', hostNeeds.ssh(), () => SshHosts.start(2)],
  ['srun', hostNeeds.slurm(), () => SlurmHosts.start(2)],
  ['namespaces', hostNeeds.namespaces(), () => NamespaceHosts.start(2)],
] as const;

describe.each(kinds)('by %s', (_, tools, make) => {
  describe.skipIf(tools.missing)(`each host${tools.note}`, () => {
    let hosts: Hosts;
    beforeAll(async () => {
      hosts = await make();
    });
    afterAll(() => hosts?.[Symbol.asyncDispose]());

    const startAgent = (name: string, agent: string, stage = false): Started =>
      start(
        hostCommand({ name }, { launcher: hosts.launcher, agent, stage }).map((word) =>
          stage ? word.replaceAll('%s', String(statSync(standIn).size)) : word,
        ),
        variablesOf(hosts),
      );

    test('runs the agent, several at once, and passes every byte', async () => {
      const names = [...hosts.names, hosts.names[0]!];
      await Promise.all(
        names.map(async (name) => {
          const agent = startAgent(name, standIn);
          expect(await agent.readLine()).toMatch(new RegExp(`^${name} link \\d+$`));
          await expectEcho(agent);
          expect(await agent.end()).toMatchObject({ code: 0 });
        }),
      );
    });

    test('runs an agent that is sent first, and leaves nothing behind', async () => {
      const name = hosts.names[1]!;
      const agent = startAgent(name, '/nowhere/wireup-agent', true);
      agent.child.stdin.write(readFileSync(standIn));
      expect(await agent.readLine()).toMatch(new RegExp(`^${name} link \\d+$`));
      const left = spawnSync(
        'sh',
        ['-c', 'ls "$TMPDIR"/wireup-??????/agent /tmp/wireup-??????/agent 2>/dev/null'],
        {
          encoding: 'utf8',
        },
      );
      expect(left.stdout).toBe('');
      await expectEcho(agent);
      expect(await agent.end()).toMatchObject({ code: 0 });
    });

    test('ends the agent when the command is killed', async () => {
      const agent = startAgent(hosts.names[0]!, standIn);
      const pid = Number((await agent.readLine()).split(' ').at(-1));
      const running = processOf(pid)!;
      agent.child.kill('SIGKILL');
      expect(await eventually(() => !isAlive(running), 10_000)).toBe(true);
    });

    test('without an agent it ends with a message', async () => {
      const name = hosts.names[0]!;
      const { code, stderr } = await startAgent(name, '/nowhere/wireup-agent').end();
      expect(code).not.toBe(0);
      expect(stderr).toContain('/nowhere/wireup-agent');
      expect(adviceOnStart({ name, ssh: ['ssh'] }, stderr)).toContain('--agent-path');
    });
  });
});

describe.skipIf(hostNeeds.slurm().missing)(`in a Slurm allocation${hostNeeds.slurm().note}`, () => {
  test('agents share a node, whatever options of srun are in the environment', async () => {
    await using hosts = await SlurmHosts.start(1);
    const { stderr } = spawnSync('salloc', ['-N1', '--no-shell'], {
      encoding: 'utf8',
      env: { ...process.env, ...hosts.environment },
    });
    const options = {
      SLURM_LABELIO: '1',
      SLURM_STDINMODE: 'none',
      SLURM_STDOUTMODE: 'none',
      SLURM_CPUS_PER_TASK: '1000',
      SRUN_CPUS_PER_TASK: '1000',
      SLURM_NTASKS_PER_NODE: '8',
      SLURM_EXACT: '1',
    };
    const allocation = {
      ...options,
      SLURM_JOB_ID: /allocation (\d+)/.exec(stderr)![1],
      ...variablesOf(hosts),
    };
    const command = hostCommand({ name: 'n1' }, { launcher: hosts.launcher, agent: standIn, stage: false });
    const agents = [start(command, allocation), start(command, allocation)];
    for (const agent of agents) expect(await agent.readLine()).toMatch(/^n1 link \d+$/);
    await Promise.all(agents.map(expectEcho));
    for (const agent of agents) expect(await agent.end()).toMatchObject({ code: 0 });
  });
});

describe.skipIf(hostNeeds.ssh().missing)(`what ssh says${hostNeeds.ssh().note}`, () => {
  let hosts: SshHosts;
  beforeAll(async () => {
    hosts = await SshHosts.start(2);
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());

  const run = (name: string, user: string | undefined, ...options: string[]): Promise<{ stderr: string }> =>
    start(
      hostCommand(
        { name, ...(user === undefined ? {} : { user }) },
        {
          launcher: { kind: 'ssh', words: [...hosts.launcher.words, ...options] },
          agent: standIn,
          stage: false,
        },
      ),
      {},
    ).end();

  test.each([
    ['an unknown key', 'n1', undefined, ['-o', 'UserKnownHostsFile=/dev/null'], "run 'ssh n1 true' once"],
    [
      'an unknown key and a question',
      'n1',
      undefined,
      ['-o', 'UserKnownHostsFile=/dev/null', '-o', 'StrictHostKeyChecking=ask'],
      "run 'ssh n1 true' once",
    ],
    ['a user without access', 'n2', 'nobody', [], 'without a password'],
    ['an unknown name', 'other.invalid', undefined, [], "no 'Host other.invalid'"],
  ])('%s: it ends with a message, and there is advice', async (_, name, user, options, advice) => {
    const { stderr } = await run(name, user, ...options);
    expect(adviceOnStart({ name, ssh: ['ssh'] }, stderr), stderr).toContain(advice);
  });

  test('another key than the known one: the advice is to remove that', async () => {
    const known = join(hosts.home, 'other-keys');
    const { host, port } = /HostName (?<host>\S+)\s+Port (?<port>\d+)/.exec(
      readFileSync(hosts.configuration, 'utf8'),
    )!.groups!;
    const key = join(hosts.home, 'other-key');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    writeFileSync(known, `[${host}]:${port} ${readFileSync(`${key}.pub`, 'utf8')}`);
    const { stderr } = await run('n1', undefined, '-o', `UserKnownHostsFile=${known}`);
    expect(adviceOnStart({ name: 'n1', ssh: ['ssh'] }, stderr), stderr).toMatch(
      /knows another key .* by ssh-keygen -R, and run 'ssh n1 true' once$/,
    );
  });

  test('no listener: its message says all', async () => {
    const { stderr } = await run('n1', undefined, '-o', 'Port=1');
    expect(stderr).toMatch(/^ssh: connect to host \S+ port 1: Connection refused\s*$/);
    expect(adviceOnStart({ name: 'n1', ssh: ['ssh'] }, stderr)).toBeUndefined();
  });

  test("a banner and the user's forwarded ports make no noise", async () => {
    await using server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    appendFileSync(
      hosts.configuration,
      `LocalForward 127.0.0.1:${port} 127.0.0.1:1\nExitOnForwardFailure yes\nRequestTTY force\n`,
    );
    expect(await run('n1', undefined)).toEqual({ code: 0, stderr: '' });
  });
});

const networks = hostNeeds.namespaces();

describe.skipIf(hostNeeds.ssh().missing || networks.missing)(`ssh over a network${networks.note}`, () => {
  test('reaches a host again after its cable was pulled', async () => {
    await using hosts = await SshHosts.start(2, { network: true });
    const agentOf = (name: string): Started =>
      start(
        hostCommand(
          { name },
          {
            launcher: { ...hosts.launcher, words: [...hosts.launcher.words, '-o', 'ConnectTimeout=1'] },
            agent: standIn,
            stage: false,
          },
        ),
        {},
      );
    const reaches = async (name: string): Promise<void> => {
      const agent = agentOf(name);
      expect(await agent.readLine()).toMatch(new RegExp(`^${name} link `));
      await expectEcho(agent);
      await agent.end();
    };
    await Promise.all(hosts.names.map(reaches));
    hosts.setConnected('n2', false);
    const { code, stderr } = await agentOf('n2').end();
    expect(code).toBe(255);
    expect(stderr).toMatch(/^ssh: connect to host 10\.0\.0\.2 port 22: /);
    await reaches('n1');
    hosts.setConnected('n2', true);
    await reaches('n2');
  });
});

const shells = needs('fish', 'tcsh');
const awkward = [
  ...[
    '',
    ' ',
    'a b',
    "it's",
    "'",
    '"q"',
    'a\\b',
    "a\\'b",
    'end\\',
    '\\\\',
    'x!y',
    '!',
    '$HOME',
    '`id`',
    '*?[a]',
    '~',
    '{a,b}',
  ],
  ...['a;b|c&d', '#x', '(x)', '<>', '^', '%s', 'ü', '-n', '='],
];

test.skipIf(shells.missing).each(['sh', 'bash', 'tcsh', 'fish'])(
  `%s reads quoted words unchanged${shells.note}`,
  (shell) => {
    const command = `exec '${process.execPath}' -p 'JSON.stringify(process.argv.slice(1))' -- ${awkward.map(quoteForShells).join(' ')}`;
    const { stdout, stderr } = spawnSync(shell, ['-c', command], { encoding: 'utf8' });
    expect(JSON.parse(stdout || `"${stderr}"`)).toEqual(awkward);
  },
);
