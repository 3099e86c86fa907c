/** `wireup ps`, `wireup status` and `wireup attach`: the jobs that run on this machine, seen from another terminal. */
import type { Command } from 'commander';
import {
  describeProcess,
  groupStacks,
  listJobs,
  PmiError,
  type JobDescription,
  type JobStatus,
  type PmiStatus,
  type RankFacts,
  type RunningJob,
} from '../index';
import { printable } from '../printable';
import { describeAwaited, statusRows } from '../status';
import { addOptions } from './commander-options';
import { idset, UsageError, type OptionTable, type Values } from './option';
import { describeProgress } from './progress';
import { print, report } from './report';
import { table } from './table';

const psOptions = {
  json: { help: 'print one JSON document' },
} as const satisfies OptionTable;

const statusOptions = {
  rank: {
    short: 'r',
    value: '<ranks>',
    read: idset,
    help: 'what the processes of these ranks do, such as 0,4-7 (default: of up to 16 ranks that the others wait for)',
  },
  stacks: {
    help: 'the calls in which the ranks are, of all ranks or those of --rank, by py-spy, eu-stack or gdb',
  },
  json: { help: 'print one JSON document' },
} as const satisfies OptionTable;

/** A shell's code for a process that ^C ended. */
const INTERRUPTED = 130;

const JOB =
  'as wireup ps shows it: the process id of wireup run. It can be left out if there is only one job';

export function addJobs(program: Command): void {
  addOptions(program.command('ps'), psOptions)
    .description('list the jobs of this user on this machine')
    .addHelpText(
      'after',
      `
Lists the jobs of wireup run, and of programs that call launch() with the option \`listed\`. STATE is starting or running;
stopped if a signal has stopped wireup run (^Z); or "no answer" if it does not answer within two seconds. COMMAND is then the
command line of wireup run.`,
    )
    .action((options: Values<typeof psOptions>) => listAll(options));

  addOptions(program.command('status').argument('[job]', JOB), statusOptions)
    .description('show where the ranks of a job are')
    .addHelpText(
      'after',
      `
Shows which ranks are in which state of PMI, which wait in a barrier, and which are missing from it. Of ranks that the others
wait for, it shows what their processes do. With --stacks, ranks with equal stacks are one entry; each rank is stopped for the
moment.

Examples:
  wireup status
  wireup status 4242 --stacks
  wireup status 4242 --rank 17 --json`,
    )
    .action((job: string | undefined, options: Values<typeof statusOptions>) => showStatus(job, options));

  program
    .command('attach')
    .argument('[job]', JOB)
    .description('follow a job until it ends, and exit with its exit code')
    .addHelpText(
      'after',
      `
Prints a line each time the ranks have moved, at most four times a second, and the failure of the job if it has one. ^C ends
wireup attach and leaves the job alone. If the launcher of the job is killed, the exit code is 1.`,
    )
    .action((job: string | undefined) => attach(job));
}

/** `1:23`, `2:03:04`, `3-02:03:04`, as ps(1) shows it. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const two = (value: number): string => `${value % 60}`.padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const tail = `${two(Math.floor(seconds / 60))}:${two(seconds)}`;
  if (hours === 0) return tail.replace(/^0(?=\d:)/, '');
  if (hours < 24) return `${hours}:${tail}`;
  return `${Math.floor(hours / 24)}-${`${hours % 24}`.padStart(2, '0')}:${tail}`;
}

const MAX_COMMAND = 60;

/** The words as one text for people, not longer than a column. */
function commandOf(words: readonly string[]): string {
  const text = words.map(printable).join(' ');
  return text.length > MAX_COMMAND ? `${text.slice(0, MAX_COMMAND - 3)}...` : text;
}

const programsOf = ({ programs }: JobDescription): string =>
  programs.map(({ command }) => commandOf(command)).join(' : ');

const hostsText = ({ hosts }: JobDescription): string =>
  hosts.length === 1 ? printable(hosts[0]!.name) : `${hosts.length} hosts`;

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

interface Listed {
  pid: number;
  id: string;
  state: JobDescription['state'] | 'stopped' | 'no answer';
  commandLine: string[];
  job?: JobDescription;
}

