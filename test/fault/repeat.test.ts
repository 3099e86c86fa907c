// If a rank or an unidentified connection sends requests without end, or does not read its replies, the launcher keeps
// a bounded part of the events, handles signals, and reports the rank that was cut off and the reason.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { PmiClient, PmiServer, type PmiEvent } from '../../dist/index.js';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, Run, run, toolLines, wireupRun } from '../support/run';
import { runHostileClient, targetOf } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 90_000 });

/** The number of repeated events that wait for a reader. */
const maxWaiting = 4096;
/** The number of requests in a batch of raw_flood. */
const batch = 200;

const eventReader = join(__dirname, 'event-reader.cjs');
const library = join(root, 'dist/index.js');

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`ranks${compiler.note}`, () => {
  it('that send only invalid requests are cut off, with one line a second and the reason in the failure', async () => {
    const result = await run(wireupRun(4, 'fd', program('raw_flood'), 'nonsense', '0'));
    expect(result.code).toBe(1);
    const reports = toolLines(result.stderr);
    expect(
      reports.filter((line) =>
        /^wireup: rank [0-3] \(pid \d+, .*\) on \S+ was cut off from PMI: it sent 10000 invalid requests; 3 other ranks were ended$/.test(
          line,
        ),
      ),
    ).toHaveLength(1);
    expect(
      reports.filter((line) =>
        /^wireup: rank [0-3] sent an invalid PMI request: foo: unknown_command$/.test(line),
      ),
    ).toHaveLength(1);
    expect(reports.length).toBeLessThan(10);
    // Every invalid request has a line, or is counted in one.
    const counted = reports.map((line) =>
      Number(
        /^wireup: (\d+) more invalid PMI requests, the last: rank [0-3] sent an invalid PMI request: foo: unknown_command$/.exec(
          line,
        )?.[1] ?? 0,
      ),
    );
    expect(counted.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(10_000 - 1);
  });

  it('that do not read their replies are cut off, with the reason in the message and in the result', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'repeat-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'result');
    const result = await run(
      wireupRun(
        2,
        'fd',
        '--result',
        file,
        'sh',
        '-c',
        'if [ $PMI_RANK = 1 ]; then exec "$0" unread 0; else exec sleep 100; fi',
        program('raw_flood'),
      ),
    );
    expect(result.code).toBe(1);
    const reason = 'it left 1 MiB of replies unread';
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(
        new RegExp(`^wireup: rank 1 .* was cut off from PMI: ${reason}; 1 other rank was ended$`),
      ),
    ]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ failure: { rank: 1, cutOff: reason } });
  });

  it('that are cut off while others wait for them in a barrier are named as the reason', async () => {
    const script = `if [ $PMI_RANK = 1 ]; then exec "$0" nonsense 0; fi; printf 'cmd=init pmi_version=1 pmi_subversion=1\ncmd=barrier_in\n' >&$PMI_FD; sleep 100`;
    const result = await run(wireupRun(2, 'fd', 'bash', '-c', script, program('raw_flood')));
    expect(result.code).toBe(1);
    expect(toolLines(result.stderr)).toContainEqual(
      expect.stringMatching(
        /^wireup: rank 1 .* was cut off from PMI \(it sent 10000 invalid requests\) while others wait in PMI barrier 0: 0; missing: 1; 1 other rank was ended$/,
      ),
    );
  });

  it.each([
    [[], ' was cut off from PMI: it sent a line of more than 2048 bytes'],
    [
      ['exit 7'],
      ' exited with code 7; its PMI connection had been cut off: it sent a line of more than 2048 bytes',
    ],
  ])('that send an endless line are cut off, also if they then run %j', async (then, reason) => {
    const script = `printf 'cmd=init pmi_version=1 pmi_subversion=1\\n' >&$PMI_FD; head -c 3000 /dev/zero | tr '\\0' x >&$PMI_FD; cat <&$PMI_FD > /dev/null; ${then[0] ?? 'sleep 100'}`;
    const result = await run(wireupRun(1, 'fd', 'bash', '-c', script));
    expect(toolLines(result.stderr)).toEqual([
      'wireup: rank 0 sent an invalid PMI request: a line of more than 2048 bytes',
      expect.stringMatching(new RegExp(`^wireup: rank 0 .*${reason}$`)),
    ]);
  });

  it('whose child has finalized get an error reply, and are disconnected in a barrier of PMI-1.1', async () => {
    const result = await run(wireupRun(1, 'fd', program('raw_late')));
    expect(result.code).toBe(0);
    expect(lines(result.stdout)).toEqual(['cmd=put_result rc=1 msg=already_finalized', 'hung up']);
    expect(toolLines(result.stderr)[0]).toBe(
      'wireup: rank 0 sent an invalid PMI request: put after finalize',
    );
  });

  it('that put without end get an error reply at the limit', async () => {
    const result = await run(wireupRun(2, 'fd', '--kvs-limit', '1000000', program('raw_flood'), 'put', '0'));
    expect(result.code).toBe(0);
    expect(lines(result.stdout)).toEqual(Array(2).fill('cmd=put_result rc=2 msg=too_many_keys_and_values'));
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(
        /^wireup: rank [01] sent an invalid PMI request: put: the keys and values of the job exceed the limit of 1000000 bytes$/,
      ),
    ]);
  });

  it('that complete a million barriers cost a slow reader of events bounded memory, and it gets the number of missed ones', async () => {
    const batches = 5000;
    const reader = new Run(
      [process.execPath, eventReader, library, '20', program('raw_flood'), 'barriers', String(batches)],
      { deadline: 80_000 },
    );
    const { stdout } = await reader.done;
    const resident = (state: string): number => Number(new RegExp(`^${state} (\\d+)$`, 'm').exec(stdout)![1]);
    expect(resident('ended') - resident('running')).toBeLessThan(100 << 20);
    const { received, missed } = JSON.parse(lines(stdout).at(-1)!) as { received: number; missed: number };
    expect(received + missed).toBe(batches * batch);
    expect(missed).toBeGreaterThan(0);
  });

  it('that complete barriers without end do not keep a reader of all events from handling TERM', async () => {
    const reader = new Run(
      [process.execPath, eventReader, library, '0', program('raw_flood'), 'barriers', '0'],
      {
        deadline: 20_000,
      },
    );
    await reader.until(({ stdout }) => stdout.includes('running'));
    reader.kill('SIGTERM');
    await reader.until(({ stdout }) => stdout.includes('stopped'));
    expect(await reader.done).toMatchObject({ code: 0 });
  });

  it('that flood a server leave a late reader the other events in order, with the number of missed ones in their place', async () => {
    await using server = await PmiServer.listen({ size: 1 });
    const events = server.events({ types: ['barrier', 'finalized'] });
    using channel = server.channel(0);
    const batches = 100;
    const rank = spawn(program('raw_flood'), ['barriers', String(batches)], {
      stdio: ['ignore', 'inherit', 'inherit', channel.fd],
      env: { ...server.env(0, { fd: 3 }) },
    });
    channel.close();
    await once(rank, 'exit');
    let next = 0;
    let missed = 0;
    for await (const event of events) {
      if (event.type === 'finalized') break;
      if (event.type === 'missed') {
        expect(event.of).toBe('barrier');
        missed += event.count;
        next += event.count;
      } else {
        expect(event.number).toBe(next++);
      }
    }
    expect(next).toBe(batches * batch);
    expect(missed).toBeGreaterThan(0);
    expect(next - missed).toBeGreaterThanOrEqual(maxWaiting);
  });
});

