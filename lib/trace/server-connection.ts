/** The connection of a replay to its server. Whatever the server does, each call ends, and memory is bounded. */
import type { Socket } from 'node:net';
import { WireReader, type ReceivedMessage } from './wire-reader';

/** Bytes of answers that are kept while the server does not read. */
const MAX_UNREAD = 16 << 20;

/** Why there is no message. `late`: the server has not sent or read it in time. */
export type Absent = 'closed' | 'late';

/** Sends bytes, and receives messages. */
export class ServerConnection {
  readonly #socket: Socket;
  readonly #timeout: number;
  readonly #reader = new WireReader();
  readonly #pieces: AsyncIterator<Buffer>;
  /** A piece that is waited for. */
  #next: Promise<Buffer | 'closed'> | undefined;

  /**
   * @param socket a connection as PMI_FD has it
   * @param timeout milliseconds that a message may take, in each direction
   */
  constructor(socket: Socket, timeout: number) {
    this.#socket = socket;
    this.#timeout = timeout;
    // An error while nothing is received. The next call finds the end of the connection.
    socket.on('error', () => undefined);
    this.#pieces = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Whether the server sends frames of PMI-2 from now on. */
  set framed(framed: boolean) {
    this.#reader.framed = framed;
  }

  /** The time at which a message that begins now is late, for `until` of the methods. */
  deadline(): number {
    return performance.now() + this.#timeout;
  }

  /** The next whole message, or what is left of one at the end of the connection. */
  async receive(until = this.deadline()): Promise<ReceivedMessage | Absent> {
    const timer = new Timer(until);
    try {
      for (;;) {
        const message = this.#reader.next();
        if (message !== undefined) return message;
        const piece = await Promise.race([this.#piece(), timer.late]);
        if (piece === 'late') return piece;
        if (piece === 'closed') return this.#reader.rest() ?? piece;
        this.#take(piece);
      }
    } finally {
      timer.stop();
    }
  }

  /**
   * Sends bytes, and waits until the server has read most of what was sent. It also reads answers meanwhile, because a server
   * may read nothing until its answers are read.
   */
  async send(bytes: Buffer, until = this.deadline()): Promise<Absent | undefined> {
    if (this.#socket.write(bytes)) return undefined;
    const timer = new Timer(until);
    let drained = (): void => undefined;
    const drain = new Promise<'drained'>((fulfil) => {
      drained = () => fulfil('drained');
      this.#socket.once('drain', drained).once('close', drained);
    });
    try {
      for (;;) {
        const reads = this.#reader.length < MAX_UNREAD;
        const what = await Promise.race([drain, timer.late, ...(reads ? [this.#piece()] : [])]);
        if (what === 'drained') return this.#socket.destroyed ? 'closed' : undefined;
        if (what === 'late' || what === 'closed') return what;
        this.#take(what);
      }
    } finally {
      timer.stop();
      this.#socket.off('drain', drained).off('close', drained);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(piece: Buffer): void {
    this.#next = undefined;
    this.#reader.push(piece);
  }

  #piece(): Promise<Buffer | 'closed'> {
    this.#next ??= this.#pieces.next().then(
      ({ done, value }: IteratorResult<Buffer, unknown>) => (done === true ? 'closed' : value),
      // The connection was reset.
      () => 'closed' as const,
    );
    return this.#next;
  }
}

/** Fulfils `late` at a time of performance.now(). */
class Timer {
  readonly late: Promise<'late'>;
  #timer: NodeJS.Timeout | undefined;

  constructor(until: number) {
    this.late = new Promise((fulfil) => {
      this.#timer = setTimeout(() => fulfil('late'), Math.max(0, until - performance.now()));
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
