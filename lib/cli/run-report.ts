/** What `wireup run` reports about its job on stderr, and the files that it writes about it. */
import { fstatSync, readlinkSync } from 'node:fs';
import { describeFailure, formatIdset, type Job, type JobResult, type LaunchApp } from '../index';
import { Progress } from './progress';
import { NO_READER, report } from './report';
import type { JobValues } from './run-options';
import { toText } from './start';
import { rankOf, TroubleReport, troubleTypes } from './trouble';
import { writeJson } from './whole-file';

const ranksText = (count: number): string => `${count} rank${count === 1 ? '' : 's'}`;

/** How many hosts a line names. */
const MAX_NAMED = 16;

export function describeJob(job: Job, apps: readonly LaunchApp[]): string {
  const names = [...new Set(job.hosts)];
  return `${apps.map((app) => `${ranksText(app.ranks)} of ${toText(app.program)}`).join(', ')} on ${namesOf(names)}`;
}

function namesOf(hosts: readonly string[]): string {
  const shown = hosts.length > MAX_NAMED ? [...hosts.slice(0, MAX_NAMED), '...'] : hosts;
  return hosts.length === 1 ? hosts[0]! : `${hosts.length} hosts (${shown.join(', ')})`;
}

/** The exit code of an MPICH program that cannot communicate with its server (MPI_ERR_OTHER). */
const MPICH_NO_PMI = 15;

/**
 * Reports why the job failed. There is no report if the reader of the output has gone, as in `wireup run yes | head`.
 *
 * @param inherited ranks got their PMI connection as an fd
 */
export function reportFailure(result: JobResult, inherited: boolean): void {
  if (result.failure === undefined) return;
  if (result.exitCode === NO_READER && result.failure.reason === 'output') return;
  for (const line of describeFailure(result)?.split('\n') ?? []) report(line);
  const { reason, code, phase, rank } = result.failure;
  if (inherited && reason === 'exit' && code === MPICH_NO_PMI && phase === 'none') {
    report(
      `rank ${rank} never used PMI_FD; does a wrapper (sudo, Python's subprocess) close inherited fds? Then use --pmi tcp`,
    );
  }
}

/** `0-2: 0; 3: SIGSEGV`: how ranks ended. Ranks that ended alike are listed together. */
export function describeExits(ranks: readonly { rank: number; code?: number; signal?: string }[]): string {
  const groups = new Map<string, number[]>();
  for (const { rank, code, signal } of ranks) {
    const how = signal ?? (code === undefined ? 'not started' : `${code}`);
    groups.set(how, [...(groups.get(how) ?? []), rank]);
  }
  return [...groups].map(([how, members]) => `${formatIdset(members)}: ${how}`).join('; ');
}

