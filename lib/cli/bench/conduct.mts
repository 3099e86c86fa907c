/** One run of one launcher, by the small program that measures it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';
import { RUN_LIMIT, type Benchmark } from '../bench.js';

/** What native/tools/bench/conduct.h says of a run. */
export interface Conducted {
  wallNs: number;
  firstNs: number[];
  lastNs: number[];
  threads: { process: number; thread: number; name: string; cpuNs: number }[];
  memory: [number, number];
}

export interface Conducting {
  what: Benchmark;
  ranks: number;
  /** How many gets, barriers or puts each rank does. */
  count: number;
  command: readonly string[];
  /** Whose processor time and memory count, where it is not the command that serves. */
  server?: number;
  input?: string;
  signal: AbortSignal;
  /** Seconds. */
  limit?: number;
}

/** Rejects with the reason, in words, where the run fails. */
export async function conduct({
  what,
  ranks,
  count,
  command,
  server = 0,
  input = '',
  signal,
  limit = RUN_LIMIT,
}: Conducting): Promise<Conducted> {
  const late = AbortSignal.timeout(limit * 1000);
  const child = spawn(benchPath, ['conduct', what, `${ranks}`, `${count}`, `${server}`, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: AbortSignal.any([signal, late]),
  });
  // It may end without reading it.
  child.stdin.on('error', () => undefined).end(input);
  const called = `${command.slice(0, 2).join(' ')} ...`;
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  const [out, complaint, [code]] = await ended.catch((error: unknown) => {
    throw late.aborted && !signal.aborted
      ? new Error(`${called}: not over after ${limit} s, the limit of a run`)
      : error;
  });
  // What comes behind the first line follows from it, a line a rank.
  if (code !== 0) throw new Error(`${called}: ${complaint.trim().split('\n')[0] || `ended with ${code}`}`);
  return JSON.parse(out) as Conducted;
}
