// Jobs over many pretended hosts, and what is killed or stopped in them. A seed and a number give a plan, so one job can be
// repeated. When a fault happens is planned too, but how far the job has come by then depends on the machine.

import { generator } from './random';
import { transports, type Result, type Transport } from './run';

export const hostCount = 16;

export const links = ['byte streams', 'ZeroMQ with keys', 'byte streams', 'ZeroMQ without keys'] as const;

/**
 * What a fault hits. `command`: what reaches a host, as ssh does. `srun`: what has started all hosts. `root agent`, `root guard`:
 * those of the host of the tool.
 */
export type Role = 'rank' | 'agent' | 'guard' | 'command' | 'srun' | 'root agent' | 'root guard' | 'tool';

export interface Fault {
  readonly role: Role;
  readonly signal: 'SIGKILL' | 'SIGSTOP' | 'SIGINT' | 'SIGTERM';
  /** Index of the host of the rank, agent, guard or command. */
  readonly host: number;
  /** The ranks of a host are numbered. */
  readonly rankOnHost: number;
  /** In milliseconds: a stopped tool or rank continues then. A stopped rank is killed if it is absent. */
  readonly continueAfter?: number;
}

export interface Plan {
  readonly number: number;
  readonly link: (typeof links)[number];
  readonly treeWidth: number;
  readonly ranksPerHost: number;
  readonly pmi: Transport;
  /**
   * When the faults happen: before all ranks run, while they exchange keys, or when they have been asked to end. The first and
   * the last one may come too late to matter.
   */
  readonly stage: 'starting' | 'running' | 'ending';
  /** In milliseconds: how long after the begin of the stage. */
  readonly delay: number;
  /** Two of them come at the same time, on different hosts. */
  readonly faults: readonly Fault[];
}

type Random = (below: number) => number;

function pick<T>(random: Random, weighted: readonly (readonly [weight: number, value: T])[]): T {
  let at = random(weighted.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, value] of weighted) if ((at -= weight) < 0) return value;
  throw new Error('no weights');
}

const kill = 'SIGKILL';
const stop = 'SIGSTOP';

function faultOf(random: Random, { link, ranksPerHost, stage }: Omit<Plan, 'faults'>): Fault {
  const streams = link === 'byte streams';
  const running = stage === 'running';
  const starting = stage === 'starting';
  // - A rank that is stopped waits forever, so that belongs to `running`, where it continues or is killed.
  // - An agent that is stopped before it has a guard cannot be ended from another host.
  // - What the stand-in of srun has not started yet would survive it.
  const [role, signal] = pick<readonly [Role, Fault['signal']]>(random, [
    [starting ? 0 : 4, ['rank', kill]],
    [running ? 2 : 0, ['rank', stop]],
    [5, ['agent', kill]],
    [starting ? 0 : 3, ['agent', stop]],
    [2, ['guard', kill]],
    [starting ? 0 : 2, ['guard', stop]],
    [streams ? 3 : 0, ['command', kill]],
    [streams ? 2 : 0, ['command', stop]],
    [streams || starting ? 0 : 2, ['srun', kill]],
    [streams || starting ? 0 : 1, ['srun', stop]],
    [2, ['root agent', kill]],
    [1, ['root agent', stop]],
    [1, ['root guard', kill]],
    [1, ['root guard', stop]],
    [2, ['tool', kill]],
    [2, ['tool', stop]],
    [1, ['tool', 'SIGINT']],
    [1, ['tool', 'SIGTERM']],
  ]);
  const continues = signal === stop && (role === 'tool' || (role === 'rank' && random(2) === 0));
  return {
    role,
    signal,
    host: random(hostCount),
    rankOnHost: random(ranksPerHost),
    ...(continues ? { continueAfter: random(7000) } : {}),
  };
}

/** Two at the same time: each of them is named by its host. */
function pairOf(random: Random, plan: Omit<Plan, 'faults'>): Fault[] {
  const first = random(hostCount);
  const second = (first + 1 + random(hostCount - 1)) % hostCount;
  return [first, second].map((host) => ({
    role: pick(random, [
      [1, 'rank'],
      [2, 'agent'],
      [1, 'guard'],
    ] as const),
    signal: kill,
    host,
    rankOnHost: random(plan.ranksPerHost),
  }));
}

