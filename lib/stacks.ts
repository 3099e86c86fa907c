/** The calls in which a process is, as a debugger has printed them, and how equal ones are joined. */
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

/** More say nothing to a reader. */
const MAX_FRAMES = 128;

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

/**
 * The function without its arguments, version, and the prefixes of glibc's own names: `__GI___libc_read` is `read`. eu-stack
 * shows the address of a function without a name, which differs between ranks.
 */
function nameOf(text: string): string {
  if (/^0x[0-9a-f]+$/.test(text)) return '??';
  const name = /^(.*?)(?: \(| - |@|$)/.exec(text)![1]!.trim();
  return name.replace(/^__(?:GI_)?_*(?:libc_(?!start))?(?=[a-z])/, '');
}

/** @internal @param fault why the debugger may have printed no stack */
export function toStack(text: string, fault: string): Stack {
  const frames = parseStack(text);
  return frames.length > 0 ? { frames } : { frames, fault: fault || 'the debugger has shown no stack' };
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
