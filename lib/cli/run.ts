/** `wireup run`: calls launch() with what the command line asks for, and reports how the job ends. */
import { arch, availableParallelism, release } from 'node:os';
import type { Command } from 'commander';
import { launch, prepareLaunch, type JobSettings, type LaunchApp } from '../index';
import type { ResultWithGroups } from '../timeline/spawned';
import { agentPath, type NativeCaller } from '../native';
import { softCount } from '../soft';
import { transports } from '../transports';
import { managerNames } from './allocation';
import { startMetrics } from './metrics-options';
import { findHosts, placeRanks, ranksByDefault, spawnHosts, type HostSettings } from './hosts';
import { ignoreSignals, JobSignals } from './job-signals';
import { blameDefault } from './default-options';
import { readDefaults } from './defaults';
import {
  HelpWanted,
  readRun,
  readText,
  UnknownOption,
  type RunProgram,
  type RunRequest,
} from './mpiexec-args';
import { namingOptions, settingsOf, UsageError } from './option';
import { fail, print, report } from './report';
import { runOptions, type JobValues, type ProgramValues } from './run-options';
import { launcherNames } from './run-values';
import {
  describeExits,
  describeJob,
  describePhases,
  executableOf,
  reportBindings,
  reportHosts,
  reportLostNames,
  reportSpawns,
  reportTrouble,
  reportUnlisted,
  reportFailure,
  startProgress,
  writeProcessTable,
} from './run-report';
import { ownPath, signalNames, takeCaller, toBytes, type Start } from './start';
import { followSpawns, writeTimeline } from './timeline';
import { finishTrace, recordingOf, traceOf } from './trace-options';
import { version } from './version';
import { checkFile, writeJson } from './whole-file';

export const RUN = 'wireup run';

export * as shared from './shared';

/** What a shell reports for a process that ^C ended: 128 + SIGINT. */
const INTERRUPTED = 130;

/** Registers the command, for `wireup --help` and `wireup help run`. startRun() reads its command line. */
export function addRun(program: Command, start: Start): void {
  const command = program
    .command('run')
    .description("start programs as the ranks of one job: mpiexec's command line")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .argument('[program...]')
    .action((words: string[]) => startRun(RUN, { ...start, words }));
  command.helpInformation = () => loadHelp().makeRunCommand(RUN).helpInformation();
  command.addHelpText('after', () => loadHelp().helpBelow(RUN));
}

/** @param name how the command was called, for its messages */
export function startRun(name: string, start: Start): void {
  run(start)
    .catch((error: unknown) => {
      if (error instanceof HelpWanted) return loadHelp().showRunHelp(name);
      if (error instanceof UnknownOption) loadHelp().reportUnknown(name, error.option);
      throw error;
    })
    .catch(fail);
  // When nothing is left to do, Node would restore the default actions of signals before the process ends: a ^C then would
  // kill the process, and its exit code would be lost. exit() keeps the handlers to the end.
  process.once('beforeExit', () => process.exit());
}

const loadHelp = (): typeof import('./run-help.js') =>
  require('./run-help') as typeof import('./run-help.js');

async function run(start: Start): Promise<void> {
  const { words } = start;
  const caller = takeCaller(start);
  if (words[0] === '-pmi_args') return namingOptions(runOptions, () => runSingleton(words.slice(1), caller));
  // The agent takes a third of the start, and starts while the words are read. A command line without the word of a program
  // mostly asks for help.
  if (words.some((word) => !word.startsWith('-'))) prepareLaunch();
  const request = readRun(words, readDefaults);
  if (request.job.info) return printInfo();
  const { defaults, job } = request;
  if (job.verbose) for (const { text, from } of defaults) report(`${text}: a default from ${from}`);
  try {
    await namingOptions(runOptions, () => runJob(request, caller));
  } catch (error) {
    throw blameDefault(error, defaults);
  }
}

