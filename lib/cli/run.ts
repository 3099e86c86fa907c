import { readlinkSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { describeFailure, launch, type Job, type PmiTransport } from '../index';
import { MAX_RANKS } from '../limits';
import { addAdmissionOptions, toAdmission, type AdmissionFlags } from './admission';
import { takeIgnoredSignals } from './ignored-signals';
import { JobSignals, STATUS_SIGNAL } from './job-signals';
import { checkFile, writeWhole } from './json-file';
import { RefusalReport } from './refusals';
import { idset, say, seconds, sayUsage, wholeNumber, words } from './report';

interface RunOptions extends AdmissionFlags {
  ranks: number;
  execShim: boolean;
  nodePerRank: boolean;
  pmi: PmiTransport;
  label: boolean;
  verbose: boolean;
  timeout?: number;
  wireupTimeout?: number;
  killTimeout: number;
  onFailure: 'kill' | 'wait';
  onEarlyExit: 'fail' | 'wait';
  result?: string;
  proctable?: string;
  debugger?: string[];
  debugRanks: number[];
}

/** What a shell reports for a process that ^C ended: 128 + SIGINT. */
const INTERRUPTED = 130;

export function addRun(program: Command): void {
  addAdmissionOptions(program.command('run'))
    .description('start a program as the ranks of one job on this machine')
    .usage('[options] program [args...]')
    .argument('<program>', 'what each rank runs; searched in PATH when it has no slash')
    .argument('[args...]', 'its arguments; the options of wireup end at the program')
    .addOption(
      new Option('-n, --ranks <N>', 'how many ranks').argParser(wholeNumber(1, MAX_RANKS)).default(1),
    )
    .addOption(
      new Option('--pmi <transport>', 'how ranks reach the PMI server: an inherited fd, TCP on 127.0.0.1, or a unix socket')
        .choices(['fd', 'tcp', 'unix'])
        .default('fd'),
    )
    .option('--no-exec-shim', 'with --pmi unix: start the program itself, which runs wireup-exec further inside (in a container)')
    .option('--node-per-rank', 'tell ranks that each is on a node of its own: for containers with a /dev/shm each', false)
    .option('-l, --label', 'put "[rank] " before each line of output', false)
    .option('-v, --verbose', 'say on stderr what runs where, and how long it took', false)
    .addOption(
      new Option('-t, --timeout <S>', 'end the job after S seconds, with exit code 124')
        .env('MPIEXEC_TIMEOUT')
        .argParser(seconds(1)),
    )
    .addOption(
      new Option('--wireup-timeout <S>', 'the same when not every rank has said PMI init and left the first barrier by then')
        .argParser(seconds(1)),
    )
    .addOption(
      new Option('--kill-timeout <S>', 'seconds from TERM to KILL when ranks are ended')
        .argParser(seconds(0))
        .default(5000, '5'),
    )
    .addOption(
      new Option('--on-failure <what>', 'a rank that fails ends the others, or lets them run on')
        .choices(['kill', 'wait'])
        .default('kill'),
    )
    .addOption(
      new Option('--on-early-exit <what>', 'a rank that leaves while others wait for it in a PMI barrier ends the job, or lets them wait')
        .choices(['fail', 'wait'])
        .default('fail'),
    )
    .option('--proctable <file>', 'write host, process id and executable of each rank to a file, as JSON, once all have been started')
    .addOption(
      new Option('--debugger <command>', 'put a command, split at blanks, before the program of some ranks (use it with --pmi tcp where it drops fds)').argParser(words),
    )
    .addOption(new Option('--debug-ranks <list>', 'which ranks, such as 0,4-7').argParser(idset).default([0], '0'))
    .option('--result <file>', 'write how the job and each rank ended to a file, as JSON')
    .addHelpText(
      'after',
      `
The exit code is 0, or that of the first rank that failed (128 + the number of the signal that killed it), or what
abort said; 124: a time limit passed, 127: the program was not found, 126: it is not executable, 130: ended by ^C,
2: wrong use of wireup.

Rank 0 reads standard input. INT, TERM, HUP, QUIT, USR1, USR2, ALRM, WINCH, TSTP and CONT are passed on to the ranks;
a second INT within two seconds ends the job, a third kills it.

${STATUS_SIGNAL} asks where the ranks are: kill -${STATUS_SIGNAL.slice(3)} PID (of this program) says on stderr who never
connected, who waits in a barrier and who is missing from it.

Examples:
  wireup run -n 4 ./a.out
  wireup run -n 64 --pmi unix -l ./a.out --its-own-option
  wireup run -n 16 --wireup-timeout 30 --result job.json ./a.out`,
    )
    .passThroughOptions()
    .action(run);
}

async function run(program: string, args: string[], options: RunOptions): Promise<void> {
  const ignoredSignals = takeIgnoredSignals();
  const signals = new JobSignals(ignoredSignals);
  for (const name of ['result', 'proctable'] as const) {
    const file = options[name];
    const fault = file === undefined ? undefined : checkFile(file);
    if (fault !== undefined) return sayUsage(`--${name} ${file}: ${fault}`);
  }
  const begin = performance.now();
  const job = await launch({
    program,
    args,
    ranks: options.ranks,
    pmi: options.pmi,
    execShim: options.execShim,
    label: options.label,
    stdin: 0,
    ignoredSignals,
    onFailure: options.onFailure,
    onEarlyExit: options.onEarlyExit,
    killTimeout: options.killTimeout,
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    ...(options.debugger === undefined ? {} : { debugger: { command: options.debugger, ranks: options.debugRanks } }),
    ...(options.wireupTimeout === undefined ? {} : { wireupTimeout: options.wireupTimeout }),
    ...toAdmission(options),
    ...(options.nodePerRank ? { ranksPerNode: 1 } : {}),
  });
  void reportRefusals(job);
  if (options.verbose) say(`${job.size} rank${job.size === 1 ? '' : 's'} of ${program} on ${job.host}, PMI over ${options.pmi}`);
  signals.attach(job);
  if (options.proctable !== undefined) await writeProcessTable(job, options.proctable, program);
  const result = await job.result;
  const failure = describeFailure(result);
  if (failure !== undefined) for (const line of failure.split('\n')) say(line);
  let exitCode = result.exitCode === 0 && signals.endedJob ? INTERRUPTED : result.exitCode;
  if (options.result !== undefined) {
    const fault = writeWhole(options.result, { ...result, exitCode });
    if (fault !== undefined) {
      say(`the result could not be written to ${options.result}: ${fault}`);
      exitCode ||= 1;
    }
  }
  if (options.verbose) say(`ended after ${((performance.now() - begin) / 1000).toFixed(2)} s with exit code ${exitCode}`);
  process.exitCode = exitCode;
}

async function reportRefusals(job: Job): Promise<void> {
  const report = new RefusalReport();
  for await (const event of job.events()) {
    if (event.type === 'rejected') report.add(event);
  }
  report.end();
}

async function writeProcessTable(job: Job, file: string, program: string): Promise<void> {
  let pids: readonly number[];
  try {
    pids = await job.started;
  } catch {
    // Not all were started, which the result says.
    return;
  }
  const fault = writeWhole(file, pids.map((pid, rank) => ({ rank, host: job.host, pid, executable: executableOf(pid) ?? program })));
  if (fault !== undefined) say(`the process table could not be written to ${file}: ${fault}`);
}

/** Absent where the process has ended, or is not ours to look at. */
function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}
