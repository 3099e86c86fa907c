// PMI servers whose replies a test determines.

import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** The reply to a line, or undefined to close the connection. A promise delays this reply and the later ones. */
type Reply = string | undefined;
export type Responder = (line: string) => Reply | Promise<Reply>;

const closers: (() => void)[] = [];

/** Closes all fake servers. For afterEach. */
export function closeFakeServers(): void {
  for (const close of closers.splice(0)) close();
}

/** Starts a server that serves until closeFakeServers(). Returns its PMI_PORT. */
export async function startFakeServer(respond: Responder, path?: string): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    let rest = '';
    let last: Promise<void> = Promise.resolve();
    const send = (reply: Reply): void => {
      if (reply === undefined) socket.destroy();
      else socket.write(reply);
    };
    socket.setEncoding('latin1');
    socket.on('error', () => undefined);
    socket.on('data', (text: string) => {
      const complete = (rest + text).split('\n');
      rest = complete.pop()!;
      for (const line of complete) {
        const reply = respond(line);
        last = last.then(() => reply).then(send);
      }
    });
  });
  await new Promise<void>((resolve) =>
    path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve),
  );
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix://${path}`;
}

export const isCommand = (line: string, command: string): boolean => line.split(' ')[0] === `cmd=${command}`;

/** The responder of a normal server, to rank 1 of 2. `override` may return another reply to a line, or 'normal'. */
export function normalExcept(override: (line: string) => Reply | Promise<Reply>): Responder {
  return (line) => {
    const reply = override(line);
    if (reply !== 'normal') return reply;
    const name = /^cmd=(\S+)/.exec(line)?.[1] ?? '';
    return (
      {
        initack: 'cmd=initack rc=0\ncmd=set size=2\ncmd=set rank=1\ncmd=set debug=0\n',
        init: 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n',
        get_maxes: 'cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n',
        get_my_kvsname: 'cmd=my_kvsname kvsname=kvs\n',
        get_appnum: 'cmd=appnum appnum=0\n',
        get_universe_size: 'cmd=universe_size size=2\n',
        get: 'cmd=get_result rc=0 value=x\n',
        put: 'cmd=put_result rc=0\n',
        finalize: 'cmd=finalize_ack\n',
      }[name] ?? 'cmd=unknown_result rc=-1 msg=unknown\n'
    );
  };
}
