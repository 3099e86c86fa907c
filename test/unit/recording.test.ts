/** The form of recordings (docs/trace.md). */
import { expect, test } from 'vitest';
import {
  bytesOf,
  MAX_RECORDING_LINE,
  payloadOf,
  recordingLine,
  RecordingParser,
  type MessageRecord,
  type RecordingHeader,
  type TraceRecord,
} from '../../lib/trace/format';

const header: RecordingHeader = { wireupTrace: 1, start: 1_700_000_000_000_000, by: 'wireup run' };
const put: MessageRecord = {
  t: 5,
  group: 0,
  rank: 3,
  dir: 'C',
  wire: '1',
  text: 'cmd=put key=k value=中文',
};
const closed: TraceRecord = { t: 9, group: 1, rank: 0, host: 'n1', event: 'closed', lost: true };

function parse(content: string | Buffer, piece = Infinity): { records: TraceRecord[]; fault?: string } {
  const bytes = Buffer.from(content as string);
  const parser = new RecordingParser('r.jsonl');
  const records: TraceRecord[] = [];
  try {
    for (let at = 0; at < bytes.length; at += piece) {
      for (const record of parser.push(bytes.subarray(at, Math.min(bytes.length, at + piece))))
        records.push(record);
    }
    parser.end();
    return { records };
  } catch (error) {
    return { records, fault: (error as Error).message };
  }
}

const whole = [header, put, closed].map(recordingLine).join('');

test('members that are not known are not kept', () => {
  expect(parse(recordingLine(header) + recordingLine({ ...closed, later: 'x' } as TraceRecord))).toEqual({
    records: [closed],
  });
});

test('a recording as text is named so', () => {
  expect(parse('0.031220 1.3: C: cmd=init\n').fault).toContain('r.jsonl:1: this is a recording as text');
});

test.each([1, 7, Infinity])('what is written is read, in pieces of %d bytes', (piece) => {
  expect(parse(whole, piece)).toEqual({ records: [put, closed] });
});

test.each<[string, Partial<MessageRecord>, string]>([
  ['a line', { wire: '1' }, 'cmd=get\n'],
  ['a frame', { wire: '2' }, '     7cmd=get'],
  ['a frame with blanks on the right of its length', { wire: '2', length: '7     ' }, '7     cmd=get'],
  ['other bytes', { wire: 'raw' }, 'cmd=get'],
])('the bytes of %s', (_, members, expected) => {
  const record: MessageRecord = { t: 0, group: 0, dir: 'C', wire: '1', text: 'cmd=get', ...members };
  expect(bytesOf(record).toString('latin1')).toBe(expected);
});

test.each([
  [Buffer.from('cmd=put value=中文\0\u001b[2J'), 'text'],
  [Buffer.from('\ufeffx'), 'text'],
  [Buffer.from([0x63, 0xff, 0x00]), 'base64'],
  [Buffer.alloc(0), 'text'],
])('the bytes %j are carried as %s and come back', (bytes, member) => {
  const payload = payloadOf(bytes);
  expect(Object.keys(payload)).toEqual([member]);
  const record = { t: 0, group: 0, dir: 'S', wire: 'raw', ...payload } as MessageRecord;
  const { records } = parse(recordingLine(header) + recordingLine(record));
  expect(bytesOf(records[0] as MessageRecord)).toEqual(bytes);
});

const head = recordingLine(header);
test.each([
  ['', 'r.jsonl:1: the recording is empty'],
  ['hello\n', 'r.jsonl:1: this is not a recording of wireup: its first line is no header'],
  ['\0\xff\n', 'r.jsonl:1: this is not a recording of wireup: its first line is no header'],
  ['{"wireupTrace":2,"start":0,"by":""}\n', 'r.jsonl:1: wireupTrace: expected 1'],
  [
    '{"wireupTrace":1,"start":-1,"by":""}\n',
    'r.jsonl:1: start: expected a whole number from 0 to 9007199254740991',
  ],
  [`${head}[]\n`, 'r.jsonl:2: expected a JSON object'],
  [`${head}{"t":1\n`, 'r.jsonl:2: expected a JSON object'],
  [head + head, 'r.jsonl:2: a second header: name each recording as a file of its own'],
  [
    `${head}{"t":1,"group":0,"rank":1.5,"dir":"C","wire":"1","text":""}\n`,
    'r.jsonl:2: rank: expected a whole number from 0 to 4294967295',
  ],
  [`${head}{"t":1,"group":0,"dir":"X","wire":"1","text":""}\n`, 'r.jsonl:2: dir: expected "C" or "S"'],
  [`${head}{"t":1,"group":0,"dir":"C","wire":"1"}\n`, 'r.jsonl:2: expected either text or base64'],
  [`${head}{"t":1,"group":0,"dir":"C","wire":"1","base64":"*"}\n`, 'r.jsonl:2: base64: expected base64'],
  [
    `${head}{"t":1,"group":0,"dir":"C","wire":"2","text":"","length":"7"}\n`,
    'r.jsonl:2: length: expected a number in six characters',
  ],
  [`${head}{"group":0,"event":"closed"}\n`, 'r.jsonl:2: t: missing'],
  [
    `${head}{"t":1,"group":0,"event":"toString"}\n`,
    'r.jsonl:2: event: expected "connected" or "refused" or "closed" or "protocol-error" or "dropped"',
  ],
])('the recording %j is an error with its line', (content, fault) => {
  expect(parse(content).fault).toBe(fault);
});

test('the records before a fault are read', () => {
  expect(parse(whole.slice(0, -3))).toEqual({
    records: [put],
    fault: 'r.jsonl:3: the recording ends in the middle of this line',
  });
});

test('a line without an end is refused as soon as it is too long', () => {
  const parser = new RecordingParser('r.jsonl');
  const piece = Buffer.alloc(1 << 20, 'x');
  let pushed = 0;
  expect(() => {
    for (; pushed < 100; pushed++) Array.from(parser.push(piece));
  }).toThrow(`r.jsonl:1: a line of more than ${MAX_RECORDING_LINE} bytes`);
  expect(pushed).toBe(8);
});
