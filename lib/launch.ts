import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { moment, type Moment } from './clock';
import { fromNative, fromThrown, PmiError } from './errors';
import { EventHub } from './event-hub';
import { pushNative, reportInterest, toPmiEvent } from './events';
import { startDispatch } from './dispatch';
import { JobHandle } from './handle';
import { Job, type JobEvent, type JobStreams } from './job';
import { JobSocket } from './job-socket';
import type { LaunchOptions, OutputTarget } from './launch-options';
import { planLaunch, type LaunchPlan } from './launch-plan';
import { agentPath, native } from './native';
import { exitOf, toJobResult, type JobResult } from './result';
import { Spawner } from './spawn';
import { TraceWriter } from './trace/writer';
import { deferred } from './wait';

interface Pipes {
  /** The read ends. */
  streams: Readable[];
  /** The write ends, for the agent or the ranks. */
  fds: number[];
}

function openPipes(count: number): Pipes {
  const ends = native.openPipes(count);
  // Loaded only if it is used: it takes as long to load as a rank takes to start.
  const { Socket } = process.getBuiltinModule('node:net');
  return {
    streams: ends
      .filter((_, i) => i % 2 === 0)
      .map((fd) => new Socket({ fd, readable: true, writable: false })),
    fds: ends.filter((_, i) => i % 2 === 1),
  };
}

/** Opens the pipes that the plan needs, and starts the job. Returns its native handle. */
function start(
  { size, stdout, stderr, singleton, native: options }: LaunchPlan,
  streams: JobStreams,
  begin: Moment,
): number {
  const opened: Pipes[] = [];
  let given = false;
  const open = (target: OutputTarget, kind: OutputTarget, count: number): Pipes => {
    const pipes = target === kind ? openPipes(count) : { streams: [], fds: [] };
    opened.push(pipes);
    return pipes;
  };
  try {
    const out = open(stdout, 'pipe', 1);
    const err = open(stderr, 'pipe', 1);
    const rankOut = open(stdout, 'pipe-per-rank', size);
    const rankErr = open(stderr, 'pipe-per-rank', size);
    given = true;
    const handle = native.launch({
      ...options,
      begin: begin.monotonic,
      singletonPort: singleton?.port ?? 0,
      singletonPid: singleton?.pid ?? 0,
      stdoutFd: out.fds[0] ?? -1,
      stderrFd: err.fds[0] ?? -1,
      rankStdoutFds: rankOut.fds,
      rankStderrFds: rankErr.fds,
    });
    streams.stdout = out.streams[0];
    streams.stderr = err.streams[0];
    if (stdout === 'pipe-per-rank') streams.rankStdout = rankOut.streams;
    if (stderr === 'pipe-per-rank') streams.rankStderr = rankErr.streams;
    return handle;
  } catch (error) {
    for (const { streams: ours, fds } of opened) {
      for (const stream of ours) stream.destroy();
      if (!given) for (const fd of fds) closeSync(fd);
    }
    throw error;
  }
}

/**
 * Starts the agent ahead of the next {@link launch}. A command that knows that it will launch can read its options
 * meanwhile.
 *
 * Only a launch in this worker can use the agent, if its `stdout` and `stderr` are not 'pipe', and if this process has not
 * changed its user, working directory or umask since. The limits, the priority and the stdin of the job are those at the
 * time of this call. If there is no launch, the agent ends with the process, and does not keep it alive. If the agent cannot
 * be started ahead, launch() starts it and reports errors.
 */
export function prepareLaunch(): void {
  try {
    startDispatch();
    native.prepareAgent({ agent: agentPath });
  } catch {
    // launch() tries again, and reports the error.
  }
}

function hostsOfRanks({ size, hostName, native: { nodes, nodeHosts, hosts } }: LaunchPlan): string[] {
  return Array.from({ length: size }, (_, rank) => hosts[nodeHosts[nodes[rank]!] ?? 0]?.name || hostName);
}

/** The event with the number of its process group, which events of group 0 do not have. */
const inGroup = <E extends object>(event: E, group: number): E & { group?: number } =>
  group === 0 ? event : { ...event, group };

/**
 * Starts a job: wireup-agent as this process's child, the ranks as the agent's. Each other host in `hosts` has an agent of its
 * own, which the launcher starts there. The agents serve PMI to the ranks of their host.
 *
 * With `pmi: 'unix'`, unless `execShim` is false, the small program wireup-exec runs before the program of each rank and
 * turns the socket into an inherited fd. So MPI libraries work that cannot read `unix://`.
 *
 * @returns the job as soon as the agent of this host runs; other hosts and the ranks are then being started. The ranks are
 * started when all hosts have answered
 * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`, `ERR_PMI_FD_LIMIT`, `ERR_PMI_LAUNCH`, `ERR_PMI_LISTEN`,
 * `ERR_PMI_ADDRESS`, `ERR_PMI_NAME_SERVER`, or with the signal's reason. If a program or another host cannot be started, the
 * promise does not reject: the job's result reports it.
 */
