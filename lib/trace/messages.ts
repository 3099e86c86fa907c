/** What the messages of a recording mean: their commands and attributes, and which reply belongs to which request. */
import { native, type NativeMessage } from '../native';
import { contentOf, isMessage, type EventRecord, type MessageRecord } from './format';
import type { MergedRecord } from './merge';

/** A parsed message. */
export interface PmiMessage {
  /** As on the wire; undefined: the message has none. */
  command: string | undefined;
  /** The row of the table of messages; undefined: the command is unknown. */
  spec: NativeMessage | undefined;
  /** By their names on the wire. */
  attributes: Map<string, string>;
}

/** The two tables of commands: of messages to the server, and of those to the client. */
interface Commands {
  toServer: Map<string, NativeMessage>;
  toClient: Map<string, NativeMessage>;
}
let commands: { '1': Commands; '2': Commands } | undefined;

function tableOf(version: '1' | '2'): Commands {
  if (commands === undefined) {
    const rows = native.messageTable();
    const make = (name: 'v1' | 'v2'): Commands => ({
      toServer: new Map(rows.filter((row) => row.direction === 'to-server').map((row) => [row[name], row])),
      toClient: new Map(rows.filter((row) => row.direction === 'to-client').map((row) => [row[name], row])),
    });
    commands = { '1': make('v1'), '2': make('v2') };
  }
  return commands[version];
}

function specOf(version: '1' | '2', dir: 'C' | 'S', command: string): NativeMessage | undefined {
  const { toServer, toClient } = tableOf(version);
  return command === '' ? undefined : (dir === 'C' ? toServer : toClient).get(command);
}

/** The value of an attribute of this type extends to the end of the line. */
function extendsToEnd(spec: NativeMessage | undefined, name: string): boolean {
  return spec?.attributes.some(({ v1, type }) => v1 === name && type === 'rest') ?? false;
}

function parseLine(text: string, dir: 'C' | 'S'): PmiMessage {
  const attributes = new Map<string, string>();
  const [, command] = /^m?cmd=(\S*)/.exec(text) ?? [];
  const spec = command === undefined ? undefined : specOf('1', dir, command);
  const word = /(\S+?)=(\S*)|\S+/g;
  for (let match = word.exec(text); match !== null; match = word.exec(text)) {
    const [, name, value] = match;
    if (name === undefined) continue;
    if (extendsToEnd(spec, name)) {
      attributes.set(name, text.slice(match.index + name.length + 1));
      break;
    }
    if (!attributes.has(name)) attributes.set(name, value!);
  }
  return { command, spec, attributes };
}

function parseFrame(text: string, dir: 'C' | 'S'): PmiMessage {
  const attributes = new Map<string, string>();
  // `;;` stands for a `;` in a value.
  for (const field of text.match(/(?:[^;]|;;)+/g) ?? []) {
    const at = field.indexOf('=');
    if (at > 0 && !attributes.has(field.slice(0, at)))
      attributes.set(field.slice(0, at), field.slice(at + 1).replaceAll(';;', ';'));
  }
  const command = attributes.get('cmd');
  return { command, spec: command === undefined ? undefined : specOf('2', dir, command), attributes };
}

/** Parses a message. Bytes that are neither a line nor a frame have no command. */
export function parseMessage(record: MessageRecord): PmiMessage {
  const { dir, wire } = record;
  if (wire === 'raw') return { command: undefined, spec: undefined, attributes: new Map() };
  const text = record.text ?? contentOf(record).toString('latin1');
  return wire === '1' ? parseLine(text, dir) : parseFrame(text, dir);
}

/** The name of a connection's rank: `3`, `1.3` in a spawned process group, `?7` without a rank. */
export function labelOf({ group, rank, conn }: { group: number; rank?: number; conn?: number }): string {
  return `${group === 0 ? '' : `${group}.`}${rank ?? `?${conn ?? ''}`}`;
}

/** A message of a recording, with what belongs to it. */
export interface Step extends MergedRecord {
  record: MessageRecord;
  message: PmiMessage;
  /** Of a reply: the request. Undefined: none waits for it. */
  request?: Step;
  /** Of a request, and of a reply without a request: the oldest request of the connection that waits for its reply. */
  pending?: Step;
}

/** An event of a recording. */
export interface EventStep extends MergedRecord {
  record: EventRecord;
}

/** Requests of one connection that wait for their replies. A client that never reads could send any number. */
const MAX_WAITING = 1024;

/** Connections whose requests are followed. */
const MAX_CONNECTIONS = 1 << 20;

