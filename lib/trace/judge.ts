/** Marks what is wrong in a recording: which side has broken which rule of which document. */
import { Barriers } from '../conformance/barriers';
import { ReplyJudge, ServerState } from '../conformance/judge-replies';
import { ClientState, copyOf, RequestJudge, type Broken, type Memory } from '../conformance/judge-requests';
import type { DocumentName, Level } from '../conformance/rule';
import { ruleOf } from '../conformance/rules';
import { Malformed, parseFrame, parseLine, type Message, type Request } from '../conformance/wire';
import { contentOf, isMessage, type EventRecord, type MessageRecord } from './format';
import { isError, labelOf, type EventStep, type Step } from './messages';

/** A rule that a message breaks. */
export interface Mark {
  /** The id of the rule, as in docs/conformance.md. */
  rule: string;
  level: Level;
  /** Which side has broken it. C: the client. S: the server. */
  side: 'C' | 'S';
  /** The document that has the rule, and its section. */
  document: DocumentName;
  paragraph: string;
  /** What is wrong, for people. */
  text: string;
}

/** Limits of what is remembered, because a hostile recording could name any number of everything. */
const MAX_CONNECTIONS = 65_536;
const MAX_GROUPS = 4096;
const MAX_LETTERS = 16 << 20;
const MAX_BLOCK = 1024;

/** Letters of a line of a block that tell its attribute. */
const MAX_NAME = 64;

interface Group {
  requests: RequestJudge;
  replies: ReplyJudge;
  /** By host, because clocks differ. */
  barriers: Map<string, Barriers>;
}

interface Connection {
  client: ClientState;
  server: ServerState;
  version: 1 | 2;
  /** An mcmd block that has not ended. */
  block: Block | undefined;
}

interface Block {
  /** Of its first line. */
  step: Step;
  message: Message;
  lines: string[];
}

/** What a request was, until its reply comes. */
interface Judged {
  request: Request;
  isBad: boolean;
}

/** Judges the messages of recordings in their order. */
export class RecordingJudge {
  readonly #connections = new Map<string, Connection>();
  readonly #groups = new Map<string, Group>();
  readonly #judged = new WeakMap<Step, Judged>();
  /** Requests that have a command, but not the form of a message. */
  readonly #unread = new WeakSet<Step>();
  readonly #memory: Memory = { left: MAX_LETTERS };
  #barrierCount = 0;
  /** Recordings in which records are missing. */
  readonly #gaps = new Set<number>();

  /** The rules that the message breaks. Call it for each record, as Conversation.follow() returns it. */
  follow(step: Step | EventStep): Mark[] {
    const { record } = step;
    if (!isMessage(record)) {
      this.#followEvent(step as EventStep);
      return [];
    }
    const group = this.#group(step);
    const connection = this.#connection(step);
    if (group === undefined || connection === undefined) return [];
    const broken =
      record.dir === 'C'
        ? this.#judgeRequest(step as Step, group, connection)
        : this.#judgeReply(step as Step, group, connection);
    return [...broken].map(({ rule, reason }) => {
      const { level, document, paragraph } = ruleOf(rule);
      return { rule, level, side: record.dir, document, paragraph, text: reason };
    });
  }

