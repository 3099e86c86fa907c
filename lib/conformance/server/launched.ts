/** Checks of a server whose launcher this process starts, once for each group of checks. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { merge, shorten, type Finding } from '../finding';
import { versions, type PmiVersion } from '../rule';
import { ruleOf, rulesFor } from '../rules';
import { hasReport, readJournals, type RankHistory } from './journal';

export interface LaunchedOptions {
  /** Without it, every version. */
  readonly version: PmiVersion | undefined;
  /** For one reply, in milliseconds. */
  readonly timeout: number;
  /** The rules whose checks may end the connection or the job. */
  readonly destructive: readonly string[];
  /** The words of the launcher, to which the rank's program is appended. */
  readonly launcher: readonly string[];
  /** Starts `wireup`; the words of the subcommand are appended. */
  readonly self: readonly string[];
  /** Gets what the launcher and the ranks write, except their journals. */
  readonly onOutput: (text: string) => void;
}

export interface LaunchedReport {
  readonly findings: readonly Finding[];
  readonly size: number | undefined;
  readonly transport: 'fd' | 'port' | undefined;
}

/** One job. */
interface Pass {
  readonly version: PmiVersion;
  readonly destructive: readonly string[];
}

/** A job may take this many times the limit of a reply. */
const PASS_TIMEOUTS = 30;

/** How long a launcher may take to end after rank 0 has reported, and again after SIGTERM, in milliseconds. */
const LAST_WAIT = 5000;

/** Between two looks for the report. */
const LOOK_MS = 100;

/** If so many checks of a version have ended their jobs, the others of that version are not tried. */
const MAX_ENDED = 8;

/** Destructive checks that can share a job. */
const together: readonly (readonly string[])[] = [['P1-SPAWN-1', 'P1-SPAWN-2']];

function passesOf({ version, destructive }: LaunchedOptions): Pass[] {
  const plain = versions.filter((one) => version === undefined || one === version);
  const groups = destructive.map((rule) => together.find((rules) => rules.includes(rule)) ?? [rule]);
  return [
    ...plain.map((one) => ({ version: one, destructive: [] })),
    ...[...new Set(groups)].map((rules) => ({ version: '1.1' as const, destructive: rules })),
  ];
}

/** @throws rejects if no rank of any job reports */
export async function checkLaunched(options: LaunchedOptions): Promise<LaunchedReport> {
  const findings: Finding[] = [];
  let known: RankHistory | undefined;
  let end = '';
  for (const pass of passesOf(options)) {
    const wanted = rulesOf(pass);
    const skipped: string[] = [];
    let last: RankHistory | undefined;
    while (skipped.length < MAX_ENDED) {
      const run = await launchPass(options, pass, skipped);
      ({ end } = run);
      last = run.history;
      if (last === undefined) break;
      known ??= last;
      if (last.report !== undefined) known = last;
      findings.push(...(last.report?.findings ?? last.findings).filter(({ rule }) => wanted.includes(rule)));
      const by = last.report === undefined ? last.running?.rule : last.report.lostBy;
      if (by === undefined) break;
      if (last.report === undefined) {
        // The effect of a destructive check may come late.
        const rule = wanted.includes(by) ? by : wanted[0]!;
        findings.push(judgeEnd({ rule, lines: last.running!.lines }, end));
      }
      if (pass.destructive.length > 0) break;
      // The checks that come after it need another job.
      skipped.push(by);
    }
    const reason = `the launcher ${end}`;
    for (const rule of wanted) findings.push({ rule, status: 'not-tried', reason });
  }
  if (known === undefined) throw new Error(`${options.launcher[0]} ${end}, and no rank has reported`);
  return {
    findings: ordered(merge(findings)),
    size: known.place?.size,
    transport: known.report?.transport,
  };
}

/** The rules that a pass checks. */
function rulesOf({ version, destructive }: Pass): string[] {
  return rulesFor('server')
    .filter(({ id, version: of }) =>
      destructive.length > 0 ? destructive.includes(id) : of === undefined || of === version,
    )
    .map(({ id }) => id);
}

function ordered(findings: readonly Finding[]): Finding[] {
  return rulesFor('server').flatMap(({ id }) => findings.filter(({ rule }) => rule === id));
}

const SUCCESS = 'ended with code 0';

/** The job has ended in the middle of a check. */
function judgeEnd({ rule, lines }: NonNullable<RankHistory['running']>, end: string): Finding {
  const shall = rule === 'P1-ABORT-1' ? end !== SUCCESS : ruleOf(rule).id.startsWith('P1-ERROR-');
  if (shall) return { rule, status: 'passed' };
  return { rule, status: 'failed', reason: `the launcher ${end}`, lines: shorten(lines) };
}

async function launchPass(
  { launcher, self, timeout, onOutput }: LaunchedOptions,
  { version, destructive }: Pass,
  skipped: readonly string[],
): Promise<{ history: RankHistory | undefined; end: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'wireup-check-'));
  try {
    const own = ['--journal', folder, '--pmi-version', version, '--timeout', String(timeout / 1000)];
    const [file, ...words] = [
      ...launcher,
      ...self,
      'check',
      'server',
      ...own,
      ...(destructive.length === 0 ? [] : ['--destructive', destructive.join()]),
      ...(skipped.length === 0 ? [] : ['--skip', skipped.join()]),
    ] as [string, ...string[]];
    const child = spawn(file, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', onOutput);
    let end = '';
    // If rank 0 has lost its connection, the other ranks wait for it, and some launchers let them.
    let reported = false;
    const look = setInterval(() => {
      if (!reported && hasReport(folder)) {
        reported = true;
        setTimeout(() => child.kill('SIGTERM'), LAST_WAIT).unref();
        setTimeout(() => child.kill('SIGKILL'), 2 * LAST_WAIT).unref();
      }
    }, LOOK_MS);
    const late = setTimeout(() => {
      end = `has not ended after ${(timeout * PASS_TIMEOUTS) / 1000} s`;
      child.kill('SIGKILL');
    }, timeout * PASS_TIMEOUTS);
    try {
      const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
      end ||= code === null ? `was ended by ${signal}` : `ended with code ${code}`;
    } finally {
      clearTimeout(late);
      clearInterval(look);
    }
    return { history: readJournals(folder, output, (line) => onOutput(`${line}\n`)), end };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
