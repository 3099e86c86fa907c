// `wireup pmi exchange|get|bench`: as ranks of `wireup run` and of Debian's mpiexec, and with servers that end or have
// no such key.

import { afterEach, describe, expect, it, vi } from 'vitest';

import { closeFakeServers, isCommand, normalExcept, startFakeServer } from '../support/fake-server';
import { needs, installed } from '../support/installed';
import { lines, run, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });
afterEach(closeFakeServers);

const size = 3;
const peers = needs('mpiexec');
const launchers: [string, string[], boolean, string][] = [
  ['wireup run', wireupRun(size, 'fd'), false, ''],
  ['wireup run --pmi tcp', wireupRun(size, 'tcp'), false, ''],
  ['mpiexec', peers.missing ? [] : [installed('mpiexec'), '-n', String(size)], peers.missing, peers.note],
];

/** Sorts the lines, because ranks 0 to 2 print in any order. */
function sortedLines(text: string): string[] {
  return lines(text).sort();
}

describe.each(launchers)('as ranks of %s, wireup pmi', (_, launcher, missing, note) => {
  const job = (...args: string[]) => run([...launcher, ...wireup('pmi', ...args)], { deadline: 60_000 });

  it.skipIf(missing)(`exchange prints a line for each rank${note}`, async () => {
    const plain = await job('exchange');
    expect(plain).toMatchObject({ code: 0, stderr: '' });
    const [all, ...ranks] = [...sortedLines(plain.stdout)];
    expect(all).toMatch(/^3 ranks exchanged their cards in \d+\.\d ms$/);
    expect(ranks).toEqual(
      [0, 1, 2].map(
        (rank) =>
          expect.stringMatching(
            new RegExp(`^rank ${rank} of 3, pid \\d+ on \\S+: has the cards of all ranks$`),
          ) as string,
      ),
    );
  });

  it.skipIf(missing)(`exchange --json -l --no-pipeline -v prints JSON with labels${note}`, async () => {
    const { code, stdout, stderr } = await job('exchange', '--json', '-l', '--no-pipeline', '-v');
    expect(code).toBe(0);
    const output = sortedLines(stdout).map((line) => {
      const [, label, json] = /^\[(\d)\] (\{.*\})$/.exec(line) ?? [];
      return {
        label: Number(label),
        ...(JSON.parse(json ?? '{}') as { rank: number; size: number; milliseconds: number }),
      };
    });
    expect(output).toEqual(
      [0, 1, 2].map((rank) => ({ label: rank, rank, size, milliseconds: expect.any(Number) as number })),
    );
    expect(sortedLines(stderr)).toEqual(
      [0, 1, 2].map(
        (rank) =>
          expect.stringMatching(
            new RegExp(`^wireup: rank ${rank} of 3 by (PMI_FD=\\d+|tcp://\\S+)$`),
          ) as string,
      ),
    );
  });

  it.skipIf(missing)(`get prints one value a line${note}`, async () => {
    const { code, stdout } = await job('get', '-l', 'PMI_process_mapping', 'PMI_process_mapping');
    expect(code).toBe(0);
    const [, mapping] = /^\[0\] (.*)$/.exec(sortedLines(stdout)[0]!) ?? [];
    expect(mapping).toMatch(/^\(vector,\(0,1,\d\)\)$/);
    expect(sortedLines(stdout)).toEqual([0, 0, 1, 1, 2, 2].map((rank) => `[${rank}] ${mapping}`));
    const json = await job('get', '--json', 'PMI_process_mapping');
    expect(sortedLines(json.stdout).map((line) => JSON.parse(line) as unknown)).toEqual(
      [0, 1, 2].map((rank) => ({ rank, size, values: { PMI_process_mapping: mapping } })),
    );
  });

  it.skipIf(missing)(`get of a missing key gives exit code 6${note}`, async () => {
    const { code, stdout, stderr } = await job('get', 'no-such-key');
    // test/endings/beside-mpiexec.test.ts tests the exit code of Hydra.
    if (launcher.includes('run')) expect({ code, stdout }).toEqual({ code: 6, stdout: '' });
    expect(stderr).toMatch(/^wireup: rank \d: get no-such-key: /m);
  });

  const measured = ['put, pipelined', 'get, one by one', 'get, pipelined', 'barrier'];

  it.skipIf(missing).each<[string, string[]]>([
    ['bench', []],
    ['bench --no-pipeline', ['--no-pipeline']],
  ])(`%s prints the times of each rank${note}`, async (_, options) => {
    const plain = await job('bench', '-k', '20', ...options);
    expect(plain).toMatchObject({ code: 0, stderr: '' });
    expect(sortedLines(plain.stdout)).toHaveLength(measured.length * size);
    for (const rank of [0, 1, 2]) {
      for (const what of measured) {
        expect(plain.stdout).toMatch(
          new RegExp(
            `^rank ${rank} of 3: ${what} +${what === 'barrier' ? 100 : 20} in \\d+\\.\\d ms, \\d+\\.\\d us each$`,
            'm',
          ),
        );
      }
    }
  });

  it.skipIf(missing)(`bench --json prints the times as JSON${note}`, async () => {
    const { code, stdout } = await job('bench', '--json', '-k', '20');
    expect(code).toBe(0);
    expect(sortedLines(stdout).map((line) => JSON.parse(line) as unknown)).toEqual(
      [0, 1, 2].map((rank) => ({
        rank,
        size,
        measures: measured.map((what) => ({
          what,
          count: what === 'barrier' ? 100 : 20,
          milliseconds: expect.any(Number) as number,
        })),
      })),
    );
  });
});

describe('the exit code of wireup pmi', () => {
  const withServer = async (odd: Parameters<typeof normalExcept>[0]) => ({
    environment: { PMI_PORT: await startFakeServer(normalExcept(odd)), PMI_ID: '1' },
  });

  it.each([
    ['barrier', 'barrier_in'],
    ['exchange', 'put'],
    ['bench', 'barrier_in'],
  ])('is 5 if the server ends during %s', async (probe, command) => {
    const gone = await withServer((line) => (isCommand(line, command) ? undefined : 'normal'));
    const result = await run(wireup('pmi', probe), gone);
    expect(result).toMatchObject({ code: 5, stdout: '' });
    expect(result.stderr).toMatch(/^wireup: rank 1: tcp:\/\/\S+: the server closed the connection\n$/);
  });

  it('is 6 if the server refuses a request', async () => {
    const full = await withServer((line) =>
      isCommand(line, 'put') ? 'cmd=put_result rc=-1 msg=no_space_left\n' : 'normal',
    );
    const result = await run(wireup('pmi', 'exchange'), full);
    expect(result).toMatchObject({ code: 6, stdout: '' });
    expect(result.stderr).toMatch(/^wireup: rank 1: put card-1: no_space_left\n$/);
  });

  it('is 2 for wrong use', async () => {
    for (const args of [['get'], ['bench', '-k', '0'], ['exchange', '--timeout', 'x'], ['nonsense']]) {
      expect((await run(wireup('pmi', ...args))).code, args.join(' ')).toBe(2);
    }
  });
});
