import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/**
 * Starts a server in another process, and calls `work` with the environments of its ranks. Returns the result of
 * `work`.
 */
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
