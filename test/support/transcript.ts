/** Reads the golden transcripts of test/vectors (format: test/vectors/README.md) and plays them over sockets. */
import { readdirSync, readFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { join } from 'node:path';
import { PmiServer, type PmiEvent, type SpawnEvent } from '../../dist/index.js';

const folder = join(__dirname, '../vectors');

type Line =
  | { kind: 'send'; connection: number; text: string; framed: boolean }
  | { kind: 'receive'; connection: number; text: string; framed: boolean }
  | { kind: 'eof' | 'close'; connection: number }
  | { kind: 'event'; text: string };

export interface Transcript {
  file: string;
  title: string;
  size: number;
  perNode: number | undefined;
  offer: boolean;
  lockstep: boolean;
  transport: 'fd' | 'port';
  spawner: string | undefined;
  preput: Record<string, string>;
  /** The rules of the level MUST that it breaks. */
  breaks: string[];
  lines: Line[];
}

export type Cutting = 'line by line' | 'byte by byte' | 'pipelined';
export const cuttings: readonly Cutting[] = ['line by line', 'byte by byte', 'pipelined'];

function parseLine(line: string): Line {
  const match = /^([CSE])(\d*)([:>]) ?(.*)$/.exec(line);
  if (match === null) throw new Error(`not a line of a transcript: ${line}`);
  const [, side, digits, mark, text] = match as unknown as [string, string, string, string, string];
  const connection = Number(digits);
  const framed = mark === '>';
  if (side === 'E') return { kind: 'event', text };
  if (side === 'C')
    return text === '[eof]' ? { kind: 'eof', connection } : { kind: 'send', connection, text, framed };
  return text === '[close]' ? { kind: 'close', connection } : { kind: 'receive', connection, text, framed };
}

/** The transcripts of one page. */
export function parseTranscripts(file: string, page: string): Transcript[] {
  const transcripts: Transcript[] = [];
  let title = '';
  let current: Transcript | undefined;
  for (const line of page.split('\n')) {
    if (current === undefined) {
      if (line.startsWith('#')) title = line.replace(/^#+ /, '');
      if (!/^```pmi\b/.test(line)) continue;
      const option = (name: string): string | undefined => new RegExp(`\\b${name}=(\\S+)`).exec(line)?.[1];
      current = {
        file,
        title,
        size: Number(option('size') ?? 1),
        perNode: option('per_node') === undefined ? undefined : Number(option('per_node')),
        offer: option('offer') === '1.2',
        lockstep: /\blockstep\b/.test(line),
        transport: option('transport') === 'port' ? 'port' : 'fd',
        spawner: option('spawner'),
        preput: {},
        breaks: [],
        lines: [],
      };
    } else if (line === '```') {
      transcripts.push(current);
      current = undefined;
    } else if (line.startsWith('# breaks: ')) {
      current.breaks.push(...line.slice('# breaks: '.length).split(' '));
    } else if (line.startsWith('P: ')) {
      const at = line.indexOf('=');
      current.preput[line.slice('P: '.length, at)] = line.slice(at + 1);
    } else if (line !== '' && !line.startsWith('#')) {
      current.lines.push(parseLine(line));
    }
  }
  return transcripts;
}

export function readTranscripts(): Transcript[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .sort()
    .flatMap((file) => parseTranscripts(file, readFileSync(join(folder, file), 'utf8')));
}

/** What a text stands for, and whether a newline or the length of a frame belongs to it. */
export function expand(
  text: string,
  kvsname: string,
  pmiId: (rank: number) => string,
): { content: string; unfinished: boolean } {
  const expanded = text
    .replaceAll('{kvsname}', kvsname)
    .replace(/\{pmi_id:(\d+)\}/g, (_, rank: string) => pmiId(Number(rank)))
    .replace(/\{repeat:(\d+):(.)\}/g, (_, count: string, byte: string) => byte.repeat(Number(count)));
  const unfinished = expanded.endsWith('\\c');
  const escapes: Record<string, string> = { '0': '\0', n: '\n', t: '\t', '\\': '\\' };
  const content = (unfinished ? expanded.slice(0, -2) : expanded).replace(
    /\\(?:x([\da-f]{2})|(.))/g,
    (_, code: string | undefined, letter: string) =>
      code === undefined ? escapes[letter]! : String.fromCharCode(parseInt(code, 16)),
  );
  return { content, unfinished };
}

/** The bytes that a text stands for, including its newline or the length of its frame. */
function toBytes({ text, framed }: { text: string; framed: boolean }, server: PmiServer): string {
  const { content: bytes, unfinished } = expand(text, server.kvsname, (rank) => server.env(rank).PMI_ID!);
  if (framed) return `${String(bytes.length).padStart(6)}${bytes}`;
  return unfinished ? bytes : `${bytes}\n`;
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

  async hangUp(): Promise<void> {
    this.#socket.end();
    await this.end();
  }

  async end(): Promise<void> {
    while (!this.#ended) await this.#change();
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

/** Plays a transcript against a real server. Throws if the server sends anything else than the transcript. */
export async function play(transcript: Transcript, address: string, cutting: Cutting): Promise<void> {
  const { size, transport, lines, perNode, offer, spawner, preput } = transcript;
  const server = await PmiServer.listen({
    size,
    address,
    ...(perNode === undefined ? {} : { ranksPerNode: perNode }),
    pmiSubversion: offer ? 2 : 1,
    preput,
    ...(spawner === undefined ? {} : { spawner }),
  });
  const events: string[] = [];
  const reading = (async () => {
    for await (const event of server.events()) {
      const text = toText(event);
      if (text !== undefined) events.push(text);
      if (event.type === 'spawn') answer(event);
    }
  })();
  const peers = new Map<number, Peer>();
  const peer = (connection: number): Peer => {
    let found = peers.get(connection);
    if (found === undefined) {
      found = new Peer(
        transport === 'fd' ? new Socket({ fd: server.channel(connection).fd }) : connectTo(server.address!),
      );
      peers.set(connection, found);
    }
    return found;
  };

  for (const batch of batches(lines, cutting === 'pipelined' && !transcript.lockstep)) {
    const bytes = new Map<number, string>();
    for (const line of batch) {
      if (line.kind !== 'send') continue;
      bytes.set(line.connection, (bytes.get(line.connection) ?? '') + toBytes(line, server));
    }
    for (const [connection, text] of bytes) await peer(connection).send(text, cutting === 'byte by byte');
    for (const line of batch) {
      if (line.kind === 'receive') await peer(line.connection).receive(toBytes(line, server));
      if (line.kind === 'eof') await peer(line.connection).hangUp();
      if (line.kind === 'close') await peer(line.connection).end();
    }
  }
  // When the server has answered this, it has sent all its replies. They are in the sockets, before the end of the stream.
  await server.status();
  await server.close();
  await reading;
  for (const [connection, { received }] of await endAll(peers)) {
    if (received !== '') throw new Error(`connection ${connection} got more: ${JSON.stringify(received)}`);
  }
  const expected = lines.flatMap((line) => (line.kind === 'event' ? [line.text] : []));
  if (events.join('\n') !== expected.join('\n')) {
    throw new Error(`events: expected ${JSON.stringify(expected)}, got ${JSON.stringify(events)}`);
  }
}

async function endAll(peers: Map<number, Peer>): Promise<Map<number, Peer>> {
  for (const peer of peers.values()) await peer.end();
  return peers;
}

function connectTo(address: string): Socket {
  const tcp = /^tcp:\/\/(.*):(\d+)$/.exec(address);
  return tcp === null ? connect(address.slice('unix://'.length)) : connect(Number(tcp[2]), tcp[1]);
}
