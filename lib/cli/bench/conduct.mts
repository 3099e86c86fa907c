/** One run of one launcher, by the small program that measures it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';
import type { Benchmark } from '../bench.js';

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
}

/** Longer than any run should take: a launcher that waits for what never comes is given up. */
const LIMIT_MS = 300_000;

export async function conduct({ what, ranks, count, command, server = 0, input = '', signal }: Conducting): Promise<Conducted> {
  const child = spawn(benchPath, ['conduct', what, `${ranks}`, `${count}`, `${server}`, ...command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]),
  });
  // It may end without reading it.
  child.stdin.on('error', () => undefined).end(input);
  const [out, complaint, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  if (code !== 0) throw new Error(`${command.slice(0, 2).join(' ')} ...: ${complaint.trim() || `ended with ${code as number}`}`);
  return JSON.parse(out) as Conducted;
}
