// MPI programs that spawn, publish and connect under `wireup run`, on one host and over two, with the MPICH that
// test/interop/build-mpich.sh builds.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';

import { listNames, NameServer } from '../../dist/index.js';
import { hostNeeds, PretendedHosts, SshHosts, type Hosts } from '../support/hosts';
import { dynamicMpich, needs } from '../support/installed';
import { long } from '../support/long';
import { eventually } from '../support/processes';
import { compile } from '../support/programs';
import {
  lines,
  run,
  Run,
  toolLines,
  transports,
  wireup,
  wireupRun,
  type Result,
  type Transport,
} from '../support/run';

vi.setConfig({ testTimeout: 100_000 });
const deadline = 90_000;

const mpich = dynamicMpich();
const spawn = (): string => compile('spawn', mpich.mpicc);

/** The number of open files of command and agent, and the agent's memory in kilobytes. */
function inUse(job: Run): { files: number; memory: number } {
  const ours = job.processes().filter(({ name }) => name === 'wireup-agent' || name === 'node');
  const agent = ours.find(({ name }) => name === 'wireup-agent')!;
  return {
    files: ours.reduce((sum, { pid }) => sum + readdirSync(`/proc/${pid}/fd`).length, 0),
    memory: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, 'latin1'))![1]),
  };
}

/** Where the ranks run. Spawned ranks run on both hosts if there are two. */
const places: {
  title: string;
  tools: ReturnType<typeof needs>;
  make: () => Promise<Hosts | undefined>;
  pmi: readonly Transport[];
}[] = [
  { title: 'on one host', tools: needs(), make: () => Promise.resolve(undefined), pmi: transports },
  {
    title: 'over two pretended hosts',
    tools: hostNeeds.pretended(),
    make: () => Promise.resolve(new PretendedHosts(2)),
    // The ssh hosts have the other one.
    pmi: long ? transports : ['fd', 'tcp'],
  },
  {
    title: 'over two hosts by ssh',
    tools: hostNeeds.ssh(),
    make: () => SshHosts.start(2),
    pmi: long ? transports : ['unix'],
  },
];

/** In milliseconds: how long processes of other hosts may live after the command. */
const exitTimeout = 15_000;