/** The command line as the user wrote it: the starter has put Node and its options before the words. */
function withoutStarter(words: string[]): string[] {
  const at = words.findIndex((word) => word.startsWith('--started-as='));
  return at < 0 ? words : [/=(.*):/.exec(words[at]!)?.[1] ?? 'wireup', ...words.slice(at + 1)];
}

/** What names the job on the command line: the process id, unless the process has several jobs. */
function nameOf(job: { pid: number; id: string }, jobs: readonly { pid: number }[]): string {
  return jobs.filter(({ pid }) => pid === job.pid).length > 1 ? `${job.pid}/${job.id}` : `${job.pid}`;
}

/** Undefined if the job has ended meanwhile. */
async function look(running: RunningJob): Promise<Listed | undefined> {
  const { pid, id } = running;
  const commandLine = withoutStarter(running.commandLine);
  if (running.processState() === 'stopped') return { pid, id, state: 'stopped', commandLine };
  try {
    const job = await running.describe();
    return { pid, id, state: job.state, commandLine, job };
  } catch (error) {
    if ((error as PmiError).code !== 'ERR_PMI_TIMEOUT') return undefined;
    const state = running.processState();
    return state === 'gone'
      ? undefined
      : { pid, id, state: state === 'stopped' ? 'stopped' : 'no answer', commandLine };
  }
}

async function listAll({ json }: Values<typeof psOptions>): Promise<void> {
  const seen = await Promise.all(listJobs().map(look));
  const jobs = seen.filter((job) => job !== undefined);
  if (json) return print(`${JSON.stringify({ jobs })}\n`);
  if (jobs.length === 0) return report('no job of this user runs on this machine');
  const now = Date.now();
  const rows = jobs.map((listed) => {
    const name = nameOf(listed, jobs);
    const { state, commandLine, job } = listed;
    return job === undefined
      ? [name, '-', '-', '-', state, commandOf(commandLine)]
      : [name, age(now - job.launched), `${job.size}`, hostsText(job), state, programsOf(job)];
  });
  print(table(['JOB', 'AGE', 'RANKS', 'HOST', 'STATE', 'COMMAND'], rows, [0, 1, 2]));
}

/** The job that the command line names, or the only one. */
function findJob(word: string | undefined): RunningJob {
  const jobs = listJobs();
  const fits =
    word === undefined ? jobs : jobs.filter(({ pid, id }) => [`${pid}`, `${pid}/${id}`].includes(word));
  if (fits.length > 1)
    throw new UsageError(
      `there are ${fits.length} jobs, name one: ${fits.map((job) => nameOf(job, jobs)).join(', ')}; wireup ps shows them`,
    );
  if (fits[0] !== undefined) return fits[0];
  const which = word === undefined ? 'no job' : `no job ${word}`;
  throw new PmiError('ERR_PMI_JOB', `${which} of this user runs on this machine`);
}

/** A stopped job answers nothing, so a wait would only take time. */
function requireAnswers(job: RunningJob): RunningJob {
  if (job.processState() !== 'stopped') return job;
  throw new PmiError(
    'ERR_PMI_JOB',
    `job ${job.pid} is stopped and cannot answer; SIGCONT continues it: kill -CONT ${job.pid}`,
  );
}

const idsetOf = (ranks: string): number[] => (ranks === '' ? [] : idset(ranks));
const countOf = (ranks: string): number => idsetOf(ranks).length;

function describeGroup(status: PmiStatus, exited: string): string {
  const rows = statusRows(status).map(([what, ranks]) =>
    // The last row of many barriers has their number in place of ranks.
    what === 'more barriers of groups' ? [what, ranks, ''] : [what, `${countOf(ranks)}`, ranks],
  );
  if (exited !== '') rows.push(['process has ended', `${countOf(exited)}`, exited]);
  return table(['STATE', 'COUNT', 'RANKS'], rows, [1]);
}

