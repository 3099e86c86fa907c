/** The calls in which a process is, by the debuggers that are installed, and how equal ones are joined. */
import { accessSync, constants, readFileSync, readlinkSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { formatIdset } from './idset';

/** The calls of the main thread of a process. */
export interface Stack {
  /** The names of the functions, the innermost first; empty if they are not known. */
  frames: string[];
  /** Why they are not known. */
  fault?: string;
}

/** Ranks with equal stacks. */
export interface StackGroup {
  /** What the ranks are in, for people: `MPI_Barrier`, `read()`, or why the stack is not known. */
  what: string;
  /** The ranks, as an idset. */
  ranks: string;
  /** How many ranks. */
  count: number;
  /** The calls that they have in common, the innermost first. What MPI does inside of its own functions is left out. */
  frames: string[];
}

/** For a program with many symbols on a busy machine. */
const LIMIT_MS = 20_000;
const MAX_OUTPUT = 1 << 20;
const MAX_FRAMES = 128;

const findProgram = (name: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });

const isPython = (pid: number): boolean => {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)).startsWith('python');
  } catch {
    return false;
  }
};

/** The command that prints the stack; undefined if there is none. */
function commandFor(pid: number): [file: string, args: string[]] | undefined {
  const spy = isPython(pid) ? findProgram('py-spy') : undefined;
  if (spy !== undefined) return [spy, ['dump', '--pid', `${pid}`]];
  const euStack = findProgram('eu-stack');
  if (euStack !== undefined) return [euStack, ['-1', '-p', `${pid}`]];
  const gdb = findProgram('gdb');
  // Without a user's files and a network. `bt` shows the thread that it attaches to, the main one.
  const quiet = ['-nx', '-batch', '-iex', 'set debuginfod enabled off', '-iex', 'set auto-load off'];
  return gdb === undefined ? undefined : [gdb, [...quiet, '-p', `${pid}`, '-ex', `bt ${MAX_FRAMES}`]];
}

/** The names in the output of gdb, eu-stack or py-spy. */
export function parseStack(text: string): string[] {
  const frames: string[] = [];
  for (const line of text.split('\n')) {
    // `#1  0x00007f12 in read () from libc.so.6` (gdb), `#1  main () at a.c:3` (gdb), `#1  0x00007f12 read` (eu-stack)
    const native = /^#\d+\s+(?:0x[0-9a-f]+\s+)?(?:in\s+)?(\S.*)$/.exec(line)?.[1];
    // `    work (model.py:12)` (py-spy), of the first thread only
    const python = /^ {4}(\S+) \((.+):(\d+)\)$/.exec(line)?.[1];
    if (python === undefined && line.startsWith('Thread ') && frames.length > 0) break;
    const name = native === undefined ? python : nameOf(native);
    if (name !== undefined && name !== '') frames.push(name);
  }
  return frames.slice(0, MAX_FRAMES);
}

/** The function without its arguments, version, and the prefixes of glibc's own names: `__GI___libc_read` is `read`. */
function nameOf(text: string): string {
  const name = /^(.*?)(?: \(| - |@|$)/.exec(text)![1]!.trim();
  return name.replace(/^__(?:GI_)?_*(?:libc_(?!start))?(?=[a-z])/, '');
}

function whyNot(stderr: string): string {
  const denied = /not permitted|permission denied/i.test(stderr);
  if (!denied) return stderr.trim().split('\n').at(-1)?.trim() || 'the debugger has shown no stack';
  let scope = '0';
  try {
    scope = readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8').trim();
  } catch {
    // The kernel is built without Yama.
  }
  return scope === '0' ? 'not permitted' : `not permitted (kernel.yama.ptrace_scope is ${scope})`;
}

/** @internal Never rejects. */
export function takeStack(pid: number): Promise<Stack> {
  const command = commandFor(pid);
  if (command === undefined)
    return Promise.resolve({ frames: [], fault: 'neither eu-stack (elfutils) nor gdb is installed' });
  const { execFile } = process.getBuiltinModule('node:child_process');
  const options = {
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT,
    env: { ...process.env, LC_ALL: 'C', DEBUGINFOD_URLS: '' },
  } as const;
  return new Promise((done) => {
    execFile(command[0], command[1], options, (error, stdout, stderr) => {
      const frames = parseStack(stdout);
      if (frames.length > 0) return done({ frames });
      const late = error?.killed === true;
      done({ frames, fault: late ? `no stack within ${LIMIT_MS / 1000} s` : whyNot(stderr) });
    });
  });
}

const mpi = /^P?(MPIX?_\w+)$/;

/** What a stack is in. Ranks in the same MPI function do different things inside of it, which is of no interest. */
function titleOf({ frames, fault }: Stack): { what: string; frames: string[] } {
  if (frames.length === 0) return { what: fault ?? 'unknown', frames: [] };
  const outermost = frames.findLastIndex((frame) => mpi.test(frame));
  if (outermost < 0) {
    const named = frames.find((frame) => frame !== '??') ?? '??';
    return { what: `${named}()`, frames };
  }
  const name = mpi.exec(frames[outermost]!)![1]!;
  return { what: name, frames: [name, ...frames.slice(outermost + 1)] };
}

/** Joins ranks with equal stacks, the largest group first. */
export function groupStacks(stacks: readonly { rank: number; stack: Stack }[]): StackGroup[] {
  const groups = new Map<string, { what: string; frames: string[]; ranks: number[] }>();
  for (const { rank, stack } of stacks) {
    const title = titleOf(stack);
    const key = JSON.stringify(title);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ...title, ranks: [rank] });
    else group.ranks.push(rank);
  }
  return [...groups.values()]
    .map(({ what, frames, ranks }) => ({
      what,
      ranks: formatIdset(ranks.sort((a, b) => a - b)),
      count: ranks.length,
      frames,
    }))
    .sort((a, b) => b.count - a.count);
}
