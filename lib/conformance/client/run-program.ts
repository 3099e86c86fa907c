/** Runs a program as the ranks of a {@link ModelJob}. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClientJudge } from './judge';
import { ModelClient, ModelJob, type Manner } from './model';

export type ClientTransport = 'fd' | 'tcp' | 'unix';

export interface ProgramOptions {
  readonly program: readonly string[];
  readonly size: number;
  readonly transport: ClientTransport;
  /** For the whole program, in milliseconds. */
  readonly timeout: number;
}

export interface ProgramRun {
  readonly judge: ClientJudge;
  readonly clients: readonly ModelClient[];
  /** Why the program has not ended successfully; undefined: it has. */
  readonly failure: string | undefined;
  /** The last messages of the rank that has failed first. */
  readonly lines: readonly string[];
}

/** Variables of process managers, as `scrubEnvironment()` removes them. */
const STALE = /^(PMI_|PMI2_|PMIX_|HYDI_|MPI_LOCAL)/;

/** How long other ranks may go on after one has failed, in milliseconds. */
const GRACE = 300;

/** A process id that MPICH can read. */
const MAX_PMI_ID = 2 ** 31 - 1;

/** The characters of stderr that are kept, for the last line. */
const MAX_STDERR = 4096;

export async function runProgram(options: ProgramOptions, manner: Manner): Promise<ProgramRun> {
  const { program, size, transport, timeout } = options;
  const ids =
    transport === 'fd' ? undefined : Array.from({ length: size }, () => String(randomInt(MAX_PMI_ID)));
  const judge = new ClientJudge(ids);
  const job = new ModelJob(size, manner, judge);
  judge.job = job;
  const clients: ModelClient[] = [];
  const sockets = new Map<ModelClient, Socket>();
  judge.onRefused = (client) => sockets.get(client)?.destroy();
  const serve = (socket: Socket, rank: number | undefined): void => {
    const client = new ModelClient(job, (bytes) => void socket.write(bytes, 'latin1'), rank, ids);
    clients.push(client);
    sockets.set(client, socket);
    socket.setEncoding('latin1').on('data', (text: string) => client.receive(text));
    // The client may leave at any time.
    socket.on('error', () => undefined);
  };
  const listener =
    transport === 'fd' ? undefined : await Listener.open(transport, (socket) => serve(socket, undefined));
  const children: ChildProcess[] = [];
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL');
  };
  let failure: { text: string; rank: number } | undefined;
  const timers: NodeJS.Timeout[] = [];
  const fail = (text: string, rank: number): void => {
    failure ??= { text, rank };
    timers.push(setTimeout(killAll, GRACE));
  };
  judge.onAborted = (rank) => fail(`rank ${rank} sent abort`, rank);
  timers.push(setTimeout(() => fail(`not ended after ${timeout / 1000} s`, waiting(clients)), timeout));
  try {
    const ends = Array.from({ length: size }, async (_, rank) => {
      const env: NodeJS.ProcessEnv = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !STALE.test(name)),
      );
      Object.assign(
        env,
        ids === undefined
          ? { PMI_FD: '3', PMI_RANK: String(rank), PMI_SIZE: String(size) }
          : { PMI_PORT: listener!.address, PMI_ID: ids[rank] },
      );
      const child = spawn(program[0]!, program.slice(1), {
        env,
        stdio: ['ignore', 'ignore', 'pipe', ...(ids === undefined ? (['pipe'] as const) : [])],
      });
      children.push(child);
      const ended = once(child, 'close') as Promise<[number | null, string | null]>;
      if (ids === undefined && child.stdio[3]) serve(child.stdio[3] as Socket, rank);
      let said = '';
      child.stderr
        ?.setEncoding('utf8')
        .on('data', (text: string) => (said = (said + text).slice(-MAX_STDERR)));
      const [code, signal] = await ended;
      if (code === 0) return;
      const last = said.trimEnd().split('\n').at(-1) ?? '';
      const how = code === null ? `was ended by ${signal}` : `ended with code ${code}`;
      fail(`rank ${rank} ${how}${last === '' ? '' : `: ${last}`}`, rank);
    });
    await Promise.all(ends);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    killAll();
    listener?.close();
  }
  const { transcript } = clients.find(({ rank }) => rank === failure?.rank) ?? {
    transcript: job.transcripts[0]!,
  };
  return {
    judge,
    clients,
    failure: failure?.text,
    lines: failure === undefined ? [] : transcript.since(Math.max(0, transcript.length - 6)),
  };
}

/** A rank that has sent nothing after its last reply. */
function waiting(clients: readonly ModelClient[]): number {
  return clients.find(({ finalized }) => !finalized)?.rank ?? 0;
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
