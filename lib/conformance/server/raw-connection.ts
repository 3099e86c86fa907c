/** A connection to a PMI server that sends and receives bytes. It neither repairs nor refuses anything. */
import { fstatSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import { Malformed, FRAME_LENGTH, MAX_MESSAGE, readFrameLength } from '../wire';
import { NoReply, type Transcript } from '../finding';

/** How many bytes of a slow request have a pause after them, and how long it is in milliseconds. */
const APART = 4;
const APART_MS = 10;

export class RawConnection {
  readonly #socket: Socket;
  readonly #transcript: Transcript;
  #received = '';
  #ended: string | undefined;
  #wake: () => void = () => undefined;

  constructor(socket: Socket, transcript: Transcript) {
    this.#socket = socket;
    this.#transcript = transcript;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#received += text;
      // The server waits until this is read.
      if (this.#received.length > MAX_MESSAGE) socket.pause();
      this.#wake();
    });
    const end = (why: string) => (): void => {
      this.#ended ??= why;
      this.#wake();
    };
    socket.on('end', end('the server has closed the connection'));
    socket.on('close', end('the connection has ended'));
    socket.on('error', (error) => end(`the connection has failed: ${error.message}`)());
  }

  /** Why the connection has ended; undefined: it has not. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Takes what the server has sent and no one has read. */
  takeUnread(): string {
    return this.#take(this.#received.length);
  }

  write(bytes: string): void {
    if (this.#ended === undefined) this.#socket.write(bytes, 'latin1');
  }

  /** Writes each byte alone. The server reads the first ones alone, if it is not busy. */
  async writeSlowly(bytes: string): Promise<void> {
    for (const [i, byte] of Array.from(bytes).entries()) {
      if (this.#ended !== undefined) return;
      this.#socket.write(byte, 'latin1');
      await (i < APART ? delay(APART_MS) : immediate());
    }
  }

  /** @throws {@link NoReply} */
  async readLine(timeout: number): Promise<string> {
    const end = performance.now() + timeout;
    for (;;) {
      const newline = this.#received.indexOf('\n');
      if (newline !== -1) {
        const line = this.#take(newline + 1).slice(0, -1);
        this.#transcript.add('S', line);
        return line;
      }
      if (this.#received.length > MAX_MESSAGE) this.#fail('the server has sent a line that does not end');
      await this.#more(end, timeout);
    }
  }

  /** The content of a frame. @throws {@link NoReply}, {@link Malformed} */
  async readFrame(timeout: number): Promise<string> {
    const end = performance.now() + timeout;
    for (;;) {
      if (this.#received.length >= FRAME_LENGTH) {
        const length = readFrameLength(this.#received.slice(0, FRAME_LENGTH));
        if (length === undefined) {
          this.#transcript.add('S', this.#received);
          throw new Malformed(
            `a frame begins with '${this.#received.slice(0, FRAME_LENGTH)}', not with its length`,
          );
        }
        if (this.#received.length >= FRAME_LENGTH + length) {
          const frame = this.#take(FRAME_LENGTH + length);
          this.#transcript.add('S', frame);
          return frame.slice(FRAME_LENGTH);
        }
      }
      await this.#more(end, timeout);
    }
  }

  /** Waits until the server sends more or ends the connection. Returns false if it does neither in time. */
  async changed(timeout: number): Promise<boolean> {
    if (this.#ended !== undefined || this.#received !== '') return true;
    return this.#change(timeout);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(length: number): string {
    const taken = this.#received.slice(0, length);
    this.#received = this.#received.slice(length);
    if (this.#received.length <= MAX_MESSAGE) this.#socket.resume();
    return taken;
  }

  async #more(end: number, timeout: number): Promise<void> {
    if (this.#ended !== undefined) this.#fail(this.#ended);
    if (await this.#change(end - performance.now())) return;
    this.#fail(`the server has sent no complete reply within ${timeout / 1000} s`);
  }

  #fail(why: string): never {
    if (this.#received !== '') this.#transcript.add('S', `${this.#received} (not complete)`);
    throw new NoReply(why);
  }

  #change(timeout: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), Math.max(0, timeout));
      this.#wake = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }
}

/** How this process reaches its PMI server. */
export type Route = { kind: 'fd'; fd: number } | { kind: 'port'; address: string; id: string | undefined };

/** PMI_FD, or else PMI_PORT. Undefined if neither is set. */
export function readRoute(environment: NodeJS.ProcessEnv): Route | undefined {
  if (environment.PMI_FD !== undefined) return { kind: 'fd', fd: Number(environment.PMI_FD) };
  if (environment.PMI_PORT === undefined) return undefined;
  return { kind: 'port', address: environment.PMI_PORT, id: environment.PMI_ID };
}

/** @throws rejects with a {@link NoReply} */
export async function openConnection(route: Route, transcript: Transcript): Promise<RawConnection> {
  if (route.kind === 'fd') {
    if (!isSocket(route.fd)) throw new NoReply('PMI_FD is no open socket');
    return new RawConnection(new Socket({ fd: route.fd }), transcript);
  }
  const socket = connectTo(route.address);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve());
    socket.once('error', (error) => reject(new NoReply(error.message)));
  });
  return new RawConnection(socket, transcript);
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false;
  }
}

const MAX_PORT = 0xffff;

function connectTo(address: string): Socket {
  const path = /^(?:unix:\/\/)?((?:\/|@).*)$/s.exec(address)?.[1];
  if (path !== undefined) return connect({ path: path.startsWith('@') ? `\0${path.slice(1)}` : path });
  const [, host, port] = /^(?:tcp:\/\/)?(.*):(\d+)$/.exec(address) ?? [];
  if (host === undefined || Number(port) > MAX_PORT) throw new NoReply(`PMI_PORT=${address} is no address`);
  return connect({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) });
}