export async function launch(options: LaunchOptions): Promise<Job> {
  const plan = await planLaunch(options);
  const { size, apps, signal, hostName } = plan;
  signal?.throwIfAborted();

  const trace = plan.trace && new TraceWriter(plan.trace);
  let handle: JobHandle;
  const hub = new EventHub<JobEvent>({ onInterest: reportInterest(() => handle.id) });
  const agent = deferred<number>();
  const result = deferred<JobResult>();
  const started = deferred<readonly number[]>();
  const streams: JobStreams = {};
  // Ranks can repeat the events of spawned groups without bound, so the hub limits those.
  const spawner = new Spawner(plan, (event) => hub.push(event, true));
  const pids: number[] = [];
  let socket: JobSocket | undefined;
  let running = 0;
  let begun = 0;
  let failure = new PmiError('ERR_PMI_INTERNAL', 'the job has ended without a result');
  try {
    handle = new JobHandle(
      () => {
        const begin = moment();
        begun = begin.since1970;
        return start(plan, streams, begin);
      },
      (notice) => {
        const { time } = notice;
        switch (notice.type) {
          case 'agent':
            hub.open();
            return agent.resolve(notice.pid);
          case 'hostStarted':
            spawner.onNotice(handle.id, notice);
            return hub.push({ type: 'host-started', host: notice.name, pid: notice.pid, time });
          case 'startedSingly':
            return hub.push({ type: 'started-singly', reason: notice.reason, time });
          case 'hostLost':
            spawner.onNotice(handle.id, notice);
            return hub.push({
              type: 'host-lost',
              host: notice.name,
              started: notice.started,
              message: notice.message,
              ranks: notice.ranks,
              time,
            });
          case 'error':
            failure = fromNative(notice);
            started.reject(failure);
            return agent.reject(failure);
          case 'event':
          case 'missed':
            return pushNative(hub, notice, (event) => inGroup(toPmiEvent(event), notice.group));
          case 'started':
            if (notice.group === 0) {
              pids[notice.rank] = notice.pid;
              if (++running === size) started.resolve(pids);
            }
            return hub.push(
              inGroup(
                { type: 'started', rank: notice.rank, pid: notice.pid, cpus: notice.cpus, time },
                notice.group,
              ),
              notice.group !== 0,
            );
          case 'exited':
            spawner.onNotice(handle.id, notice);
            if (notice.group === 0) socket?.exited(notice.rank);
            return hub.push(
              inGroup({ type: 'exited', rank: notice.rank, ...exitOf(notice), time }, notice.group),
              notice.group !== 0,
            );
          case 'spawn':
          case 'spawned':
          case 'spawnFailed':
          case 'groupEnded':
            return spawner.onNotice(handle.id, notice);
          case 'trace':
            return trace?.push(notice);
          case 'printed':
            return hub.push({ type: 'printed', time });
          case 'namesLost':
            return hub.push({ type: 'name-server-lost', time });
          case 'result': {
            agent.reject(
              fromNative({
                type: 'error',
                code: 'ERR_PMI_LAUNCH',
                message: notice.failure?.message || 'wireup-agent ended before it was ready',
              }),
            );
            started.reject(new PmiError('ERR_PMI_CLOSED', 'the job ended before all ranks had been started'));
            const ended = toJobResult(notice, plan, spawner, begun);
            socket?.close(ended);
            return result.resolve(ended);
          }
          case 'closed':
            trace?.end();
            socket?.close();
            // Each job has a result, except one that an internal error ended.
            result.reject(failure);
            return hub.end();
        }
      },
    );
  } catch (error) {
    trace?.end();
    throw fromThrown(
      (error as { errno?: number }).errno === constants.errno.EMFILE ? 'ERR_PMI_FD_LIMIT' : 'ERR_PMI_LAUNCH',
      error,
    );
  }
  const hosts = hostsOfRanks(plan);
  if (plan.listed)
    socket = new JobSocket(
      { programs: plan.native.programs, sizes: apps.map(({ ranks }) => ranks), hosts, pids },
      (reason) =>
        hub.push({ type: 'unlisted', reason, time: performance.timeOrigin + performance.now() - begun }),
    );
  const agentPid = await agent.promise;
  const job = new Job(handle, hub, {
    size,
    agentPid,
    host: hostName,
    hosts,
    grace: plan.native.grace,
    streams,
    started: started.promise,
    result: result.promise,
    traced: trace?.finished,
  });
  socket?.attach(job);
  if (signal !== undefined) {
    const onAbort = (): void => void job.stop();
    signal.addEventListener('abort', onAbort, { once: true });
    const forget = (): void => signal.removeEventListener('abort', onAbort);
    void job.result.then(forget, forget);
    if (signal.aborted) onAbort();
  }
  return job;
}
