/** A server in a process of its own, with many connections from few other processes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { benchPath } from '../../native.js';
import type { Transport } from '../bench.js';
import { conduct, type Conducted, type Conducting } from './conduct.mjs';
import { tool, type Launcher } from './launchers.mjs';

interface Served {
  port: string;
  ids: string[];
}

interface Document {
  address: string;
  ranks: { env: { PMI_PORT: string; PMI_ID: string } }[];
}

/** The command of each server, and a function that reads its address from the first line that it prints. */
const servers: Record<
  string,
  { command: (ranks: number, pmi: Transport) => string[]; read: (line: string, ranks: number) => Served }
> = {
  floor: {
    command: (ranks, pmi) => [benchPath, 'echo', pmi, `${ranks}`],
    read: (port, ranks) => ({ port, ids: Array.from({ length: ranks }, (_, rank) => `${rank}`) }),
  },
  wireup: {
    command: (ranks, pmi) => [...tool, 'serve', '-n', `${ranks}`, '--address', pmi, '--json'],
    read: (line) => {
      const { ranks } = JSON.parse(line) as Document;
      return { port: ranks[0]!.env.PMI_PORT, ids: ranks.map(({ env }) => env.PMI_ID) };
    },
  },
};

export async function conductSwarm(
  launcher: Launcher,
  pmi: Transport,
  conducting: Omit<Conducting, 'command'>,
): Promise<Conducted> {
  const { command, read } = servers[launcher.name]!;
  const [program, ...args] = command(conducting.ranks, pmi);
  const server = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'], signal: conducting.signal });
  const ended = once(server, 'close');
  try {
    const lines: AsyncIterator<string, undefined> = createInterface(server.stdout)[Symbol.asyncIterator]();
    const { value: line } = await lines.next();
    if (line === undefined) throw new Error(`${launcher.name}: the server ended`);
    const { port, ids } = read(line, conducting.ranks);
    return await conduct({
      ...conducting,
      command: [benchPath, 'swarm', port, `${availableParallelism()}`],
      server: server.pid!,
      input: `${ids.join('\n')}\n`,
    });
  } catch (error) {
    server.kill();
    throw error;
  } finally {
    await ended;
  }
}
