// Runs a job of a plan (fault-plan.ts), with its faults, and checks how it ends and that it leaves nothing.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { srunJob, type SrunJob } from './fake-srun';
import { hostCount, hostName, judge, mayPass, rankOf, type Fault, type Plan } from './fault-plan';
import { isAlive, parentOf, variableOf, wordsOf, type Process } from './processes';
import { program } from './programs';
import { lines, Run, wireup } from './run';

/** In milliseconds, for a busy machine: for the whole job. A host may be silent for five seconds, and has ten to end. */
const deadline = 100_000;
/** In milliseconds: how long processes may live after the tool. */
const exitTimeout = 20_000;
/** In seconds. More than a busy machine needs; a host whose command is stopped is given up then. */
const startTimeout = 30;

/** The folder of cgroups of version 2; undefined: there is none. */
const cgroups = / (\S+) \S+ - cgroup2 /.exec(
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(' - cgroup2 ')) ?? '',
)?.[1];

/** A running job of a plan. */
class FaultedJob {
  readonly #folder = mkdtempSync(join(tmpdir(), 'faulted-'));
  /** The ranks end when it exists. */
  readonly #last = join(this.#folder, 'last');
  readonly #command = program('reach_host');
  readonly #cgroups = new Set<string>();
  readonly #run: Run;
  readonly #sruns: SrunJob['sruns'] | undefined;
  /** The signal that the tool got before it had asked for a host. It may have had no handler yet. */
  #early: NodeJS.Signals | undefined;

