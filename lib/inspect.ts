/**
 * What processes of ranks do, as the agents of their hosts see them in /proc and by debuggers (native/tools/agent/inspector.h).
 */
import { basename } from 'node:path';
import type { NativeInspectedRank } from './native-notices';
import { checkBoolean, checkIntegers, checkOptions } from './options';
import { toStack, type Stack } from './stacks';
import type { RankState } from './status';

/** What a process does at one moment. */
export interface ProcessFacts {
  /**
   * The process: that of the rank, or what it waits for. A shell that starts the program and waits for it is replaced by the
   * program, if that is its only child.
   */
  pid: number;
  /** The name of its program, at most 15 bytes (/proc/PID/comm). */
  name: string;
  /** What its main thread does. `blocked`: it waits for a device, and no signal can end it. `ended`: the process has ended. */
  state: 'computing' | 'waiting' | 'blocked' | 'stopped' | 'traced' | 'ended';
  /** The system call that its main thread is in, or `system call 999` if wireup has no name for it; absent if it is in none. */
  systemCall?: string;
  /** What the system call reads or writes: a path, `pipe:[5]`, `socket:[7]`; absent if it is not known. */
  file?: string;
  /** Where the kernel waits (/proc/PID/wchan); absent if it does not wait, or the kernel does not report it. */
  waitChannel?: string;
  /** Milliseconds of processor time since its start. */
  processorTime: number;
  /**
   * How many processors it has kept busy between two looks, 200 milliseconds apart: 1 is one processor. Absent in a
   * {@link JobFailure}, for which there was no time for a second look.
   */
  load?: number;
}

/** What the process of a rank does. */
export interface RankFacts {
  /** The rank. */
  rank: number;
  /** The name of its host. */
  host: string;
  /** The process of the rank, on its host. */
  pid: number;
  /** How far it has come in PMI. `absent` and `disconnected`: it has no PMI connection. */
  pmi: RankState;
  /** What it does; absent if the agent of its host cannot see it, because /proc there is that of another pid namespace. */
  process?: ProcessFacts;
  /** With `stacks`: the calls of its main thread, or why they are not known. */
  stack?: Stack;
}

/** Options of `inspect()` of a {@link Job} and of a {@link RunningJob}. */
export interface InspectOptions {
  /** The ranks to look at. Default: all. Ranks without a process are left out. */
  ranks?: readonly number[];
  /**
   * Whether to take the stack of each rank, by py-spy (Python programs), eu-stack or gdb, what is installed on its host. The
   * rank is stopped for the moment. At most 256 ranks get one, up to 4 at a time on each host, and each within 20 seconds.
   * Default: false.
   */
  stacks?: boolean;
}

/** native/runtime/launch_driver.h: LaunchDriver::kMaxStacks. */
const MAX_STACKS = 256;

/** @internal `ranks` is in ascending order, each once. */
export function checkInspectOptions(
  options: InspectOptions,
  size: number,
): { ranks?: number[]; stacks: boolean } {
  checkOptions('options', options, ['ranks', 'stacks']);
  const stacks = checkBoolean('stacks', options.stacks ?? false);
  if (options.ranks === undefined) return { stacks };
  const ranks = new Set(checkIntegers('ranks', options.ranks, 0, size - 1));
  return { ranks: [...ranks].sort((a, b) => a - b), stacks };
}

const stateNames: Readonly<Record<string, ProcessFacts['state']>> = {
  R: 'computing',
  D: 'blocked',
  T: 'stopped',
  t: 'traced',
  Z: 'ended',
  X: 'ended',
};

function toProcess(native: NativeInspectedRank): ProcessFacts {
  const { worker, name, state, systemCall, file, waitChannel, processorTime, busy, interval } = native;
  return {
    pid: worker,
    name,
    state: stateNames[state] ?? 'waiting',
    ...(systemCall === '' ? {} : { systemCall }),
    ...(file === '' ? {} : { file }),
    ...(waitChannel === '' ? {} : { waitChannel }),
    processorTime,
    ...(interval === 0 ? {} : { load: busy / interval }),
  };
}

/** @internal @param hosts the name of the host of each rank; @param stacks stacks were asked for */
export function toRankFacts(
  inspected: readonly NativeInspectedRank[],
  hosts: readonly string[],
  stacks: boolean,
): RankFacts[] {
  return inspected.map((native): RankFacts => {
    const { rank, pid, pmi, worker, stack, stackFault } = native;
    const facts: RankFacts = { rank, host: hosts[rank]!, pid, pmi };
    if (worker === 0) return facts;
    facts.process = toProcess(native);
    if (stack !== undefined) facts.stack = toStack(stack, stackFault!);
    else if (stacks) facts.stack = { frames: [], fault: `only ${MAX_STACKS} stacks are taken` };
    return facts;
  });
}

/** How much of a processor counts as computing. */
const BUSY = 0.5;

/** Describes what a process does, for people: `waits in read() of pipe:[5]`, `computes (1.0 processors)`. */
export function describeProcess({ state, systemCall, file, waitChannel, load }: ProcessFacts): string {
  if (state === 'ended') return 'has ended';
  if (state === 'stopped') return 'is stopped by a signal';
  if (state === 'traced') return 'is stopped by a debugger';
  if (state === 'computing' || (load !== undefined && load >= BUSY))
    return load === undefined ? 'computes' : `computes (${load.toFixed(1)} processors)`;
  const where = [
    ...(systemCall === undefined
      ? []
      : [`in ${systemCall}()${file === undefined ? '' : ` of ${basenameOf(file)}`}`]),
    ...(systemCall === undefined && waitChannel !== undefined ? [`in the kernel's ${waitChannel}`] : []),
  ];
  return [state === 'blocked' ? 'waits for a device' : 'waits', ...where].join(' ');
}

/** A path of a program's own may be long, and its end says most. */
const basenameOf = (file: string): string =>
  file.length > 40 && file.startsWith('/') ? `.../${basename(file)}` : file;