describe('unidentified connections', () => {
  it('that come without end displace no events of ranks', async () => {
    await using server = await PmiServer.listen({ size: 1, address: 'tcp' });
    const events = server.events();
    const count = maxWaiting + 1000;
    await runHostileClient({
      target: targetOf(server.address!),
      behaviour: 'send and close',
      text: 'cmd=get\n',
      count,
    });
    await using pmi = await PmiClient.fromEnv({ env: server.env(0) });
    await pmi.barrier();
    await pmi.finalize();
    const { rejected } = await server.status();
    await server.close();
    const seen: PmiEvent[] = [];
    for await (const event of events) seen.push(event);
    const missed = seen.find(({ type }) => type === 'missed');
    expect(missed).toMatchObject({ of: 'rejected' });
    expect(seen.filter(({ type }) => type === 'rejected').length + (missed as { count: number }).count).toBe(
      rejected,
    );
    expect(seen.map(({ type }) => type).filter((type) => type !== 'rejected' && type !== 'missed')).toEqual([
      'connected',
      'initialized',
      'barrier',
      'finalized',
      'disconnected',
    ]);
  });
});

it('the server option kvsLimit limits the keys and values', async () => {
  await using server = await PmiServer.listen({ size: 1, address: 'unix', kvsLimit: 10_000 });
  await using pmi = await PmiClient.fromEnv({ env: server.env(0) });
  const value = 'v'.repeat(1000);
  let stored = 0;
  const fill = async (): Promise<void> => {
    for (; stored < 100; stored++) await pmi.put(`key-${stored}`, value);
  };
  await expect(fill()).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: 2 });
  expect(stored).toBe(8);
  await expect(PmiServer.listen({ size: 1, kvsLimit: 0 })).rejects.toMatchObject({ code: 'ERR_PMI_OPTION' });
});
