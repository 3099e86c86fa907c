import { fstatSync, readlinkSync } from 'node:fs';
import { arch, availableParallelism, hostname, release } from 'node:os';
import type { Command } from 'commander';
import {
  describeFailure,
  formatIdset,
  launch,
  prepareLaunch,
  type Job,
  type JobResult,
  type JobSettings,
  type LaunchApp,
  type OutputTarget,
} from '../index';
import type { NativeCaller } from '../native';
import { MAX_TIME_LIMIT } from '../limits';
import { softCount } from '../soft';
import { toAdmission } from './admission';
import { ownPath, signalNames, takeCaller, toBytes, toText, type Start } from './start';
import { JobSignals } from './job-signals';
import { checkFile, writeJson } from './whole-file';
import { UsageError } from './mpiexec-args';
import { nameServerOfEnvironment } from './names';
import { checkLocal, hostsOfFile, hostsOfList, placeByMap, placeOnHosts, type Placement } from './placement';
import { Progress } from './progress';
import { fail, NO_READER, print, say } from './report';
import { TroubleReport, troubleTypes } from './trouble';
import { version } from './version';
import {
  helpBelow,
  makeRunCommand,
  readRun,
  readText,
  type JobOptions,
  type RunSegment,
} from './run-options';

export const RUN = 'wireup run';

/** What a shell reports for a process that ^C ended: 128 + SIGINT. */
const INTERRUPTED = 130;

export function addRun(program: Command, start: Start): void {
  const command = program
    .command('run')
    .description("start programs as the ranks of one job on this machine: mpiexec's command line")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .argument('[program...]')
    .action((words: string[]) => run(RUN, { ...start, words }))
    .addHelpText('after', () => helpBelow(RUN));
  // `wireup help run` is `wireup run --help`.
  command.helpInformation = () => makeRunCommand(RUN).helpInformation();
}

/** @param name how the tool was called, for its messages */
export function startRun(name: string, start: Start): void {
  run(name, start).catch(fail);
}

async function run(name: string, start: Start): Promise<void> {
  const { words } = start;
  const caller = takeCaller(start);
  if (words[0] === '-pmi_args') return runSingleton(words.slice(1), caller);
  // A third of the start, which goes on while the words are read. What mostly has no word of a program asks for help.
  if (words.some((word) => !word.startsWith('-'))) prepareLaunch();
  const { job: options, segments } = readRun(name, words);
  if (options.info) return printInfo();
  const signals = new JobSignals(signalNames(caller.ignoredSignals));
  for (const option of ['result', 'proctable'] as const) {
    const file = options[option];
    const fault = file === undefined ? undefined : checkFile(file);
    if (fault !== undefined) throw new UsageError(`--${option} ${file}: ${fault}`);
  }
  if (options.debugRanks !== undefined && options.debugger === undefined)
    throw new UsageError('--debug-ranks: expected --debugger beside it');
  const begin = process.uptime();
  const { apps, placement } = await place(options, segments);
  const pmi = options.pmiPort ? 'tcp' : options.pmi;
  const ports = portRange(process.env.MPIEXEC_PORT_RANGE);
  const nameServer = options.nameServer ?? nameServerOfEnvironment();
  const timeout = options.timeout ?? timeoutOf(process.env.MPIEXEC_TIMEOUT);
  const job = await launch({
    apps,
    pmi,
    ...(pmi === 'tcp' && ports !== undefined ? { ports } : {}),
    execShim: options.execShim,
    label: toBytes(options.prependPattern ?? (options.label ? '[%r] ' : '')),
    stdout: target(options.outfilePattern),
    stderr: target(options.errfilePattern),
    ...(options.outputFrom === undefined ? {} : { outputFrom: options.outputFrom }),
    stdin: options.stdin,
    bind: options.bindTo,
    ...(options.usize === undefined ? {} : { universeSize: options.usize }),
    ...(options.spawn ? {} : { maxSpawn: 0 }),
    ...(options.maxSpawn === undefined ? {} : { maxSpawn: options.maxSpawn }),
    ...(nameServer === undefined ? {} : { nameServer }),
    ...inheritance(caller),
    fds: options.closeFds ? [] : caller.fds,
    onFailure: options.onFailure,
    onEarlyExit: options.onEarlyExit,
    killTimeout: options.killTimeout,
    ...(timeout === undefined ? {} : { timeout }),
    ...(options.debugger === undefined
      ? {}
      : { debugger: { command: options.debugger.map(toBytes), ranks: options.debugRanks ?? [0] } }),
    ...(options.startupTimeout === undefined ? {} : { startupTimeout: options.startupTimeout }),
    ...toAdmission(options),
    ...(placement === undefined
      ? {}
      : { nodes: placement.nodes, hosts: placement.hosts, pretendHosts: placement.pretended }),
    ...(options.nodePerRank ? { ranksPerNode: 1 } : {}),
  });
  void reportTrouble(job);
  if (options.verbose) void reportSpawns(job);
  void reportLostNames(job, nameServer);
  if (options.reportBindings) void reportBindings(job);
  const progress = startProgress(job, options.progress);
  if (options.verbose) say(`${describeJob(job, apps)}, PMI over ${pmi}`);
  signals.attach(job);
  if (options.proctable !== undefined) await writeProcessTable(job, options.proctable, apps);
  const result = await job.result;
  // An agent that is gone has taken no line away.
  if (result.failure?.reason !== 'agent') progress?.end();
  sayFailure(result, pmi === 'fd' || (pmi === 'unix' && options.execShim));
  if (options.printAllExitcodes) say(`exit codes: ${describeExits(result.ranks)}`);
  let exitCode = result.failure === undefined && signals.endedJob ? INTERRUPTED : result.exitCode;
  if (options.result !== undefined) {
    const fault = writeJson(options.result, { ...result, exitCode });
    if (fault !== undefined) {
      say(`the result could not be written to ${options.result}: ${fault}`);
      exitCode ||= 1;
    }
  }
  if (options.verbose)
    say(`ended after ${(process.uptime() - begin).toFixed(2)} s with exit code ${exitCode}`);
  process.exitCode = exitCode;
}

