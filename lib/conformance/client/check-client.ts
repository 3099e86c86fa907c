/** Checks a client: runs its program with servers of every allowed manner. */
import { shorten, type Finding } from '../finding';
import { ruleOf, rulesFor } from '../rules';
import { trials, type Trial } from './manners';
import { runProgram, type ProgramOptions, type ProgramRun } from './run-program';

export interface ClientReport {
  /** The version that the client speaks, if it has sent anything. */
  readonly version: 1 | 2 | undefined;
  readonly findings: readonly Finding[];
}

export async function checkClient(options: ProgramOptions): Promise<ClientReport> {
  const plain = await runProgram(options, {});
  const requests = new Set(plain.clients.flatMap(({ commands }) => commands));
  const version =
    requests.size === 0 ? undefined : plain.clients.some((client) => client.version === 2) ? 2 : 1;
  const runs = [plain];
  const findings = new Map<string, Finding>();
  const start = startFinding(plain, version);
  findings.set(start.rule, start);
  for (const trial of trials) {
    if (trial.version !== version || start.status !== 'passed') continue;
    if (trial.only !== undefined && !requests.has(trial.only)) {
      findings.set(trial.rule, {
        rule: trial.rule,
        status: 'not-tried',
        reason: `the program sends no ${trial.only}`,
      });
      continue;
    }
    const run = await runProgram(trial.fails ? soon(options, plain) : options, trial.manner);
    runs.push(run);
    findings.set(trial.rule, judgeTrial(trial, run));
  }
  const ended = endFinding(runs, version);
  if (ended !== undefined) findings.set(ended.rule, ended);
  for (const { judge } of runs) {
    for (const [rule, { reason, lines }] of judge.faults)
      findings.set(rule, { rule, status: 'failed', reason, lines: shorten(lines) });
    for (const rule of judge.seen) if (!findings.has(rule)) findings.set(rule, { rule, status: 'passed' });
  }
  return { version, findings: complete(findings, version, start) };
}

/** How much longer than with the plain server a program may run that should fail, and at least, in milliseconds. */
const SLOWER = 5;
const MIN_TIME = 2000;

/** A program that should fail may hang instead. It does not end successfully after much more time than it needs. */
function soon(options: ProgramOptions, { time }: ProgramRun): ProgramOptions {
  return { ...options, timeout: Math.min(options.timeout, Math.max(MIN_TIME, SLOWER * time)) };
}

function startFinding(run: ProgramRun, version: 1 | 2 | undefined): Finding {
  const rule = 'C-RUN-1';
  if (run.failure !== undefined)
    return { rule, status: 'failed', reason: run.failure, lines: shorten(run.lines) };
  if (version === undefined)
    return { rule, status: 'failed', reason: 'the program does not use PMI', lines: [] };
  return { rule, status: 'passed' };
}

function judgeTrial({ rule, fails }: Trial, { failure, lines, clients }: ProgramRun): Finding {
  if (fails) {
    if (failure !== undefined) return { rule, status: 'passed' };
    const shown = clients[0]!.transcript.since(0).filter((line) => line.includes('put'));
    return { rule, status: 'failed', reason: 'the program ends successfully', lines: shorten(shown) };
  }
  if (failure === undefined) return { rule, status: 'passed' };
  const status = ruleOf(rule).level === 'MAY' ? 'not-offered' : 'failed';
  return { rule, status, reason: failure, lines: shorten(lines) };
}

/** Ranks of successful runs must have finalized. */
function endFinding(runs: readonly ProgramRun[], version: 1 | 2 | undefined): Finding | undefined {
  if (version === undefined) return undefined;
  const rule = `C${version}-FINALIZE-1`;
  for (const { failure, clients } of runs) {
    if (failure !== undefined) continue;
    const unfinished = clients.find(({ commands, finalized }) => commands.includes('init') && !finalized);
    if (unfinished === undefined) continue;
    const { transcript } = unfinished;
    const lines = transcript.since(Math.max(0, transcript.length - 4));
    return { rule, status: 'failed', reason: `rank ${unfinished.rank} ends without finalize`, lines };
  }
  return runs.some(({ failure }) => failure === undefined) ? { rule, status: 'passed' } : undefined;
}

/** Adds the rules that nothing has checked. */
function complete(
  findings: ReadonlyMap<string, Finding>,
  version: 1 | 2 | undefined,
  start: Finding,
): Finding[] {
  return rulesFor('client').map(({ id }): Finding => {
    const finding = findings.get(id);
    if (finding !== undefined) return finding;
    const other = /^C([12])-/.exec(id)?.[1];
    const reason =
      other !== undefined && version !== undefined && Number(other) !== version
        ? `the program speaks PMI-${version}`
        : id.startsWith('C-PORT')
          ? 'the program gets PMI_FD'
          : start.status === 'passed'
            ? 'the program sends no such request'
            : 'it needs C-RUN-1';
    return { rule: id, status: 'not-tried', reason };
  });
}
