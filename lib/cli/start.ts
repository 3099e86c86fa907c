/** How the command was started: its words, its name, and the notes of the starter (native/tools/start). */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename } from 'node:path';
import { native, type NativeCaller } from '../native';
import { isWellFormed, type Bytes } from '../options';

export interface Start {
  /** The name by which the command was called. */
  name: string;
  words: string[];
  /** The fd of the starter's notes; -1 if Node was started without it: `node dist/cli.js`, lib/cli/stub. */
  notes: number;
}

/** Node replaces bytes that are not UTF-8 by this character. */
const REPLACEMENT = '\ufffd';

/** The strings of a file in /proc. */
function wordsOf(file: string): string[] {
  return native.textOfBytes(readFileSync(file)).split('\0');
}

/** The words of the command line. Bytes that are not UTF-8 become lone surrogates (lib/native.ts). */
function ownWords(): string[] {
  const words = process.argv.slice(2);
  if (!words.some((word) => word.includes(REPLACEMENT))) return words;
  // They are the last ones. A NUL follows each.
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

/** From the starter's notes, or as far as it can be found out without them. Sets the variables again that the starter hid. */
export function takeCaller(start: Start): NativeCaller {
  return (caller ??= native.takeCaller(start.notes));
}

/** PATH, byte by byte: the folders in which the programs of ranks are searched. */
export function ownPath(): Bytes {
  const path = process.env.PATH ?? '';
  if (!path.includes(REPLACEMENT)) return path;
  const variable = wordsOf('/proc/self/environ').find((entry) => entry.startsWith('PATH='));
  return toBytes(variable?.slice('PATH='.length) ?? path);
}

/** Converts a word of the command line for the library. */
export function toBytes(word: string): string | Buffer {
  return isWellFormed(word) ? word : native.bytesOfText(word);
}

/** Converts bytes for messages. */
export function toText(bytes: Bytes): string {
  return typeof bytes === 'string' ? bytes : native.textOfBytes(bytes);
}

/** The names of those signals that have one. */
export function signalNames(numbers: readonly number[]): NodeJS.Signals[] {
  return (Object.keys(constants.signals) as NodeJS.Signals[]).filter((name) =>
    numbers.includes(constants.signals[name]),
  );
}
