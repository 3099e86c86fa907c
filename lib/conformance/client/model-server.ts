/** A {@link ModelJob} to which ranks connect. */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClientJudge } from './judge';
import { ModelClient, ModelJob, type Manner } from './model';

export type ClientTransport = 'fd' | 'tcp' | 'unix';

/** A PMI_ID that MPICH can read. */
const MAX_PMI_ID = 2 ** 31 - 1;

export class ModelServer {
  readonly job: ModelJob;
  readonly judge: ClientJudge;
  /** In the order of their connections. */
  readonly clients: ModelClient[] = [];
  readonly #ids: readonly string[] | undefined;
  readonly #sockets = new Map<ModelClient, Socket>();
  #listener: Listener | undefined;

  private constructor(size: number, transport: ClientTransport, manner: Manner) {
    if (transport !== 'fd') this.#ids = Array.from({ length: size }, () => String(randomInt(MAX_PMI_ID)));
    this.judge = new ClientJudge(this.#ids);
    this.job = new ModelJob(size, manner, this.judge);
    this.judge.job = this.job;
    this.judge.onRefused = (client) => this.#sockets.get(client)?.destroy();
  }

  static async open(size: number, transport: ClientTransport, manner: Manner): Promise<ModelServer> {
    const server = new ModelServer(size, transport, manner);
    if (transport !== 'fd')
      server.#listener = await Listener.open(transport, (socket) => server.serve(socket));
    return server;
  }

  /** The variables by which a rank finds the server. With the transport fd, its connection is the descriptor 3. */
  environmentOf(rank: number): Record<string, string> {
    const { manner, size } = this.job;
    const variables: Record<string, string> =
      this.#ids === undefined
        ? { PMI_FD: '3', PMI_RANK: String(rank), PMI_SIZE: String(size) }
        : { PMI_PORT: this.#listener!.address, PMI_ID: this.#ids[rank]! };
    return { ...variables, ...manner.environment?.(rank) };
  }

  /** @param rank of an inherited connection */
  serve(socket: Socket, rank?: number): void {
    const client = new ModelClient(this.job, (bytes) => void socket.write(bytes, 'latin1'), rank, this.#ids);
    this.clients.push(client);
    this.#sockets.set(client, socket);
    socket.setEncoding('latin1').on('data', (text: string) => client.receive(text));
    // The client may leave at any time.
    socket.on('error', () => undefined);
  }

  close(): void {
    this.#listener?.close();
  }
}

class Listener {
  readonly address: string;
  readonly #server: Server;
  readonly #folder: string | undefined;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, address: string, folder: string | undefined, sockets: Set<Socket>) {
    this.#server = server;
    this.address = address;
    this.#folder = folder;
    this.#sockets = sockets;
  }

  static async open(transport: 'tcp' | 'unix', accept: (socket: Socket) => void): Promise<Listener> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      accept(socket);
    });
    const folder = transport === 'tcp' ? undefined : mkdtempSync(join(tmpdir(), 'wireup-check-'));
    const path = folder === undefined ? undefined : join(folder, 'socket');
    if (path === undefined) server.listen(0, '127.0.0.1');
    else server.listen(path);
    await once(server, 'listening');
    const address =
      path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix://${path}`;
    return new Listener(server, address, folder, sockets);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true });
  }
}
