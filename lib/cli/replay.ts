/** `wireup replay`: sends what a recorded client has sent to a server, and reports answers that differ. */
import { fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { readClientEnvironment } from '../env';
import { execPath } from '../native';
import { printable } from '../printable';
import { readRecording, RecordingError, type RecordBase, type TraceRecord } from '../trace/format';
import { labelOf } from '../trace/messages';
import { Replay, type Finding } from '../trace/replay';
import { addOptions } from './commander-options';
import { InvalidValue, wholeNumber, type OptionTable, type Values } from './option';
import { print, report as reportLine, reportUsage, USAGE } from './report';
import type { Start } from './start';

/** Exit codes beside USAGE, as in the help. */
const [DIFFERS, NO_SERVER] = [1, 3];

/** How many ranks of the recording a message lists. */
const MAX_LISTED = 16;

/** A rank of a process group. */
type Place = Required<Pick<RecordBase, 'group' | 'rank'>>;

function readPlace(text: string): Place {
  const match = /^(?:(\d{1,9})\.)?(\d{1,9})$/.exec(text);
  if (match === null) throw new InvalidValue('expected a rank, or group.rank for a spawned process group');
  return { group: Number(match[1] ?? 0), rank: Number(match[2]) };
}

const replayOptions = {
  rank: {
    value: '<R>',
    read: readPlace,
    defaultText: 'the own rank',
    help: 'which rank of the recording to replay; 1.0 is rank 0 of the first process group that was spawned',
    group: 'Options:',
  },
  timeout: {
    value: '<seconds>',
    read: wholeNumber(1, 86_400),
    default: 30,
    help: 'how long to wait for an answer',
    group: 'Options:',
  },
  verbose: { short: 'v', help: 'print all messages', group: 'Options:' },
} as const satisfies OptionTable;

type ReplayValues = Values<typeof replayOptions>;

export function addReplay(program: Command, start: Start): void {
  addOptions(program.command('replay'), replayOptions)
    .description("send a recorded client's messages to a PMI server, and show where the answers differ")
    .usage('[options] <files...> [-- launcher...]')
    .argument('<files...>', 'recordings as JSON lines; %r in a name is the rank')
    .addHelpText(
      'after',
      `
Runs as a rank of any launcher, or starts the launcher that stands after "--". Names of the job are translated, and what
may differ between two jobs or servers is known: names, limits, texts of errors, the keys that a server sets itself
(PMI_*), the order of attributes, and of answers under a thrid of PMI-2. A spawn and an abort are left out.

Examples:
  wireup replay trace.0.jsonl -- mpiexec -n 1
  mpiexec -n 4 wireup replay trace.%r.jsonl

Exit codes: 0 no answer differs; 1 an answer differs or is missing; 2 wrong use, or a recording that cannot be read;
3 no connection to a server. With a launcher, its own.`,
    )
    .action((words: string[], options: ReplayValues) => {
      const end = start.words.indexOf('--');
      const launcher = end < 0 ? [] : start.words.slice(end + 1);
      const files = words.slice(0, words.length - launcher.length);
      if (files.length === 0) return reportUsage('which recording?');
      if (end >= 0 && launcher.length === 0) return reportUsage('which launcher stands after --?');
      if (launcher.length > 0) return runLauncher(launcher, start.words.slice(1, end), files);
      return replayHere(files, options);
    });
}

/** The words that run this command, through wireup-exec, which connects to PMI_PORT. */
function ownCommand(words: readonly string[]): string[] {
  return [execPath, process.execPath, join(__dirname, 'cli.js'), 'replay', ...words];
}

/** Runs a program in the place of this process, as far as Node can, and exits as it does. */
async function runInstead([program, ...args]: readonly string[]): Promise<void> {
  const { spawn } = process.getBuiltinModule('node:child_process');
  const child = spawn(program!, args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((fulfil) => {
    child.once('error', (error) => {
      reportLine(`cannot run ${program!}: ${error.message}`);
      fulfil(NO_SERVER);
    });
    child.once('exit', (code, signal) => fulfil(code ?? 128 + constants.signals[signal!]));
  });
}

function runLauncher(
  launcher: readonly string[],
  words: readonly string[],
  files: readonly string[],
): Promise<void> {
  // The ranks may have another working directory.
  const absolute = words.map((word) => (files.includes(word) ? resolve(word) : word));
  return runInstead([...launcher, ...ownCommand(absolute)]);
}

async function replayHere(files: readonly string[], options: ReplayValues): Promise<void> {
  let target: ReturnType<typeof readClientEnvironment>;
  try {
    target = readClientEnvironment(process.env);
  } catch (error) {
    reportLine((error as Error).message);
    process.exitCode = NO_SERVER;
    return;
  }
  if (target.kind === 'port')
    return runInstead(ownCommand(process.argv.slice(process.argv.indexOf('replay') + 1)));
  if (target.kind === 'singleton' || !isSocket(target.fd)) {
    reportLine(
      target.kind === 'singleton'
        ? 'no PMI server: neither PMI_FD nor PMI_PORT is set; name a launcher, for example `wireup replay FILE -- mpiexec -n 1`'
        : `PMI_FD is ${target.fd}, which is no open socket`,
    );
    process.exitCode = NO_SERVER;
    return;
  }
  const { rank, fd, jobId } = target;
  const place = options.rank ?? { group: 0, rank };
  const replay = new Replay(new Socket({ fd, readable: true, writable: true }), {
    rank,
    jobId,
    timeout: options.timeout * 1000,
  });
  try {
    process.exitCode = await report(place, replay.run(recordsOf(files, place, rank)), options.verbose);
  } catch (error) {
    reportLine((error as Error).message);
    process.exitCode = USAGE;
  }
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}

/** The records of one rank. */
async function* recordsOf(files: readonly string[], place: Place, rank: number): AsyncGenerator<TraceRecord> {
  let found = false;
  const others = new Set<string>();
  for (const file of files) {
    for await (const record of readRecording(file.replaceAll('%r', String(rank)))) {
      if ('wireupTrace' in record || record.rank === undefined) continue;
      if (record.rank === place.rank && record.group === place.group) {
        found = true;
        yield record;
      } else if (others.size <= MAX_LISTED) {
        others.add(labelOf({ group: record.group, rank: record.rank }));
      }
    }
  }
  if (found) return;
  const listed = [...others].slice(0, MAX_LISTED).join(', ');
  throw new RecordingError(
    files.join(', '),
    1,
    `no messages of rank ${labelOf(place)}${listed === '' ? '' : `; there are those of ${listed} (--rank)`}`,
  );
}

/** Prints the findings, and returns the exit code. */
async function report(place: Place, findings: AsyncIterable<Finding>, verbose: boolean): Promise<number> {
  const label = labelOf(place);
  const line = (text: string): void => print(`${label}: ${printable(text)}\n`);
  let answers = 0;
  let differing = 0;
  for await (const finding of findings) {
    switch (finding.type) {
      case 'sent':
        if (verbose) line(`C: ${finding.text}`);
        break;
      case 'left-out':
        line(`left out, because ${finding.reason}: ${finding.text}`);
        break;
      case 'failed':
        line(finding.reason);
        differing++;
        break;
      case 'answer':
        answers++;
        if (verbose) line(`S: ${finding.received}`);
        if (finding.comparison === 'differs') differing++;
        if (finding.comparison === 'differs' || (verbose && finding.comparison === 'allowed')) {
          const verb = finding.comparison === 'differs' ? 'differs' : 'differs, as it may';
          line(`answer ${finding.number} ${verb}: ${finding.request}`);
          line(`  recorded: ${finding.recorded}`);
          line(`  received: ${finding.received}`);
        }
    }
  }
  line(
    differing === 0
      ? `${answers} answers, none differs`
      : `${answers} answers, ${differing} ${differing === 1 ? 'difference' : 'differences'}`,
  );
  return differing === 0 ? 0 : DIFFERS;
}
