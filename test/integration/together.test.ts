// Jobs whose agents one srun has started, and whose links are over ZeroMQ. test/support/srun.sh stands in for srun, so the
// hosts are pretended.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { agentPath } from '../../lib/native';
import { guardOf, hang, ownAgentOf } from '../support/agents';
import { srunJob, type SrunJob } from '../support/fake-srun';
import { hostNeeds } from '../support/hosts';
import { needs } from '../support/installed';
import { isAlive } from '../support/processes';
import { program } from '../support/programs';
import { lines, Run, run, toolLines, transports } from '../support/run';
import { makeZmqWithoutCurve, onHost, withoutZmq } from '../support/zmq-libraries';

vi.setConfig({ testTimeout: 150_000 });
const deadline = 120_000;
/** In milliseconds: how long processes may live after the command. Both ends of a link are silent for five seconds first. */
const exitTimeout = 15_000;

const folder = mkdtempSync(join(tmpdir(), 'together-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
const mpich = needs('mpicc');
const job = (hosts: number, ranks: number, ...words: string[]): SrunJob =>
  srunJob(folder, { count: hosts, ranksPerHost: ranks }, ...words);
/** The lists of hosts of the sruns that have run. */
const listsOf = ({ sruns }: SrunJob): string[] => sruns().map(({ hosts }) => hosts);
/** The srun for all hosts starts before libzmq is opened, and is ended if that fails. */
const isOneHost = (list: string): boolean => !list.includes('[');

const okLines = (ranks: number): string[] =>
  Array.from({ length: ranks }, (_, rank) => `raw_exchange: rank ${rank} of ${ranks} ok`).sort();

describe('hosts that one srun has started', () => {
  describe.skipIf(compiler.missing).each(transports)(`over %s${compiler.note}`, (pmi) => {
    it('exchange business cards', async () => {
      const exchange = job(4, 2, '--pmi', pmi, program('raw_exchange'));
      const result = await run(exchange.words, { deadline, environment: exchange.environment });
      expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
      expect(lines(result.stdout).sort()).toEqual(okLines(8));
      expect(listsOf(exchange)).toEqual(['m[1-4]']);
    });
  });

  it.skipIf(compiler.missing).each([
    ['a chain', ['--tree-width', '1']],
    ['a binary tree', ['--tree-width', '2']],
    ['a tree without keys', ['--tree-width', '2', '--insecure-links']],
  ])(`exchange business cards over %s${compiler.note}`, async (_, options) => {
    const exchange = job(9, 1, ...options, program('raw_exchange'));
    const result = await run(exchange.words, { deadline, environment: exchange.environment });
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(okLines(9));
    expect(listsOf(exchange)).toEqual(['m[1-9]']);
  });

  it.skipIf(mpich.missing)(`run MPICH's hello and allreduce${mpich.note}`, async () => {
    const patterns = ['allreduce', 'ring'];
    const { words, environment } = job(4, 1, program('patterns'), ...patterns);
    const result = await run(words, { deadline, environment });
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(
      patterns.flatMap((name) => [0, 1, 2, 3].map((rank) => `${name}: rank ${rank} of 4 ok`)).sort(),
    );
  });

  it('write their output, and read the standard input of the command', async () => {
    const { words, environment } = job(3, 1, '--stdin', 'all', '-l', 'sh', '-c', 'cat; echo $PMI_RANK end');
    const result = await run(['sh', '-c', 'seq 20000 | "$@"', 'sh', ...words], { deadline, environment });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const expected = [0, 1, 2].flatMap((rank) => [
      ...Array.from({ length: 20_000 }, (_, i) => `[${rank}] ${i + 1}`),
      `[${rank}] ${rank} end`,
    ]);
    expect(lines(result.stdout).sort()).toEqual(expected.sort());
  });

  it('end with the exit code of the rank that fails', async () => {
    // Not before the others have been started.
    const ready = mkdtempSync(join(folder, 'ready-'));
    const fail = 'until [ -e 0 ] && [ -e 1 ]; do sleep 0.1; done; exit 7';
    const script = `: >$PMI_RANK; [ $PMI_RANK != 2 ] || { ${fail}; }; sleep 1000`;
    const { words, environment } = job(3, 1, '-wdir', ready, 'sh', '-c', script);
    const { code, stderr } = await run(words, { deadline, environment });
    expect(code).toBe(7);
    expect(stderr).toMatch(/^wireup: rank 2 .*on m3 exited with code 7; 2 other ranks were ended\n$/);
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)('end if the command gets %s', async (signal) => {
    const { words, environment } = job(3, 1, '--tree-width', '1', 'sh', '-c', 'echo $PMI_RANK; sleep 1000');
    const running = new Run(words, { deadline, environment, mayLeaveFiles: true });
    await running.until(({ stdout }) => lines(stdout).length === 3);
    running.kill(signal);
    await running.done;
  });

  it('are lost if srun is killed, and the message says so', async () => {
    const { words, environment, sruns } = job(3, 1, 'sh', '-c', 'echo $PMI_RANK; sleep 1000');
    const running = new Run(words, { deadline, environment, mayLeaveFiles: true });
    await running.until(({ stdout }) => lines(stdout).length === 3);
    process.kill(sruns()[0]!.pid, 'SIGKILL');
    const { code, stderr } = await running.done;
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /^wireup: host m[123] was lost \((the connection was lost: )?srun\.sh was killed by signal 9 \(Killed\)\)/m,
    );
  });

  it.each([
    ['the host itself', '32', 'm2'],
    ['a host in the middle of a chain', '1', 'm2'],
  ])('are lost if their agent is killed: %s', async (_, width, name) => {
    const script = 'echo "$PMI_RANK $PPID"; sleep 1000';
    const { words, environment } = job(3, 1, '--tree-width', width, 'sh', '-c', script);
    const running = new Run(words, { deadline, environment });
    await running.until(({ stdout }) => lines(stdout).length === 3);
    const agent = lines(running.stdout)
      .map((line) => line.split(' '))
      .find(([rank]) => rank === '1')![1];
    process.kill(Number(agent), 'SIGKILL');
    const { code, stderr } = await running.done;
    expect(code).not.toBe(0);
    expect(lines(stderr)).toEqual([
      expect.stringMatching(new RegExp(`^wireup: host ${name} was lost \\(the connection was lost`)),
    ]);
  });

  describe.each([
    ['a host without hosts below it', '32'],
    ['a host in the middle of a chain', '1'],
  ])('are lost if the agent does not respond: %s', (_, width) => {
    /** A job of which all ranks run, and the agent of rank 1, which is on m2. */
    async function started(): Promise<{ running: Run; agent: number }> {
      const script = 'echo "$PMI_RANK $PPID"; sleep 1000';
      const { words, environment } = job(3, 1, '--tree-width', width, 'sh', '-c', script);
      const running = new Run(words, { deadline, environment, exitTimeout });
      await running.until(({ stdout }) => lines(stdout).length === 3);
      return { running, agent: Number(/^1 (\d+)$/m.exec(running.stdout)![1]) };
    }
    async function expectLost(running: Run, why: string): Promise<void> {
      const { code, stderr } = await running.done;
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(new RegExp(`^wireup: host m2 was lost \\(${why}\\); rank 1 was on it; `)),
      ]);
      expect(code).toBe(1);
    }

    it('its loop hangs', async () => {
      const { running, agent } = await started();
      await hang(agent);
      await expectLost(running, 'no sign for 5 s');
    });

    it('it is stopped', async () => {
      const { running, agent } = await started();
      process.kill(agent, 'SIGSTOP');
      await expectLost(running, 'the connection was lost');
    });

    it('it is stopped with its guard, as if the host hung', async () => {
      const { running, agent } = await started();
      process.kill(guardOf(agent), 'SIGSTOP');
      process.kill(agent, 'SIGSTOP');
      await expectLost(running, 'no sign for 5 s');
    });
  });

  it.each([
    ['hangs', 'did not respond and had to be killed'],
    ['is stopped', 'was stopped by a signal and had to be killed'],
  ])('end if the agent of this host %s', async (how, message) => {
    const { words, environment } = job(3, 1, '--tree-width', '1', 'sh', '-c', 'echo $PMI_RANK; sleep 1000');
    const running = new Run(words, { deadline, environment, exitTimeout });
    await running.until(({ stdout }) => lines(stdout).length === 3);
    const agent = ownAgentOf(running);
    if (how === 'hangs') await hang(agent);
    else process.kill(agent, 'SIGSTOP');
    const { code, stderr } = await running.done;
    expect(toolLines(stderr)).toEqual([
      expect.stringMatching(new RegExp(`wireup-agent \\(pid \\d+\\) ${message}`)),
    ]);
    expect(code).toBe(1);
  });

  it('are named if their agent is not there', async () => {
    const { words, environment } = job(3, 1, 'true');
    const missing = { ...environment, FAKE_SRUN_MISSING: 'm3' };
    const { code, stderr } = await run(words, { deadline, environment: missing });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^wireup: host m3 could not be started: .*wireup-agent: No such file/m);
    expect(stderr).toContain('--agent-path');
  });

  it('have no key in an argument or a variable', async () => {
    const { words, environment } = job(2, 1, 'sh', '-c', 'echo $PMI_RANK; sleep 1000');
    const running = new Run(words, { deadline, environment });
    await running.until(({ stdout }) => lines(stdout).length === 2);
    const processes = running.processes();
    expect(processes.length).toBeGreaterThan(6);
    for (const process of processes.filter(isAlive))
      for (const file of ['cmdline', 'environ'])
        for (const word of readFileSync(`/proc/${process.pid}/${file}`, 'latin1').split('\0'))
          // A key has 40 characters of Z85, as the path of the agent may have. Addresses of hubs begin with tcp://.
          expect(word.replace(agentPath, '')).not.toMatch(
            /tcp:\/\/|(?:^|=)[0-9a-zA-Z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/,
          );
    running.kill('SIGTERM');
    await running.done;
  });
});

