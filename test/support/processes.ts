// Processes, as /proc shows them.

import { readdirSync, readFileSync } from 'node:fs';

/** The start time identifies the process too, because the kernel reuses pids. */
export interface Process {
  pid: number;
  startTime: string;
  name: string;
}

export function processOf(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    const fields = stat.slice(end + 2).split(' ');
    // A zombie has ended, although its parent has not waited for it yet.
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, startTime: fields[19] ?? '', name: stat.slice(stat.indexOf('(') + 1, end) };
  } catch {
    return undefined;
  }
}

export function isAlive(process: Process): boolean {
  return processOf(process.pid)?.startTime === process.startTime;
}

/** The fields of /proc/PID/stat after the name: first the state, then the parent. None if it has ended. */
function fieldsOf({ pid }: Process): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/** Whether a signal has stopped it. */
export const isStopped = (process: Process): boolean => fieldsOf(process)[0] === 'T';

/** Undefined: it has ended. */
export function parentOf(process: Process): number | undefined {
  const parent = fieldsOf(process)[1];
  return parent === undefined ? undefined : Number(parent);
}

/** The words of its command line; none if it has ended. */
export function wordsOf({ pid }: Process): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** A variable of the environment that it was started with. */
export function variableOf({ pid }: Process, name: string): string | undefined {
  try {
    const entries = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    return entries.find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
  } catch {
    return undefined;
  }
}

/** The environment variable that identifies the processes of a run. */
export const mark = 'INTEROP_TEST_RUN';

/** The processes whose environment has `id` in this variable. */
export function processesMarked(id: string): Process[] {
  const marked: Process[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    let environment: string;
    try {
      environment = readFileSync(`/proc/${entry}/environ`, 'latin1');
    } catch {
      continue;
    }
    if (!environment.split('\0').includes(`${mark}=${id}`)) continue;
    const process = processOf(Number(entry));
    if (process !== undefined) marked.push(process);
  }
  return marked;
}

/** Polls until `condition` holds, for at most `milliseconds`. Returns whether it held. */
export async function eventually(condition: () => boolean, milliseconds: number): Promise<boolean> {
  const end = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > end) return false;
    await new Promise((next) => setTimeout(next, 10));
  }
  return true;
}
