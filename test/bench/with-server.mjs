import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Calls `work` with the environments of the ranks of a server in another process; returns what it returns. */
export async function withServer(size, address, work) {
  const server = fork(join(import.meta.dirname, 'server.mjs'), [String(size), address]);
  const ended = once(server, 'exit');
  try {
    const [environments] = await Promise.race([
      once(server, 'message'),
      ended.then(() => {
        throw new Error('the server ended');
      }),
    ]);
    return await work(environments);
  } finally {
    if (server.connected) server.disconnect();
    await ended;
  }
}
