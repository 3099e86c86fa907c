/** What the tool was started with: its words, its name, and what the starter (native/tools/start) has noted. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { native, type NativeCaller } from '../native';
import { isWellFormed, type Bytes } from '../options';

export interface Start {
  /** What it was called as. */
  name: string;
  words: string[];
  /** The fd of the starter's notes; -1 if Node was started without it: `node dist/cli.js`, lib/cli/stub. */
  notes: number;
}

/** What Node puts for bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd';

/** A file of /proc as the strings that it holds. */
function wordsOf(file: string): string[] {
  return native.textOfBytes(readFileSync(file)).split('\0');
}

/** The words of our command line, in which bytes that are no UTF-8 are lone surrogates (lib/native.ts). */
function ownWords(): string[] {
  const words = process.argv.slice(2);
  if (!words.some((word) => word.includes(REPLACEMENT))) return words;
  // They are the last; behind each stands a NUL.
  return wordsOf('/proc/self/cmdline').slice(0, -1).slice(-words.length);
}

export function readStart(): Start {
  const [first, ...words] = ownWords();
  const started = /^--started-as=(.*):(\d+)$/s.exec(first ?? '');
  if (started !== null) return { name: started[1]!, words, notes: Number(started[2]) };
  const file = basename(process.argv[1]!);
  return {
    name: file === 'cli.js' ? 'wireup' : file,
    words: first === undefined ? [] : [first, ...words],
    notes: -1,
  };
}

let caller: NativeCaller | undefined;

/** From the notes, or as far as it can be found out without them. The variables that the starter hid are set again. */
export function takeCaller(start: Start): NativeCaller {
  return (caller ??= native.takeCaller(start.notes));
}

/** PATH as this process was started with it: where the programs of ranks are searched. */
export function ownPath(): Bytes {
  const path = process.env.PATH ?? '';
  if (!path.includes(REPLACEMENT)) return path;
  const variable = wordsOf('/proc/self/environ').find((entry) => entry.startsWith('PATH='));
  return toBytes(variable?.slice('PATH='.length) ?? path);
}

/** A word of the command line as the library takes it. */
export function toBytes(word: string): string | Buffer {
  return isWellFormed(word) ? word : native.bytesOfText(word);
}

/** For people. */
export function toText(bytes: Bytes): string {
  return typeof bytes === 'string' ? bytes : native.textOfBytes(bytes);
}

/** Those of the signals that have names. */
export function signalNames(numbers: readonly number[]): NodeJS.Signals[] {
  return (Object.keys(constants.signals) as NodeJS.Signals[]).filter((name) =>
    numbers.includes(constants.signals[name]),
  );
}