/** For a suite at one of the places: the hosts, and the command line of a job there. */
function at({ make }: (typeof places)[number], missing: boolean) {
  let hosts: Hosts | undefined;
  beforeAll(async () => {
    if (!missing) hosts = await make();
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());
  return {
    hosts: (): Hosts | undefined => hosts,
    wireupThere: (ranks: number, transport: Transport, ...args: string[]): string[] =>
      wireupRun(
        ranks,
        transport,
        ...(hosts === undefined ? [] : [...hosts.options, '--hosts', hosts.names.join(',')]),
        ...args,
      ),
  };
}

describe.each(places)('MPI_Comm_spawn $title', (place) => {
  const { pmi, tools } = place;
  const missing = tools.missing ? tools : mpich;
  const { hosts, wireupThere } = at(place, missing.missing);

  describe.skipIf(missing.missing).each(pmi)(`--pmi %s${missing.note}`, (transport) => {
    const spawns = (ranks: number, ...args: string[]): Promise<Result> =>
      run(wireupThere(ranks, transport, '-l', spawn(), ...args), { deadline });

    it('starts one child', async () => {
      expect(await spawns(1, 'one', '1')).toMatchObject({
        code: 0,
        stderr: '',
        stdout: '[0] 1 children answered 100\n[0] one done\n',
      });
    });

    it('starts many children for several ranks', async () => {
      expect(await spawns(3, 'one', '8')).toMatchObject({
        code: 0,
        stderr: '',
        stdout: '[0] 8 children answered 828\n[0] one done\n',
      });
    });

    it('starts children that join one communicator with their parents', async () => {
      const { code, stdout, stderr } = await spawns(2, 'merge', '2');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lines(stdout).sort()).toEqual(
        [
          '[0] 2 children answered 201',
          '[0] merge done',
          '[0] merged: 4',
          '[1:0] child: 4 of 4',
          '[1:1] child: 4 of 4',
        ].sort(),
      );
    });

    it('starts several programs with arguments and info, and ignores unknown keys', async () => {
      const { code, stdout, stderr } = await run(wireupThere(2, transport, '-l', '-v', spawn(), 'multiple'), {
        deadline,
      });
      expect(code).toBe(0);
      expect(lines(stdout).sort()).toEqual(
        [
          `[1:0] child of 3, appnum 0, argument with blank, in ${process.cwd()}`,
          '[1:1] child of 3, appnum 1, argument second, in /',
          '[1:2] child of 3, appnum 1, argument second, in /',
          '[0] 3 children answered 303',
          '[0] codes 0 0 0',
          '[0] multiple done',
        ].sort(),
      );
      const both = hosts() === undefined ? '' : ` on 2 hosts (${hosts()!.names.join(', ')})`;
      expect(toolLines(stderr)).toContain(
        `wireup: rank 0 spawned group 1: 3 ranks of ${spawn()}, ${spawn()}${both}; info ignored: unheard_of`,
      );
      expect(toolLines(stderr)).toContain('wireup: spawned group 1 has ended');
    });

    it('runs children on all hosts, in turn, and MPI knows the names of these', async () => {
      const { code, stdout, stderr } = await spawns(2, 'where', '4');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const names = hosts()?.names ?? [hostname(), hostname()];
      expect(lines(stdout).sort()).toEqual(
        [
          ...[0, 1, 2, 3].map((rank) => `[1:${rank}] child on ${names[rank % 2]!}`),
          '[0] 4 children answered 406',
          '[0] where done',
        ].sort(),
      );
    });

    it('works for every rank in turn', async () => {
      const { code, stdout } = await spawns(3, 'each');
      expect(code).toBe(0);
      expect(lines(stdout)).toEqual([
        '[0] 2 children answered 201',
        '[1] 2 children answered 201',
        '[2] 2 children answered 201',
        '[0] each done',
      ]);
    });

    it('works twice', async () => {
      expect(await spawns(2, 'again', '2')).toMatchObject({ code: 0, stderr: '' });
    });

    it('works in spawned ranks, four levels deep', async () => {
      const { code, stdout } = await spawns(1, 'deep', '4');
      expect(code).toBe(0);
      expect(lines(stdout)).toContain('[3:0] 1 children answered 100');
    });

    it('returns an error for a program that does not exist', async () => {
      const { code, stdout, stderr } = await run(wireupThere(1, transport, spawn(), 'missing'), { deadline });
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'spawn failed\nmissing done\n' });
      // The first rank that reports its failure may be on either host.
      const where = hosts() === undefined ? '' : /on \S+: /.exec(stderr)![0];
      expect(toolLines(stderr)).toEqual([
        `wireup: rank 0 could not spawn: ${where}execve /nonexistent/program: No such file or directory`,
      ]);
    });

    it('lets a child that aborts end the job with its code', async () => {
      const { code, stderr } = await spawns(2, 'abort');
      expect(code).toBe(7);
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(
          /^wireup: rank 1 of spawned group 1 \(pid \d+, .*spawn-.*, past PMI init\) on \S+ aborted the job with code 7; 3 other ranks were ended$/,
        ),
      ]);
    });

    it('lets a child that exits with an error end the job with its code', async () => {
      const { code, stderr } = await spawns(2, 'exit');
      expect(code).toBe(3);
      expect(toolLines(stderr)).toEqual([
        expect.stringMatching(
          /^wireup: rank [01] of spawned group 1 .* exited with code 3; [23] other ranks were ended$/,
        ),
      ]);
    });

    it('leaves no process of either process group after kill -9 of the wireup command', async () => {
      const job = new Run(wireupThere(2, transport, spawn(), 'hang'), { deadline, exitTimeout });
      await job.until(({ stdout }) => lines(stdout).filter((line) => line === 'child hangs').length === 2);
      job.kill('SIGKILL');
      expect(
        await eventually(() => job.processes().length === 0, hosts() === undefined ? 2000 : exitTimeout),
      ).toBe(true);
      await job.done;
    });

    it('adds the spawned process group to the status', async () => {
      const job = new Run(wireupThere(2, transport, spawn(), 'hang'), { deadline, exitTimeout });
      await job.until(({ stdout }) => lines(stdout).filter((line) => line === 'child hangs').length === 2);
      job.kill('SIGURG');
      await job.until(({ stderr }) => toolLines(stderr).length === 2);
      job.kill('SIGTERM');
      const { stderr } = await job.done;
      expect(toolLines(stderr).slice(0, 2)).toEqual([
        'wireup: 2 ranks: initialized: 0-1',
        'wireup: spawned group 1, 2 ranks: initialized: 0-1',
      ]);
    });
  });
});

