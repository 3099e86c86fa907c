/**
 * Reads mpiexec's command line by the table of options.
 *
 *     mpiexec [option...] program [arg...] [: [option...] program [arg...]]...
 *
 * An option has one dash or two. Its value follows after a blank or `=`. The options end at the program. A lone `:` ends the
 * arguments of the program, as in the MPI standard.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { parseArgsStringToArgv } from 'string-argv';
import { isWellFormed } from '../options';
import {
  addVariables,
  checkTogether,
  defaultsOf,
  longName,
  readValue,
  UsageError,
  type OptionRow,
  type OptionTable,
} from './option';
import { addDefaults, blameDefault, defaultsIn, type Default, type DefaultOptions } from './default-options';
import type { DefaultSources, DefaultWords } from './defaults';
import { unsupported } from './other-mpiexecs';
import { runOptions, type JobValues, type ProgramValues } from './run-options';
import { toBytes, toText } from './start';
import { systemWords } from '../system-words';

/** No option has this name. */
export class UnknownOption extends UsageError {
  constructor(readonly option: string) {
    super(`unknown option '--${option}'`);
  }
}

/** The command line asks for its help. */
export class HelpWanted extends Error {}

export interface RunProgram {
  program: string;
  args: string[];
  options: ProgramValues;
}

export interface RunRequest {
  job: JobValues;
  programs: RunProgram[];
  /** The options that have an effect and are not on the command line. */
  defaults: Default[];
}

/** An option: its row, how it was written, and its value. A flag has none. */
export interface Given {
  key: string;
  row: OptionRow;
  word: string;
  text: string | undefined;
  /** Where it was written, if not on the command line. */
  from?: string;
}

/** What stands between two colons. */
export interface Part {
  given: Given[];
  program: string | undefined;
  args: string[];
}

function namesOf(rows: OptionTable): Map<string, string> {
  return new Map(
    Object.entries(rows).flatMap(([key, { short, also = [] }]) =>
      [longName(key), ...(short === undefined ? [] : [short]), ...also].map((name) => [name, key] as const),
    ),
  );
}

class Reader {
  readonly #names = namesOf(runOptions);
  readonly #words: string[];
  readonly #areDefaults: boolean;
  #at = 0;
  /** The end of the words that came from a -file. */
  #fileEnd = 0;

  constructor(words: readonly string[], areDefaults = false) {
    this.#words = [...words];
    this.#areDefaults = areDefaults;
  }

  parts(): Part[] {
    const found = [this.#part()];
    while (this.#words[this.#at] === ':') {
      this.#at++;
      found.push(this.#part());
    }
    return found;
  }

  /** The options of words that are not a command line. */
  defaults(from: string): Given[] {
    const part: Part = { given: [], program: undefined, args: [] };
    while (this.#at < this.#words.length) {
      const word = this.#words[this.#at++]!;
      if (!/^--?[A-Za-z]/.test(word))
        throw new UsageError(`expected options with their values, got '${word}'`);
      this.#option(word, part);
    }
    return part.given.map((given) => ({ ...given, from }));
  }

  #part(): Part {
    const part: Part = { given: [], program: undefined, args: [] };
    while (this.#at < this.#words.length && this.#words[this.#at] !== ':') {
      const word = this.#words[this.#at]!;
      if (word === '--') {
        this.#at++;
        break;
      }
      if (!word.startsWith('-') || word === '-') break;
      this.#at++;
      this.#option(word, part);
    }
    if (this.#at < this.#words.length && this.#words[this.#at] !== ':')
      part.program = this.#words[this.#at++];
    // Options of the program that contain a colon are its own: only a lone one ends its arguments.
    const colon = this.#words.indexOf(':', this.#at);
    const end = colon < 0 ? this.#words.length : colon;
    part.args = this.#words.slice(this.#at, end);
    this.#at = end;
    return part;
  }

  #option(whole: string, part: Part): void {
    const match = /^(--?([A-Za-z][\w-]*))(?:=([^]*))?$/.exec(whole);
    if (match === null) throw new UsageError(`unknown option '${whole}'`);
    const [, word, name, value] = match as unknown as [string, string, string, string | undefined];
    if (name === 'help' || name === 'h') throw new HelpWanted();
    const why = unsupported[name];
    if (why !== undefined) throw new UsageError(`option '${word}' is not supported: ${why}`);
    const key = this.#names.get(name);
    if (key === undefined) throw new UnknownOption(name);
    const row = runOptions[key]!;
    if (this.#areDefaults && row.noDefault)
      throw new UsageError(`${word} has an effect only on the command line`);
    const text = row.value === undefined ? undefined : this.#value(word, row, value);
    if (row.value === undefined && value !== undefined) throw new UsageError(`${word} takes no value`);
    if (key === 'file') return this.#insert(text!);
    part.given.push({ key, row, word, text });
  }

  #value(word: string, row: OptionRow, attached: string | undefined): string {
    const first = attached ?? row.optional ?? this.#next(word, row);
    const text = row.pair && !first.includes('=') ? `${first}=${this.#next(word, row)}` : first;
    if (!row.bytes && !isWellFormed(text)) throw new UsageError(`${word}: expected UTF-8`);
    return text;
  }

  #next(word: string, row: OptionRow): string {
    if (this.#at >= this.#words.length)
      throw new UsageError(
        `${word} needs ${row.pair ? 'a name and a value' : `a value: ${word} ${row.value}`}`,
      );
    return this.#words[this.#at++]!;
  }

  #insert(file: string): void {
    if (this.#at <= this.#fileEnd && this.#fileEnd > 0)
      throw new UsageError(`--file ${file}: a file of options cannot name another one`);
    const words = linesOf(readText('--file', file)).flatMap((line) => parseArgsStringToArgv(line));
    if (words.includes(':'))
      throw new UsageError(`--file ${file}: expected the options of one program, without ':'`);
    this.#words.splice(this.#at, 0, ...words);
    this.#fileEnd = this.#at + words.length;
  }
}

/** Lines of a -file or -configfile. A line that begins with `#` is a comment; `\` at the end of a line continues it. */
function linesOf(text: string): string[] {
  return text
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line));
}