function describeJob({ job, status, exited }: JobStatus): string {
  const since = age(Date.now() - job.launched);
  const parts = [
    `job ${job.pid}: ${plural(job.size, 'rank')} of ${programsOf(job)} on ${hostsText(job)}, ${job.state}, launched ${since} ago\n`,
    describeGroup(status, exited),
  ];
  for (const group of status.spawned ?? [])
    parts.push(`spawned group ${group.group}: ${plural(group.size, 'rank')}\n`, describeGroup(group, ''));
  if (job.hosts.length > 1)
    parts.push(
      table(
        ['HOST', 'COUNT', 'RANKS'],
        job.hosts.map(({ name, ranks }) => [printable(name), `${countOf(ranks)}`, ranks]),
        [1],
      ),
    );
  const awaited = describeAwaited(status);
  if (awaited !== undefined) parts.push(`${awaited}\n`);
  return parts.join('\n');
}

/** How many ranks are looked at without being asked for. */
const MAX_SHOWN = 16;

/** The ranks that the others wait for: those missing from a barrier, else those that have not come to PMI yet. */
function lateRanks({ status: { barrier, ranks }, exited }: JobStatus): number[] {
  const gone = new Set(idsetOf(exited));
  const late =
    barrier.missing === '' && ranks.initialized !== ''
      ? [...idsetOf(ranks.absent), ...idsetOf(ranks.connected)].sort((a, b) => a - b)
      : idsetOf(barrier.missing);
  return late.filter((rank) => !gone.has(rank)).slice(0, MAX_SHOWN);
}

const inPmi: Readonly<Record<RankFacts['pmi'], string>> = {
  absent: 'no connection',
  connected: 'no init',
  initialized: 'init',
  finalized: 'finalized',
  disconnected: 'left',
};

function describeRanks(facts: readonly RankFacts[]): string {
  const rows = facts.map(({ rank, host, pid, pmi, process: seen }) => [
    `${rank}`,
    printable(host),
    `${seen?.pid ?? pid}`,
    printable(seen?.name ?? ''),
    inPmi[pmi],
    seen === undefined ? 'cannot be seen' : printable(describeProcess(seen)),
    seen === undefined ? '-' : `${(seen.processorTime / 1000).toFixed(2)} s`,
  ]);
  return table(['RANK', 'HOST', 'PID', 'PROGRAM', 'PMI', 'WHAT IT DOES', 'CPU'], rows, [0, 2, 6]);
}

function describeStacks(facts: readonly RankFacts[]): string {
  const stacks = facts.flatMap(({ rank, stack }) => (stack === undefined ? [] : [{ rank, stack }]));
  return groupStacks(stacks)
    .map(({ what, ranks, count, frames }) =>
      [
        `${plural(count, 'rank')} in ${printable(what)}: ${ranks}\n`,
        ...frames.map((name) => `    ${printable(name)}\n`),
      ].join(''),
    )
    .join('');
}

async function showStatus(
  word: string | undefined,
  { json, rank, stacks }: Values<typeof statusOptions>,
): Promise<void> {
  const job = requireAnswers(findJob(word));
  const status = await job.status();
  const shown = rank ?? lateRanks(status);
  const wanted = stacks && rank === undefined ? undefined : shown;
  const facts =
    wanted?.length === 0
      ? []
      : await job.inspect({ ...(wanted === undefined ? {} : { ranks: wanted }), stacks });
  if (json) return print(`${JSON.stringify({ ...status, inspected: facts })}\n`);
  const parts = [describeJob(status)];
  const listedRanks = facts.filter((fact) => shown.includes(fact.rank));
  if (listedRanks.length > 0) parts.push(describeRanks(listedRanks));
  if (stacks) parts.push(describeStacks(facts));
  print(parts.join('\n'));
}

async function attach(word: string | undefined): Promise<void> {
  const job = requireAnswers(findJob(word));
  // A second one must not kill the process on its way to that exit code.
  process.on('SIGINT', () => {
    report(`detached from job ${job.pid}, which goes on`);
    process.exit(INTERRUPTED);
  });
  let last = '';
  for await (const seen of job.follow()) {
    if ('exitCode' in seen) {
      for (const line of seen.failure?.split('\n') ?? []) report(line);
      process.exitCode = seen.exitCode;
      return;
    }
    const line = describeProgress(seen.status, countOf(seen.exited));
    if (line !== last) print(`${line}\n`);
    last = line;
  }
}
