/**
 * The options that hold for every `wireup run` of a user: those of the variable WIREUP_OPTIONS, and those of the file
 * ~/.config/wireup/config. docs/defaults.md is for users.
 */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { parseArgsStringToArgv } from 'string-argv';
import { UsageError } from './option';
import { toText } from './start';
import { systemWords } from '../system-words';

export const DEFAULTS_VARIABLE = 'WIREUP_OPTIONS';

/** More than all options with their values take. */
const MAX_BYTES = 65_536;

const GROUP_OR_OTHERS_WRITE = 0o022;

/** Words in the form of the command line, and where they are: `WIREUP_OPTIONS`, or `FILE:LINE`. */
export interface DefaultWords {
  readonly from: string;
  readonly words: readonly string[];
}

/** Each is one option with its value for a file; all options for the variable. */
export interface DefaultSources {
  readonly variable: readonly DefaultWords[];
  readonly file: readonly DefaultWords[];
}

/** @throws {@link UsageError} if the file is not one that only this user can have written */
export function readDefaults(): DefaultSources {
  const text = process.env[DEFAULTS_VARIABLE];
  return {
    variable: text ? [{ from: DEFAULTS_VARIABLE, words: parseArgsStringToArgv(text) }] : [],
    file: readFile(),
  };
}

/** By the XDG Base Directory Specification, which ignores paths that are not absolute. */
function defaultsFile(): string | undefined {
  const { XDG_CONFIG_HOME, HOME } = process.env;
  const folder =
    XDG_CONFIG_HOME && isAbsolute(XDG_CONFIG_HOME) ? XDG_CONFIG_HOME : HOME && join(HOME, '.config');
  return folder && isAbsolute(folder) ? join(folder, 'wireup/config') : undefined;
}

function readFile(): DefaultWords[] {
  const file = defaultsFile();
  if (file === undefined) return [];
  try {
    // Without the file, its cost is this call.
    if (statSync(file, { throwIfNoEntry: false }) === undefined) return [];
    return linesOf(file, readSafely(file));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    // A folder of another user: programs that change the user (setpriv, su) often leave HOME as it is.
    if (code === 'EACCES' && syscall === 'stat') return [];
    throw new UsageError(`${file}: ${systemWords(error)}`);
  }
}

/** Reads the file if only this user or root can have written it. */
function readSafely(file: string): Buffer {
  // The file can be a FIFO, where open() would wait, or a terminal, which would become the controlling one.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const status = fstatSync(fd);
    const fault = (text: string): UsageError =>
      new UsageError(`${file}: the file of default options ${text}; --no-defaults ignores it`);
    if (!status.isFile()) throw fault('is not a regular file');
    if (status.uid !== process.geteuid!() && status.uid !== 0)
      throw fault(`belongs to another user (uid ${status.uid})`);
    if ((status.mode & GROUP_OR_OTHERS_WRITE) !== 0)
      throw fault('can be written by other users, which `chmod go-w` changes');
    if (status.size > MAX_BYTES) throw fault(`has more than ${MAX_BYTES} bytes`);
    const bytes = Buffer.alloc(status.size);
    return bytes.subarray(0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}

function linesOf(file: string, bytes: Buffer): DefaultWords[] {
  return toText(bytes)
    .split('\n')
    .flatMap((whole, i) => {
      const from = `${file}:${i + 1}`;
      const line = whole.trim();
      if (line === '' || line.startsWith('#')) return [];
      if (line.includes('\0')) throw new UsageError(`${from}: expected text, without NUL bytes`);
      // "pmi = unix" is "pmi=unix".
      const [first, ...rest] = parseArgsStringToArgv(line.replace(/^([\w-]+)\s*=\s*/, '$1='));
      return [{ from, words: [first!.startsWith('-') ? first! : `--${first!}`, ...rest] }];
    });
}