/** The lines of a -configfile, each one part of a command line, as in the MPI standard. Words may be quoted. */
function wordsOfConfig(text: string): string[] {
  return linesOf(text).flatMap((line, i) => [...(i === 0 ? [] : [':']), ...parseArgsStringToArgv(line)]);
}

/** Replaces a part that names a -configfile by the parts in that file. The part's own options go before those of the first. */
function withConfigFile(part: Part): Part[] {
  const isConfig = ({ key }: Given): boolean => key === 'configfile';
  const files = part.given.filter(isConfig);
  if (files.length === 0) return [part];
  if (files.length > 1) throw new UsageError('--configfile: expected one file');
  const file = files[0]!.text!;
  if (part.program !== undefined)
    throw new UsageError(
      `--configfile ${file}: expected no program beside it, because the file names the programs`,
    );
  const parts = new Reader(wordsOfConfig(readText('--configfile', file))).parts();
  if (parts.some(({ given }) => given.some(isConfig)))
    throw new UsageError(`--configfile ${file}: a configfile cannot name another one`);
  const [first, ...rest] = parts as [Part, ...Part[]];
  return [{ ...first, given: [...part.given.filter((one) => !isConfig(one)), ...first.given] }, ...rest];
}

/** Bytes of a file of hosts or options: some lines for each of the most ranks that a job can have. A device may have no end. */
const MAX_FILE = 32 << 20;

/** @throws {@link UsageError} */
export function readText(option: string, file: string): string {
  let text: string | undefined;
  try {
    text = readAtMost(file, MAX_FILE);
  } catch (error) {
    throw new UsageError(`${option} ${file}: ${systemWords(error)}`);
  }
  if (text === undefined)
    throw new UsageError(`${option} ${file}: expected a file of at most ${MAX_FILE} bytes`);
  return text;
}

/** Undefined if the file has more bytes. It may be a pipe. */
function readAtMost(file: string, most: number): string | undefined {
  const fd = openSync(toBytes(file), 'r');
  try {
    const parts: Buffer[] = [];
    for (let size = 0; size <= most;) {
      const part = Buffer.alloc(65_536);
      const count = readSync(fd, part);
      if (count === 0) return toText(Buffer.concat(parts));
      parts.push(part.subarray(0, count));
      size += count;
    }
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/** The values of the options, further ones instead of or beside earlier ones. */
function valuesOf<Values>(rows: OptionTable, given: readonly Given[]): Values {
  const values: Record<string, unknown> = defaultsOf(rows);
  const keys = new Set<string>();
  for (const { key, row, word, text, from } of given) {
    const before = keys.has(key) ? values[key] : undefined;
    values[key] = text === undefined ? true : naming(from, () => readValue(word, row, text, before));
    keys.add(key);
  }
  checkTogether(rows, keys);
  addVariables(rows, values as never, keys);
  return values as Values;
}

const rowsOf = (program: boolean): OptionTable =>
  Object.fromEntries(Object.entries(runOptions).filter(([, row]) => (row.program ?? false) === program));

/** Errors of `work` name the place of a default. */
function naming<T>(from: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (from === undefined) throw error;
    if (error instanceof HelpWanted) throw new UsageError(`${from}: help is only on the command line`);
    throw error instanceof UsageError ? new UsageError(`${from}: ${error.message}`) : error;
  }
}

function optionsIn(sources: DefaultSources): DefaultOptions {
  const optionsOf = (words: readonly DefaultWords[]): Given[] =>
    words.flatMap(({ from, words: own }) => naming(from, () => new Reader(own, true).defaults(from)));
  return { variable: optionsOf(sources.variable), file: optionsOf(sources.file) };
}

/**
 * What the command line asks for.
 *
 * @param readDefaults called if the command line does not exclude defaults
 * @throws {@link UsageError}, {@link UnknownOption}, {@link HelpWanted}
 */
export function readRun(
  words: readonly string[],
  readDefaults: () => DefaultSources = () => ({ variable: [], file: [] }),
): RunRequest {
  const own = new Reader(words).parts().flatMap(withConfigFile);
  const excludes = own.some(({ given }) => given.some(({ key }) => key === 'noDefaults' || key === 'info'));
  const parts = excludes ? own : addDefaults(own, optionsIn(readDefaults()));
  const defaults = defaultsIn(parts);
  try {
    return { ...requestOf(parts), defaults };
  } catch (error) {
    throw blameDefault(error, defaults);
  }
}

function requestOf(parts: readonly Part[]): Pick<RunRequest, 'job' | 'programs'> {
  const ofJob = parts.flatMap(({ given }) => given.filter(({ row }) => !row.program));
  const job = valuesOf<JobValues>(rowsOf(false), ofJob);
  const programRows = rowsOf(true);
  const programs = parts.map(({ given, program, args }, i) => {
    const ofProgram = given.filter(({ row }) => row.program);
    const options = valuesOf<ProgramValues>(programRows, ofProgram);
    if (program !== undefined || job.info) return { program: program ?? '', args, options };
    throw new UsageError(
      parts.length === 1
        ? 'expected a program to run'
        : `expected a program in part ${i + 1} of the command line`,
    );
  });
  return { job, programs };
}