/** Of all waiting requests together; more than the largest line of a recording. Ranks wait with small requests. */
const MAX_WAITING_BYTES = 32 << 20;

/** What a request and a parsed attribute take in memory beside their text, about. */
const STEP_BYTES = 320;
const ATTRIBUTE_BYTES = 128;

/** What a waiting request takes in memory, about. */
function weightOf({ record, message }: Step): number {
  const content = record.text ?? record.base64 ?? '';
  return STEP_BYTES + content.length + ATTRIBUTE_BYTES * message.attributes.size;
}

/** Finds the request of each reply. Memory is bounded: beyond the limits, a reply has no request. */
export class Conversation {
  readonly #waiting = new Map<string, Step[]>();
  #bytes = 0;

  /** Call it for each record in order. */
  follow(merged: MergedRecord): Step | EventStep {
    const { record, source } = merged;
    const connection = `${source}/${labelOf(record)}`;
    if (!isMessage(record)) {
      this.#followEvent(merged as EventStep, connection);
      return merged as EventStep;
    }
    const step: Step = { ...merged, record, message: parseMessage(record) };
    const { spec } = step.message;
    const waiting = this.#waiting.get(connection);
    if (record.dir === 'C') {
      // Lines of an mcmd block have no command: their first one is the request.
      if (step.message.command === undefined) return step;
      const oldest = waiting?.[0];
      // A spawn of several programs has a block for each, and one reply.
      if (spec?.form === 'block' && record.wire === '1' && oldest?.message.spec === spec) return step;
      if (oldest !== undefined) step.pending = oldest;
      if (spec !== undefined && spec.reply === spec.name) return step;
      this.#wait(step, connection, waiting);
      return step;
    }
    const found = waiting?.findIndex((request) => answers(step, request)) ?? -1;
    if (found >= 0) step.request = this.#take(waiting!, found);
    else if (waiting?.[0] !== undefined) {
      [step.pending] = waiting as [Step];
      // Without thrid there is one reply to each request, in their order.
      if (!step.pending.message.attributes.has('thrid')) this.#take(waiting, 0);
    }
    return step;
  }

  #wait(step: Step, connection: string, waiting: Step[] | undefined): void {
    const weight = weightOf(step);
    if (this.#bytes + weight > MAX_WAITING_BYTES) return;
    if (waiting === undefined ? this.#waiting.size >= MAX_CONNECTIONS : waiting.length >= MAX_WAITING) return;
    this.#bytes += weight;
    if (waiting === undefined) this.#waiting.set(connection, [step]);
    else waiting.push(step);
  }

  #take(waiting: Step[], index: number): Step {
    const [step] = waiting.splice(index, 1) as [Step];
    this.#bytes -= weightOf(step);
    // Otherwise each request that came before the reply to another would keep that one, and all before it.
    delete step.pending;
    return step;
  }

  #forget(connection: string): void {
    for (const step of this.#waiting.get(connection) ?? []) this.#bytes -= weightOf(step);
    this.#waiting.delete(connection);
  }

  #followEvent({ record: { event, group, rank, conn }, source }: EventStep, connection: string): void {
    if (event === 'closed') this.#forget(connection);
    if (event === 'dropped') {
      for (const name of this.#waiting.keys()) if (name.startsWith(`${source}/`)) this.#forget(name);
    }
    if (event !== 'connected' || rank === undefined || conn === undefined) return;
    const before = `${source}/${labelOf({ group, conn })}`;
    const waiting = this.#waiting.get(before);
    if (waiting === undefined) return;
    this.#waiting.delete(before);
    this.#forget(connection);
    this.#waiting.set(connection, waiting);
  }
}

/** Whether the reply can be that to the request. */
function answers({ message: reply }: Step, { message: request }: Step): boolean {
  const [thrid, other] = [reply.attributes.get('thrid'), request.attributes.get('thrid')];
  if (thrid !== undefined && other !== undefined && thrid !== other) return false;
  if (request.spec !== undefined && reply.spec !== undefined) return request.spec.reply === reply.spec.name;
  // A reply to an unknown command.
  return request.spec === undefined;
}

/** Whether the message is a reply that reports an error. */
export function isError({ record, message }: Step): boolean {
  const rc = message.attributes.get('rc');
  return record.dir === 'S' && rc !== undefined && rc !== '0';
}

/** Whether the event is one that should not happen. */
export function isTrouble({ event, reason, lost }: EventRecord): boolean {
  return event === 'connected' ? false : event !== 'closed' || lost === true || reason !== undefined;
}
