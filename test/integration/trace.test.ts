/** Recordings of PMI messages: that they are whole, mask secrets, and hold up no rank; and `wireup trace`, which reads them. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { launch, PmiServer } from '../../dist/index.js';
import {
  bytesOf,
  isMessage,
  RecordingParser,
  type EventRecord,
  type MessageRecord,
  type RecordingHeader,
  type TraceRecord,
} from '../../lib/trace/format';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { lines, Run, run, toolLines, transports, wireup, wireupRun } from '../support/run';
import { expectPlayed } from '../support/replays';
import { parseTranscripts } from '../support/transcript';

vi.setConfig({ testTimeout: 90_000 });

const folder = mkdtempSync(join(tmpdir(), 'trace-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (suffix = '.jsonl'): string => join(folder, `${++files}${suffix}`);
const compiler = needs('cc');

function parse(content: string | Buffer): { header: RecordingHeader; records: TraceRecord[] } {
  const parser = new RecordingParser('recording');
  const records = [...parser.push(Buffer.from(content as string))];
  parser.end();
  return { header: parser.header!, records };
}
const read = (file: string): ReturnType<typeof parse> => parse(readFileSync(file));

const messagesOf = (records: TraceRecord[], rank: number, dir: 'C' | 'S'): MessageRecord[] =>
  records.filter(isMessage).filter((record) => record.rank === rank && record.dir === dir);
const eventsOf = (records: TraceRecord[]): EventRecord[] =>
  records.filter((record): record is EventRecord => !isMessage(record));

describe.skipIf(compiler.missing)(`wireup run --trace${compiler.note}`, () => {
  test.each(transports)('records every message of every rank, --pmi %s', async (transport) => {
    const file = newFile();
    const result = await run(wireupRun(3, transport, '--trace-file', file, program('raw_exchange')));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const { header, records } = read(file);
    expect(header).toMatchObject({ wireupTrace: 1, by: 'wireup run', size: 3 });
    expect(Math.abs(header.start / 1000 - Date.now())).toBeLessThan(90_000);
    for (const rank of [0, 1, 2]) {
      const sent = messagesOf(records, rank, 'C').map(({ text }) => text);
      expect(sent.filter((text) => text!.startsWith('cmd=get kvs'))).toHaveLength(3);
      expect(sent.at(-1)).toBe('cmd=finalize');
      expect(messagesOf(records, rank, 'S').at(-1)).toMatchObject({ text: 'cmd=finalize_ack' });
      expect(eventsOf(records).filter((event) => event.rank === rank)).toMatchObject([
        { event: 'connected' },
        { event: 'closed' },
      ]);
      const times = records.filter((record) => record.rank === rank).map(({ t }) => t);
      expect(times).toEqual([...times].sort((a, b) => a - b));
    }
  });

  test.each(['tcp', 'unix'] as const)(
    'masks each PMI_ID unless it is asked for, --pmi %s',
    async (transport) => {
      const secret = /^cmd=initack pmiid=\d+$/;
      const identify = async (...options: string[]): Promise<MessageRecord[]> => {
        const file = newFile();
        const result = await run(
          wireupRun(2, transport, '--trace-file', file, ...options, program('raw_exchange')),
        );
        expect(result).toMatchObject({ code: 0, stderr: '' });
        return read(file)
          .records.filter(isMessage)
          .filter(({ text }) => text?.startsWith('cmd=initack pmiid'));
      };
      const masked = await identify();
      expect(masked).toHaveLength(2);
      for (const record of masked)
        expect(record).toMatchObject({ text: 'cmd=initack pmiid=***', masked: true });
      const kept = await identify('--trace-secrets');
      expect(kept).toHaveLength(2);
      for (const record of kept) {
        expect(record.text).toMatch(secret);
        expect(record).not.toHaveProperty('masked');
      }
    },
  );

  test('writes lines to stderr, of the ranks that are named', async () => {
    const result = await run(wireup('run', '-n', '3', '--trace=0,2', program('raw_exchange')));
    expect(result.code).toBe(0);
    const traced = lines(result.stderr);
    expect(traced.length).toBeGreaterThan(20);
    for (const line of traced)
      expect(line).toMatch(/^\d+\.\d{6} [02]: (?:[CS]: cmd=\S.*|connected fd|closed)$/);
    expect(result.stderr).toContain(' 2: C: cmd=put kvsname=');
  });

  test('writes text to a file whose name does not end in .json or .jsonl', async () => {
    const file = newFile('.txt');
    const result = await run(wireup('run', '--trace', '--trace-file', file, program('raw_exchange')));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(lines(readFileSync(file, 'utf8'))[1]).toMatch(
      /^\d\.\d{6} 0: C: cmd=init pmi_version=1 pmi_subversion=1$/,
    );
  });

  test('names the host of each record, if the job has several', async () => {
    const file = newFile();
    const result = await run(
      wireup(
        ...['run', '--hosts', 'a:2,b:2', '--launcher', 'fork', '-n', '4', '--trace-file', file],
        program('raw_exchange'),
      ),
    );
    expect(result.code).toBe(0);
    const { records } = read(file);
    for (const rank of [0, 1, 2, 3]) {
      expect(messagesOf(records, rank, 'C').at(-1)).toMatchObject({ text: 'cmd=finalize' });
      const hosts = new Set(messagesOf(records, rank, 'C').map(({ host }) => host));
      expect(hosts.size).toBe(1);
    }
    expect(new Set(records.map(({ host }) => host)).size).toBe(2);
  });

  test('reports a file that cannot be written, and does not start the job', async () => {
    const result = await run(wireup('run', '--trace-file', '/nonexistent/x.jsonl', 'echo', 'started'));
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toBe(
      'wireup: --trace-file: /nonexistent/x.jsonl: no such file or directory (see --help)\n',
    );
  });

  test('refuses a FIFO without a reader, and writes to one with a reader', async () => {
    const fifo = newFile('.txt');
    const words = wireup('run', '--trace-file', fifo, 'echo', 'started');
    const alone = await run(['sh', '-c', 'mkfifo "$0" && "$@"', fifo, ...words]);
    expect(alone).toMatchObject({ code: 2, stdout: '' });
    expect(alone.stderr).toMatch(/^wireup: --trace-file: .*: no such device or address/);
    // The shell is a reader too, until cat has opened it.
    const { code, stdout, stderr } = await run([
      ...['sh', '-c', 'exec 4<>"$0"; cat "$0" >&2 4<&- & "$@"; exec 4<&-; wait'],
      ...[fifo, ...words],
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'started\n' });
    expect(stderr).toMatch(/\bconnected\b/);
  });

  test('a reader of stderr that does not read delays no rank', async () => {
    const fifo = newFile('.fifo');
    // Its only reader is the shell, which does not read.
    const script = 'mkfifo "$0"; exec 4<>"$0"; "$@" 2>"$0" 4<&-; echo "code $?"';
    const job = wireup('run', '-n', '64', '--trace', program('raw_exchange'));
    const result = await run(['bash', '-c', script, fifo, ...job], { deadline: 60_000 });
    expect(result.stdout).toContain('code 0\n');
    expect(lines(result.stdout).filter((line) => line.endsWith('of 64 ok'))).toHaveLength(64);
  });
});

/** A stream that takes nothing until open() is called. */
class Gate extends Writable {
  content = '';
  #waiting: (() => void) | undefined;
  #open = false;

