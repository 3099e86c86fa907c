// Jobs over several hosts end whole, whatever happens to a host, to the command that reaches it, or to the tool: the failure
// names the host, and nothing is left on any host. The hosts share this machine's processes and files, so each run checks that.

import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { agentPath } from '../../lib/native';
import { guardOf, hang, ownAgentOf } from '../support/agents';
import {
  hostKinds,
  hostNeeds,
  NamespaceSrunHosts,
  SshHosts,
  wireupOn,
  type Hosts,
  type NetworkHosts,
} from '../support/hosts';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { eventually, isStopped, wordsOf } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, toolLines, transports, wireup, type Result } from '../support/run';

vi.setConfig({ testTimeout: 120_000 });
/** In milliseconds. */
const deadline = 100_000;
/** In milliseconds: how long processes may live after the command. Both ends of a link are silent for five seconds first. */
const exitTimeout = 15_000;
/** In milliseconds: how long to wait until a job has reached a stage, on a busy machine. */
const waitTimeout = 60_000;

/** In milliseconds: longer than a host may be silent and a loop may hang. */
const stopTime = 8000;

const folder = mkdtempSync(join(tmpdir(), 'host-endings-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
const hostCount = 3;
const victim = 1;

/** The pid of the agent of a host, which `wireup run -v` reports. */
const agentOf = ({ stderr }: Run, host: string): number =>
  Number(
    new RegExp(`^wireup: host ${host}: wireup-agent has started \\(pid (\\d+)\\)$`, 'm').exec(stderr)![1],
  );

/** The pid of the command that reaches a host. */
function commandOf(job: Run, host: string): number {
  const found = job.processes().filter((process) => wordsOf(process).includes(host));
  // The tool has a list of all hosts as one of its words.
  return found.find(({ pid }) => pid !== job.pid)!.pid;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended: the ranks start processes that end soon.
  }
}

/** The lines about the end of a job with -v. */
const endLines = (stderr: string): string[] =>
  toolLines(stderr).filter(
    (line) =>
      !/^wireup: (\d+ ranks? of |phases: |host \S+: wireup-agent has started|the job ended)/.test(line),
  );

const kinds = hostKinds.filter(([name]) => long || name === 'ssh' || name === 'pretended nodes');
const stages = long ? ['connected', 'first-barrier', 'barrier', 'running', 'finalizing'] : ['barrier'];

describe.each(kinds)('over hosts by %s', (kind, tools, make) => {
  const missing = tools.missing ? tools : compiler;
  describe.skipIf(missing.missing)(`a job${missing.note}`, () => {
    let hosts: Hosts;
    beforeAll(async () => {
      hosts = await make(hostCount);
    });
    afterAll(() => hosts?.[Symbol.asyncDispose]());

    // test/endings/srun.test.ts has the jobs of one srun.
    const ownCommands = kind === 'srun' ? ['--tree-width', '0'] : [];
    const start = (...words: string[]): Run =>
      new Run(wireupOn(hosts, 1, ...ownCommands, ...words), {
        deadline,
        exitTimeout,
        environment: hosts.environment,
      });

    /** Starts ranks that leave orphans which ignore signals, and waits until all are at the stage. */
    async function runTo(stage: string, ...options: string[]): Promise<Run> {
      const job = start('-v', ...options, program('raw_stage'), stage);
      await job.until(
        ({ stdout }) => lines(stdout).filter((line) => line === `rank at ${stage}`).length === hostCount,
      );
      // The tool, a guard and an agent for each host and for this one, and each rank with its orphan.
      expect(
        await eventually(() => job.processes().length >= 3 + 4 * hostCount, waitTimeout),
        job.stderr,
      ).toBe(true);
      // These lines come another way than the output of ranks.
      await job.until(({ stderr }) => stderr.match(/wireup-agent has started/g)?.length === hostCount);
      return job;
    }

    const lost = (host: string, why: string): RegExp =>
      new RegExp(
        `^wireup: host ${host} was lost \\(${why}.*\\); rank ${victim} was on it; 2 ranks were ended$`,
      );

    async function expectLost(job: Run, why: string): Promise<void> {
      const { code, stderr } = await job.done;
      expect(endLines(stderr)).toEqual([expect.stringMatching(lost(hosts.names[victim]!, why))]);
      expect(code).toBe(1);
    }

    describe.each(stages)('at the stage "%s"', (stage) => {
      it.each(long ? transports : (['unix'] as const))(
        'leaves nothing behind after kill -9 of an agent, with --pmi %s',
        async (pmi) => {
          const job = await runTo(stage, '--pmi', pmi);
          process.kill(agentOf(job, hosts.names[victim]!), 'SIGKILL');
          await expectLost(job, '');
        },
      );

      it('leaves nothing behind after kill -STOP of an agent', async () => {
        const job = await runTo(stage);
        process.kill(agentOf(job, hosts.names[victim]!), 'SIGSTOP');
        await expectLost(job, '');
      });

      it('leaves nothing behind if an agent hangs', async () => {
        const job = await runTo(stage);
        await hang(agentOf(job, hosts.names[victim]!));
        await expectLost(job, '');
      });

      it('leaves nothing behind if the agent of this host hangs', async () => {
        const job = await runTo(stage);
        await hang(ownAgentOf(job));
        const { code, stderr } = await job.done;
        expect(endLines(stderr)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) did not respond and had to be killed/),
        ]);
        expect(code).toBe(1);
      });

      it('leaves nothing behind after kill -9 of the guard of an agent', async () => {
        const job = await runTo(stage);
        process.kill(guardOf(agentOf(job, hosts.names[victim]!)), 'SIGKILL');
        await expectLost(job, '');
      });

      // The others execute the agent in their place.
      if (kind === 'ssh' || kind === 'srun') {
        it('leaves nothing behind after kill -9 of the command that reaches a host', async () => {
          const job = await runTo(stage);
          process.kill(commandOf(job, hosts.names[victim]!), 'SIGKILL');
          await expectLost(job, '');
        });

        it('leaves nothing behind after kill -STOP of the command that reaches a host', async () => {
          const job = await runTo(stage);
          process.kill(commandOf(job, hosts.names[victim]!), 'SIGSTOP');
          await expectLost(job, 'no sign for 5 s');
        });
      }

      it('leaves nothing behind after kill -9 of the tool', async () => {
        const job = await runTo(stage, '--pmi', 'unix');
        job.kill('SIGKILL');
        expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
      });

      it('leaves nothing behind after kill -9 of the agent of this host', async () => {
        const job = await runTo(stage);
        process.kill(ownAgentOf(job), 'SIGKILL');
        const { code, stderr } = await job.done;
        expect(endLines(stderr)).toEqual([
          expect.stringMatching(/wireup-agent \(pid \d+\) was killed by signal 9 /),
        ]);
        expect(code).toBe(1);
      });
    });

    it('ends as usual if the guard of an agent is stopped', async () => {
      const job = await runTo('running');
      process.kill(guardOf(agentOf(job, hosts.names[victim]!)), 'SIGSTOP');
      job.kill('SIGINT');
      const { code } = await job.done;
      expect(code).toBe(130);
    });

    it('runs on while the tool is stopped, for longer than a host may be silent', async () => {
      const script = 'for i in 0 1 2 3 4 5 6; do echo $i; sleep 1; done; echo end';
      const job = start('sh', '-c', script);
      await job.until(({ stdout }) => stdout.includes('0'));
      job.kill('SIGSTOP');
      await job.until(({ stdout }) => lines(stdout).filter((line) => line === 'end').length === hostCount);
      job.kill('SIGCONT');
      expect(await job.done).toMatchObject({ code: 0, stderr: '' });
    });

    it('runs on after all its processes were stopped, for longer than a host may be silent', async () => {
      const go = join(mkdtempSync(join(folder, 'go-')), 'go');
      const job = start('sh', '-c', `echo ready; until [ -e '${go}' ]; do sleep 0.1; done; echo end`);
      await job.until(({ stdout }) => lines(stdout).length === hostCount);
      // Agents are stopped before their guards, which would kill an agent that stays stopped, and continue after them.
      const all = job.processes().sort((a, b) => a.pid - b.pid);
      for (const { pid } of [...all].reverse()) send(pid, 'SIGSTOP');
      const since = performance.now();
      expect(await eventually(() => performance.now() > since + stopTime, waitTimeout)).toBe(true);
      for (const process of all) {
        send(process.pid, 'SIGCONT');
        expect(await eventually(() => !isStopped(process), waitTimeout)).toBe(true);
      }
      writeFileSync(go, '');
      const { code, stdout, stderr } = await job.done;
      expect(stderr).toBe('');
      expect(lines(stdout).filter((line) => line === 'end')).toHaveLength(hostCount);
      expect(code).toBe(0);
    });

    it.each([
      ['exits with 7', 'exit 7', 7, 'exited with code 7'],
      ['is killed by a signal', 'kill -KILL $$', 137, 'was killed by SIGKILL'],
    ])('ends on all hosts if a rank %s', async (_, action, exitCode, how) => {
      const started = mkdtempSync(join(folder, 'started-'));
      const others = [0, 1, 2].filter((rank) => rank !== victim);
      const allStarted = others.map((rank) => `[ -e ${started}/${rank} ]`).join(' && ');
      const script = `
        if [ $PMI_RANK != ${victim} ]; then : > ${started}/$PMI_RANK; exec sleep 1000; fi
        until ${allStarted}; do sleep 0.01; done
        ${action}`;
      const { code, stderr } = await start('sh', '-c', script).done;
      expect(lines(stderr)).toEqual([
        expect.stringMatching(
          new RegExp(
            `^wireup: rank 1 \\(pid \\d+, sh\\) on ${hosts.names[victim]!} ${how}; 2 other ranks were ended$`,
          ),
        ),
      ]);
      expect(code).toBe(exitCode);
    });

    it('ends on all hosts if a rank leaves while ranks of other hosts wait for it', async () => {
      const { code, stderr } = await start(program('raw_leave'), String(victim)).done;
      expect(stderr).toMatch(
        new RegExp(
          `^wireup: rank 1 .* on ${hosts.names[victim]!} .* while others wait in PMI barrier 1: (0,2|0|2); missing: 1`,
        ),
      );
      expect(code).toBe(1);
    });

    it('passes ^C on to the ranks of all hosts', async () => {
      const script = `trap 'echo got INT; exit 0' INT; echo ready; while :; do sleep 0.1; done`;
      const job = start('sh', '-c', script);
      await job.until(({ stdout }) => lines(stdout).length === hostCount);
      job.kill('SIGINT');
      const { code, stdout } = await job.done;
      expect(lines(stdout).filter((line) => line === 'got INT')).toHaveLength(hostCount);
      expect(code).toBe(0);
    });

    it('kills ranks of all hosts that ignore signals when ^C is sent again', async () => {
      const job = start('sh', '-c', `trap '' INT TERM; echo ready; while :; do sleep 100; done`);
      await job.until(({ stdout }) => lines(stdout).length === hostCount);
      const again = setInterval(() => job.kill('SIGINT'), 50);
      const { code } = await job.done.finally(() => clearInterval(again));
      expect(code).toBe(130);
    });

    it('ends on all hosts at its time limit', async () => {
      const { code, stderr } = await start('--timeout', '2', 'sleep', '1000').done;
      expect(stderr).toMatch(/^wireup: the job exceeded its time limit of 2 s; 3 ranks were ended\n/);
      expect(code).toBe(124);
    });
  });
});