  constructor(
    readonly plan: Plan,
    reachSocket: string,
  ) {
    const { link, treeWidth, ranksPerHost, pmi } = plan;
    const ranks = [program('raw_rounds'), this.#last];
    const common = ['--pmi', pmi, '--tree-width', `${treeWidth}`, '--start-timeout', `${startTimeout}`];
    const insecure = link === 'ZeroMQ without keys' ? ['--insecure-links'] : [];
    const place = { count: hostCount, ranksPerHost };
    const bySrun =
      link === 'byte streams' ? undefined : srunJob(this.#folder, place, ...common, ...insecure, ...ranks);
    this.#sruns = bySrun?.sruns;
    const words =
      bySrun?.words ??
      wireup(
        ...['run', '--launcher', 'exec', '--launcher-exec', this.#command],
        ...['--hosts', `m[1-${hostCount}]:${ranksPerHost}`, ...common, ...ranks],
      );
    const environment = {
      REACH_SOCKET: reachSocket,
      FAKE_SRUN_REACH: this.#command,
      ...bySrun?.environment,
    };
    // docs/endings.md: what is killed in the instant in which it makes a private folder leaves it, and so does a tool whose agent
    // has ended.
    const mayLeaveFiles =
      (plan.stage === 'starting' && plan.faults.length > 0) ||
      (plan.stage === 'ending' && plan.faults.some(({ role }) => role === 'tool'));
    this.#run = new Run(words, { deadline, exitTimeout, environment, mayLeaveFiles });
  }

  /** Throws if anything is wrong. */
  async finish(): Promise<void> {
    try {
      if (await this.#reachStage()) {
        await delay(this.plan.delay);
        this.#look();
        if (this.plan.stage !== 'running') this.#askToEnd();
        // All are found before the first one ends the job.
        const victims = this.plan.faults.map((fault) => [fault, this.#find(fault)] as const);
        await Promise.all(victims.map(([fault, victim]) => this.#inflict(fault, victim)));
        if (mayPass(this.plan)) this.#askToEnd();
      }
      const result = await this.#run.done;
      const diedAtOnce = result.signal !== null && result.signal === this.#early && result.stderr === '';
      const wrong = diedAtOnce ? undefined : judge(this.plan, result);
      const left = [...this.#cgroups].filter((path) => existsSync(path));
      if (wrong === undefined && left.length === 0) return;
      const { code, signal, stderr } = result;
      throw new Error(
        `${wrong ?? `left cgroups: ${left.join(' ')}`}\ncode ${code}, signal ${signal}\n${stderr}`,
      );
    } finally {
      // If the test itself fails, the job still runs.
      this.#run.kill('SIGKILL');
      await this.#run.done.catch(() => undefined);
      rmSync(this.#folder, { recursive: true });
    }
  }

  #askToEnd(): void {
    writeFileSync(this.#last, '');
  }

  /** Returns false if the job ends before all ranks run; the end of the job is judged then. */
  async #reachStage(): Promise<boolean> {
    if (this.plan.stage === 'starting') return true;
    const ranks = hostCount * this.plan.ranksPerHost;
    return this.#run
      .until(({ stdout }) => lines(stdout).length === ranks)
      .then(() => true)
      .catch(() => false);
  }

  /** Notes what the job has on this machine, and must not leave. */
  #look(): void {
    for (const { pid } of this.#run.processes()) {
      try {
        const own = /^0::(\/.*wireup-job-.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))?.[1];
        if (own !== undefined && cgroups !== undefined) this.#cgroups.add(join(cgroups, own));
        // Memory with a name would survive the processes. Neither agents nor these ranks use any.
        const named = /^.*\s(\/dev\/shm\/.*|\/SYSV.*)$/m.exec(
          readFileSync(`/proc/${pid}/maps`, 'latin1'),
        )?.[1];
        if (named !== undefined) throw new Error(`process ${pid} has shared memory with a name: ${named}`);
      } catch (error) {
        // ENOENT, ESRCH: the process has ended.
        if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      }
    }
  }

  /** The process that the fault hits. At `starting` and `ending` it may not be there yet, or have ended. */
  #find(fault: Fault): Process | undefined {
    const victim = this.#search(fault);
    if (victim === undefined && this.plan.stage === 'running') throw new Error(`found no ${fault.role}`);
    return victim;
  }

  #search(fault: Fault): Process | undefined {
    const { role, host } = fault;
    if (role === 'rank') {
      const pid = Number(
        new RegExp(`^rank ${rankOf(this.plan, fault)} pid (\\d+)$`, 'm').exec(this.#run.stdout)?.[1],
      );
      return this.#run.processes().find((process) => process.pid === pid);
    }
    const processes = this.#run.processes();
    const byPid = new Map(processes.map((process) => [process.pid, process]));
    if (role === 'tool') return processes.find(({ pid }) => pid === this.#run.pid);
    if (role === 'srun') {
      const [srun] = this.#sruns?.() ?? [];
      return processes.find(({ pid }) => pid === srun?.pid);
    }
    if (role === 'command')
      return processes.find((process) => {
        const [command, name] = wordsOf(process);
        return command === this.#command && name === hostName(host);
      });
    const all = processes.filter(({ name }) => name === 'wireup-agent');
    const agents = all.flatMap((process) => {
      const parent = byPid.get(parentOf(process) ?? 0);
      const isAgent = parent?.name === 'wireup-agent';
      const guard = isAgent ? parent : process;
      const above = isAgent ? byPid.get(parentOf(parent) ?? 0) : parent;
      // A child that an agent has forked, and that has not executed its program yet.
      if (above?.name === 'wireup-agent') return [];
      return [{ process, isAgent, host: variableOf(guard, 'REACHED_HOST') }];
    });
    const isAgent = role.endsWith('agent');
    const name = role.startsWith('root') ? undefined : hostName(host);
    return agents.find((agent) => agent.isAgent === isAgent && agent.host === name)?.process;
  }

  /** Whether there are others than the tool and the agent of its own host. */
  #hasAskedForHosts(): boolean {
    const tool = this.#run.pid;
    return this.#run
      .processes()
      .some(
        (process) => process.pid !== tool && process.name !== 'wireup-agent' && parentOf(process) !== tool,
      );
  }

  async #inflict(fault: Fault, victim: Process | undefined): Promise<void> {
    if (victim === undefined) return;
    if (fault.role === 'tool' && !this.#hasAskedForHosts()) this.#early = fault.signal;
    send(victim, fault.signal);
    if (fault.signal !== 'SIGSTOP') return;
    // All others wait for it.
    if (fault.role === 'rank')
      await this.#run.untilPlaces(
        new RegExp(`in barrier \\d+: .*; missing: ${rankOf(this.plan, fault)}$`, 'm'),
      );
    if (fault.continueAfter !== undefined) {
      await delay(fault.continueAfter);
      send(victim, 'SIGCONT');
    } else if (fault.role === 'rank') {
      send(victim, 'SIGKILL');
    }
  }
}

function send(process_: Process, signal: NodeJS.Signals): void {
  try {
    if (isAlive(process_)) process.kill(process_.pid, signal);
  } catch {
    // It has ended.
  }
}

/** Pretended hosts on which jobs of plans run. */
export class ReachedHosts implements AsyncDisposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'reached-'));
  readonly #socket = join(this.#folder, 'socket');
  readonly #server = spawn(program('reach_host'), ['serve', this.#socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

  static async start(): Promise<ReachedHosts> {
    const hosts = new ReachedHosts();
    await once(hosts.#server.stdout, 'data');
    return hosts;
  }

  /** Runs the job of a plan. Rejects if a result is wrong, the job hangs, the verdict is wrong, or anything is left. */
  run(plan: Plan): Promise<void> {
    return new FaultedJob(plan, this.#socket).finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#server, 'exit');
    this.#server.kill('SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true });
  }
}
