// The agents of a running job, and how they can be disturbed.

import { spawn } from 'node:child_process';

import { parentOf, processOf, type Process } from './processes';
import { program } from './programs';
import type { Run } from './run';

/** The pid of the agent of this host: the child of its guard, which is a child of `wireup run`. */
export function ownAgentOf(job: Run): number {
  const processes = job.processes();
  const isGuard = (process: Process): boolean =>
    process.name === 'wireup-agent' && parentOf(process) === job.pid;
  const guard = processes.find(isGuard)!;
  return processes.find((process) => parentOf(process) === guard.pid)!.pid;
}

/** The pid of the guard of an agent. */
export const guardOf = (agent: number): number => parentOf(processOf(agent)!)!;

/** Makes the loop of an agent hang until it is killed. Its other threads, such as libzmq's, run on. */
export async function hang(agent: number): Promise<void> {
  const child = spawn(program('hang'), [String(agent)], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((fulfil, reject) => {
    child.stdout.once('data', () => fulfil());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`hang ended with code ${code}`)));
  });
}