const ssh = hostNeeds.ssh();
describe.skipIf(ssh.missing)(`with ssh${ssh.note}`, () => {
  let hosts: SshHosts;
  beforeAll(async () => {
    hosts = await SshHosts.start(3);
    const [, address] = /^Host n1\n((?: .*\n)+)/m.exec(readFileSync(hosts.configuration, 'utf8'))!;
    const user = /^ {2}IdentityFile .*$/m.exec(readFileSync(hosts.configuration, 'utf8'))![0];
    appendFileSync(
      hosts.configuration,
      `Host refusing
  HostName 127.0.0.1
  Port 1
Host unknown
${address}  User root
${user}
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
Host forbidden
${address}  User nobody
  UserKnownHostsFile ${/UserKnownHostsFile (.*)/.exec(readFileSync(hosts.configuration, 'utf8'))![1]}
  IdentitiesOnly yes
  IdentityFile /dev/null
Host hanging
  ProxyCommand sleep 1000
`,
    );
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());

  const start = (list: string, ...words: string[]): Run =>
    new Run(wireup('run', ...hosts.options, '-hosts', list, ...words), { deadline, exitTimeout });
  const runOn = (list: string, ...words: string[]): Promise<Result> => start(list, ...words).done;

  describe('a host that cannot be started is named', () => {
    it.each([
      ['does not listen', 'refusing', [], /Connection refused/],
      [
        'has an unknown key',
        'unknown',
        [],
        /Host key verification failed.* '\S*ssh -F \S+ unknown true' once/,
      ],
      ['refuses the user', 'forbidden', [], /Permission denied .*without a password/],
      ['has no such name', 'nameless.invalid', [], /Could not resolve hostname/],
      // The others answer in that time, on a busy machine too.
      ['hangs', 'hanging', ['--start-timeout', '8'], /no answer within 8 s/],
    ])('if it %s', async (_, name, options, message) => {
      const { code, stdout, stderr } = await runOn(`n1,${name},n2`, ...options, 'echo', 'started');
      expect(lines(stderr)).toEqual([
        expect.stringMatching(new RegExp(`^wireup: host ${name} could not be started: `)),
      ]);
      expect(stderr).toMatch(message);
      expect(stdout).toBe('');
      expect(code).toBe(1);
    });

    const fake = (name: string, script: string): string => {
      const path = join(folder, name);
      writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      return path;
    };
    it.each([
      ['is not there', '/nowhere/wireup-agent', /\/nowhere\/wireup-agent.*--agent-path/],
      ['has another version', fake('other', 'echo; echo wireup-agent 1 0.0.1; cat'), /another version/],
      ['has another version and ends', fake('gone', 'echo; echo wireup-agent 1 0.0.1'), /another version/],
      ['ends at once', fake('ends', 'exit 3'), /ended with code 3/],
      ['writes without end', fake('yes', 'exec yes'), /could not be started/],
      ['writes any bytes', fake('random', 'exec cat /dev/urandom'), /could not be started/],
      [
        'writes any bytes after its greeting',
        fake('invalid', `: | '${agentPath}' link | head -n 2; exec cat /dev/urandom`),
        /could not be started/,
      ],
      [
        'is silent after its greeting',
        fake('silent', `: | '${agentPath}' link | head -n 2; exec cat >/dev/null`),
        /no sign for 5 s/,
      ],
    ])('if its agent %s', async (_, path, message) => {
      const { code, stdout, stderr } = await runOn('n1,n2', '--agent-path', path, 'echo', 'started');
      expect(lines(stderr)[0]).toMatch(/^wireup: host n[12] could not be started: /);
      expect(stderr).toMatch(message);
      expect(stdout).toBe('');
      expect(code).toBe(1);
    });
  });

  it('the noise of a login shell does no harm', async () => {
    const profile = join(hosts.home, '.bashrc');
    writeFileSync(profile, "echo Welcome; printf 'no newline'; echo warning >&2\n");
    const { code, stdout, stderr } = await runOn('n1,n2', '-l', 'echo', 'hi').finally(() => rmSync(profile));
    expect(lines(stdout).sort()).toEqual(['[0] hi', '[1] hi']);
    expect(lines(stderr).sort()).toEqual(['n1: warning', 'n2: warning']);
    expect(code).toBe(0);
  });

  describe('while a host has not answered', () => {
    /** A job of which one host is up, and the other one hangs. */
    async function starting(): Promise<Run> {
      const job = start('n2,hanging', '-v', 'echo', 'started');
      await job.until(({ stderr }) => stderr.includes('host n2: wireup-agent has started'));
      return job;
    }
    const isLost = /^wireup: host n2 was lost \(.*\); rank 0 was on it/;
    const expectFailure = async (job: Run, message: RegExp): Promise<void> => {
      const { code, stdout, stderr } = await job.done;
      expect(endLines(stderr)).toEqual([expect.stringMatching(message)]);
      expect(stdout).toBe('');
      expect(code).toBe(1);
    };

    it('nothing is left after kill -9 of the agent that is up', async () => {
      const job = await starting();
      process.kill(agentOf(job, 'n2'), 'SIGKILL');
      await expectFailure(job, isLost);
    });

    it('nothing is left after kill -STOP of the agent that is up', async () => {
      const job = await starting();
      process.kill(agentOf(job, 'n2'), 'SIGSTOP');
      await expectFailure(job, isLost);
    });

    it('nothing is left after kill -9 of the ssh of the other one', async () => {
      const job = await starting();
      process.kill(commandOf(job, 'hanging'), 'SIGKILL');
      await expectFailure(
        job,
        /^wireup: host hanging could not be started: ssh hanging was killed by signal 9 \(Killed\)/,
      );
    });

    it('nothing is left after kill -STOP of the ssh of the one that is up', async () => {
      const job = await starting();
      process.kill(commandOf(job, 'n2'), 'SIGSTOP');
      await expectFailure(job, /^wireup: host n2 was lost \(no sign for 5 s\)/);
    });

    it('nothing is left after kill -9 of the tool', async () => {
      const job = await starting();
      job.kill('SIGKILL');
      expect(await job.done).toMatchObject({ signal: 'SIGKILL' });
    });

    it('^C ends it', async () => {
      const job = await starting();
      job.kill('SIGINT');
      expect(await job.done).toMatchObject({ code: 130, stdout: '' });
    });

    it('its time limit ends it', async () => {
      const { code, stdout } = await runOn('n2,hanging', '--timeout', '2', 'echo', 'started');
      expect(stdout).toBe('');
      expect(code).toBe(124);
    });
  });
});

const networks = hostNeeds.namespaces();
const cables = networks.missing ? networks : compiler;
/** Hosts with cables, and the options of a job on them. */
const networkKinds = [
  ['ssh', ssh, (): Promise<NetworkHosts> => SshHosts.start(hostCount, { network: true }), []],
  ...(['32', '1'] as const).map(
    (width) =>
      [
        `one srun, --tree-width ${width}`,
        cables,
        (): Promise<NetworkHosts> => NamespaceSrunHosts.start(hostCount),
        ['--tree-width', width],
      ] as const,
  ),
] as const;
describe.each(networkKinds)('over a network, by %s', (_, tools, make, options) => {
  const missing = tools.missing ? tools : cables;
  describe.skipIf(missing.missing)(`with cables${missing.note}`, () => {
    let hosts: NetworkHosts;
    beforeAll(async () => {
      hosts = await make();
    });
    afterAll(() => hosts?.[Symbol.asyncDispose]());

    const start = (ranksPerHost: number, ...words: string[]): Run =>
      new Run(wireupOn(hosts, ranksPerHost, ...options, ...words), {
        deadline,
        exitTimeout,
        environment: hosts.environment,
      });

    it.each(long ? stages : ['barrier'])(
      'a host whose cable is pulled is lost, and its ranks end too, at the stage "%s"',
      async (stage) => {
        const job = start(2, program('raw_stage'), stage);
        await job.until(({ stdout }) => lines(stdout).length === 2 * hostCount);
        const host = hosts.names[victim]!;
        hosts.setConnected(host, false);
        const { code, stderr } = await job.done.finally(() => hosts.setConnected(host, true));
        expect(toolLines(stderr)).toEqual([
          expect.stringMatching(
            new RegExp(
              `^wireup: host ${host} was lost \\(no sign for 5 s.*\\); ranks 2-3 were on it; [24] ranks were ended$`,
            ),
          ),
        ]);
        expect(code).toBe(1);
      },
    );

    it('a host without a cable cannot be started, and is named', async () => {
      const host = hosts.names[hostCount - 1]!;
      hosts.setConnected(host, false);
      // The other hosts must start within this time on a busy machine.
      const { code, stdout, stderr } = await start(1, '--start-timeout', '5', 'echo', 'started').done.finally(
        () => hosts.setConnected(host, true),
      );
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(
          new RegExp(`^wireup: host ${host} could not be started: .*(no answer within 5 s|ssh: connect)`),
        ),
      ]);
      expect(stdout).toBe('');
      expect(code).toBe(1);
    });
  });
});