async function runJob({ job: options, programs }: RunRequest, caller: NativeCaller): Promise<void> {
  const ignored = signalNames(caller.ignoredSignals);
  ignoreSignals(ignored);
  for (const option of ['result', 'timeline', 'proctable'] as const) {
    const file = options[option];
    const fault = file === undefined ? undefined : checkFile(file);
    if (fault !== undefined) throw new UsageError(`--${option} ${file}: ${fault}`);
  }
  const begin = process.uptime();
  const { apps, placement } = place(options, programs);
  // Not before, because files of hosts may be pipes: while this thread waits for their writers, it handles no signal.
  const signals = new JobSignals(ignored);
  const settings = settingsOf<JobSettings>(runOptions, options);
  const pmi = settings.pmi ?? 'fd';
  const ports = transports[pmi].ports ? portRange(process.env.MPIEXEC_PORT_RANGE) : undefined;
  const metrics = await startMetrics(options, options.verbose);
  const keepsTimes = options.result !== undefined || options.timeline !== undefined;
  const job = await launch({
    ...inheritance(caller),
    fds: caller.fds,
    listed: true,
    ...settings,
    apps,
    barrierTimes: keepsTimes,
    ...(ports === undefined ? {} : { ports }),
    ...placement,
    ...traceOf(options, RUN),
  });
  metrics?.serve(job);
  const spawned = keepsTimes ? followSpawns(job) : undefined;
  void reportTrouble(job, options.verbose);
  if (options.verbose) void reportSpawns(job);
  if (options.verbose) void reportHosts(job);
  if (options.verbose) void reportUnlisted(job);
  void reportLostNames(job, options.nameServer);
  if (options.reportBindings) void reportBindings(job);
  const progress = startProgress(job, options.progress);
  if (options.verbose) report(`${describeJob(job, apps)}, PMI over ${pmi}`);
  signals.attach(job);
  if (options.proctable !== undefined)
    await writeProcessTable(job, options.proctable, apps, placement.launcher === 'fork');
  const result: ResultWithGroups = { ...(await job.result), ...(await spawned) };
  metrics?.close();
  await finishTrace(job.traced);
  // If the agent has ended too early, it has not removed the line.
  if (result.failure?.reason !== 'agent') progress?.end();
  const shim = transports[pmi].shim && !options.noExecShim;
  reportFailure(result, transports[pmi].inherited || shim);
  if (options.printAllExitcodes) report(`exit codes: ${describeExits(result.ranks)}`);
  let exitCode = result.failure === undefined && signals.endedJob ? INTERRUPTED : result.exitCode;
  if (options.result !== undefined) {
    const fault = writeResult(options.result, result, exitCode);
    if (fault !== undefined) {
      report(`cannot write the result to ${options.result}: ${fault}`);
      exitCode ||= 1;
    }
  }
  if (options.timeline !== undefined) {
    const fault = await writeTimeline(options.timeline, { ...result, exitCode }, recordingOf(options));
    if (fault !== undefined) {
      report(`cannot write the timeline to ${options.timeline}: ${fault}`);
      exitCode ||= 1;
    }
  }
  if (options.verbose) report(describePhases(result));
  if (options.verbose)
    report(`the job ended after ${(process.uptime() - begin).toFixed(2)} s with exit code ${exitCode}`);
  process.exitCode = exitCode;
}

const writeResult = (file: string, result: ResultWithGroups, exitCode: number): string | undefined =>
  writeJson(file, { ...result, exitCode });

/**
 * `mpiexec -pmi_args PORT INTERFACE KEY PID`: an MPI program that was started without a launcher runs this command when it
 * needs one. The program is the parent of this process, and both use the same standard streams and terminal. Only variables
 * can name hosts and the name server.
 */
