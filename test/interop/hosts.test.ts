// Jobs over four hosts, by each way to reach them and over every transport: PMI and MPI programs, where ranks run, what they
// inherit, and their output and input.

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';

import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';

import { hostKinds, hostNeeds, SshHosts, wireupOn, type Hosts } from '../support/hosts';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { eventually, mark, processesMarked } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, Run, transports, wireup, type Result, type Transport } from '../support/run';

vi.setConfig({ testTimeout: 240_000 });
/** In milliseconds. MPICH's ranks poll while they wait, and the start of four hosts takes a few seconds on a busy machine. */
const deadline = 200_000;

const hostCount = 4;
const folder = mkdtempSync(join(tmpdir(), 'hosts-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ranksPerHost = {
  raw: long ? [1, 2, 3, 4] : [1, 4],
  hello: long ? [1, 2, 4] : [2],
  patterns: long ? [1, 2, 4] : [1],
};

const compiler = needs('cc');
const mpich = needs('mpicc');

/** In bytes: more than an agent needs, and less than one that keeps what it passes on. */
const agentMemory = 12 << 20;

/** The agents and guards of the jobs whose processes have this mark. */
class Agents {
  constructor(private readonly id: string) {}

  #pids(): number[] {
    return processesMarked(this.id).flatMap(({ pid, name }) => (name === 'wireup-agent' ? [pid] : []));
  }

  #field(pid: number, of: 'io' | 'status', pattern: RegExp): number {
    try {
      return Number(pattern.exec(readFileSync(`/proc/${pid}/${of}`, 'latin1'))?.[1] ?? 0);
    } catch {
      return 0; // it has ended
    }
  }

  /** How many bytes they have written, in all. */
  written(): number {
    return this.#pids().reduce((sum, pid) => sum + this.#field(pid, 'io', /^wchar: (\d+)/m), 0);
  }

  /** Waits until they write nothing any more, except heartbeats of a few bytes. */
  async areStill(): Promise<boolean> {
    let last = 0;
    let still = 0;
    return eventually(() => {
      const now = this.written();
      still = now - last < 1000 ? still + 1 : 0;
      last = now;
      return still === 20;
    }, 60_000);
  }

  /** The most memory that one of them has ever had, in bytes. */
  most(): number {
    const pids = this.#pids();
    // A guard and an agent of each host.
    expect(pids.length).toBeGreaterThanOrEqual(2 * hostCount);
    const peaks = pids.map((pid) => this.#field(pid, 'status', /^VmHWM:\s+(\d+) kB/m));
    expect(Math.min(...peaks)).toBeGreaterThan(0);
    return Math.max(...peaks) * 1024;
  }
}

/** Ranks run `wait`, a command of the shell, until open() is called. */
function gateOf(name: string): { wait: string; open: () => void } {
  const file = join(mkdtempSync(join(folder, `${name}-`)), 'gate');
  return {
    wait: `until [ -e '${file}' ]; do sleep 0.1; done`,
    open: () => writeFileSync(file, ''),
  };
}