export function planOf(seed: number, number: number): Plan {
  const random = generator(seed + Math.imul(number, 0x9e3779b1));
  const stage = pick(random, [
    [3, 'starting'],
    [12, 'running'],
    [2, 'ending'],
  ] as const);
  const longest = { starting: 1500, running: 500, ending: 100 }[stage];
  const plan = {
    number,
    link: links[number % links.length]!,
    treeWidth: pick(random, [
      [1, 1],
      [3, 2],
      [3, 4],
      [2, 32],
    ] as const),
    ranksPerHost: 1 + random(3),
    pmi: transports[random(transports.length)]!,
    stage,
    delay: random(longest),
  };
  const count = pick(random, [
    [2, 0],
    [15, 1],
    [stage === 'running' ? 2 : 0, 2],
  ] as const);
  if (count === 2) return { ...plan, faults: pairOf(random, plan) };
  return { ...plan, faults: count === 0 ? [] : [faultOf(random, plan)] };
}

/** The name of a host, by its index. */
export const hostName = (host: number): string => `m${host + 1}`;

/** The rank that a fault hits. */
export const rankOf = ({ ranksPerHost }: Plan, { host, rankOnHost }: Fault): number =>
  host * ranksPerHost + rankOnHost;

/** What may end a job with this fault: its exit code, and the line of the tool. */
interface Verdict {
  code: number;
  line: RegExp;
}

const hostLost = (host: number): Verdict => ({
  code: 1,
  line: new RegExp(`^wireup: host ${hostName(host)} (was lost \\(|could not be started: )`),
});
const agentEnded = (how: string): Verdict => ({
  code: 1,
  line: new RegExp(`^wireup: wireup-agent \\(pid \\d+\\) was ${how}`),
});
const rankSignalled = (signal: string, code: number, rank = '\\d+', host = '\\S+'): Verdict => ({
  code,
  line: new RegExp(`^wireup: rank ${rank} \\(.*\\) on ${host} was killed by ${signal}(;|$)`),
});

const killsTool = ({ role, signal }: Fault): boolean => role === 'tool' && signal === kill;

/** Undefined: the job goes on and ends as usual, or there is no tool to report it. */
function verdictOf(plan: Plan, fault: Fault): Verdict | undefined {
  const { role, signal, host, continueAfter } = fault;
  switch (role) {
    case 'rank':
      return continueAfter === undefined
        ? rankSignalled(kill, 137, `${rankOf(plan, fault)}`, hostName(host))
        : undefined;
    case 'agent':
    case 'command':
      return hostLost(host);
    case 'guard':
      return signal === kill ? hostLost(host) : undefined;
    case 'srun':
      return signal === kill
        ? { code: 1, line: /^wireup: host m\d+ was lost \(.*srun\.sh was killed by signal 9/ }
        : undefined;
    case 'root agent':
    case 'root guard':
      return agentEnded(signal === kill ? 'killed by signal 9' : 'stopped by a signal');
    case 'tool':
      if (signal === 'SIGINT') return rankSignalled(signal, 130);
      if (signal === 'SIGTERM') return rankSignalled(signal, 143);
      return undefined;
  }
}

/** Whether the job may end with exit code 0. Else it ends by itself. */
export const mayPass = (plan: Plan): boolean =>
  plan.stage !== 'running' ||
  plan.faults.every((fault) => !killsTool(fault) && verdictOf(plan, fault) === undefined);

/** Returns what is wrong with the end of a job, or undefined. */
export function judge(plan: Plan, { code, signal, stdout, stderr }: Result): string | undefined {
  // That its server is gone is no wrong result.
  const wrong = /^.*raw client: (the card of|expected) .*$/m.exec(stderr);
  if (wrong !== null) return `a rank reports: ${wrong[0]}`;
  if (plan.faults.length === 0 && (code !== 0 || stderr !== '')) return 'the job fails without a fault';
  if (plan.faults.some(killsTool) && signal === kill) return undefined;
  if (code === 0) {
    const ranks = hostCount * plan.ranksPerHost;
    const ok = stdout.split('\n').filter((line) => line.endsWith(` of ${ranks} ok`));
    if (new Set(ok).size !== ranks) return `exit code 0, but ${ok.length} of ${ranks} ranks are ok`;
  }
  if (code === 0) return mayPass(plan) ? undefined : 'exit code 0 despite the fault';
  const verdicts = plan.faults.map((fault) => verdictOf(plan, fault));
  const reports = stderr.split('\n').filter((line) => line.startsWith('wireup: '));
  const isNamed = verdicts.some(
    (verdict) => verdict?.code === code && reports.some((line) => verdict.line.test(line)),
  );
  if (isNamed) return undefined;
  // A signal while hosts are being started has no rank to end.
  const early = plan.stage === 'starting' && plan.faults[0]?.role === 'tool';
  return early && (code === 130 || code === 143)
    ? undefined
    : `the verdict does not name the fault: code ${code}`;
}