describe.skipIf(mpich.missing)(`MPI_Comm_spawn${mpich.note}`, () => {
  it('leaves no fd, process or memory of the agent behind in 100 spawns of a running job', async () => {
    const job = new Run(wireupRun(1, 'unix', spawn(), 'again', '100', 'stay'), { deadline });
    await job.until(({ stdout }) => lines(stdout).length >= 10);
    const early = inUse(job);
    await job.until(({ stdout }) => lines(stdout).includes('stays'));
    // The last process group may still be ending. The environment of one takes some kilobytes, so 90 that remain would
    // be noticed.
    const nothingLeft = (): boolean => {
      const late = inUse(job);
      return late.files <= early.files && late.memory < early.memory + 200;
    };
    expect(await eventually(nothingLeft, 2000)).toBe(true);
    expect(job.stderr).toBe('');
    job.kill('SIGTERM');
    expect(await job.done).toMatchObject({ code: 143 });
  });

  it('is refused by --no-spawn and --max-spawn with a reason', async () => {
    const refused = (...options: string[]): Promise<Result> =>
      run(wireupRun(1, 'fd', ...options, spawn(), 'refused'), { deadline });
    expect(await refused('--no-spawn')).toMatchObject({
      code: 0,
      stdout: 'spawn failed\nrefused done\n',
      stderr: 'wireup: rank 0 could not spawn: spawning is not allowed in this job\n',
    });
    for (const option of [
      ['--max-spawn', '1'],
      ['--usize', '2'],
    ]) {
      expect(await refused(...option)).toMatchObject({
        code: 0,
        stdout: 'spawn failed\nrefused done\n',
        stderr:
          'wireup: rank 0 could not spawn: 2 more processes would exceed the limit of 1 spawned processes; 0 are running\n',
      });
    }
  });
});

const connect = (): string => compile('connect', mpich.mpicc);

describe.each(places)('ports and names $title', (place) => {
  const { pmi, tools } = place;
  const missing = tools.missing ? tools : mpich;
  const { wireupThere } = at(place, missing.missing);

  describe.skipIf(missing.missing).each(pmi)(`--pmi %s${missing.note}`, (transport) => {
    it('connect ranks of one job', async () => {
      const { code, stdout, stderr } = await run(wireupThere(4, transport, connect(), 'within'), {
        deadline,
      });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(lines(stdout).sort()).toEqual(['1 received 2', '2 received 1', 'then it is gone']);
    });

    it('connect two launches with a NameServer', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'names-'));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      await using names = await NameServer.listen({ address: join(folder, 'names') });
      const job = (ranks: number, ...args: string[]): Run =>
        new Run(
          wireupThere(
            ranks,
            transport,
            '--name-server',
            names.address,
            compile('names', mpich.mpicc),
            ...args,
          ),
          { deadline },
        );
      const accepts = job(2, 'accept', 'ocean');
      await accepts.until(({ stdout }) => stdout.includes('published'));
      expect(await listNames(names.address)).toMatchObject([{ service: 'ocean', pid: accepts.pid }]);
      const connects = job(3, 'connect', 'ocean');
      for (const run of [accepts, connects]) {
        const { code, stdout, stderr } = await run.done;
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
        expect(lines(stdout)).toContain('together: 5');
      }
      expect(await listNames(names.address)).toEqual([]);
    });
  });
});

