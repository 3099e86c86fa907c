/** Plays golden transcripts (test/support/transcript.ts) over sockets. */
import { connect, Socket } from 'node:net';
import { PmiServer, type PmiEvent, type SpawnEvent } from '../../dist/index.js';
import { OtherAnswers } from './other-answers';
import { expand, type Line, type Transcript } from './transcript';

export type Cutting = 'line by line' | 'byte by byte' | 'pipelined';
export const cuttings: readonly Cutting[] = ['line by line', 'byte by byte', 'pipelined'];

/** How long a transcript may take, in milliseconds. Below the time limit of a test, so that a failure names its line. */
const DEADLINE = 40_000;

/** The bytes that a text stands for, including its newline or the length of its frame. */
function toBytes({ text, framed }: { text: string; framed: boolean }, server: PmiServer): string {
  const { content: bytes, unfinished } = expandFor(text, server);
  if (framed) return `${String(bytes.length).padStart(6)}${bytes}`;
  return unfinished ? bytes : `${bytes}\n`;
}

function expandFor(text: string, server: PmiServer): ReturnType<typeof expand> {
  return expand(text, server.kvsname, (rank) => server.env(rank).PMI_ID!);
}

/** One connection of the player. It keeps what it has received until the transcript expects it. */
class Peer {
  received = '';
  readonly #socket: Socket;
  #ended = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.received += text;
      this.#wake();
    });
    socket.on('end', end);
    socket.on('close', end);
    // The server may reset a refused connection that is still writing. The transcript states what is expected.
    socket.on('error', end);
  }

  async send(bytes: string, each: boolean): Promise<void> {
    for (const part of each ? bytes : [bytes]) {
      await new Promise<void>((resolve) => this.#socket.write(part, 'latin1', () => resolve()));
    }
  }

  async receive(expected: string): Promise<void> {
    while (this.received.length < expected.length && !this.#ended) await this.#change();
    const got = this.received.slice(0, expected.length);
    if (got !== expected)
      throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(this.received)}`);
    this.received = this.received.slice(expected.length);
  }

  /** Takes what has come, and waits for it if nothing has. Empty: the server has closed the connection. */
  async receiveAny(): Promise<string> {
    while (this.received === '' && !this.#ended) await this.#change();
    const { received } = this;
    this.received = '';
    return received;
  }

  async hangUp(): Promise<void> {
    this.#socket.end();
    await this.end();
  }

  async end(): Promise<void> {
    while (!this.#ended) await this.#change();
    this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}

/** An event in the notation of the transcripts; undefined for events that they do not list. */
function toText(event: PmiEvent): string | undefined {
  switch (event.type) {
    case 'aborted':
      return `aborted rank=${event.rank} exit_code=${event.exitCode} message=${event.message}`;
    case 'disconnected':
      return event.lost ? `lost rank=${event.rank}` : undefined;
    case 'protocol-error':
      return event.rank === undefined ? 'protocol_error' : `protocol_error rank=${event.rank}`;
    case 'rejected':
      return 'rejected';
    case 'spawn': {
      const commands = event.commands.map(({ ranks, program, args, info }) => {
        const pairs = Object.entries(info).map(([key, value]) => ` ${key}=${value}`);
        return ` [${[ranks, program, ...args].join(' ')}${pairs.length > 0 ? ` |${pairs.join('')}` : ''}]`;
      });
      const preput = Object.entries(event.preput).map(([key, value]) => ` +${key}=${value}`);
      return `spawn rank=${event.rank}${commands.join('')}${preput.join('')}`;
    }
    default:
      return undefined;
  }
}

/** Answers as the transcripts expect: starts the program `accepted` and refuses any other. */
function answer(spawn: SpawnEvent): void {
  if (spawn.commands.every(({ program }) => program === 'accepted')) spawn.accept({ kvsname: 'kvs_child' });
  else spawn.reject(1, 'no such program');
}

/** Groups lines so that each group is one write, followed by what the transcript awaits after it. */
function* batches(lines: readonly Line[], pipelined: boolean): Generator<Line[]> {
  let batch: Line[] = [];
  let open: number | undefined;
  for (const line of lines) {
    const joins =
      pipelined &&
      open !== undefined &&
      (line.kind === 'event' ||
        (line.connection === open && (line.kind === 'send' || line.kind === 'receive')));
    if (!joins && batch.length > 0) {
      yield batch;
      batch = [];
    }
    batch.push(line);
    open =
      line.kind === 'send' || (joins && open !== undefined)
        ? line.kind === 'send'
          ? line.connection
          : open
        : undefined;
  }
  if (batch.length > 0) yield batch;
}

/** A transcript that is being played. */
class Player {
  /** The line that the player waits for, for messages. */
  at = 'its begin';
  readonly #transcript: Transcript;
  readonly #server: PmiServer;
  readonly #events: string[] = [];
  #wake: () => void = () => {};
  /** The events of the lines so far. */
  #expected = 0;
  readonly #reading: Promise<void>;
  readonly #peers = new Map<number, Peer>();
  readonly #others = new Map<number, OtherAnswers>();

  constructor(transcript: Transcript, server: PmiServer) {
    this.#transcript = transcript;
    this.#server = server;
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const event of this.#server.events()) {
      const text = toText(event);
      // Another server may accept what this one does not, and the other way round.
      const isListed = text !== undefined && !(this.#transcript.ofOther && text.startsWith('protocol_error'));
      if (isListed) this.#events.push(Buffer.from(text).toString('latin1'));
      if (event.type === 'spawn') answer(event);
      this.#wake();
    }
  }

  #peer(connection: number): Peer {
    let found = this.#peers.get(connection);
    if (found === undefined) {
      found = new Peer(
        this.#transcript.transport === 'fd'
          ? new Socket({ fd: this.#server.channel(connection).fd })
          : connectTo(this.#server.address!),
      );
      this.#peers.set(connection, found);
    }
    return found;
  }

  #other(connection: number): OtherAnswers {
    const found = this.#others.get(connection) ?? new OtherAnswers();
    this.#others.set(connection, found);
    return found;
  }

  async play(cutting: Cutting): Promise<void> {
    const { lines, lockstep, ofOther } = this.#transcript;
    for (const batch of batches(lines, cutting === 'pipelined' && !lockstep)) {
      const bytes = new Map<number, string>();
      for (const line of batch) {
        if (line.kind !== 'send') continue;
        const text = toBytes(line, this.#server);
        bytes.set(line.connection, (bytes.get(line.connection) ?? '') + text);
        if (ofOther) this.#other(line.connection).sent(line, expandFor(line.text, this.#server));
      }
      for (const [connection, text] of bytes)
        await this.#peer(connection).send(text, cutting === 'byte by byte');
      for (const line of batch) await this.#receive(line);
    }
    this.at = 'the end of the events';
    // When the server has answered this, it has sent all its replies. They are in the sockets, before the end of the stream.
    await this.#server.status();
    await this.#server.close();
    await this.#reading;
    for (const [connection, peer] of this.#peers) {
      await peer.end();
      if (ofOther) this.#other(connection).end(peer.received);
      else if (peer.received !== '')
        throw new Error(`connection ${connection} got more: ${JSON.stringify(peer.received)}`);
    }
    this.#checkEvents();
  }

  async #receive(line: Line): Promise<void> {
    if (line.kind === 'send') return;
    if (line.kind === 'event') {
      this.at = `E: ${line.text}`;
      // Otherwise the server could read what another connection sends next before that which causes the event.
      for (this.#expected++; this.#events.length < this.#expected;)
        await new Promise<void>((resolve) => (this.#wake = resolve));
      return;
    }
    const peer = this.#peer(line.connection);
    this.at = `S${line.connection}: ${line.kind === 'receive' ? line.text : '[close]'}`;
    if (line.kind === 'receive') {
      if (!this.#transcript.ofOther) return peer.receive(toBytes(line, this.#server));
      return this.#other(line.connection).receive(line, expandFor(line.text, this.#server), () =>
        peer.receiveAny(),
      );
    }
    return line.kind === 'eof' ? peer.hangUp() : peer.end();
  }

  #checkEvents(): void {
    const { lines } = this.#transcript;
    const expected = lines.flatMap((line) =>
      line.kind === 'event' ? [expandFor(line.text, this.#server).content] : [],
    );
    const events = this.#events;
    if (events.join('\n') !== expected.join('\n'))
      throw new Error(`events: expected ${JSON.stringify(expected)}, got ${JSON.stringify(events)}`);
  }

  /** Ends everything that a failure has left. */
  async close(): Promise<void> {
    for (const peer of this.#peers.values()) peer.destroy();
    await this.#server.close();
    await this.#reading;
  }
}

/**
 * Plays a transcript against a real server. Throws if the server sends anything else than the transcript, or is late.
 *
 * @param deadline milliseconds that the whole transcript may take
 */
export async function play(
  transcript: Transcript,
  address: string,
  cutting: Cutting,
  deadline = DEADLINE,
): Promise<void> {
  const { size, perNode, offer, spawner, preput } = transcript;
  const server = await PmiServer.listen({
    size,
    address,
    ...(perNode === undefined ? {} : { ranksPerNode: perNode }),
    pmiSubversion: offer ? 2 : 1,
    preput: Object.fromEntries(
      Object.entries(preput).map(([key, value]) => [
        key,
        Buffer.from(expand(value, '', String).content, 'latin1').toString(),
      ]),
    ),
    ...(spawner === undefined ? {} : { spawner }),
  });
  const player = new Player(transcript, server);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`not finished after ${deadline} ms; it waits for ${player.at}`)),
      deadline,
    );
  });
  try {
    await Promise.race([player.play(cutting), late]);
  } finally {
    clearTimeout(timer);
    await player.close();
  }
}

function connectTo(address: string): Socket {
  const tcp = /^tcp:\/\/(.*):(\d+)$/.exec(address);
  return tcp === null ? connect(address.slice('unix://'.length)) : connect(Number(tcp[2]), tcp[1]);
}