  #followEvent(step: EventStep): void {
    const { record, source } = step;
    const name = nameOf(step);
    switch (record.event) {
      case 'connected': {
        const before = record.conn === undefined ? undefined : `${source}/${labelOf(withoutRank(record))}`;
        const known = before === undefined ? undefined : this.#connections.get(before);
        if (before !== undefined) this.#connections.delete(before);
        if (record.rank === undefined) return;
        this.#connections.set(name, known ?? newConnection(true));
        if (this.#connections.size > MAX_CONNECTIONS) this.#connections.delete(name);
        this.#barriers(step)?.add(record.rank);
        return;
      }
      case 'closed':
        this.#connections.delete(name);
        if (record.rank !== undefined) this.#barriers(step)?.remove(record.rank);
        return;
      case 'dropped':
        // Requests and replies may be among the missing records.
        this.#gaps.add(source);
        for (const key of this.#connections.keys())
          if (key.startsWith(`${source}/`)) this.#connections.delete(key);
    }
  }

  #group({ record, source }: Step | EventStep): Group | undefined {
    const name = `${source}/${record.group}`;
    let group = this.#groups.get(name);
    if (group === undefined && this.#groups.size < MAX_GROUPS) {
      group = {
        requests: new RequestJudge(this.#memory),
        replies: new ReplyJudge(this.#memory),
        barriers: new Map(),
      };
      this.#groups.set(name, group);
    }
    return group;
  }

  #barriers(step: Step | EventStep): Barriers | undefined {
    const group = this.#group(step);
    if (group === undefined || this.#gaps.has(step.source)) return undefined;
    const host = step.record.host ?? '';
    let barriers = group.barriers.get(host);
    if (barriers === undefined && this.#barrierCount < MAX_GROUPS) {
      this.#barrierCount++;
      barriers = new Barriers(this.#memory);
      group.barriers.set(host, barriers);
    }
    return barriers;
  }

  #connection(step: Step | EventStep): Connection | undefined {
    const name = nameOf(step);
    let connection = this.#connections.get(name);
    if (connection === undefined && this.#connections.size < MAX_CONNECTIONS) {
      // A connection that has not identified itself is shown from its first message.
      const isNew = step.record.rank === undefined && step.record.conn !== undefined;
      connection = newConnection(isNew && !this.#gaps.has(step.source));
      if (isNew) connection.client.isPmiId = () => true;
      this.#connections.set(name, connection);
    }
    return connection;
  }

  *#judgeRequest(step: Step, group: Group, connection: Connection): Generator<Broken, void, undefined> {
    const { record } = step;
    const { requests } = group;
    const version = versionOf(record, connection);
    const { block, client, server } = connection;
    const request = requestOf(step, version, connection);
    if (request === undefined) return;
    if (typeof request === 'string') {
      client.started = true;
      client.framed ||= version === 2;
      // A line that has a command waits for its reply by that.
      if (step.message.command === undefined) server.unread++;
      else this.#unread.add(step);
      return yield requests.malformed(version, request);
    }
    client.rank = record.rank;
    if (request.command === 'initack') server.lateInitack = client.started && record.rank === undefined;
    const broken = requests.judge(client, request);
    // The reply to a block is that to its first line.
    const first = block?.step ?? step;
    this.#judged.set(first, { request, isBad: broken.length > 0 });
    if (first.pending !== undefined && isOverlap(request)) broken.push(requests.overlap(version));
    yield* broken;
    if (record.rank === undefined) return;
    if (isBarrierOfAll(request)) this.#barriers(step)?.enter(record.rank);
    else if (request.command === 'finalize') this.#barriers(step)?.remove(record.rank);
  }

  #isBad(request: Step): boolean {
    return this.#unread.has(request) || this.#judged.get(request)?.isBad === true;
  }

  *#judgeReply(step: Step, group: Group, connection: Connection): Generator<Broken, void, undefined> {
    const { record, request, pending } = step;
    const { requests, replies } = group;
    const version = versionOf(record, connection);
    if (record.wire === 'raw') return yield replies.malformed(version, notWhole(version));
    const message = parsed(version, contentOf(record).toString('latin1'));
    if (typeof message === 'string') return yield replies.malformed(version, message);
    const judged = request === undefined ? undefined : this.#judged.get(request);
    // A request that could not be read, or a block of several lines.
    if (request !== undefined && judged === undefined) return;
    yield* replies.judge(
      {
        version,
        request: judged?.request,
        isBadRequest: (request ?? pending) !== undefined && this.#isBad((request ?? pending)!),
        pending: pending?.message.command,
        isWhole: connection.client.whole || connection.client.started,
        rank: record.rank,
        connection: connection.server,
      },
      message,
    );
    requests.limits = replies.limits;
    requests.kvsname = replies.kvsname;
    if (record.rank === undefined || judged === undefined || isError(step)) return;
    if (!isBarrierOfAll(judged.request)) return;
    const missing = this.#barriers(step)?.leave(record.rank) ?? 0;
    // A fence of PMI-2 may be lazy.
    if (version === 1 && missing > 0)
      yield {
        rule: 'P1-BARRIER-1',
        reason: `${missing} ${missing === 1 ? 'rank has' : 'ranks have'} not entered the barrier`,
      };
  }
}

function newConnection(isWhole: boolean): Connection {
  const client = new ClientState();
  client.whole = isWhole;
  return { client, server: new ServerState(), version: 1, block: undefined };
}

function nameOf({ record, source }: Step | EventStep): string {
  return `${source}/${labelOf(record)}`;
}

function withoutRank({ group, conn }: EventRecord): { group: number; conn?: number } {
  return conn === undefined ? { group } : { group, conn };
}

function versionOf({ wire }: MessageRecord, connection: Connection): 1 | 2 {
  if (wire !== 'raw') connection.version = wire === '2' ? 2 : 1;
  return connection.version;
}

function notWhole(version: 1 | 2): string {
  return `these bytes are no whole ${version === 1 ? 'line' : 'frame'}`;
}

/** Undefined: the block has not ended. A string: what is wrong. */
function requestOf(step: Step, version: 1 | 2, connection: Connection): Request | string | undefined {
  const { block } = connection;
  if (step.record.wire === 'raw') return notWhole(version);
  const text = contentOf(step.record).toString('latin1');
  if (block !== undefined) {
    if (block.lines.length < MAX_BLOCK) block.lines.push(copyOf(text.slice(0, MAX_NAME)));
    if (text !== 'endcmd') return undefined;
    connection.block = undefined;
    return { ...block.message, version, block: block.lines };
  }
  const message = parsed(version, text);
  if (typeof message === 'string') return message;
  if (version === 2 || !message.attributes.has('mcmd')) return { ...message, version };
  connection.block = { step, message, lines: [] };
  return undefined;
}

/** A string: what is wrong. */
function parsed(version: 1 | 2, text: string): Message | string {
  try {
    return version === 1 ? parseLine(text) : parseFrame(text);
  } catch (error) {
    if (error instanceof Malformed) return error.message;
    throw error;
  }
}

/** A client may abort at any time, and under thrid before other replies. */
function isOverlap({ command, version, attributes }: Request): boolean {
  return command !== 'abort' && !(version === 2 && attributes.has('thrid'));
}

/** Whether it is a barrier of all ranks, not one of a barrier group. */
function isBarrierOfAll({ command, attributes }: Request): boolean {
  if (command === 'kvs-fence') return true;
  const group = attributes.get('group');
  return command === 'barrier_in' && (group === undefined || group === 'WORLD' || group === 'WORLD:0');
}