async function runSingleton(words: readonly string[], caller: NativeCaller): Promise<void> {
  const [port, , , named] = words.map(Number);
  // MPICH names the process that it has forked, which is this one.
  const pid = named === process.pid ? process.ppid : named;
  if (words.length !== 4 || !Number.isInteger(port) || !Number.isInteger(pid)) {
    throw new UsageError(
      '-pmi_args: expected PORT INTERFACE KEY PID, as an MPI program gives them that was started without a launcher',
    );
  }
  const ignored = signalNames(caller.ignoredSignals);
  ignoreSignals(ignored);
  const program = executableOf(pid!) ?? `process ${pid}`;
  const { job: options, programs } = readRun(['singleton'], readDefaults);
  const settings = settingsOf<JobSettings>(runOptions, options);
  const hosts = spawnHosts(findHosts(options, programs, readText));
  const signals = new JobSignals(ignored);
  const job = await launch({
    singleton: { port: port!, pid: pid! },
    program,
    ranks: 1,
    path: ownPath(),
    ...inheritance(caller),
    ...settings,
    ...hosts,
  });
  void reportTrouble(job, false);
  void reportLostNames(job, options.nameServer);
  signals.attach(job);
  const result = await job.result;
  reportFailure(result, false);
  // The program is a rank of the job that has failed, but not a child of the agent, which cannot end it.
  if (result.failure !== undefined && process.ppid === pid) process.kill(pid, 'SIGTERM');
  process.exitCode = result.exitCode;
}

/** What ranks inherit from the process that started the command, beside its fds. */
function inheritance({
  ignoredSignals,
  blockedSignals,
  softFiles,
}: NativeCaller): Pick<JobSettings, 'ignoredSignals' | 'blockedSignals' | 'softFiles'> {
  return { ignoredSignals, blockedSignals, ...(softFiles === 0 ? {} : { softFiles }) };
}

function printInfo(): void {
  print(`wireup ${version}
Launchers: ${launcherNames.join(', ')}
Resource managers: ${managerNames.join(', ')}
Agent: ${agentPath}
PMI: 1.1, 1.2 and 2.0, over ${Object.values(transports)
    .map(({ title }) => title)
    .join(', ')}
Binding: none, hwthread, core, socket, user (${availableParallelism()} CPUs may be used)
System: Linux ${release()} ${arch()}, Node ${process.version}
`);
}

/** The programs with their ranks, and where these are. */
function place(
  options: JobValues,
  programs: readonly RunProgram[],
): { apps: LaunchApp[]; placement: HostSettings } {
  const hosts = findHosts(options, programs, readText);
  const apps = programs.map((program, i) =>
    toApp(options, program, ranksByDefault(options, hosts.ofPrograms[i]!, programs.length === 1)),
  );
  return { apps, placement: placeRanks(options, apps, hosts) };
}

function toApp(job: JobValues, { program, args, options }: RunProgram, byDefault: number): LaunchApp {
  const most = options.ranks ?? byDefault;
  const ranks = options.soft === undefined ? most : softCount(options.soft, most);
  if (!ranks) throw new UsageError(`--soft: none of 1 to ${most} ranks is acceptable`);
  return {
    path: ownPath(),
    ...settingsOf<Partial<LaunchApp>>(runOptions, options),
    program: toBytes(program),
    args: args.map(toBytes),
    ranks,
    ...environmentOf(job, options),
  };
}

function environmentOf(job: JobValues, own: ProgramValues): Pick<LaunchApp, 'inheritEnv' | 'setEnv'> {
  const inherited = (none: boolean, list: string | undefined): string[] | undefined =>
    none ? [] : list?.split(',');
  const overrides = own.envall || own.envnone || own.envlist !== undefined;
  const names = overrides ? inherited(own.envnone, own.envlist) : inherited(job.genvnone, job.genvlist);
  const set = Object.entries({ ...job.genv, ...own.env }).map(
    ([name, value]) => [name, toBytes(value)] as const,
  );
  return {
    ...(names === undefined ? {} : { inheritEnv: names.map(toBytes) }),
    setEnv: Object.fromEntries(set),
  };
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
