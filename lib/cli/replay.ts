/** `wireup replay`: sends what a recorded client has sent to a server, and reports answers that differ. */
import { appendFileSync, existsSync, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { readClientEnvironment } from '../env';
import { execPath } from '../native';
import { printable } from '../printable';
import { RecordingError, type RecordBase, type TraceRecord } from '../trace/format';
import { readIdentified } from '../trace/identified';
import { labelOf } from '../trace/messages';
import { Replay, type End, type Finding } from '../trace/replay';
import { JobEnds, SpawnedGroups } from '../trace/whole-job';
import { addOptions } from './commander-options';
import { InvalidValue, wholeNumber, type OptionTable, type Values } from './option';
import { print, report as reportLine, reportUsage, USAGE } from './report';
import type { Start } from './start';
import { systemWords } from '../system-words';

/** Exit codes beside USAGE, as in the help. */
const [DIFFERS, NO_SERVER] = [1, 3];

/** Characters of a line that are printed. */
const MAX_LINE = 8192;

/** How many ranks of the recording a message lists. */
const MAX_LISTED = 16;

/** A rank of a process group. */
type Place = Required<Pick<RecordBase, 'group' | 'rank'>>;

/** Without a rank: the own one. */
function readPlace(text: string): Pick<RecordBase, 'group' | 'rank'> {
  const match = /^(?:(\d{1,9})\.)?(?:(\d{1,9})|%r)$/.exec(text);
  if (match === null) throw new InvalidValue('expected a rank, or group.rank for a spawned process group');
  return { group: Number(match[1] ?? 0), ...(match[2] === undefined ? {} : { rank: Number(match[2]) }) };
}

const replayOptions = {
  rank: {
    value: '<R>',
    read: readPlace,
    defaultText: 'the own rank',
    help: 'which rank of the recording to replay; 1.0 is rank 0 of the first process group that was spawned, and 1.%r the own rank of that',
    group: 'Options:',
  },
  report: {
    value: '<file>',
    help: 'append the report of all ranks to this file. A server that fails at a request, or ends the job, may lose what a rank prints',
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
(PMI_*), the order of attributes, and of answers under a thrid of PMI-2. A spawn starts replays of the process group that
was spawned. A rank that was killed, has hung up or has aborted the job does so again, so the launcher then reports a failed
job.

Examples:
  wireup replay trace.0.jsonl -- mpiexec -n 1
  mpiexec -n 4 wireup replay trace.%r.jsonl
  wireup replay --report report.txt killed.jsonl -- mpiexec -n 1

Exit codes: 0 no answer differs; 1 an answer differs or is missing; 2 wrong use, or a recording that cannot be read;
3 no connection to a server. With a launcher, its own.`,
    )
    .action((words: string[], options: ReplayValues) => {
      const end = start.words.indexOf('--');
      const launcher = end < 0 ? [] : start.words.slice(end + 1);
      const files = words.slice(0, words.length - launcher.length);
      if (files.length === 0) return reportUsage('which recording?');
      if (end >= 0 && launcher.length === 0) return reportUsage('which launcher stands after --?');
      if (launcher.length > 0) return runInstead([...launcher, ...replayWords(files, options)]);
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
      reportLine(`cannot run ${program!}: ${systemWords(error)}`);
      fulfil(NO_SERVER);
    });
    child.once('exit', (code, signal) => fulfil(code ?? 128 + constants.signals[signal!]));
  });
}

/** The words that replay for the ranks of a launcher, or of a spawn. They may have another working directory. */
function replayWords(files: readonly string[], options: ReplayValues, group?: number): string[] {
  const { rank, report: reportFile, timeout, verbose } = options;
  const place = group === undefined ? rank : { group };
  return ownCommand([
    ...(place === undefined ? [] : ['--rank', `${place.group}.${place.rank ?? '%r'}`]),
    ...(reportFile === undefined ? [] : ['--report', resolve(reportFile)]),
    ...['--timeout', `${timeout}`],
    ...(verbose ? ['--verbose'] : []),
    ...files.map((file) => resolve(file)),
  ]);
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
  const { rank, size, fd, jobId } = target;
  const place = { group: 0, rank, ...options.rank };
  const ownFiles = files.map((file) => file.replaceAll('%r', String(rank)));
  const replay = new Replay(new Socket({ fd, readable: true, writable: true }), {
    rank,
    jobId,
    timeout: options.timeout * 1000,
    spawned: async (index) => {
      const group = await spawnedGroup(ownFiles, place, index);
      // The processes of a group of which nothing is recorded do not use PMI.
      return group === undefined ? ['true'] : replayWords(files, options, group);
    },
    isEndedByAnother: () => isEndedByAnother(files, place, size),
  });
  try {
    process.exitCode = await report(place, replay.run(recordsOf(ownFiles, place)), options);
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
async function* recordsOf(files: readonly string[], place: Place): AsyncGenerator<TraceRecord> {
  let found = false;
  const others = new Set<string>();
  for (const file of files) {
    for await (const record of readIdentified(file)) {
      if ('wireupTrace' in record) {
        // Over PMI_PORT, a rank that never speaks is not in the recording of the server.
        found ||= place.group === 0 && record.size !== undefined && place.rank < record.size;
        continue;
      }
      if (record.rank === undefined) continue;
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

/** The number of the process group that was started by the spawn of this rank that succeeded after `index` others. */
async function spawnedGroup(
  files: readonly string[],
  place: Place,
  index: number,
): Promise<number | undefined> {
  const groups = new SpawnedGroups();
  for (const file of files) for await (const record of readIdentified(file)) groups.add(record);
  return groups.of(labelOf(place), index);
}

/** The files of all ranks. */
function* filesOf(patterns: readonly string[], size: number): Generator<string> {
  for (const pattern of patterns) {
    if (!pattern.includes('%r')) yield pattern;
    else for (let rank = 0; rank < size; rank++) yield pattern.replaceAll('%r', String(rank));
  }
}

/** Whether another rank had ended the job, by an abort or without finalize, when the connection of this one was closed. */
async function isEndedByAnother(patterns: readonly string[], place: Place, size: number): Promise<boolean> {
  const ends = new JobEnds();
  for (const file of filesOf(patterns, size)) {
    // The ranks of several recordings need not all be there.
    if (!existsSync(file)) continue;
    let start = 0;
    for await (const record of readIdentified(file)) {
      if ('wireupTrace' in record) ({ start } = record);
      else ends.add(record, start + record.t);
    }
  }
  return ends.isBefore(labelOf(place));
}

/** What each end adds to the report. */
const ends: Readonly<Record<End, string>> = {
  over: '',
  'hang-up': '; the rank hangs up without finalize, as recorded',
  abort: '; the rank aborts the job, as recorded',
  ended: '; the rank waits until the job is ended, as recorded',
  server: '; the server has closed the connection',
};

/** Prints the findings, and returns the exit code. */
async function report(
  place: Place,
  findings: AsyncIterable<Finding>,
  { verbose, report: file }: ReplayValues,
): Promise<number> {
  const label = labelOf(place);
  const line = (text: string): void => {
    const shown = text.length > MAX_LINE ? `${text.slice(0, MAX_LINE)}...` : text;
    const whole = `${label}: ${printable(shown)}\n`;
    if (file === undefined) print(whole);
    else appendFileSync(file, whole);
  };
  let answers = 0;
  let differing = 0;
  let reported = -1;
  const sum = (end: string): void => {
    const found = `${differing} ${differing === 1 ? 'difference' : 'differences'}`;
    line(`${answers} answers, ${differing === 0 ? 'none differs' : found}${end}`);
  };
  for await (const finding of findings) {
    switch (finding.type) {
      case 'sent':
        if (verbose) line(`C: ${finding.text}`);
        break;
      case 'left-out':
        line(`left out, because ${finding.reason}: ${finding.text}`);
        break;
      case 'invalid':
        sum(
          ` before a message that is no request of PMI, at which a launcher may end the rank: ${finding.text}`,
        );
        break;
      case 'end':
        reported = differing;
        sum(ends[finding.end]);
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
  if (differing !== reported) sum('');
  return differing === 0 ? 0 : DIFFERS;
}
