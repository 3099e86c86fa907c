// The support for debuggers: a command that runs a rank's program, a table of the processes, and the same table in the
// memory of the agent.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { launch } from '../../dist/index.js';
import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { lines, Run, run, toolLines, transports, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'debuggers-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('--debugger', () => {
  it('precedes the program of the listed ranks', async () => {
    const script = 'echo $PMI_RANK ${under:-alone}';
    const result = await run(
      wireupRun(6, 'unix', '--debugger', 'env under=debugger', '--debug-ranks', '0,3-4', 'sh', '-c', script),
    );
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual([
      '0 debugger',
      '1 alone',
      '2 alone',
      '3 debugger',
      '4 debugger',
      '5 alone',
    ]);
  });

  it('gives its exit code to the rank', async () => {
    expect((await run(wireupRun(2, 'fd', '--debugger', 'false', 'true'))).code).toBe(1);
    const result = await run(wireupRun(2, 'fd', '--debugger', 'no-such-debugger', 'true'));
    expect(result.code).toBe(127);
    expect(result.stderr).toContain('no-such-debugger');
  });

  it.each([
    ['--debugger', ' '],
    ['--debug-ranks', 'x'],
    ['--debug-ranks', '3-1'],
    ['--debug-ranks', '-1'],
    ['--debug-ranks', ''],
  ])('refuses %s "%s" as wrong use', async (option, value) => {
    const result = await run(wireup('run', option, value, 'true'));
    expect(result.code).toBe(2);
    expect(toolLines(result.stderr)).toHaveLength(1);
  });

  it('refuses a rank that does not exist as wrong use', async () => {
    const result = await run(wireupRun(2, 'fd', '--debugger', 'env', '--debug-ranks', '2', 'true'));
    expect(result.code).toBe(2);
  });

  const debuggers = needs('mpicc', 'gdb');
  it.skipIf(debuggers.missing).each(transports)(
    `runs one rank of an MPI program in gdb, over %s${debuggers.note}`,
    async (transport) => {
      const gdb = ['--debugger', `${installed('gdb')} -nx -batch -ex run --args`, '--debug-ranks', '1'];
      const result = await run(wireupRun(3, transport, ...gdb, program('hello')), { deadline: 50_000 });
      expect(result.code).toBe(0);
      expect(
        lines(result.stdout)
          .filter((line) => line.startsWith('hello: '))
          .sort(),
      ).toEqual([0, 1, 2].map((rank) => `hello: rank ${rank} of 3 ok`));
      expect(result.stdout).toContain('exited normally');
    },
  );
});

interface RankProcess {
  rank: number;
  host: string;
  pid: number;
  executable: string;
}

describe('--proctable', () => {
  it('lists the process of each rank while it runs', async () => {
    const file = join(folder, 'table.json');
    const job = new Run(
      wireupRun(3, 'fd', '--proctable', file, 'sh', '-c', 'echo $PMI_RANK $$; exec tail -f /dev/null'),
    );
    await job.until(() => lines(job.stdout).length === 3);
    const pids = new Map(lines(job.stdout).map((line) => line.split(' ').map(Number) as [number, number]));
    await vi.waitFor(() => expect(readdirSync(folder)).toEqual(['table.json']), 5000);
    const rows = JSON.parse(readFileSync(file, 'utf8')) as RankProcess[];
    expect(rows.map(({ rank, pid }) => [rank, pid])).toEqual([0, 1, 2].map((rank) => [rank, pids.get(rank)]));
    for (const { host, executable } of rows) {
      expect(host).not.toBe('');
      expect(executable).toMatch(/^\//);
    }
    job.kill('SIGTERM');
    await job.done;
  });

  it('reports a full disk, and the job goes on', async () => {
    const result = await run(wireupRun(2, 'fd', '--proctable', '/dev/full', 'echo', 'ran'));
    expect(result).toMatchObject({ code: 0, stdout: 'ran\nran\n' });
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/cannot write the process table to \/dev\/full: .*no space/i),
    ]);
  });
});

const gdb = needs('gdb');
const mayTrace = process.getuid?.() === 0;
describe.skipIf(gdb.missing || !mayTrace)(
  `MPIR${gdb.note}${mayTrace ? '' : ' (needs root, to attach)'}`,
  () => {
    /** The lines of MPIR_proctable, as a debugger reads them that attaches to the agent: host, executable, pid. */
    function readTable(agentPid: number, size: number): string[][] {
      // Each entry, in the order of the ranks: { const char* host_name; const char* executable_name; int pid; }.
      const row = (rank: number): string => `(*(char**)&MPIR_proctable + ${rank} * (2 * sizeof(char*) + 8))`;
      const expressions = [
        '(int)MPIR_proctable_size',
        ...Array.from({ length: size }, (_, rank) => [
          `*(char**)${row(rank)}`,
          `*(char**)(${row(rank)} + sizeof(char*))`,
          `*(int*)(${row(rank)} + 2 * sizeof(char*))`,
        ]).flat(),
      ];
      const output = execFileSync(
        installed('gdb'),
        [
          '-nx',
          '-batch',
          '-p',
          `${agentPid}`,
          ...expressions.flatMap((expression) => ['-ex', `output ${expression}`, '-ex', 'echo \\n']),
        ],
        {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
          timeout: 50_000,
        },
      );
      const values = lines(output)
        .slice(-expressions.length - 1)
        .filter((line) => !line.startsWith('['));
      expect(values[0]).toBe(`${size}`);
      const text = (value: string): string => /"(.*)"$/.exec(value)?.[1] ?? value;
      return Array.from({ length: size }, (_, rank) =>
        values.slice(1 + 3 * rank, 4 + 3 * rank).map((value) => text(value)),
      );
    }

    const options = { program: 'sleep', args: ['1000'], stdout: 'ignore', stderr: 'ignore' } as const;

    it('lets a debugger that attaches to the agent read the table of processes', async () => {
      const job = await launch({ ...options, ranks: 3 });
      const pids = await job.started;
      for (const [rank, [host, executable, pid]] of readTable(job.agentPid, 3).entries()) {
        expect(host).toBe(job.host);
        expect(executable).toMatch(/\/sleep$/);
        expect(pid).toBe(`${pids[rank]}`);
      }
      // The job is not affected by the debugger.
      expect(await job.stop({ grace: 10_000 })).toMatchObject({ exitCode: 143, stopped: true });
    });

    it('has the processes of all hosts in the table of the agent of this host', async () => {
      const job = await launch({ ...options, ranks: 4, hosts: ['a:2', 'localhost', 'b'], launcher: 'fork' });
      const pids = await job.started;
      // The agent gets the rows of other hosts after the launcher has got the last process id.
      await job.status();
      const expected = ['a', 'a', job.host, 'b'].map((host, rank) => [
        host,
        host === job.host ? (expect.stringMatching(/\/sleep$/) as string) : 'sleep',
        `${pids[rank]}`,
      ]);
      expect(readTable(job.agentPid, 4)).toEqual(expected);
      expect(await job.stop({ grace: 10_000 })).toMatchObject({ exitCode: 143, stopped: true });
    });
  },
);
