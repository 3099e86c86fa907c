/** What the command prints: what was asked for on stdout, one line on stderr if something is wrong, and an exit code. */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import { native } from '../native';
import { printable } from '../printable';
import { UsageError } from './option';
import { namedSystemWords, systemWords } from '../system-words';

/** What a shell reports for a process that SIGPIPE ended. */
export const NO_READER = 128 + constants.signals.SIGPIPE;

/** The exit code for wrong use, which shells use for their own commands. */
export const USAGE = 2;

/** Removes an unfinished line from a terminal (ECMA-48: EL). */
const ERASE_LINE = '\r\u001b[K';

/** Bytes of lines that wait for the reader of stderr. Further lines are counted and dropped until these are written. */
const MAX_WAITING = 65_536;

/** Characters of a line that are printed. A line may contain what a user or a peer has sent. */
const MAX_LINE = 8192;

/** Between two attempts to write lines that wait. */
const RETRY_MS = 50;

/** How long the end of the process waits for the reader of stderr. */
const LAST_WAIT_MS = 1000;

/** PIPE_BUF: if poll(2) reports a pipe as writable, a write of that many bytes does not block. */
const CHUNK = 4096;

const STDOUT = 1;
const STDERR = 2;

let unfinished = false;

/** Records for report() whether a status line is on the terminal. */
export function statusLineShown(shown: boolean): void {
  unfinished = shown;
}

/**
 * Prints what was asked for, on stdout.
 *
 * It does not use process.stdout: Node would make a pipe non-blocking for all processes that share it, and ranks that write
 * to it would fail where they should wait. The same holds for process.stderr.
 *
 * @throws if stdout takes no more, such as a full disk
 */
export function print(text: string): void {
  let rest = Buffer.from(text);
  try {
    while (rest.length > 0) rest = rest.subarray(writeSync(STDOUT, rest));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Another process has made it non-blocking already, so process.stdout does no harm.
    if (code === 'EAGAIN') process.stdout.write(rest);
    // `wireup --help | head` ends as other commands do.
    else if (code === 'EPIPE') process.exit(NO_READER);
    else throw new Error(`cannot write to stdout: ${systemWords(error)}`, { cause: error });
  }
}

let waiting: Buffer = Buffer.alloc(0);
let dropped = 0;
let retry: NodeJS.Timeout | undefined;
let endsWithWaiting = false;

const toBytes = (line: string): Buffer =>
  Buffer.from(`${unfinished ? ERASE_LINE : ''}wireup: ${printable(line)}\n`);

/**
 * Prints one line on stderr, at most 8192 characters of it. It escapes control characters, since a line may contain text of peers, ranks and file names. If
 * the reader is so slow that lines are dropped, a line in their place counts them.
 */
export function report(line: string): void {
  const bytes = toBytes(line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}...` : line);
  if (dropped > 0 || waiting.length + bytes.length > MAX_WAITING) dropped++;
  else waiting = Buffer.concat([waiting, bytes]);
  writeWaiting(0);
}

/**
 * Writes lines as far as the reader of stderr takes them. If that reader is slow or stopped, a plain write would stop this
 * process: it would not pass signals on, and not end when the job has ended.
 */
function writeWaiting(timeout: number): void {
  clearTimeout(retry);
  const end = performance.now() + timeout;
  try {
    while (waiting.length > 0) {
      if (!isWritable(Math.max(0, Math.ceil(end - performance.now())))) break;
      waiting = waiting.subarray(writeSync(STDERR, waiting.subarray(0, CHUNK)));
      if (waiting.length === 0 && dropped > 0) waiting = toBytes(describeDropped());
    }
  } catch (error) {
    // After any error but EAGAIN, stderr takes no more lines.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') waiting = Buffer.alloc(0);
  }
  if (waiting.length === 0) return;
  // The retry does not keep the process alive.
  retry = setTimeout(() => writeWaiting(0), RETRY_MS).unref();
  if (endsWithWaiting) return;
  endsWithWaiting = true;
  process.once('exit', () => writeWaiting(LAST_WAIT_MS));
}

function describeDropped(): string {
  const lines = `${dropped} line${dropped === 1 ? ' is' : 's are'}`;
  dropped = 0;
  return `${lines} missing here, because the reader of stderr was too slow`;
}

/** Bytes that stderrStream() writes before other work of the process gets its turn. */
const TURN = 65_536;

/** The first lines of a text that fit into CHUNK, or the first CHUNK bytes of a longer line. */
function nextLines(text: Buffer): Buffer {
  if (text.length <= CHUNK) return text;
  const end = text.lastIndexOf('\n', CHUNK - 1);
  return text.subarray(0, end < 0 ? CHUNK : end + 1);
}

/** A stream to stderr that waits for its reader without stopping this process. process.stderr would, see print(). */
export function stderrStream(): Writable {
  const { Writable } = process.getBuiltinModule('node:stream');
  return new Writable({
    decodeStrings: true,
    write(text: Buffer, _, done): void {
      let rest = text;
      const pump = (): void => {
        try {
          for (let left = TURN; left > 0; left -= CHUNK) {
            if (rest.length === 0) return done();
            // It does not keep the process alive: the end of the command has a limit for it.
            if (!isWritable(0)) return void setTimeout(pump, RETRY_MS).unref();
            rest = rest.subarray(writeSync(STDERR, nextLines(rest)));
          }
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return done(error as Error);
          return void setTimeout(pump, RETRY_MS).unref();
        }
        setImmediate(pump);
      };
      pump();
    },
  });
}

/** If the addon cannot be loaded (the line may report just that), a write can block. */
function isWritable(timeout: number): boolean {
  let ask: typeof native.waitWritable;
  try {
    ask = native.waitWritable;
  } catch {
    return true;
  }
  return ask(STDERR, timeout);
}

/** Reports wrong use that is found only when the command runs. */
export function reportUsage(fault: string): void {
  report(`${fault} (see --help)`);
  process.exitCode = USAGE;
}

/** Reports why a command failed, and sets the exit code. */
export function fail(error: unknown): void {
  const { code, exitCode, message } = error as { code?: string; exitCode?: number; message: string };
  if (code?.startsWith('commander.')) {
    // Commander has printed the help, the version or its message.
    process.exitCode = exitCode === 0 ? 0 : USAGE;
    return;
  }
  if (error instanceof UsageError || code === 'ERR_PMI_OPTION' || code === 'ERR_PMI_ADDRESS')
    return reportUsage(message);
  report(namedSystemWords(error));
  process.exitCode = 1;
}