const duration = (ms: number): string => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`);

/**
 * `phases: spawn 12 ms, init 30 ms, first barrier 4 ms, run 1.20 s, end 3 ms`: each phase ends when its last rank has come so
 * far, and begins where the one before ends, so that the sum is the time of the job. A phase that no rank has completed is left
 * out.
 */
export function describePhases({ ranks, barriers, duration: whole }: JobResult): string {
  const last = (key: 'started' | 'connected' | 'initialized' | 'exited'): number | undefined => {
    const times = ranks.flatMap(({ times }) => times[key] ?? []);
    // Not Math.max(...times): a job may have more ranks than a call may have arguments.
    return times.length === 0 ? undefined : times.reduce((a, b) => Math.max(a, b));
  };
  const ends: [string, number | undefined][] = [
    ['spawn', last('started')],
    ['connect', last('connected')],
    ['init', last('initialized')],
    ['first barrier', barriers.times[0]],
    ['run', last('exited')],
    ['end', whole],
  ];
  let begin = 0;
  const phases = ends.flatMap(([name, end]) => {
    if (end === undefined) return [];
    const took = Math.max(0, end - begin);
    begin = Math.max(begin, end);
    return [`${name} ${duration(took)}`];
  });
  return `phases: ${phases.join(', ')}`;
}

export function startProgress(job: Job, how: JobValues['progress']): Progress | undefined {
  // A single rank writes to the terminal itself, so wireup cannot know when to remove its line.
  if (how === 'auto') return job.size > 1 && isTerminal(2) ? new Progress(job, 'line') : undefined;
  return how === 'plain' ? new Progress(job, 'plain') : undefined;
}

function isTerminal(fd: number): boolean {
  // `node:tty` takes as long to load as a rank takes to start, and every terminal is a character device.
  return fstatSync(fd).isCharacterDevice() && process.getBuiltinModule('node:tty').isatty(fd);
}

/** @param all every event is reported, instead of one of a kind each second */
export async function reportTrouble(job: Job, all: boolean): Promise<void> {
  const trouble = new TroubleReport(all);
  for await (const event of job.events({ types: troubleTypes })) trouble.add(event);
  trouble.end();
}

export async function reportHosts(job: Job): Promise<void> {
  for await (const event of job.events({ types: ['host-started', 'started-singly'] })) {
    if (event.type === 'host-started')
      report(`host ${event.host}: wireup-agent has started (pid ${event.pid})`);
    if (event.type === 'started-singly')
      report(`each host has a command of its own, which is slower than one for all: ${event.reason}`);
  }
}

export async function reportUnlisted(job: Job): Promise<void> {
  for await (const event of job.events({ types: ['unlisted'] })) {
    if (event.type === 'unlisted')
      report(`wireup ps, status and attach do not see this job: ${event.reason}`);
  }
}

export async function reportSpawns(job: Job): Promise<void> {
  const nameOf = ({ group, rank }: { group: number; rank: number }): string =>
    `rank ${rank}${group === 0 ? '' : ` of spawned group ${group}`}`;
  for await (const event of job.events({ types: ['spawned', 'group-ended'] })) {
    if (event.type === 'spawned') {
      const hosts = [...new Set(event.hosts)];
      const where = hosts.length === 1 && hosts[0] === job.host ? '' : ` on ${namesOf(hosts)}`;
      const ignored = event.ignoredInfo.length === 0 ? '' : `; info ignored: ${event.ignoredInfo.join(', ')}`;
      report(
        `${nameOf(event.by)} spawned group ${event.group}: ${ranksText(event.size)} of ${event.programs.join(', ')}${where}${ignored}`,
      );
    }
    if (event.type === 'group-ended') report(`spawned group ${event.group} has ended`);
  }
}

export async function reportLostNames(job: Job, nameServer: string | undefined): Promise<void> {
  if (nameServer === undefined) return;
  for await (const event of job.events({ types: ['name-server-lost'] })) {
    if (event.type === 'name-server-lost')
      report(`the name server ${nameServer} has ended: ranks can no longer publish or look up names`);
  }
}

export async function reportBindings(job: Job): Promise<void> {
  const severalHosts = new Set(job.hosts).size > 1;
  for await (const event of job.events({ types: ['started'] })) {
    if (event.type !== 'started') continue;
    const where = severalHosts && event.group === undefined ? ` on ${job.hosts[event.rank]}` : '';
    const how = event.cpus.length === 0 ? 'is not bound' : `is bound to CPU ${formatIdset(event.cpus)}`;
    report(`${rankOf(event)} (pid ${event.pid})${where} ${how}`);
  }
}

/**
 * Writes the file of --proctable when all ranks have started.
 *
 * @param pretended all hosts are pretended ones
 */
export async function writeProcessTable(
  job: Job,
  file: string,
  apps: readonly LaunchApp[],
  pretended: boolean,
): Promise<void> {
  let pids: readonly number[];
  try {
    pids = await job.started;
  } catch {
    // A rank could not be started, which the result of the job reports.
    return;
  }
  const programs = apps.flatMap(({ program, ranks }) => Array<LaunchApp['program']>(ranks).fill(program));
  const rows = pids.map((pid, rank) => ({
    rank,
    host: job.hosts[rank]!,
    pid,
    // The processes of other hosts cannot be seen from here.
    executable: toText(
      (pretended || job.hosts[rank] === job.host ? executableOf(pid) : undefined) ?? programs[rank]!,
    ),
  }));
  const fault = writeJson(file, rows);
  if (fault !== undefined) report(`cannot write the process table to ${file}: ${fault}`);
}

/** Undefined if the process has ended, or the kernel does not let this user see it. */
export function executableOf(pid: number): Uint8Array | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`, 'buffer');
  } catch {
    return undefined;
  }
}
