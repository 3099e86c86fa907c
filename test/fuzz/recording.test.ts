/**
 * Hostile recordings: what `wireup trace` and `wireup replay` read them with returns records, or throws a RecordingError that
 * names the file and the line, and nothing else. The mutations are the same in each run.
 */
import { afterAll, expect, test } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { isMessage, recordingLine, readRecording, RecordingError } from '../../lib/trace/format';
import { RecordingJudge } from '../../lib/trace/judge';
import { mergeRecordings } from '../../lib/trace/merge';
import { Conversation, type EventStep, type Step } from '../../lib/trace/messages';
import { showMark, showRecord } from '../../lib/trace/show';
import { describeSummary, Summarizer } from '../../lib/trace/summary';
import { Timeline } from '../../lib/trace/timeline';
import { Transcripts } from '../../lib/trace/transcript';
import { recordingOf } from '../support/judged';
import { long } from '../support/long';
import { generator } from '../support/random';
import { readTranscripts } from '../support/transcript';

const folder = mkdtempSync(join(tmpdir(), 'recording-fuzz-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'r.jsonl');

const header = recordingLine({ wireupTrace: 1, start: 0, by: 'test', size: 2 });
const sources = readTranscripts()
  .filter(({ lines }) => lines.length < 40)
  .map((transcript) => Buffer.from(header + recordingOf(transcript).map(recordingLine).join('')));

/** Reads as `wireup trace` does, in each of its forms, and returns the fault. */
async function read(content: Buffer): Promise<string | undefined> {
  writeFileSync(file, content);
  const faults: Error[] = [];
  const merged = await mergeRecordings([file], (error) => faults.push(error));
  const [conversation, judge, summarizer, timeline, transcripts] = [
    new Conversation(),
    new RecordingJudge(),
    new Summarizer(),
    new Timeline(),
    new Transcripts(merged.headers),
  ];
  for await (const record of merged.records) {
    const step: Step | EventStep = conversation.follow(record);
    const marks = judge.follow(step);
    summarizer.add(step, marks);
    timeline.add(step);
    transcripts.add(step);
    for (const line of [showRecord(step.record, step.at), ...marks.map(showMark)])
      // eslint-disable-next-line no-control-regex -- no such byte may reach a terminal
      expect(line).not.toMatch(/[\x00-\x1f\x7f]/);
  }
  describeSummary(summarizer.summary);
  Array.from(transcripts.page());
  // The reader of `wireup replay`.
  let direct: unknown;
  try {
    for await (const record of readRecording(file)) if ('group' in record) isMessage(record);
  } catch (error) {
    direct = error;
  }
  expect(faults).toHaveLength(direct === undefined ? 0 : 1);
  if (faults[0] === undefined) return undefined;
  if (!(faults[0] instanceof RecordingError)) throw faults[0];
  const lines = content.toString('latin1').split('\n').length;
  const { file: named, line, message } = faults[0];
  expect([named, message.startsWith(`${file}:${line}: `)]).toEqual([file, true]);
  expect(line).toBeGreaterThanOrEqual(1);
  expect(line).toBeLessThanOrEqual(lines);
  return message;
}

test('the recordings that are mutated are valid', async () => {
  for (const source of sources) expect(await read(source)).toBeUndefined();
});

test('a recording that ends at any byte is an error, unless it ends with a line', async () => {
  const source = sources.find(({ length }) => length > 1000 && length < 2000)!;
  for (let end = 0; end < source.length; ++end) {
    const content = source.subarray(0, end);
    const isWhole = content.at(-1) === 0x0a;
    expect((await read(content)) === undefined).toBe(isWhole);
  }
});

// A recording is read in two milliseconds of processor time.
const [mutations, timeout] = long ? [50_000, 1_200_000] : [600, 60_000];

test('flipped, removed, repeated and exchanged bytes', { timeout }, async () => {
  const next = generator(1);
  for (let i = 0; i < mutations; ++i) {
    const content = Buffer.from(sources[next(sources.length)]!);
    for (let n = 1 + next(4); n > 0; --n) content[next(content.length)]! ^= 1 << next(8);
    const [from, to] = [next(content.length), next(content.length)];
    const changed = [
      content,
      Buffer.concat([content.subarray(0, from), content.subarray(to)]),
      Buffer.concat([content.subarray(0, from), Buffer.from([next(256)]), content.subarray(from)]),
    ];
    await read(changed[next(changed.length)]!);
  }
});

const values: unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e300,
  2 ** 53,
  '',
  'x',
  '\0\u001b[2J',
  [],
  {},
  [[]],
  { toString: 1 },
];
const lines: object[] = [
  { t: 1, group: 0, rank: 0, conn: 1, host: 'h', dir: 'C', wire: '1', text: 'cmd=init', masked: true },
  { t: 1, group: 0, rank: 0, dir: 'S', wire: '2', base64: 'eA==', length: '     1' },
  { t: 1, group: 0, event: 'refused', reason: 'r', peer: 'p', uid: 1, pid: 1, lost: true, count: 1 },
  { wireupTrace: 1, start: 0, by: 'b', version: 'v', host: 'h', size: 1 },
];

test.each<object>(lines)('each value in each member of %j', async (line) => {
  const isHeader = 'wireupTrace' in line;
  for (const name of [...Object.keys(line), '__proto__', 'constructor']) {
    for (const value of values) {
      const text = JSON.stringify(Object.fromEntries([...Object.entries(line), [name, value]]));
      const fault = await read(Buffer.from(isHeader ? `${text}\n` : `${header}${text}\n`));
      // No member may be a list or an object, except those that are not known.
      const isKnown = Object.hasOwn(line, name);
      if (isKnown && typeof value === 'object') expect(fault).toContain(`:${isHeader ? 1 : 2}: ${name}: `);
    }
  }
});

test.each([
  ['deep JSON', Buffer.from(`${header}${'['.repeat(1 << 20)}\n`)],
  ['deep JSON in a member', Buffer.from(`${header}{"t":1,"group":0,"x":${'{"x":'.repeat(100_000)}\n`)],
  ['a line that is too long', Buffer.concat([Buffer.from(header), Buffer.alloc((8 << 20) + 1, 'x')])],
  [
    'a line that is not UTF-8',
    Buffer.concat([Buffer.from(header), Buffer.from('{"t":1,"x":"\xff"}\n', 'latin1')]),
  ],
  [
    'a name that is too long',
    Buffer.from(`${header}${JSON.stringify({ t: 1, group: 0, event: 'closed', host: 'h'.repeat(5000) })}\n`),
  ],
  ['NUL bytes', Buffer.concat([Buffer.from(header), Buffer.alloc(1000), Buffer.from('\n')])],
  ['a byte order mark', Buffer.from(`\ufeff${header}`)],
])('%s is an error with its line', async (name, content) => {
  expect(await read(content)).toContain(name === 'a byte order mark' ? `${file}:1: ` : `${file}:2: `);
});