/**
 * `mpiexec -pmi_args PORT INTERFACE KEY PID`, which an MPI program runs that was started without a launcher and now needs
 * one. It is our parent, has our standard streams and terminal, and nobody to read our messages but its user.
 */
async function runSingleton(words: readonly string[], caller: NativeCaller): Promise<void> {
  const [port, , , said] = words.map(Number);
  // MPICH says the process that it has forked, which is this one.
  const pid = said === process.pid ? process.ppid : said;
  if (words.length !== 4 || !Number.isInteger(port) || !Number.isInteger(pid)) {
    throw new UsageError(
      '-pmi_args: expected PORT INTERFACE KEY PID, as an MPI program says them that was started without a launcher',
    );
  }
  const signals = new JobSignals(signalNames(caller.ignoredSignals));
  const program = executableOf(pid!) ?? `process ${pid}`;
  const job = await launch({
    singleton: { port: port!, pid: pid! },
    program,
    ranks: 1,
    path: ownPath(),
    ...inheritance(caller),
  });
  void reportTrouble(job);
  signals.attach(job);
  const result = await job.result;
  sayFailure(result, false);
  // It is a rank of the job that has failed, though no child of ours.
  if (result.failure !== undefined && process.ppid === pid) process.kill(pid!, 'SIGTERM');
  process.exitCode = result.exitCode;
}

/** What ranks have of the process that started the tool, beside its fds. */
function inheritance({
  ignoredSignals,
  blockedSignals,
  softFiles,
}: NativeCaller): Pick<JobSettings, 'ignoredSignals' | 'blockedSignals' | 'softFiles'> {
  return { ignoredSignals, blockedSignals, ...(softFiles === 0 ? {} : { softFiles }) };
}

function printInfo(): void {
  print(`wireup ${version}
Launchers: fork (ranks start on this machine, ${hostname()})
PMI: 1.1, 1.2 and 2.0, over an inherited fd, TCP (host:port) and unix sockets
Binding: none, hwthread, core, socket, user (${availableParallelism()} CPUs may be used)
System: Linux ${release()} ${arch()}, Node ${process.version}
`);
}

function describeJob(job: Job, apps: readonly LaunchApp[]): string {
  const ranks = (count: number): string => `${count} rank${count === 1 ? '' : 's'}`;
  return `${apps.map((app) => `${ranks(app.ranks)} of ${toText(app.program)}`).join(', ')} on ${job.host}`;
}

/** What MPICH exits with when it cannot talk to its server (MPI_ERR_OTHER). */
const MPICH_NO_PMI = 15;

/**
 * Nothing where the reader of the output has gone, as with `yes | head`, nor for a job that was stopped: only its user's
 * own ^C does that.
 *
 * @param inherited ranks were given their PMI connection as an fd
 */
