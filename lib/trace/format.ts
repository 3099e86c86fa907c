/**
 * The form of recordings: JSON lines, which docs/trace.md describes. `wireup run --trace`, `wireup serve --trace` and
 * `wireup tap` write it (the C++ writer is native/wire/recording.h), `wireup trace` and `wireup replay` read it.
 *
 * Recordings may come from anywhere, so the reader trusts nothing: it keeps one line at a time, a line has a limit, and
 * everything that is wrong is a `RecordingError` that names the file and the line.
 */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { systemWords } from '../system-words';

/** The version of the form, in each header. */
export const RECORDING_VERSION = 1;

/**
 * The longest line in bytes. The longest message, a PMI-2 frame of 999,999 bytes, takes less than 6 MB even if JSON has to
 * escape each byte of it.
 */
export const MAX_RECORDING_LINE = 8 << 20;

/** The first line of a recording. */
export interface RecordingHeader {
  wireupTrace: typeof RECORDING_VERSION;
  /** When t is 0: microseconds since 1970. */
  start: number;
  /** What has recorded: `wireup run`, `wireup serve`, `wireup tap` or another program. */
  by: string;
  /** The version of what has recorded. */
  version?: string;
  /** The name of the host that has recorded. */
  host?: string;
  /** The number of ranks of process group 0. */
  size?: number;
}

/** C: from the client. S: from the server. */
export type Direction = 'C' | 'S';

/**
 * How the bytes of a message are delimited. `1`: a line of PMI-1, which ends with a newline. `2`: a frame of PMI-2, which
 * begins with its length in six characters. `raw`: bytes that are neither: a line or frame that is not complete, is too
 * long, or has an invalid length.
 */
export type Wire = '1' | '2' | 'raw';

/** The members that all records have. */
export interface RecordBase {
  /** Microseconds since the header's start. */
  t: number;
  /** The number of the process group; 0 was launched. */
  group: number;
  /** The rank; absent: a connection that has not identified itself. */
  rank?: number;
  /**
   * The number of the connection, while its rank is not known, and in `connected`, when it becomes known. Another connection
   * may have the number later.
   */
  conn?: number;
  /** The host of the server; absent: that of the header. */
  host?: string;
}

/** A message that has crossed. */
export interface MessageRecord extends RecordBase {
  dir: Direction;
  wire: Wire;
  /** The message without its newline or its length, if that is valid UTF-8. Otherwise `base64` has it. */
  text?: string;
  base64?: string;
  /** wire 2: the six characters of the length, if they are not the length with blanks on the left. */
  length?: string;
  /** Secrets in the message have been replaced by `***`. */
  masked?: true;
}

/** What can happen to a connection, beside messages. */
export const traceEvents = ['connected', 'refused', 'closed', 'protocol-error', 'dropped'] as const;

/**
 * connected: the server has a connection of the rank. refused: the server has refused a connection. closed: the rank's
 * connection has ended. protocol-error: the server has found an invalid request. dropped: records are missing here, because
 * their reader was slow.
 */
export type TraceEvent = (typeof traceEvents)[number];

/** Something that has happened to a connection. */
export interface EventRecord extends RecordBase {
  event: TraceEvent;
  /** refused, protocol-error: why. closed: why the server has closed it; absent: the client has. */
  reason?: string;
  /** connected, refused: the address, the uid and the process id of the peer, as far as they are known. */
  peer?: string;
  uid?: number;
  pid?: number;
  /** closed: the rank has not finalized. */
  lost?: true;
  /** dropped: how many records. */
  count?: number;
}

/** One line of a recording after the header. */
export type TraceRecord = MessageRecord | EventRecord;

/** A recording is invalid. The message names the file and the line. */
export class RecordingError extends Error {
  /** The file. */
  readonly file: string;
  /** The line, from 1. */
  readonly line: number;

  constructor(file: string, line: number, fault: string) {
    super(`${file}:${line}: ${fault}`);
    this.name = 'RecordingError';
    this.file = file;
    this.line = line;
  }
}

/** Whether the record is a message. */
export function isMessage(record: TraceRecord): record is MessageRecord {
  return 'dir' in record;
}

// Writing

/** The line of a header or a record, with its newline. */
export function recordingLine(content: RecordingHeader | TraceRecord): string {
  return `${JSON.stringify(content)}\n`;
}

/** How a message carries these bytes: as text if they are valid UTF-8. */
export function payloadOf(bytes: Uint8Array): { text: string } | { base64: string } {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') };
  }
}

