/** What the tool says when something is wrong: one line on stderr, and an exit code. */
import { writeSync } from 'node:fs';
import { constants } from 'node:os';
import { Help, InvalidArgumentError, type HelpConfiguration, type Option } from 'commander';
import { parseIdset } from '../idset';
import { MAX_MILLISECONDS } from '../limits';
import { printable } from '../printable';
import { UsageError } from './mpiexec-args';

/** What a shell reports for a process that SIGPIPE ended. */
export const NO_READER = 128 + constants.signals.SIGPIPE;

/** The exit code for wrong use, as the shells' own tools have it. */
const USAGE = 2;

/** Takes a line away that stands on the terminal and is not ended (ECMA-48: EL). */
const ERASE_LINE = '\r\u001b[K';

let unfinished = false;

/** Whether a status line stands where `say` writes. */
export function statusLineShown(shown: boolean): void {
  unfinished = shown;
}

/**
 * Not by process.stdout and process.stderr, which make a pipe non-blocking for all who share it: a rank that writes to it
 * would fail where it should wait.
 */
function write(fd: 1 | 2, text: string): void {
  let rest = Buffer.from(text);
  try {
    while (rest.length > 0) rest = rest.subarray(writeSync(fd, rest));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Somebody else has made it so; then it is no matter.
    if (code === 'EAGAIN') (fd === 1 ? process.stdout : process.stderr).write(rest);
    // Whoever reads help through `head` has seen enough.
    else if (code === 'EPIPE' && fd === 1) process.exit(NO_READER);
  }
}

/** What was asked for, on stdout. */
export function print(text: string): void {
  write(1, text);
}

/** One line on stderr, whatever `line` holds of peers, ranks and file names. */
export function say(line: string): void {
  write(2, `${unfinished ? ERASE_LINE : ''}wireup: ${printable(line)}\n`);
}

/** Wrong use that shows only when the command runs. */
export function sayUsage(fault: string): void {
  say(`${fault} (see --help)`);
  process.exitCode = USAGE;
}

/** What is an option of the library is this one on the command line, whose values are checked by both. */
const flags: Readonly<Record<string, string>> = {
  ranks: '--ranks',
  universeSize: '--usize',
  maxSpawn: '--max-spawn',
  outputFrom: '--output-from',
  stdin: '--stdin',
  'stdout.file': '--outfile-pattern',
  'stderr.file': '--errfile-pattern',
  label: '--prepend-pattern',
  bind: '--bind-to',
  'debugger.ranks': '--debug-ranks',
  allowedUids: '--allow-uid',
  allowHosts: '--allow-host',
  nameServer: '--name-server',
  pmiSubversion: '--pmi-subversion',
  address: '--address',
};

/** `outputFrom[0]: expected ...` as `--output-from: expected ...`. */
function asFlag(message: string): string {
  return message.replace(/^([\w.]+)(?:\[\d+\])*(?=: )/, (whole, name: string) => flags[name] ?? whole);
}

/** Commander's messages begin with "error: ", end with a newline, and suggest an option in a line of its own. */
export function usageError(message: string): void {
  say(
    `${message
      .replace(/^error: /, '')
      .trimEnd()
      .replaceAll('\n', ' ')} (see --help)`,
  );
}

const plainHelp = new Help();

/** That a flag is off unless it is given need not be said. */
export const helpStyle: HelpConfiguration = {
  optionDescription: (option: Option) =>
    plainHelp.optionDescription(option).replace(/ ?\(default: false\)$/, ''),
};

/** The end of a command that threw. */
export function fail(error: unknown): void {
  const { code, exitCode, message } = error as { code?: string; exitCode?: number; message: string };
  if (code?.startsWith('commander.')) {
    // It has printed help, the version or its complaint by now.
    process.exitCode = exitCode === 0 ? 0 : USAGE;
    return;
  }
  if (error instanceof UsageError) return sayUsage(message);
  if (code === 'ERR_PMI_OPTION' || code === 'ERR_PMI_ADDRESS') return sayUsage(asFlag(message));
  say(message);
  process.exitCode = 1;
}

/** Reads an option's value as seconds, with a fraction or without, and returns milliseconds: `min` to `max` of them. */
export function seconds(min: number, max = MAX_MILLISECONDS): (text: string) => number {
  return (text) => {
    const value = Math.ceil(Number(text) * 1000);
    if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(
        `Expected seconds, ${min === 0 ? 'from 0' : 'more than 0'} to ${Math.floor(max / 1000)}.`,
      );
    }
    return value;
  };
}

/** Reads an option's value as a whole number. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** A command and its arguments, split at blanks; there is no quoting. */
export function words(text: string): string[] {
  const found = text.split(/\s+/).filter((word) => word !== '');
  if (found.length === 0) throw new InvalidArgumentError('Expected a command.');
  return found;
}

/** Reads `0,4-7` as numbers. */
export function idset(text: string): number[] {
  try {
    const ranks = parseIdset(text);
    if (ranks.length > 0) return ranks;
  } catch {
    // The message below is the command line's.
  }
  throw new InvalidArgumentError('Expected ranks, such as 0,4-7.');
}