describe('without one srun for all', () => {
  it('--tree-width 0 gives each host an srun of its own', async () => {
    const singly = job(3, 1, '--tree-width', '0', 'true');
    const { words, environment } = singly;
    expect(await run(words, { deadline, environment })).toMatchObject({ code: 0, stderr: '' });
    expect(listsOf(singly).sort()).toEqual(['m1', 'm2', 'm3']);
  });

  const mounts = hostNeeds.mounts();
  describe.skipIf(mounts.missing)(`without libzmq${mounts.note}`, () => {
    it('on this host, each host has an srun of its own', async () => {
      const exchange = job(3, 1, '-v', 'echo', 'ran');
      const { words, environment } = exchange;
      const { code, stdout, stderr } = await run([...withoutZmq(folder), ...words], {
        deadline,
        environment,
      });
      expect(stdout).toBe('ran\n'.repeat(3));
      expect(stderr).toMatch(
        /^wireup: each host has a command of its own, .*: ZeroMQ is missing: install libzmq5 \(Debian, Ubuntu\) or zeromq \(Fedora, Arch\): /m,
      );
      expect(code).toBe(0);
      expect(listsOf(exchange).filter(isOneHost).sort()).toEqual(['m1', 'm2', 'm3']);
    });

    it('on another host, the message names it and what to install', async () => {
      const { words, environment } = job(3, 1, 'true');
      const enter = onHost(join(folder, 'without'), 'm2', withoutZmq(folder));
      const result = await run(words, { deadline, environment: { ...environment, FAKE_SRUN_REACH: enter } });
      expect(toolLines(result.stderr)).toEqual([
        expect.stringMatching(
          /^wireup: host m2 could not be started: ZeroMQ is missing: install libzmq5 \(Debian, Ubuntu\) or zeromq \(Fedora, Arch\): .*--tree-width 0/,
        ),
      ]);
      expect(result.code).toBe(1);
    });

    it('on another host, --tree-width 0 does without it', async () => {
      const { words, environment } = job(3, 1, '--tree-width', '0', 'echo', 'ran');
      const enter = onHost(join(folder, 'without'), 'm2', withoutZmq(folder));
      const result = await run(words, { deadline, environment: { ...environment, FAKE_SRUN_REACH: enter } });
      expect(result).toMatchObject({ code: 0, stderr: '', stdout: 'ran\n'.repeat(3) });
    });
  });

  describe.skipIf(compiler.missing)(`with a libzmq without CURVE${compiler.note}`, () => {
    let libraries: Record<string, string>;
    beforeAll(() => {
      libraries = { LD_LIBRARY_PATH: makeZmqWithoutCurve(folder) };
    });

    it('on this host, each host has an srun of its own', async () => {
      const exchange = job(2, 1, '-v', 'echo', 'ran');
      const { words, environment } = exchange;
      const result = await run(words, { deadline, environment: { ...environment, ...libraries } });
      expect(result).toMatchObject({ code: 0, stdout: 'ran\n'.repeat(2) });
      expect(result.stderr).toMatch(
        /^wireup: each host has a command of its own, .*: this libzmq has no CURVE, .*: install libzmq5 \(Debian, Ubuntu\) or zeromq/m,
      );
      expect(listsOf(exchange).filter(isOneHost).sort()).toEqual(['m1', 'm2']);
    });

    it('on this host, --insecure-links links hosts without keys', async () => {
      const exchange = job(2, 1, '--insecure-links', program('raw_exchange'));
      const { words, environment } = exchange;
      const result = await run(words, { deadline, environment: { ...environment, ...libraries } });
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(lines(result.stdout).sort()).toEqual(okLines(2));
      expect(listsOf(exchange)).toEqual(['m[1-2]']);
    });

    it('on another host, the message names it and what to install', async () => {
      const { words, environment } = job(3, 1, 'true');
      const enter = onHost(join(folder, 'no-curve'), 'm3', ['env', `LD_LIBRARY_PATH=${folder}`]);
      const result = await run(words, { deadline, environment: { ...environment, FAKE_SRUN_REACH: enter } });
      expect(toolLines(result.stderr)).toEqual([
        expect.stringMatching(
          /^wireup: host m3 could not be started: this libzmq has no CURVE, .*: install libzmq5 \(Debian, Ubuntu\) or zeromq .*--tree-width 0/,
        ),
      ]);
      expect(result.code).toBe(1);
    });
  });

  it('an interface that this host does not have is no reason to fail', async () => {
    const hosts = { count: 2, ranksPerHost: 1, iface: 'no-such-if' };
    const singly = srunJob(folder, hosts, '-v', 'true');
    const { code, stderr } = await run(singly.words, { deadline, environment: singly.environment });
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^wireup: each host has a command of its own, .*: the host has no network interface or address no-such-if$/m,
    );
    expect(listsOf(singly).sort()).toEqual(['m1', 'm2']);
  });
});