describe.each(hostKinds)('over four hosts by %s', (_, tools, make) => {
  describe.skipIf(tools.missing)(`ranks${tools.note}`, () => {
    let hosts: Hosts;
    beforeAll(async () => {
      hosts = await make(hostCount);
    });
    afterAll(() => hosts?.[Symbol.asyncDispose]());

    const runOn = (perHost: number, ...words: string[]): Promise<Result> =>
      run(wireupOn(hosts, perHost, ...words), { deadline, environment: hosts.environment });

    /** Starts a rank on each host, for a test that has the streams of the command. */
    function startWatched(...words: string[]): {
      tool: ChildProcessByStdio<Writable, Readable, null>;
      agents: Agents;
    } {
      const id = `hosts-test-${process.pid}-${performance.now()}`;
      const [file, ...args] = wireupOn(hosts, 1, ...words);
      const tool = spawn(file!, args, {
        stdio: ['pipe', 'pipe', 'inherit'],
        env: { ...process.env, ...hosts.environment, [mark]: id },
      });
      onTestFinished(() => void tool.kill('SIGKILL'));
      return { tool, agents: new Agents(id) };
    }

    /** The name of the host of each rank. */
    const hostOf = (perHost: number): string[] =>
      hosts.names.flatMap((name) => Array<string>(perHost).fill(name));

    async function expectOk(
      perHost: number,
      pmi: Transport,
      names: string[],
      ...command: string[]
    ): Promise<void> {
      const result = await runOn(perHost, '--pmi', pmi, ...command);
      expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
      const size = perHost * hostCount;
      const expected = names.flatMap((name) =>
        Array.from({ length: size }, (_, rank) => `${name}: rank ${rank} of ${size} ok`),
      );
      expect(lines(result.stdout).sort()).toEqual(expected.sort());
    }

    it('start if each host has a command of its own', async () => {
      const words = ['--tree-width', '0', 'sh', '-c', 'echo $PMI_RANK'];
      const { code, stdout, stderr } = await runOn(1, ...words);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(lines(stdout).sort()).toEqual(['0', '1', '2', '3']);
    });

    describe.each(transports)('over %s', (pmi) => {
      it.skipIf(compiler.missing).each(ranksPerHost.raw)(
        `exchange their business cards, %d a host${compiler.note}`,
        (perHost) => expectOk(perHost, pmi, ['raw_exchange'], program('raw_exchange')),
      );

      it('exchange business cards that name their hosts', async () => {
        const { code, stdout, stderr } = await runOn(1, '--pmi', pmi, ...wireup('exchange'));
        expect(stderr).toBe('');
        expect(code).toBe(0);
        const found = lines(stdout).flatMap((line) => /^rank (\d+) of 4, pid \d+ on (\S+):/.exec(line) ?? []);
        expect(found.filter((_, i) => i % 3 === 2).sort()).toEqual([...hosts.names]);
        expect(lines(stdout)).toHaveLength(hostCount + 1);
      });

      it.skipIf(mpich.missing).each(ranksPerHost.hello)(
        `run MPICH's hello, %d a host${mpich.note}`,
        (perHost) => expectOk(perHost, pmi, ['hello'], program('hello')),
      );

      const patterns = ['allreduce', 'alltoall', 'onesided', 'ring'];
      if (pmi === 'fd' || long) {
        it.skipIf(mpich.missing).each(ranksPerHost.patterns)(
          `run ${patterns.join(', ')} of MPICH, %d a host${mpich.note}`,
          (perHost) => expectOk(perHost, pmi, patterns, program('patterns'), ...patterns),
        );
      }
    });

    it.skipIf(mpich.missing)(
      `get the names of their hosts and their neighbours from MPI${mpich.note}`,
      async () => {
        const { code, stdout, stderr } = await runOn(2, program('nodes'));
        expect(stderr).toBe('');
        expect(code).toBe(0);
        expect(lines(stdout).sort()).toEqual(
          hostOf(2).map(
            (name, rank) =>
              `rank ${rank} of 8 app 0 node of ${rank - (rank % 2)}: ${rank % 2} of 2 on ${name}`,
          ),
        );
      },
    );

    it.skipIf(compiler.missing)(`get a process mapping with four nodes${compiler.note}`, async () => {
      const { stdout } = await runOn(2, program('raw_mapping'));
      expect(lines(stdout).sort()).toEqual(
        hostOf(2).map((_, rank) => `rank ${rank} of 8 mapping (vector,(0,4,2))`),
      );
    });

    it('get their numbers on their host, and labels with its name', async () => {
      const script = 'echo "$(hostname) $PMI_RANK $MPI_LOCALRANKID of $MPI_LOCALNRANKS"; echo error >&2';
      const { code, stdout, stderr } = await runOn(2, '--prepend-pattern', '%h/%r: ', 'sh', '-c', script);
      expect(code).toBe(0);
      const ranks = hostOf(2).map((name, rank) => [name, rank] as const);
      expect(lines(stdout).sort()).toEqual(
        ranks.map(([name, rank]) => `${name}/${rank}: ${name} ${rank} ${rank % 2} of 2`),
      );
      expect(lines(stderr).sort()).toEqual(ranks.map(([name, rank]) => `${name}/${rank}: error`));
    });

    it('have what the command has: folder, environment, umask, soft limits, nice value, ignored signals', async () => {
      const file = join(folder, 'context.sh');
      const script = `pwd; umask; nice; ulimit -Sn; ulimit -Sc; ulimit -Ss; grep SigIgn /proc/self/status
printf '%s|' "$ODD" "$EMPTY" "$HOME" "\${PWD##*/}"; env | grep '^SSH_\\|^SLURM_STEP' || :`;
      const context = `cd '${folder}'; umask 0137; ulimit -Sn 234; ulimit -Hn 345; ulimit -Sc 0; ulimit -Ss 1024
trap '' HUP USR2; export ODD=" a 'b\\"\\$c
d\\\\e! ü " EMPTY=; "$@"`;
      const inContext = (...words: string[]): string[] => [
        'nice',
        '-n',
        '3',
        'sh',
        '-c',
        context,
        'sh',
        ...words,
      ];
      const options = { deadline, environment: { ...hosts.environment } };
      const here = await run(inContext('sh', '-c', script), options);
      expect(here.stderr).toBe('');
      const there = await run(
        inContext(...wireupOn(hosts, 1, '-outfile-pattern', `${file}.%r`, 'sh', '-c', script)),
        options,
      );
      expect(there).toMatchObject({ code: 0, stderr: '' });
      for (const rank of hosts.names.keys())
        expect(readFileSync(`${file}.${rank}`, 'utf8'), `rank ${rank}`).toBe(here.stdout);
    });

    it('have their hosts in --report-bindings', async () => {
      const { code, stderr } = await runOn(1, '--report-bindings', 'true');
      expect(code).toBe(0);
      expect(lines(stderr.replace(/\(pid \d+\)/g, '(pid)')).sort()).toEqual(
        hosts.names.map((name, rank) => `wireup: rank ${rank} (pid) on ${name} is not bound`),
      );
    });

    it('write files with relative names in the folder of the command', async () => {
      // The name of this folder is no part of the pattern.
      const here = mkdtempSync(join(folder, '100%r-'));
      const command = wireupOn(hosts, 2, '-outfile-pattern', 'out.%h', 'hostname');
      const result = await run(['sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', here, ...command], {
        deadline,
        environment: hosts.environment,
      });
      expect(result).toMatchObject({ code: 0, stdout: '', stderr: '' });
      for (const name of hosts.names)
        expect(readFileSync(join(here, `out.${name}`), 'utf8')).toBe(`${name}\n${name}\n`);
    });

    it('read the standard input of the command on the last host, and the agents hold little of it', async () => {
      const bytes = (long ? 100 : 20) * 1_000_000;
      const last = String(hostCount - 1);
      const gate = gateOf('stdin');
      const script = `[ "$PMI_RANK" != ${last} ] || ${gate.wait}; echo "$PMI_RANK: $(cksum)"; ${gate.wait}`;
      const { tool, agents } = startWatched('--stdin', last, 'sh', '-c', script);
      const data = Buffer.alloc(bytes, '0123456789\n');
      tool.stdin.end(data);
      // The last rank does not read yet: its pipe is full. (What libzmq sends is not counted.)
      expect(await eventually(() => agents.written() >= 65_536, 120_000)).toBe(true);
      expect(await agents.areStill()).toBe(true);
      expect(agents.most()).toBeLessThan(agentMemory);
      gate.open();
      const [output, [code]] = await Promise.all([
        text(tool.stdout),
        once(tool, 'close') as Promise<[number]>,
      ]);
      expect(code).toBe(0);
      const cksum = spawn('cksum', { stdio: ['pipe', 'pipe', 'inherit'] });
      cksum.stdin.end(data);
      const sum = (await text(cksum.stdout)).trim();
      expect(lines(output).sort()).toEqual(
        hosts.names.map((_, rank) => `${rank}: ${String(rank) === last ? sum : '4294967295 0'}`),
      );
    });

    it('write much output to a slow reader, and the agents hold little of it', async () => {
      const count = long ? 10_000_000 : 2_000_000;
      const gate = gateOf('output');
      const script = `seq -f "$PMI_RANK %09.0f" 1 "$0"; echo "$PMI_RANK end"; ${gate.wait}`;
      const { tool, agents } = startWatched('sh', '-c', script, String(count));
      tool.stdin.end();
      const ended = once(tool, 'close') as Promise<[number]>;
      const next = Array<number>(hostCount).fill(1);
      const wrong: string[] = [];
      let rest = '';
      let received = 0;
      tool.stdout.setEncoding('latin1').on('data', (chunk: string) => {
        received += chunk.length;
        const complete = (rest + chunk).split('\n');
        rest = complete.pop()!;
        for (const line of complete) {
          const rank = Number(line[0]);
          const number = next[rank]!++;
          const expected = number > count ? 'end' : String(number).padStart(9, '0');
          if (line.slice(2) !== expected && wrong.length < 10) wrong.push(line);
        }
      });
      // The reader pauses until all buffers are full.
      expect(await eventually(() => received > 4e6, 120_000)).toBe(true);
      tool.stdout.pause();
      expect(await agents.areStill()).toBe(true);
      tool.stdout.resume();
      expect(await eventually(() => next.every((number) => number === count + 2), 200_000)).toBe(true);
      expect(agents.most()).toBeLessThan(agentMemory);
      gate.open();
      expect((await ended)[0]).toBe(0);
      expect(wrong).toEqual([]);
      expect(next).toEqual(Array(hostCount).fill(count + 2));
    });

    it('have their hosts in --result and --proctable', async () => {
      const [result, table] = ['result', 'table'].map((name) => join(folder, name));
      const job = new Run(
        wireupOn(
          hosts,
          2,
          '--result',
          result!,
          '--proctable',
          table!,
          'sh',
          '-c',
          'echo $PMI_RANK $$; exec sleep 0.1',
        ),
        { deadline, environment: hosts.environment },
      );
      const { code, stdout } = await job.done;
      expect(code).toBe(0);
      const pids = lines(stdout)
        .map((line) => line.split(' ').map(Number))
        .sort(([x], [y]) => x! - y!)
        .map(([, pid]) => pid);
      const rows = hostOf(2).map((host, rank) => ({ rank, host, pid: pids[rank] }));
      expect(JSON.parse(readFileSync(table!, 'utf8'))).toMatchObject(rows);
      expect(JSON.parse(readFileSync(result!, 'utf8'))).toMatchObject({
        exitCode: 0,
        ranks: rows.map((row) => ({ ...row, code: 0 })),
      });
    });
  });
});

