// Spawned ranks of jobs over hosts: where they run, what they get, and how such jobs end.

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { hostKinds, hostNeeds, SshHosts, type Hosts } from '../support/hosts';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, Run, toolLines, wireup, type Result } from '../support/run';

vi.setConfig({ testTimeout: 120_000 });
/** In milliseconds. */
const deadline = 100_000;
/** In milliseconds: how long processes of other hosts may live after the command. */
const exitTimeout = 15_000;

const folder = mkdtempSync(join(tmpdir(), 'spawn-hosts-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
const kinds = hostKinds.filter(([name]) => long || name === 'ssh' || name === 'pretended nodes');

/** The words of a spawn by that rank; see raw_spawn_on.c. */
const spawnBy = (rank: number, then: 'go' | 'stay', ...words: string[]): string[] => [
  program('raw_spawn_on'),
  String(rank),
  then,
  ...words,
];
/** What a spawned rank prints: its host, and what it knows of its place. */
const show = ['sh', '-c', 'echo "on $(hostname): $MPI_LOCALRANKID of $MPI_LOCALNRANKS"'];
const waits = ['sh', '-c', 'echo "waits $$"; exec sleep 1000'];

describe.each(kinds)('spawned ranks over three hosts by %s', (_, tools, make) => {
  const missing = tools.missing ? tools : compiler;
  describe.skipIf(missing.missing)(`ranks${missing.note}`, () => {
    let hosts: Hosts;
    let names: readonly string[];
    beforeAll(async () => {
      hosts = await make(3);
      names = hosts.names;
    });
    afterAll(() => hosts?.[Symbol.asyncDispose]());

    const start = (slots: readonly number[], ...words: string[]): Run =>
      new Run(
        wireup(
          'run',
          ...hosts.options,
          '--hosts',
          slots.map((count, i) => `${names[i]!}:${count}`).join(','),
          ...words,
        ),
        { deadline, exitTimeout, environment: hosts.environment },
      );
    const labels = ['--prepend-pattern', '%h %p:%g:%r '];

    /** The lines of `show` by ranks that are on the hosts with these numbers. */
    const shown = (places: readonly number[], group = 1): string[] =>
      places.map((host, rank) => {
        const local = places.slice(0, rank).filter((other) => other === host).length;
        const all = places.filter((other) => other === host).length;
        return `${names[host]!} ${host}:${group}:${rank} on ${names[host]!}: ${local} of ${all}`;
      });

    it.each([
      ['fill free slots, then all slots again', 7, '', [2, 2, 0, 0, 1, 2, 2]],
      ['run on the hosts of a list, in turn', 4, 'host=@2,@0:2', [2, 0, 0, 2]],
      ['run on the hosts of the key "hosts"', 2, 'hosts=@1', [1, 1]],
      ['are as many as "soft" allows', 4, 'soft=1:3:2;host=@0,@1', [0, 1, 0]],
    ])('%s', async (_, count, info, places) => {
      const named = info.replace(/@(\d)/g, (_, host: string) => names[Number(host)]!);
      const spawn = spawnBy(2, 'go', String(count), named, ...show);
      const { code, stdout, stderr } = await start([2, 1, 2], '-n', '3', ...labels, ...spawn).done;
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(lines(stdout).sort()).toEqual([...shown(places), `${names[1]!} 1:0:2 rc=0`].sort());
    });

    it('start in the folder and by the path that the spawn names, on every host', async () => {
      const bin = mkdtempSync(join(folder, 'bin-'));
      symlinkSync('/bin/pwd', join(bin, 'show-folder'));
      const spawn = spawnBy(0, 'go', '3', `wdir=${bin};path=${bin}`, 'show-folder');
      const { code, stdout, stderr } = await start([1, 1, 1], '-n', '1', ...spawn).done;
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(lines(stdout).sort()).toEqual([...Array<string>(3).fill(bin), 'rc=0']);
    });

    it('get the process mapping of their own process group', async () => {
      const spawn = spawnBy(0, 'go', '4', `host=${names[2]!}:3,${names[1]!}`, program('raw_mapping'));
      const { code, stdout, stderr } = await start([1, 1, 1], '-n', '3', '-l', ...spawn).done;
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(lines(stdout).filter((line) => line.startsWith('[1:'))).toHaveLength(4);
      for (const rank of [0, 1, 2, 3])
        expect(stdout).toContain(
          // Three ranks on the second node of the group, which numbers its nodes by the order of the job's hosts.
          `[1:${rank}] rank ${rank} of 4 mapping (vector,(1,1,3),(0,1,1))\n`,
        );
    });

    it('are started on hosts that had no rank, which are started then', async () => {
      const spawn = spawnBy(0, 'go', '2', '', ...show);
      const { code, stdout, stderr } = await start([1, 1, 1], '-n', '1', '-v', ...labels, ...spawn).done;
      expect(code).toBe(0);
      expect(lines(stdout).sort()).toEqual(
        [
          `${names[0]!} 0:0:0 rc=0`,
          `${names[1]!} 1:1:0 on ${names[1]!}: 0 of 1`,
          `${names[2]!} 2:1:1 on ${names[2]!}: 0 of 1`,
        ].sort(),
      );
      expect(stderr).toContain(
        `wireup: rank 0 spawned group 1: 2 ranks of sh on 2 hosts (${names[1]!}, ${names[2]!})\n`,
      );
      for (const name of names) expect(stderr).toContain(`host ${name}: wireup-agent has started`);
      const without = await start([1, 1, 1], '-n', '1', '-v', 'true').done;
      expect(without.stderr).not.toContain(`host ${names[1]!}`);
    });

    it('are refused on a host that is not one of the job, and the job goes on', async () => {
      const spawn = spawnBy(1, 'go', '2', `host=${names[0]!},elsewhere`, ...show);
      expect(await start([1, 1], '-n', '2', ...spawn).done).toMatchObject({
        code: 0,
        stdout: 'rc=-1\n',
        stderr: `wireup: rank 1 could not spawn: host=elsewhere is not a host of this job (${names[0]!}, ${names[1]!})\n`,
      });
    });

    it('are ended if one of them cannot be started, and the reason names its host', async () => {
      const spawn = spawnBy(
        0,
        'go',
        ...['1', `host=${names[0]!}`, ...waits, '+'],
        ...['1', `host=${names[1]!}`, '/nowhere/program'],
      );
      const { code, stdout, stderr } = await start([1, 1], '-n', '2', ...spawn).done;
      expect(lines(stdout)).toContain('rc=-1');
      expect(lines(stderr)).toEqual([
        `wireup: rank 0 could not spawn: on ${names[1]!}: execve /nowhere/program: No such file or directory`,
      ]);
      expect(code).toBe(0);
    });

    /** Starts a job whose rank 0, alone on the first host, spawns a rank on each of the others. */
    async function running(...options: string[]): Promise<{ job: Run; pids: number[] }> {
      const spawn = spawnBy(0, 'stay', '2', `host=${names[1]!},${names[2]!}`, ...waits);
      const job = start([1, 1, 1], '-n', '1', ...options, ...spawn);
      await job.until(({ stdout }) => lines(stdout).filter((line) => line !== '').length === 3);
      const pids = lines(job.stdout).flatMap((line) => /^waits (\d+)$/.exec(line)?.[1] ?? []);
      return { job, pids: pids.map(Number) };
    }
    const agentOf = ({ stderr }: Run, host: string): number =>
      Number(new RegExp(`^wireup: host ${host}: .* \\(pid (\\d+)\\)$`, 'm').exec(stderr)![1]);

    it('that are killed end the job, and are named with their host', async () => {
      const { job, pids } = await running();
      process.kill(pids[0]!, 'SIGKILL');
      const { code, stderr } = await job.done;
      expect(lines(stderr)).toEqual([
        expect.stringMatching(
          new RegExp(
            `^wireup: rank [01] of spawned group 1 \\(pid ${pids[0]!}, sh, before PMI init\\) on (${names[1]!}|${names[2]!}) was killed by SIGKILL; 2 other ranks were ended$`,
          ),
        ),
      ]);
      expect(code).toBe(137);
    });

    it.each([
      ['only spawned ranks', 1, 'rank 0 of spawned group 1 was on it'],
      ['the rank that spawned them', 0, 'rank 0 was on it'],
    ])('end if a host is lost that has %s', async (_, host, on) => {
      const { job } = await running('-v');
      process.kill(agentOf(job, names[host]!), 'SIGKILL');
      const { code, stderr } = await job.done;
      expect(toolLines(stderr).filter((line) => line.includes(' was lost '))).toEqual([
        expect.stringMatching(
          new RegExp(`^wireup: host ${names[host]!} was lost \\(.*\\); ${on}; 2 ranks were ended$`),
        ),
      ]);
      expect(code).toBe(1);
    });

    it('leave nothing behind after ^C', async () => {
      const { job } = await running();
      job.kill('SIGINT');
      expect((await job.done).code).toBe(130);
    });
  });
});

const ssh = hostNeeds.ssh();
const both = ssh.missing ? ssh : compiler;
describe.skipIf(both.missing)(`a spawn on a host that does not answer${both.note}`, () => {
  let hosts: SshHosts;
  let hanging: string;
  beforeAll(async () => {
    hosts = await SshHosts.start(2);
    hanging = join(folder, 'hanging');
    writeFileSync(
      hanging,
      `#!/bin/sh
case " $* " in *" hanging "*) exec sleep 1000; esac
exec ${hosts.launcher.words.join(' ')} "$@"
`,
      { mode: 0o755 },
    );
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());

  const start = (list: string, ...words: string[]): Run =>
    new Run(wireup('run', '--launcher', 'ssh', '--launcher-exec', hanging, '--hosts', list, ...words), {
      deadline,
      exitTimeout,
    });
  const runOn = (list: string, ...words: string[]): Promise<Result> => start(list, ...words).done;

  it('fails after --start-timeout, and the job goes on', async () => {
    const spawn = spawnBy(0, 'go', '2', 'host=n2,hanging', ...waits);
    // The other hosts must start within this time on a busy machine.
    const { code, stdout, stderr } = await runOn(
      'n1,n2,hanging',
      '--start-timeout',
      '5',
      '-n',
      '1',
      ...spawn,
    );
    expect(lines(stderr)).toEqual([
      'wireup: rank 0 could not spawn: host hanging could not be started: no answer within 5 s',
    ]);
    expect(stdout).toBe('rc=-1\n');
    expect(code).toBe(0);
  });

  it('fails with advice if the host is not known', async () => {
    const { code, stdout, stderr } = await runOn(
      'n1,nameless.invalid',
      ...['-n', '1', ...spawnBy(0, 'go', '1', 'host=nameless.invalid', ...waits)],
    );
    expect(lines(stderr)).toEqual([
      expect.stringMatching(
        /^wireup: rank 0 could not spawn: host nameless\.invalid could not be started: .* \(no name service and .* knows the name\)$/,
      ),
    ]);
    expect(stdout).toBe('rc=-1\n');
    expect(code).toBe(0);
  });

  it('is given up if the job ends first', async () => {
    const job = start('n1,hanging', '-n', '1', '-v', ...spawnBy(0, 'stay', '1', 'host=hanging', ...waits));
    const isStarting = (): boolean => job.processes().some(({ name }) => name === 'sleep');
    await expect.poll(isStarting, { timeout: deadline }).toBe(true);
    job.kill('SIGINT');
    const { code, stdout } = await job.done;
    expect(stdout).toBe('');
    expect(code).toBe(130);
  });

  it('is given up if the host of the rank that asked is lost', async () => {
    const job = start('n1,hanging', '-n', '1', '-v', ...spawnBy(0, 'stay', '1', 'host=hanging', ...waits));
    const isStarting = (): boolean => job.processes().some(({ name }) => name === 'sleep');
    await expect.poll(isStarting, { timeout: deadline }).toBe(true);
    process.kill(Number(/host n1: .*\(pid (\d+)\)/.exec(job.stderr)![1]), 'SIGKILL');
    const { code, stderr } = await job.done;
    expect(stderr).toMatch(/^wireup: host n1 was lost \(.*\); rank 0 was on it/m);
    expect(code).toBe(1);
  });
});
