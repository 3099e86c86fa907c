/**
 * What processes of ranks do, as /proc and debuggers show it. It runs in the process that asks, so a job pays nothing for it.
 * Only processes of this machine can be seen.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { checkBoolean, checkIntegers, checkOptions } from './options';
import { takeStack, type Stack } from './stacks';
import { systemCallName } from './system-calls';

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
  /** The system call that its main thread is in, without a number that is unknown to wireup; absent if it is in none. */
  systemCall?: string;
  /** What the system call reads or writes: a path, `pipe:[5]`, `socket:[7]`; absent if it is not known. */
  file?: string;
  /** Where the kernel waits (/proc/PID/wchan); absent if it does not wait, or the kernel does not report it. */
  waitChannel?: string;
  /** Milliseconds of processor time since its start. */
  processorTime: number;
  /** How many processors it has kept busy between two looks, 200 milliseconds apart: 1 is one processor. */
  load: number;
}

/** What the process of a rank does. */
export interface RankFacts {
  /** The rank. */
  rank: number;
  /** The name of its host. */
  host: string;
  /** The process of the rank. */
  pid: number;
  /** What it does; absent if it runs on another machine, which cannot be seen from here. */
  process?: ProcessFacts;
  /** With `stacks`: the calls of its main thread, or why they are not known. */
  stack?: Stack;
}

/** Options of `inspect()` of a {@link Job} and of a {@link RunningJob}. */
export interface InspectOptions {
  /** The ranks to look at. Default: all. Ranks without a process are left out. */
  ranks?: readonly number[];
  /**
   * Whether to take the stack of each rank, by py-spy (Python programs), eu-stack or gdb, what is installed. The rank is stopped
   * for the moment. At most 256 ranks get one, and each within 20 seconds. Default: false.
   */
  stacks?: boolean;
}

/** @internal The processes of a job. */
export interface RankProcess {
  rank: number;
  host: string;
  pid: number;
  /** It is on this machine. */
  local: boolean;
}

/** Between two looks at the processor time. The kernel counts it in hundredths of a second. */
const LOOK_MS = 200;
/** USER_HZ, which is 100 on every architecture of wireup (proc(5)). */
const TICK_MS = 10;
const MAX_STACKS = 256;
/** Debuggers at a time. Each keeps a processor busy. */
const AT_ONCE = 4;
/** Wrappers around wrappers that are followed to the program. */
const MAX_DEPTH = 8;

const read = (pid: number, file: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
};

interface Stat {
  name: string;
  state: string;
  time: number;
}

/** Undefined if the process has ended. */
function readStat(pid: number): Stat | undefined {
  const text = read(pid, 'stat');
  if (text === undefined) return undefined;
  const end = text.lastIndexOf(')');
  const fields = text.slice(end + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { name: text.slice(text.indexOf('(') + 1, end), state: fields[0]!, time: ticks * TICK_MS };
}

function childrenOf(pid: number): number[] {
  let threads: string[] = [];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    // It has ended.
  }
  return threads.flatMap((thread) =>
    (read(pid, `task/${thread}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
}

/** The system call and its arguments; undefined if the process is in none, or this user may not know. */
function callOf(pid: number): [name: string, first: number] | undefined {
  const [number, first] = (read(pid, 'syscall') ?? '').split(' ');
  if (number === undefined || !/^\d+$/.test(number)) return undefined;
  return [systemCallName(Number(number)), Number(first)];
}

/** Calls whose first argument is an fd. */
const readers = /^(p?read|p?write|recv|send|accept|connect|ioctl|flock|fcntl|fsync|splice)/;

function fileOf(pid: number, fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return undefined;
  }
}

/** The process that does the work: a wrapper that waits for its only child is replaced by that child. */
function workerOf(pid: number): number {
  let worker = pid;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const children = childrenOf(worker);
    const waits = /^wait/.test(callOf(worker)?.[0] ?? '') || read(worker, 'wchan') === 'do_wait';
    if (!waits || children.length !== 1) break;
    worker = children[0]!;
  }
  return worker;
}

const stateNames: Readonly<Record<string, ProcessFacts['state']>> = {
  R: 'computing',
  D: 'blocked',
  T: 'stopped',
  t: 'traced',
  Z: 'ended',
  X: 'ended',
};

/** @param before the processor time at the first look */
function factsOf(pid: number, before: number, elapsed: number): ProcessFacts {
  const stat = readStat(pid);
  if (stat === undefined) return { pid, name: '', state: 'ended', processorTime: before, load: 0 };
  const load = Math.max(0, stat.time - before) / elapsed;
  const state = stateNames[stat.state] ?? 'waiting';
  const facts: ProcessFacts = { pid, name: stat.name, state, processorTime: stat.time, load };
  if (state !== 'waiting' && state !== 'blocked') return facts;
  const channel = read(pid, 'wchan');
  if (channel !== undefined && channel !== '' && channel !== '0') facts.waitChannel = channel;
  const call = callOf(pid);
  if (call === undefined) return facts;
  facts.systemCall = call[0];
  const file = readers.test(call[0]) ? fileOf(pid, call[1]) : undefined;
  if (file !== undefined) facts.file = file;
  return facts;
}

/** Does `work` with all items, some at a time. */
async function someAtATime<T>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: most }, worker));
}

/** @internal */
export function checkInspectOptions(
  options: InspectOptions,
  size: number,
): { ranks?: number[]; stacks: boolean } {
  checkOptions('options', options, ['ranks', 'stacks']);
  const stacks = checkBoolean('stacks', options.stacks ?? false);
  if (options.ranks === undefined) return { stacks };
  return { ranks: checkIntegers('ranks', options.ranks, 0, size - 1), stacks };
}

/** @internal Looks at the processes twice, and at their stacks if that is asked for. */
export async function inspectProcesses(
  processes: readonly RankProcess[],
  stacks: boolean,
): Promise<RankFacts[]> {
  const seen = processes.map(({ rank, host, pid, local }) => {
    const worker = local ? workerOf(pid) : pid;
    const facts: RankFacts = { rank, host, pid };
    return { facts, local, worker, before: readStat(worker)?.time ?? 0 };
  });
  const begin = performance.now();
  if (seen.some(({ local }) => local)) await new Promise((done) => setTimeout(done, LOOK_MS));
  const elapsed = performance.now() - begin;
  const here = seen.filter(({ local }) => local);
  for (const { facts, worker, before } of here) facts.process = factsOf(worker, before, elapsed);
  if (stacks) {
    const most = Math.min(AT_ONCE, availableParallelism());
    await someAtATime(here.slice(0, MAX_STACKS), most, async ({ facts, worker }) => {
      facts.stack = await takeStack(worker);
    });
    for (const { facts } of here.slice(MAX_STACKS))
      facts.stack = { fault: `only ${MAX_STACKS} stacks are taken`, frames: [] };
  }
  return seen.map(({ facts }) => facts);
}

/** How much of a processor counts as computing. */
const BUSY = 0.5;

/** Describes what a process does, for people: `waits in read() of pipe:[5]`, `computes (1.0 processors)`. */
export function describeProcess({ state, systemCall, file, waitChannel, load }: ProcessFacts): string {
  if (state === 'ended') return 'has ended';
  if (state === 'stopped') return 'is stopped by a signal';
  if (state === 'traced') return 'is stopped by a debugger';
  if (state === 'computing' || load >= BUSY) return `computes (${load.toFixed(1)} processors)`;
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
