/** One run of one launcher, measured by native/tools/bench. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';
import { RUN_LIMIT, type Benchmark } from '../bench.js';

/** The report of a run: see native/tools/bench/conduct.h. */
export interface Conducted {
  wallNs: number;
  firstNs: number[];
  lastNs: number[];
  /** `parent` is the process that has started it; 0 for the command. */
  threads: { process: number; parent: number; thread: number; name: string; cpuNs: number }[];
  memory: [number, number];
}

export interface Conducting {
  what: Benchmark;
  ranks: number;
  /** The number of gets, barriers or puts of each rank. */
  count: number;
  command: readonly string[];
  /** The pid of the process to measure, if it is not the command that serves. */
  server?: number;
  input?: string;
  signal: AbortSignal;
  /** In seconds. Default: the limit of a run. */
  limit?: number;
}

/** Runs a launcher once. Rejects with a message that gives the reason if the run fails. */
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
  // The process may end without reading its input.
  child.stdin.on('error', () => undefined).end(input);
  const called = `${command.slice(0, 2).join(' ')} ...`;
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  const [out, complaint, [code]] = await ended.catch((error: unknown) => {
    throw late.aborted && !signal.aborted
      ? new Error(`${called}: exceeded the time limit of ${limit} s for a run`)
      : error;
  });
  // The first line has the reason. Those after it are consequences, one for each rank.
  if (code !== 0) throw new Error(`${called}: ${complaint.trim().split('\n')[0] || `ended with ${code}`}`);
  return JSON.parse(out) as Conducted;
}