function sayFailure(result: JobResult, inherited: boolean): void {
  if (result.failure === undefined) return;
  if (result.exitCode === NO_READER && result.failure.reason === 'output') return;
  for (const line of describeFailure(result)?.split('\n') ?? []) say(line);
  const { reason, code, phase, rank } = result.failure;
  if (inherited && reason === 'exit' && code === MPICH_NO_PMI && phase === 'none') {
    say(
      `rank ${rank} never used PMI_FD; does a wrapper (sudo, Python's subprocess) close inherited fds? Then use --pmi tcp`,
    );
  }
}

const target = (pattern: string | undefined): OutputTarget =>
  pattern === undefined ? 'inherit' : { file: toBytes(pattern) };

/** How many ranks each program has, and where they are; no placement where all share one node. */
async function place(
  options: JobOptions,
  segments: readonly RunSegment[],
): Promise<{ apps: LaunchApp[]; placement: Placement | undefined }> {
  const shared =
    options.hostfile === undefined
      ? []
      : hostsOfFile(options.hostfile, readText('--hostfile', options.hostfile));
  // What the first program says before its first colon is said for all that name no hosts of their own.
  const first = segments[0]!.options.hosts;
  if (first !== undefined && options.hostfile !== undefined)
    throw new UsageError('--hosts and --hostfile: expected one of them');
  const hosts = segments.map(({ options: { hosts: own } }) =>
    own === undefined && first === undefined ? shared : hostsOfList('--hosts', own ?? first!),
  );
  await checkLocal(hosts.flat());
  const apps = segments.map((segment, i) =>
    toApp(options, segment, ranksByDefault(options, hosts[i]!, segments.length === 1)),
  );
  const size = apps.reduce((sum, { ranks }) => sum + ranks, 0);
  const named = hosts.some(({ length }) => length > 0);
  const ways = [
    named && '--hosts',
    options.map !== undefined && '--map',
    options.nodePerRank && '--node-per-rank',
  ].filter((way) => way !== false);
  if (options.ppn !== undefined && options.map !== undefined) ways.push('--ppn');
  if (ways.length > 1)
    throw new UsageError(`${ways.join(' and ')}: each says where ranks are; expected one of them`);
  if (options.map !== undefined) return { apps, placement: placeByMap(options.map, size) };
  if (!named) return { apps, placement: undefined };
  const here = [{ name: hostname(), count: 1 }];
  const placement = placeOnHosts(
    apps.map(({ ranks }, i) => ({ ranks, hosts: hosts[i]!.length > 0 ? hosts[i]! : here })),
    options.ppn,
  );
  return { apps, placement };
}

/** How many ranks a program has for which none are said. */
function ranksByDefault(options: JobOptions, hosts: readonly { count: number }[], alone: boolean): number {
  if (alone && options.map?.kind === 'list') return options.map.nodes.length;
  if (hosts.length === 0) return options.ppn ?? 1;
  return hosts.reduce((sum, { count }) => sum + (options.ppn ?? count), 0);
}

function toApp(job: JobOptions, { program, args, options }: RunSegment, byDefault: number): LaunchApp {
  const most = options.ranks ?? byDefault;
  const ranks = options.soft === undefined ? most : softCount(options.soft, most);
  if (!ranks) throw new UsageError(`--soft allows none of 1 to ${most} ranks`);
  return {
    program: toBytes(program),
    args: args.map(toBytes),
    ranks,
    ...environmentOf(job, options),
    path: options.path === undefined ? ownPath() : toBytes(options.path),
    ...(options.wdir === undefined ? {} : { cwd: toBytes(options.wdir) }),
  };
}

function environmentOf(
  job: JobOptions,
  segment: RunSegment['options'],
): Pick<LaunchApp, 'inheritEnv' | 'setEnv'> {
  const inherited = (none: boolean, list: string | undefined): string[] | undefined =>
    none ? [] : list?.split(',');
  const own = segment.envall || segment.envnone || segment.envlist !== undefined;
  const names = own ? inherited(segment.envnone, segment.envlist) : inherited(job.genvnone, job.genvlist);
  const set = Object.entries({ ...job.genv, ...segment.env }).map(
    ([name, value]) => [name, toBytes(value)] as const,
  );
  return {
    ...(names === undefined ? {} : { inheritEnv: names.map(toBytes) }),
    setEnv: Object.fromEntries(set),
  };
}

