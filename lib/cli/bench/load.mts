/** Busy loops, in sessions of their own, while something is measured. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';

export interface Load {
  /** Ends the loops; settles when none is left. */
  stop: () => Promise<void>;
}

/** Settles when all of them run. */
export async function startLoad(processes: number): Promise<Load> {
  const child = spawn(benchPath, ['load', `${processes}`], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => undefined);
  const closed = once(child, 'close');
  const complaint = text(child.stderr);
  await Promise.race([once(child.stdout, 'data'), closed]);
  if (child.exitCode !== null)
    throw new Error(`--load: ${(await complaint).trim() || `ended with ${child.exitCode}`}`);
  return {
    stop: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