describe.skipIf(mpich.missing)(`names of wireup names serve${mpich.note}`, () => {
  it('connect two launches with wireup names serve', async () => {
    const names = new Run(wireup('names', 'serve'));
    await names.until(({ stdout }) => stdout.endsWith('\n'));
    const shared = ['--name-server', names.stdout.trim()];
    const accepts = new Run(wireupRun(2, 'fd', ...shared, connect(), 'accept', 'hello'), { deadline });
    await accepts.until(({ stdout }) => stdout.includes('published'));
    expect(
      await run(wireupRun(3, 'unix', ...shared, connect(), 'connect', 'hello'), { deadline }),
    ).toMatchObject({ code: 0, stdout: '2 received 1\n', stderr: '' });
    expect(await accepts.done).toMatchObject({ code: 0, stdout: 'published\n1 received 2\n', stderr: '' });
    expect(
      await run(wireupRun(1, 'fd', ...shared, connect(), 'lookup', 'hello'), { deadline }),
    ).toMatchObject({ code: 0, stdout: 'gone\n' });
    names.kill('SIGTERM');
    await names.done;
  });
});

describe.skipIf(mpich.missing)(`a singleton that spawns${mpich.note}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'singleton-'));
  writeFileSync(join(folder, 'mpiexec'), `#!/bin/sh\nexec ${wireup('run').join(' ')} "$@"\n`, {
    mode: 0o755,
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const environment = { PATH: `${folder}:${process.env['PATH']}` };
  const runSingleton = (what: string, ...args: string[]): Promise<Result> =>
    run([spawn(), what, ...args], { deadline, environment });

  it('gets its children, which use its standard streams', async () => {
    expect(await runSingleton('one', '3')).toMatchObject({
      code: 0,
      stdout: '3 children answered 303\none done\n',
      stderr: '',
    });
    expect(await runSingleton('again', '5')).toMatchObject({ code: 0, stderr: '' });
    expect((await runSingleton('multiple')).stdout).toContain(
      'child of 3, appnum 1, argument second, in /\n',
    );
  });

  const ssh = hostNeeds.ssh();
  it.skipIf(ssh.missing)(`gets its children on the hosts that variables name${ssh.note}`, async () => {
    await using hosts = await SshHosts.start(2);
    const file = join(folder, 'hosts');
    writeFileSync(file, 'n1:2\nn2\n');
    const { code, stdout, stderr } = await run([spawn(), 'where', '4'], {
      deadline,
      exitTimeout,
      environment: {
        ...environment,
        HYDRA_HOST_FILE: file,
        HYDRA_LAUNCHER: 'ssh',
        HYDRA_LAUNCHER_EXEC: hosts.launcher.words.join(' '),
      },
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual(
      [
        '4 children answered 406',
        ...['n1', 'n1', 'n1', 'n2'].map((name) => `child on ${name}`),
        'where done',
      ].sort(),
    );
  });

  it('gets an error with the reason', async () => {
    expect(await runSingleton('missing')).toMatchObject({
      code: 0,
      stdout: 'spawn failed\nmissing done\n',
      stderr: 'wireup: rank 0 could not spawn: execve /nonexistent/program: No such file or directory\n',
    });
  });

  it('ends with the job that it has spawned', async () => {
    const { signal, stderr } = await runSingleton('abort');
    expect(signal).toBe('SIGTERM');
    expect(toolLines(stderr)).toEqual([
      expect.stringMatching(
        /^wireup: rank 1 of spawned group 1 .* aborted the job with code 7; \d other ranks? (was|were) ended$/,
      ),
    ]);
  });
});

it('-pmi_args fails without a listening singleton, and with invalid arguments', async () => {
  expect(await run(wireup('run', '-pmi_args', '1', 'default_interface', 'default_key', '1'))).toMatchObject({
    code: 1,
    stderr: 'wireup: connect 127.0.0.1:1: Connection refused\n',
  });
  expect(await run(wireup('run', '-pmi_args', 'x'))).toMatchObject({ code: 2 });
});