/** Milliseconds. As with Hydra, 0 and an empty text are no limit. */
function timeoutOf(text: string | undefined): number | undefined {
  if (text === undefined || /^0*$/.test(text)) return undefined;
  const value = Math.ceil(Number(text) * 1000);
  if (!/^(\d+\.?\d*|\.\d+)$/.test(text))
    throw new UsageError(`MPIEXEC_TIMEOUT=${text}: expected a positive number of seconds, or 0 for no limit`);
  // No job sees the difference.
  return Math.min(value, MAX_TIME_LIMIT) || undefined;
}

/** `0-2: 0; 3: SIGSEGV`: how ranks ended, those that ended alike together. */
function describeExits(ranks: readonly { rank: number; code?: number; signal?: string }[]): string {
  const groups = new Map<string, number[]>();
  for (const { rank, code, signal } of ranks) {
    const how = signal ?? (code === undefined ? 'not started' : `${code}`);
    groups.set(how, [...(groups.get(how) ?? []), rank]);
  }
  return [...groups].map(([how, members]) => `${formatIdset(members)}: ${how}`).join('; ');
}

function portRange(text: string | undefined): [number, number] | undefined {
  if (text === undefined || text === '') return undefined;
  const match = /^(\d+):(\d+)$/.exec(text);
  const [low, high] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || low < 1 || high < low || high > 65_535) {
    throw new UsageError(`MPIEXEC_PORT_RANGE=${text}: expected two ports, such as 5000:5100`);
  }
  return [low, high];
}

function startProgress(job: Job, how: JobOptions['progress']): Progress | undefined {
  // One rank writes to the terminal itself, and nobody could tell when.
  if (how === 'auto') return job.size > 1 && isTerminal(2) ? new Progress(job, 'line') : undefined;
  return how === 'plain' ? new Progress(job, 'plain') : undefined;
}

function isTerminal(fd: number): boolean {
  // `node:tty` takes as long to load as a rank to start, and no terminal is anything else than such a device.
  return fstatSync(fd).isCharacterDevice() && process.getBuiltinModule('node:tty').isatty(fd);
}

async function reportTrouble(job: Job): Promise<void> {
  const report = new TroubleReport();
  for await (const event of job.events({ types: troubleTypes })) report.add(event);
  report.end();
}

async function reportSpawns(job: Job): Promise<void> {
  const who = ({ group, rank }: { group: number; rank: number }): string =>
    `rank ${rank}${group === 0 ? '' : ` of spawned group ${group}`}`;
  for await (const event of job.events({ types: ['spawned', 'group-ended'] })) {
    if (event.type === 'spawned') {
      const ignored = event.ignoredInfo.length === 0 ? '' : `; info ignored: ${event.ignoredInfo.join(', ')}`;
      say(
        `${who(event.by)} spawned group ${event.group}: ${event.size} rank${event.size === 1 ? '' : 's'} of ${event.programs.join(', ')}${ignored}`,
      );
    }
    if (event.type === 'group-ended') say(`spawned group ${event.group} has ended`);
  }
}

async function reportLostNames(job: Job, nameServer: string | undefined): Promise<void> {
  if (nameServer === undefined) return;
  for await (const event of job.events({ types: ['name-server-lost'] })) {
    if (event.type === 'name-server-lost')
      say(`the name server ${nameServer} has gone: ranks can neither publish nor look up names any more`);
  }
}

async function reportBindings(job: Job): Promise<void> {
  for await (const event of job.events({ types: ['started'] })) {
    if (event.type === 'started')
      say(
        `rank ${event.rank} (pid ${event.pid}) ${event.cpus.length === 0 ? 'is not bound' : `is bound to CPU ${formatIdset(event.cpus)}`}`,
      );
  }
}

async function writeProcessTable(job: Job, file: string, apps: readonly LaunchApp[]): Promise<void> {
  let pids: readonly number[];
  try {
    pids = await job.started;
  } catch {
    // Not all were started, which the result says.
    return;
  }
  const programs = apps.flatMap(({ program, ranks }) => Array<LaunchApp['program']>(ranks).fill(program));
  const rows = pids.map((pid, rank) => ({
    rank,
    host: job.host,
    pid,
    executable: toText(executableOf(pid) ?? programs[rank]!),
  }));
  const fault = writeJson(file, rows);
  if (fault !== undefined) say(`the process table could not be written to ${file}: ${fault}`);
}

/** Absent where the process has ended, or is not ours to look at. */
function executableOf(pid: number): Uint8Array | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`, 'buffer');
  } catch {
    return undefined;
  }
}