  open(): void {
    this.#open = true;
    this.#waiting?.();
  }

  override _write(chunk: Buffer, _: string, done: () => void): void {
    const take = (): void => {
      this.content += chunk.toString();
      done();
    };
    if (this.#open) take();
    else this.#waiting = take;
  }
}

describe.skipIf(compiler.missing)(`launch({ trace })${compiler.note}`, () => {
  test('256 ranks wait for no reader of the recording; what is dropped is counted', async () => {
    const to = new Gate();
    const job = await launch({
      program: program('raw_exchange'),
      ranks: 256,
      stdout: 'ignore',
      trace: { to },
    });
    // The reader takes nothing until every rank has ended.
    expect((await job.result).exitCode).toBe(0);
    to.open();
    const { records: written, dropped, error } = (await job.traced)!;
    expect(error).toBeUndefined();
    expect(dropped).toBeGreaterThan(0);
    const { records } = parse(to.content);
    const gaps = eventsOf(records).filter(({ event }) => event === 'dropped');
    expect(gaps.reduce((sum, { count }) => sum + count!, 0)).toBe(dropped);
    expect(records.length - gaps.length).toBe(written);
  });

  test('a stream that fails ends the recording, not the job', async () => {
    const to = new Writable({ write: (_, __, done) => done(new Error('no space')) });
    const job = await launch({ program: program('raw_exchange'), ranks: 2, stdout: 'ignore', trace: { to } });
    expect((await job.result).exitCode).toBe(0);
    expect(await job.traced).toMatchObject({ error: { message: 'no space' } });
  });

  test.each([
    [{ to: 5 }, 'trace.to: expected the path of a file, or a stream, got 5'],
    [{ to: 'x', ranks: [] }, 'trace.ranks: expected at least one rank, got []'],
    [{ to: 'x', form: 'xml' }, "trace.form: expected 'json' or 'text', got 'xml'"],
    [{ to: 'x', rank: 1 }, 'trace.rank: expected one of the options to, form, ranks, secrets, by, got 1'],
  ])('%j is an error', async (trace, message) => {
    await expect(launch({ program: 'true', ranks: 1, trace: trace as never })).rejects.toMatchObject({
      code: 'ERR_PMI_OPTION',
      message,
    });
  });
});

describe('PmiServer.listen({ trace })', () => {
  /** Sends bytes on the channel of rank 0, and returns the recording when the server has closed it or is closed. */
  async function record(sent: Buffer): Promise<{ records: TraceRecord[]; received: Buffer }> {
    const to = new Gate();
    to.open();
    const server = await PmiServer.listen({ size: 1, trace: { to } });
    const socket = new Socket({ fd: server.channel(0).fd });
    const received: Buffer[] = [];
    socket.on('data', (data) => received.push(data));
    socket.on('error', () => {});
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.end(sent);
    await ended;
    await server.close();
    await server.traced;
    return { records: parse(to.content).records, received: Buffer.concat(received) };
  }

  test.each([
    ['lines', Buffer.from('cmd=init pmi_version=1 pmi_subversion=1\ncmd=get_maxes\ncmd=finalize\n')],
    [
      'frames',
      Buffer.from('cmd=init pmi_version=2 pmi_subversion=0\n    13cmd=finalize;13    cmd=finalize;'),
    ],
    ['bytes that are not UTF-8', Buffer.from('cmd=\xff\xfe\0\n\n\r\n', 'latin1')],
    ['a line without an end', Buffer.from('cmd=init pmi_ver')],
    ['a line that is too long', Buffer.concat([Buffer.alloc(5000, 'x'), Buffer.from('\ncmd=x\n')])],
    ['a frame with an invalid length', Buffer.from('cmd=init pmi_version=2 pmi_subversion=0\nabcdefgh\n')],
  ])('every byte of %s can be rebuilt', async (_, sent) => {
    const { records, received } = await record(sent);
    const rebuilt = (dir: 'C' | 'S'): Buffer => Buffer.concat(messagesOf(records, 0, dir).map(bytesOf));
    // The server may stop to read at what it cannot parse.
    const client = rebuilt('C');
    expect(client).toEqual(sent.subarray(0, client.length));
    expect(client.length).toBeGreaterThan(Math.min(sent.length - 1, 2048));
    expect(rebuilt('S')).toEqual(received);
  });
});

describe('wireup trace', () => {
  const header = JSON.stringify({ wireupTrace: 1, start: 1_000_000, by: 'test', size: 2 });
  const write = (...records: object[]): string => {
    const file = newFile();
    writeFileSync(file, [header, ...records.map((record) => JSON.stringify(record))].join('\n') + '\n');
    return file;
  };
  const message = (t: number, rank: number, dir: 'C' | 'S', text: string): object => ({
    ...{ t, group: 0, rank, dir, wire: '1', text },
  });
  const exchange = [
    message(10, 0, 'C', 'cmd=barrier_in'),
    message(500_010, 1, 'C', 'cmd=barrier_in'),
    message(500_020, 0, 'S', 'cmd=barrier_out'),
    message(500_020, 1, 'S', 'cmd=barrier_out'),
    message(500_100, 1, 'C', 'cmd=get kvsname=kvs key=card-7'),
    message(500_107, 1, 'S', 'cmd=get_result rc=-1 msg=key_not_found'),
  ];
  const trace = async (...args: string[]): Promise<string> => {
    const result = await run(wireup('trace', ...args));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return result.stdout;
  };

  test('merges recordings by their absolute times', async () => {
    const late = newFile();
    writeFileSync(
      late,
      [
        JSON.stringify({ wireupTrace: 1, start: 1_400_000, by: 'test' }),
        JSON.stringify(message(5, 2, 'C', 'cmd=get_maxes')),
        JSON.stringify({ t: 200_000, group: 1, rank: 3, event: 'closed', lost: true }),
        JSON.stringify({ t: 100_000, group: 0, conn: 4, event: 'refused', reason: 'why\n', uid: 7 }),
      ].join('\n') + '\n',
    );
    expect(lines(await trace(late, write(...exchange)))).toEqual([
      '0.000010 0: C: cmd=barrier_in',
      '0.400005 2: C: cmd=get_maxes',
      '0.500000 ?4: refused uid 7: why\\n',
      '0.500010 1: C: cmd=barrier_in',
      '0.500020 0: S: cmd=barrier_out',
      '0.500020 1: S: cmd=barrier_out',
      '0.500100 1: C: cmd=get kvsname=kvs key=card-7',
      '0.500107 1: S: cmd=get_result rc=-1 msg=key_not_found',
      '0.600000 1.3: closed without finalize',
    ]);
  });

  test('shows only what is asked for', async () => {
    const file = write(...exchange);
    expect(lines(await trace(file, '--rank', '0'))).toHaveLength(2);
    expect(lines(await trace(file, '-c', 'get'))).toEqual([
      '0.500100 1: C: cmd=get kvsname=kvs key=card-7',
      '0.500107 1: S: cmd=get_result rc=-1 msg=key_not_found',
    ]);
    expect(await trace(file, '--errors')).toBe(await trace(file, '--command', 'get'));
    const json = lines(await trace(file, '--json', '--rank', '0')).map((line) => JSON.parse(line) as object);
    expect(json).toEqual([exchange[0], exchange[2]]);
  });

  test('names the rule that a message breaks, and the side that breaks it', async () => {
    const file = write(
      message(1, 0, 'C', 'cmd=put kvsname=kvs value=x'),
      message(2, 0, 'S', 'cmd=get_result rc=0 msg=success value=x'),
      message(3, 0, 'C', 'cmd=do_nothing'),
      message(4, 0, 'C', `cmd=get kvsname=kvs key=${'k'.repeat(64)}`),
      { ...message(5, 0, 'S', 'abc'), wire: 'raw' },
    );
    const found = lines(await trace(file, '--errors')).flatMap(
      (line) => /^ {6}rule (\S+)/.exec(line)?.[1] ?? [],
    );
    // The reply to a request that breaks a rule may be anything.
    expect(found).toEqual(['C1-MESSAGE-3', 'C1-PUT-1', 'C1-MESSAGE-3', 'C1-MESSAGE-2', 'P1-MESSAGE-1']);
  });

  test('--summary names the rank that came last to a barrier, and the keys that were missing', async () => {
    const file = write(...exchange, { t: 600_000, group: 0, event: 'dropped', count: 12 });
    const text = await trace(file, '--summary');
    expect(text).toContain('barrier 0: rank 1 came last of 2, 500.000 ms after the one before it');
    expect(text).toContain('card-7: asked for 1 time, first by rank 1\n');
    expect(text).toContain('12 records are missing in the recordings\n');
    expect(text).toMatch(/^ {2}get +1 +1 +7 µs +7 µs +1$/m);
    const summary = JSON.parse(await trace(file, '--summary', '--json')) as object;
    expect(summary).toMatchObject({
      ranks: 2,
      messages: 6,
      dropped: 12,
      commands: [
        { command: 'barrier_in', count: 2, errors: 0, slowest: 500_010, slowestRank: '0' },
        { command: 'get', count: 1, errors: 1, median: 7, slowest: 7, slowestRank: '1' },
      ],
      barriers: [{ group: 0, barrier: 0, ranks: 2, last: '1', lateness: 500_000, spread: 500_000 }],
      missingKeys: [{ key: 'card-7', count: 1, firstRank: '1' }],
    });
  });

  test('--timeline writes a slice for each request', async () => {
    const file = newFile('.json');
    await trace(write(...exchange), '--timeline', file);
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as { traceEvents: object[] };
    expect(traceEvents).toContainEqual(
      expect.objectContaining({ name: 'barrier_in', ph: 'X', ts: 10, dur: 500_010, pid: 0, tid: 0 }),
    );
    expect(traceEvents).toContainEqual(
      expect.objectContaining({ name: 'thread_name', ph: 'M', pid: 0, tid: 1, args: { name: 'rank 1' } }),
    );
  });

  test('reports damage with its line, and shows what comes before it', async () => {
    const file = write(...exchange);
    writeFileSync(file, readFileSync(file).subarray(0, -5));
    const result = await run(wireup('trace', file, write(exchange[0]!)));
    expect(result).toMatchObject({
      code: 1,
      stderr: `wireup: ${file}:7: the recording ends in the middle of this line\n`,
    });
    expect(lines(result.stdout)).toHaveLength(6);
  });

  test.each([
    ['nothing', Buffer.alloc(0), ':1: the recording is empty'],
    [
      'binary',
      Buffer.from([0, 255, 10, 254]),
      ':1: this is not a recording of wireup: its first line is no header',
    ],
    ['a huge line', Buffer.alloc(50 << 20, 'x'), ':1: a line of more than 8388608 bytes'],
    [
      'a huge second line',
      Buffer.concat([Buffer.from(`${header}\n`), Buffer.alloc(50 << 20, '[')]),
      ':2: a line of more than 8388608 bytes',
    ],
  ])('a file with %s is a clear error', async (_, content, fault) => {
    const file = newFile();
    writeFileSync(file, content);
    expect(await run(wireup('trace', file))).toMatchObject({
      code: 1,
      stdout: '',
      stderr: `wireup: ${file}${fault}\n`,
    });
  });

  test('a folder is an error that names it', async () => {
    expect(await run(wireup('trace', folder))).toMatchObject({
      code: 1,
      stderr: `wireup: ${folder}: illegal operation on a directory\n`,
    });
  });

  test('a full disk behind the output is an error', async () => {
    const file = write(...exchange);
    const full = await run(['sh', '-c', '"$@" > /dev/full', 'sh', ...wireup('trace', file)]);
    expect(full.code).toBe(1);
    expect(full.stderr).toMatch(/^wireup: cannot write to stdout: no space left on device/);
    const timeline = await run(wireup('trace', file, '--timeline', '/dev/full'));
    expect(timeline.code).toBe(1);
    expect(timeline.stderr).toMatch(/^wireup: \/dev\/full: no space left on device/);
  });

  test.each([[], ['--json'], ['--summary'], ['--summary', '--json'], ['--errors'], ['--transcript']])(
    'no control character reaches a terminal: %j',
    async (...options) => {
      const hostile = '\u001b]0;x\u0007\u009b31m\u202e';
      const file = write(
        message(1, 0, 'C', `cmd=get kvsname=k key=${hostile}`),
        message(2, 0, 'S', `cmd=get_result rc=-1 msg=${hostile}`),
        message(3, 0, 'C', `cmd=${hostile}`),
        message(4, 0, 'C', `cmd=abort exitcode=1 message=${hostile}`),
        { t: 5, group: 0, event: 'refused', reason: hostile, peer: hostile },
        { ...message(6, 0, 'C', `cmd=spawn;subcmd=${hostile};`), wire: '2' },
      );
      // eslint-disable-next-line no-control-regex -- these are the characters
      expect(await trace(file, ...options)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    },
  );

  test('a file that does not exist is an error', async () => {
    const result = await run(wireup('trace', '/nonexistent'));
    expect(result.code).toBe(1);
    expect(result.stderr).toBe('wireup: /nonexistent: no such file or directory\n');
  });

  const raw = JSON.stringify({ ...message(1, 0, 'C', 'x'.repeat(100_000)), wire: 'raw' });
  const long = `cmd=put key=k value=${'v'.repeat(1_000_000)}`;
  const attributes = Array.from({ length: 500_000 }, (_, i) => `a${i}=1`).join(' ');
  test.each([
    ['raw bytes', 2000, (): string => raw],
    [
      'many keys',
      70_000,
      (i: number): string =>
        JSON.stringify(message(1, 0, 'C', `cmd=put key=${i}-${'k'.repeat(2000)} value=`)),
    ],
    ['requests without replies', 150, (i: number): string => JSON.stringify(message(1, i, 'C', long))],
    // From the second one on, each request comes before the reply to the one before it.
    [
      'requests that overlap',
      300,
      (i: number): string =>
        JSON.stringify(
          i === 0 || i % 2 === 1 ? message(1, 0, 'C', long) : message(1, 0, 'S', 'cmd=put_result rc=0'),
        ),
    ],
    ['many attributes', 3, (i: number): string => JSON.stringify(message(1, i, 'C', attributes))],
  ])('a recording that is hostile by its size (%s) takes bounded memory', async (_, count, line) => {
    const file = newFile();
    const descriptor = openSync(file, 'w');
    writeSync(descriptor, `${header}\n`);
    for (let i = 0; i < count; ++i) writeSync(descriptor, `${line(i)}\n`);
    closeSync(descriptor);
    const command = wireup('trace', file, '--summary', '--json');
    const result = await run(command, {
      environment: { NODE_OPTIONS: '--max-old-space-size=96' },
      deadline: 60_000,
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(result.stdout)).toMatchObject({ messages: count });
    rmSync(file);
  });

  describe.skipIf(compiler.missing)(`--transcript${compiler.note}`, () => {
    test.each(transports)('the recording of a job, --pmi %s, passes as a test', async (transport) => {
      const file = newFile();
      expect(await run(wireupRun(3, transport, '--trace-file', file, program('raw_exchange')))).toMatchObject(
        { code: 0 },
      );
      const page = await trace(file, '--transcript');
      const transcripts = parseTranscripts('recording', page);
      expect(transcripts).toHaveLength(1);
      expect(transcripts[0]!.size).toBe(3);
      expect(transcripts[0]!.lines.length).toBeGreaterThan(40);
      await expectPlayed([file]);
    });
  });
});

test('wireup serve --trace records too', async () => {
  const file = newFile();
  const address = `unix://@wireup-trace-test-${process.pid}`;
  const server = new Run(wireup('serve', '-n', '1', '--address', address, '--json', '--trace-file', file));
  await server.until(({ stdout }) => stdout.endsWith('\n'));
  const { ranks } = JSON.parse(server.stdout) as { ranks: { env: Record<string, string> }[] };
  expect(await run(wireup('exchange'), { environment: ranks[0]!.env })).toMatchObject({ code: 0 });
  expect(await server.done).toMatchObject({ code: 0, stderr: '' });
  const { header, records } = read(file);
  expect(header).toMatchObject({ by: 'wireup serve', size: 1 });
  expect(messagesOf(records, 0, 'C').at(0)).toMatchObject({ text: 'cmd=initack pmiid=***', masked: true });
  expect(messagesOf(records, 0, 'S').at(-1)).toMatchObject({ text: 'cmd=finalize_ack' });
  await expectPlayed([file]);
});

test('invalid requests are reported on stderr: one line each second, or all with -v', async () => {
  const script =
    'ask() { printf "$1\\n" >&$PMI_FD; read -r _ <&$PMI_FD; }; ask "cmd=init pmi_version=1 pmi_subversion=1"; ' +
    'ask cmd=bad1; ask cmd=bad2; ask cmd=bad3; ask cmd=finalize';
  const report = async (...options: string[]): Promise<string[]> => {
    const result = await run(wireup('run', ...options, 'bash', '-c', script));
    expect(result.code).toBe(0);
    return toolLines(result.stderr).filter((line) => line.includes('bad'));
  };
  const paced = await report();
  expect(paced[0]).toBe('wireup: rank 0 sent an invalid PMI request: bad1: unknown_command');
  expect(paced).toHaveLength(2);
  expect(paced[1]).toContain('2 more invalid PMI requests, the last: ');
  expect(await report('-v')).toHaveLength(3);
});