const NEWLINE = Buffer.from('\n');

/** The message without its newline or its length. */
export function contentOf(record: MessageRecord): Buffer {
  return record.text === undefined
    ? Buffer.from(record.base64 ?? '', 'base64')
    : Buffer.from(record.text, 'utf8');
}

/** The bytes that have crossed. If the record is masked, they have `***` in place of secrets. */
export function bytesOf(record: MessageRecord): Buffer {
  const content = contentOf(record);
  if (record.wire === 'raw') return content;
  if (record.wire === '1') return Buffer.concat([content, NEWLINE]);
  return Buffer.concat([Buffer.from(record.length ?? String(content.length).padStart(6)), content]);
}

// Reading

/** A member of an object: its check returns what was expected if the value is wrong. */
type Check = (value: unknown) => string | undefined;

const wholeNumber =
  (most: number): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most
      ? undefined
      : `a whole number from 0 to ${most}`;
const string: Check = (value) => (typeof value === 'string' ? undefined : 'a string');
const name: Check = (value) =>
  typeof value === 'string' && value.length <= MAX_NAME
    ? undefined
    : `a string of at most ${MAX_NAME} letters`;
const oneOf =
  (...allowed: readonly unknown[]): Check =>
  (value) =>
    allowed.includes(value) ? undefined : allowed.map((item) => JSON.stringify(item)).join(' or ');
const base64: Check = (value) =>
  typeof value === 'string' && value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value)
    ? undefined
    : 'base64';
const lengthText: Check = (value) =>
  typeof value === 'string' && value.length === 6 && /^ *\d+ *$/.test(value)
    ? undefined
    : 'a number in six characters';

const MAX_TIME = Number.MAX_SAFE_INTEGER;
const MAX_NUMBER = 0xffff_ffff;

/** Letters of a name; more than any host or address has. */
const MAX_NAME = 4096;

type Members = Record<string, { check: Check; required?: true }>;

const headerMembers: Members = {
  wireupTrace: { check: oneOf(RECORDING_VERSION), required: true },
  start: { check: wholeNumber(MAX_TIME), required: true },
  by: { check: name, required: true },
  version: { check: name },
  host: { check: name },
  size: { check: wholeNumber(MAX_NUMBER) },
};
const baseMembers: Members = {
  t: { check: wholeNumber(MAX_TIME), required: true },
  group: { check: wholeNumber(MAX_NUMBER), required: true },
  rank: { check: wholeNumber(MAX_NUMBER) },
  conn: { check: wholeNumber(MAX_NUMBER) },
  host: { check: name },
};
const messageMembers: Members = {
  ...baseMembers,
  dir: { check: oneOf('C', 'S'), required: true },
  wire: { check: oneOf('1', '2', 'raw'), required: true },
  text: { check: string },
  base64: { check: base64 },
  length: { check: lengthText },
  masked: { check: oneOf(true) },
};
const eventMembers: Members = {
  ...baseMembers,
  event: { check: oneOf(...traceEvents), required: true },
  reason: { check: string },
  peer: { check: name },
  uid: { check: wholeNumber(MAX_NUMBER) },
  pid: { check: wholeNumber(MAX_NUMBER) },
  lost: { check: oneOf(true) },
  count: { check: wholeNumber(MAX_TIME) },
};

/** Removes members that are not known. They could be large. */
function removeUnknown(value: Record<string, unknown>, members: Members): void {
  for (const name of Object.keys(value))
    if (!Object.hasOwn(members, name)) Reflect.deleteProperty(value, name);
}

/** Returns what is wrong, or undefined. Unknown members are ignored. */
function faultOf(value: Record<string, unknown>, members: Members): string | undefined {
  for (const [name, { check, required }] of Object.entries(members)) {
    const member = Object.hasOwn(value, name) ? value[name] : undefined;
    if (member === undefined) {
      if (required) return `${name}: missing`;
      continue;
    }
    const expected = check(member);
    if (expected !== undefined) return `${name}: expected ${expected}`;
  }
  return undefined;
}

/** How a line of a recording as text begins, such as `0.031220 1.3: C: `. */
const TEXT_LINE = /^\d+\.\d{6} [\d.?]+: \S/;
const MAX_TEXT_BEGIN = 64;

function asObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Parses a recording piece by piece. Every fault is a {@link RecordingError}, after which it must not be used. */
export class RecordingParser {
  #file: string;
  #line = 0;
  #rest: Buffer[] = [];
  #waiting = 0;
  #header: RecordingHeader | undefined;

  /** @param file names the recording, for messages */
  constructor(file: string) {
    this.#file = file;
  }

  /** Known as soon as the first line has been parsed. */
  get header(): RecordingHeader | undefined {
    return this.#header;
  }

  /** The number of lines that have been parsed. */
  get line(): number {
    return this.#line;
  }

  /**
   * The records of the lines that end in this piece.
   *
   * @throws {@link RecordingError}, after the records before the fault
   */
  *push(piece: Buffer): Generator<TraceRecord, void, undefined> {
    let from = 0;
    for (;;) {
      const end = piece.indexOf(0x0a, from);
      const part = piece.subarray(from, end < 0 ? piece.length : end);
      if (this.#waiting + part.length > MAX_RECORDING_LINE) {
        this.#line++;
        throw this.#error(`a line of more than ${MAX_RECORDING_LINE} bytes`);
      }
      if (end < 0) {
        // The piece may be a view of a buffer that its owner uses again.
        if (part.length > 0) this.#rest.push(Buffer.from(part));
        this.#waiting += part.length;
        return;
      }
      from = end + 1;
      const line = this.#rest.length === 0 ? part : Buffer.concat([...this.#rest, part]);
      this.#rest = [];
      this.#waiting = 0;
      this.#line++;
      const record = this.#parse(line);
      if (record !== undefined) yield record;
    }
  }

  /** @throws {@link RecordingError} if the recording ends in the middle of a line, or has no header */
  end(): void {
    if (this.#waiting > 0) {
      this.#line++;
      throw this.#error('the recording ends in the middle of this line');
    }
    if (this.#header === undefined) {
      this.#line++;
      throw this.#error('the recording is empty');
    }
  }

  #error(fault: string): RecordingError {
    return new RecordingError(this.#file, this.#line, fault);
  }

  #parse(bytes: Buffer): TraceRecord | undefined {
    if (this.#header !== undefined && !isUtf8(bytes)) throw this.#error('this line is not UTF-8');
    const object = asObject(bytes.toString('utf8'));
    if (this.#header === undefined) {
      if (object === undefined || !Object.hasOwn(object, 'wireupTrace'))
        throw this.#error(
          TEXT_LINE.test(bytes.toString('latin1', 0, MAX_TEXT_BEGIN))
            ? 'this is a recording as text, which has not all that was recorded; record to a file whose name ends with .jsonl'
            : 'this is not a recording of wireup: its first line is no header',
        );
      this.#check(object, headerMembers);
      this.#header = object as unknown as RecordingHeader;
      return undefined;
    }
    if (object === undefined) throw this.#error('expected a JSON object');
    if (Object.hasOwn(object, 'wireupTrace'))
      throw this.#error('a second header: name each recording as a file of its own');
    const isEvent = Object.hasOwn(object, 'event');
    this.#check(object, isEvent ? eventMembers : messageMembers);
    if (!isEvent && (object.text === undefined) === (object.base64 === undefined))
      throw this.#error('expected either text or base64');
    return object as unknown as TraceRecord;
  }

  #check(object: Record<string, unknown>, members: Members): void {
    const fault = faultOf(object, members);
    if (fault !== undefined) throw this.#error(fault);
    removeUnknown(object, members);
  }
}

/**
 * Reads a recording from a file; `-`: from stdin. The first element is the header, the others are the records in the order
 * of the file. If the recording is invalid, it throws after the last valid record.
 *
 * @throws {@link RecordingError}, or the error of the file system
 */
export async function* readRecording(file: string): AsyncGenerator<RecordingHeader | TraceRecord> {
  const parser = new RecordingParser(file === '-' ? 'stdin' : file);
  let known = false;
  const input = file === '-' ? process.stdin : createReadStream(file);
  for await (const piece of piecesOf(input, file)) {
    for (const record of parser.push(piece)) {
      if (!known) yield parser.header!;
      known = true;
      yield record;
    }
  }
  if (!known && parser.header !== undefined) yield parser.header;
  parser.end();
}

async function* piecesOf(input: AsyncIterable<Buffer>, file: string): AsyncGenerator<Buffer> {
  try {
    yield* input;
  } catch (cause) {
    throw new Error(`${file === '-' ? 'stdin' : file}: ${systemWords(cause)}`, { cause });
  }
}
