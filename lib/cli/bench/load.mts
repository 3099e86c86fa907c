/** Busy loops that run, each in a session of its own, during a measurement. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { benchPath } from '../../native.js';

export interface Load {
  /** Ends the loops. Resolves when all have ended. */
  stop: () => Promise<void>;
}

/** Resolves when all loops run. */
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