const ssh = hostNeeds.ssh();
describe.skipIf(ssh.missing)(`over ssh${ssh.note}`, () => {
  let hosts: SshHosts;
  beforeAll(async () => {
    hosts = await SshHosts.start(2);
  });
  afterAll(() => hosts?.[Symbol.asyncDispose]());

  const runParts = (...parts: string[][]): Promise<Result> =>
    run(wireup('run', ...hosts.options, ...parts.flatMap((part, i) => (i === 0 ? part : [':', ...part]))), {
      deadline,
    });

  it.each([
    ['program', ['/nowhere/program'], 127, /\/nowhere\/program: No such file or directory/],
    ['program of PATH', ['no-such-program'], 127, /no-such-program/],
    ['folder', ['-wdir', '/nowhere/folder', 'true'], 1, /\/nowhere\/folder: No such file or directory/],
  ])('a missing %s is reported with its host', async (_, words, exitCode, message) => {
    const { code, stderr } = await runParts(
      ['-n', '2', '-hosts', 'n1', 'sleep', '60'],
      ['-n', '1', '-hosts', 'n2', ...words],
    );
    expect(lines(stderr)).toEqual([expect.stringMatching(/^wireup: rank 2 on n2 could not be started: /)]);
    expect(stderr).toMatch(message);
    expect(code).toBe(exitCode);
  });

  it('--agent-path names a folder with wireup-exec, which --pmi unix needs; this host is not localhost to others', async () => {
    const bin = mkdtempSync(join(folder, 'bin-'));
    const install = (name: string): void => copyFileSync(join(root, 'build/Release', name), join(bin, name));
    install('wireup-agent');
    const words = [
      '-hosts',
      'n1,localhost,n2',
      '-l',
      '--agent-path',
      join(bin, 'wireup-agent'),
      '--pmi',
      'unix',
    ];
    const script = 'echo $MPIR_CVAR_CH3_INTERFACE_HOSTNAME $PMI_SIZE ${PMI_FD:-none}';
    const missing = await runParts([...words, 'sh', '-c', script]);
    expect(missing.code).toBe(127);
    expect(missing.stderr).toMatch(
      /^wireup: rank [02] on n[12] could not be started: .*bin-.*\/wireup-exec: No such file/,
    );
    install('wireup-exec');
    const { code, stdout, stderr } = await runParts([...words, 'sh', '-c', script]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual([
      expect.stringMatching(/^\[0\] n1 3 \d+$/),
      expect.stringMatching(new RegExp(`^\\[1\\] ${hostname()} 3 \\d+$`)),
      expect.stringMatching(/^\[2\] n2 3 \d+$/),
    ]);
  });

  it.each([[[]], [['--stage']]])('a host starts another one with %j', async (options) => {
    const script = 'echo $PMI_RANK $(hostname)';
    const tree = ['-n', '4', '-hosts', 'n1:2,n2:2', '--tree-width', '1', ...options];
    const { code, stdout, stderr } = await runParts([...tree, 'sh', '-c', script]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual(['0 n1', '1 n1', '2 n2', '3 n2']);
  });

  it('soft limits are at most the hard limits of the other host', async () => {
    const profile = join(hosts.home, '.bashrc');
    writeFileSync(profile, 'ulimit -n 300; ulimit -s 4096\n');
    const script = 'ulimit -Sn 500; ulimit -Ss 8192; exec "$@"';
    const { code, stdout, stderr } = await run(
      [
        ...['sh', '-c', script, 'sh'],
        ...wireup('run', ...hosts.options, '-hosts', 'n1,n2', 'sh', '-c', 'ulimit -n; ulimit -s'),
      ],
      { deadline },
    ).finally(() => rmSync(profile));
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual(['300', '300', '4096', '4096']);
  });
});
