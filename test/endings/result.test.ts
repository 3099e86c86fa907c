// `wireup run --result FILE` writes the result of the job to a file.

import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { installed, needs } from '../support/installed';
import { program } from '../support/programs';
import { places, run, toolLines, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'result-'));
afterAll(() => rmSync(folder, { recursive: true }));

const mpich = needs('mpicc');
const compiler = needs('cc');

describe('--result', () => {
  interface RankResult {
    rank: number;
    pid?: number;
    state: string;
    code?: number;
    signal?: string;
    ended: boolean;
    times: Record<string, number> & { entered?: number[] };
    cpu?: { user: number; system: number };
  }
  interface Document {
    exitCode: number;
    failure?: { reason: string; rank: number; code: number };
    ended: number;
    begun: number;
    duration: number;
    barriers: { count: number; times: number[] };
    ranks: RankResult[];
  }
  const read = (file: string): Document => JSON.parse(readFileSync(file, 'utf8')) as Document;

  it.skipIf(mpich.missing)(`writes how and when each rank ended${mpich.note}`, async () => {
    const file = join(folder, 'good.json');
    writeFileSync(file, 'an older result, and a longer one'.repeat(1000));
    expect((await run(wireupRun(3, 'tcp', '--result', file, program('hello')))).code).toBe(0);
    const { exitCode, failure, barriers, ranks } = read(file);
    expect({ exitCode, failure }).toEqual({ exitCode: 0, failure: undefined });
    expect(barriers.count).toBeGreaterThan(0);
    expect(ranks.map(({ rank, state, code }) => [rank, state, code])).toEqual(
      [0, 1, 2].map((rank) => [rank, 'finalized', 0]),
    );
    for (const { times } of ranks) {
      const order = ['started', 'connected', 'initialized', 'finalized', 'exited'].map(
        (name) => times[name]!,
      );
      expect(
        order.every((time, i) => time > 0 && (i === 0 || time >= order[i - 1]!)),
        JSON.stringify(times),
      ).toBe(true);
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('good'))).toEqual(['good.json']);
  });

  it.skipIf(compiler.missing).each(places)(
    `writes when each rank entered each barrier, and its processor time, %s${compiler.note}`,
    async (name, place) => {
      const file = join(folder, `barriers-${name}.json`);
      const before = Date.now();
      const line = wireupRun(3, 'tcp', ...place, '--result', file, program('raw_exchange'));
      expect((await run(line)).code).toBe(0);
      const { begun, duration, barriers, ranks } = read(file);
      expect(begun).toBeGreaterThan(before - 1000);
      expect(begun + duration).toBeLessThan(Date.now() + 1000);
      expect(barriers.count).toBeGreaterThan(0);
      for (const { times, cpu } of ranks) {
        const { initialized = NaN, finalized = NaN, exited = NaN, disconnected = NaN, entered = [] } = times;
        expect(entered).toHaveLength(barriers.count);
        // The times of a rank are in order: a message that waits carries its age.
        const order = [initialized, ...entered.flatMap((time, i) => [time, barriers.times[i]!]), finalized];
        expect(order).toEqual([...order].sort((a, b) => a - b));
        expect(disconnected).toBeGreaterThanOrEqual(finalized);
        expect(exited).toBeGreaterThan(0);
        expect(cpu!.user + cpu!.system).toBeGreaterThan(0);
      }
    },
  );

  it.each(places)('writes the failure of a job %s', async (name, place) => {
    const file = join(folder, `${name}.json`);
    const script = '[ $PMI_RANK = 1 ] && exit 3; exec sleep 1000';
    expect((await run(wireupRun(3, 'fd', ...place, '--result', file, 'sh', '-c', script))).code).toBe(3);
    expect(read(file)).toMatchObject({
      exitCode: 3,
      failure: { reason: 'exit', rank: 1, code: 3 },
      ended: 2,
    });
    expect(read(file).ranks.map(({ code, signal, ended }) => [code, signal, ended])).toEqual([
      [undefined, 'SIGTERM', true],
      [3, undefined, false],
      [undefined, 'SIGTERM', true],
    ]);
  });

  it.each([
    ['sh -c "exit 0"', 0, 1],
    ['sh -c "exit 5"', 5, 5],
  ])('reports a full disk after %s', async (_, code, expected) => {
    const result = await run(
      wireupRun(2, 'fd', '--on-failure', 'wait', '--result', '/dev/full', 'sh', '-c', `exit ${code}`),
    );
    expect(result.code).toBe(expected);
    expect(result.stderr).toMatch(
      /^wireup: cannot write the result to \/dev\/full: .*no space left on device/im,
    );
  });

  const mounts = needs('unshare');
  const mayMount = process.getuid?.() === 0;
  it.skipIf(mounts.missing || !mayMount)(
    `leaves no incomplete file on a disk that becomes full${mounts.note}${mayMount ? '' : ' (needs root)'}`,
    async () => {
      const disk = mkdtempSync(join(folder, 'disk-'));
      const script =
        'mount -t tmpfs -o size=32k none "$0" || exit 99; head -c 28k /dev/zero > "$0/fill"; echo old > "$0/r"; "$@"; echo $?; ls "$0"; cat "$0/r"';
      const tool = wireupRun(64, 'fd', '--result', join(disk, 'r'), 'true');
      const result = await run([installed('unshare'), '-m', 'sh', '-c', script, disk, ...tool]);
      expect(result.stdout).toBe('1\nfill\nr\nold\n');
      expect(result.stderr).toMatch(/cannot write the (result|process table) to .*no space left on device/i);
    },
  );

  it('writes through a symbolic link, and keeps the mode of the file', async () => {
    const file = join(folder, 'private.json');
    const link = join(folder, 'link');
    writeFileSync(file, 'old');
    chmodSync(file, 0o600);
    symlinkSync('private.json', link);
    expect((await run(wireupRun(1, 'fd', '--result', link, 'true'))).code).toBe(0);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(read(file).exitCode).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('appends to the output of the ranks if FILE is stdout', async () => {
    const log = join(folder, 'log');
    const [node, ...words] = wireupRun(1, 'fd', '--result', '/proc/self/fd/1', 'echo', 'output');
    const script = `"$@" > ${log}`;
    expect((await run(['sh', '-c', script, 'sh', node!, ...words])).code).toBe(0);
    const [output, ...json] = readFileSync(log, 'utf8').split('\n');
    expect(output).toBe('output');
    expect(JSON.parse(json.join('\n'))).toMatchObject({ exitCode: 0 });
  });

  it.each(['/no/such/folder/r', folder, ''])(
    "refuses '%s' as wrong use before any rank runs",
    async (file) => {
      const result = await run(wireupRun(1, 'fd', '--result', file, 'echo', 'ran'));
      expect(result).toMatchObject({ code: 2, stdout: '' });
      expect(toolLines(result.stderr)).toHaveLength(1);
    },
  );
});
