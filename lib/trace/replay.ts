/**
 * Sends the messages of a recorded client to a server, and compares its answers with the recorded ones. It keeps one request
 * and the answers to it in memory, however long the recording is.
 */
import type { Socket } from 'node:net';
import { compareAnswers, parseMessage, replaceValues, type Comparison, type ParsedMessage } from './answers';
import { bytesOf, isMessage, type MessageRecord, type TraceRecord } from './format';
import { textOf, WireReader, type ReceivedMessage } from './wire-reader';

/** How many answers may follow one request, or several that were sent together. */
const MAX_ANSWERS = 65_536;

/** What the replay has found, in the order of the conversation. */
export type Finding =
  | { type: 'sent'; text: string }
  | { type: 'left-out'; text: string; reason: string }
  | {
      type: 'answer';
      /** The number of the answer, from 1. */
      number: number;
      comparison: Comparison;
      request: string;
      recorded: string;
      received: string;
    }
  /** The conversation cannot go on. */
  | { type: 'failed'; reason: string };

/** The rank that the replay is. */
export interface ReplayOptions {
  /** Milliseconds that each answer may take. */
  timeout: number;
  /** The rank in the job of the server. */
  rank: number;
  /** PMI_JOBID, which Slurm's server of PMI-2 wants to see in fullinit. */
  jobId: string | undefined;
}

/** Requests that are not sent again, and why. */
const leftOut: Readonly<Record<string, string>> = {
  abort: 'it would end the job',
  spawn: 'it would start programs',
};

/** The handshake of PMI_PORT. wireup-exec makes it before the replay. */
const handshake = {
  C: ['initack'],
  S: ['initack', 'set'],
};

/** A request that has been sent, as far as its answer depends on it. */
interface Pending {
  text: string;
  parsed: ParsedMessage;
}

/** Replays the messages of one connection. */
export class Replay {
  readonly #socket: Socket;
  readonly #options: ReplayOptions;
  readonly #reader = new WireReader();
  readonly #pieces: AsyncIterator<Buffer>;
  /** Recorded name: name in this job. */
  readonly #names = new Map<string, string>();
  #requests: Pending[] = [];
  #answers: MessageRecord[] = [];
  #answerCount = 0;
  /** In the middle of a command of several lines (mcmd): whether it is left out. */
  #block: { leftOut: boolean } | undefined;
  /** How many recorded answers are those to requests that were left out. */
  #skipAnswers = 0;
  #asked2 = false;

  /** @param socket a connection as PMI_FD has it */
  constructor(socket: Socket, options: ReplayOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#pieces = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /**
   * Replays. After a finding of the type `failed` there are no more.
   *
   * @param records those of one connection. Events other than `closed` are ignored
   */
  async *run(records: AsyncIterable<TraceRecord>): AsyncGenerator<Finding, void, undefined> {
    try {
      for await (const record of records) {
        if (!isMessage(record)) {
          if (record.event === 'dropped')
            throw new Fault('the recording lacks messages here, which were dropped');
          if (record.event === 'closed') break;
          continue;
        }
        if (this.#isHandshake(record)) continue;
        if (record.dir === 'S') {
          if (this.#answers.push(record) > MAX_ANSWERS)
            throw new Fault(`the recording has more than ${MAX_ANSWERS} answers to one request`);
          continue;
        }
        yield* this.#receive();
        yield* this.#send(record);
      }
      yield* this.#receive();
      if (this.#answerCount === 0 && this.#requests.length === 0)
        throw new Fault('the recording has no messages');
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      yield { type: 'failed', reason: error.message };
    } finally {
      this.#socket.destroy();
    }
  }

  #isHandshake(record: MessageRecord): boolean {
    if (record.wire !== '1') return false;
    return handshake[record.dir].includes(parseMessage('1', textOf(record)).command);
  }

  *#send(record: MessageRecord): Generator<Finding> {
    const text = this.#translated(record);
    const reason = this.#reasonToLeaveOut(record, text);
    if (reason !== undefined) {
      if (reason !== '') yield { type: 'left-out', text, reason };
      return;
    }
    const parsed = parseMessage(record.wire, text);
    // The lines of a block are one request.
    if (parsed.command !== '') this.#requests.push({ text, parsed });
    if (parsed.command === 'init') this.#asked2 = parsed.attributes.get('pmi_version') === '2';
    this.#socket.write(text === textOf(record) ? bytesOf(record) : bytesOf(translatedRecord(record, text)));
    yield { type: 'sent', text };
  }

  /** Why a message is not sent; '': it belongs to a block whose first line has been reported. */
  #reasonToLeaveOut(record: MessageRecord, text: string): string | undefined {
    if (record.wire === 'raw') return undefined;
    if (this.#block !== undefined) {
      const isOut = this.#block.leftOut;
      if (text === 'endcmd') this.#block = undefined;
      return isOut ? '' : undefined;
    }
    const { command } = parseMessage(record.wire, text);
    const reason = Object.hasOwn(leftOut, command) ? leftOut[command] : undefined;
    if (record.wire === '1' && text.startsWith('mcmd=')) this.#block = { leftOut: reason !== undefined };
    // An abort has no answer. A spawn of several programs is several blocks with one answer.
    if (reason !== undefined && command === 'spawn') this.#skipAnswers = 1;
    return reason;
  }

  /** The text with the names of this job. */
  #translated(record: MessageRecord): string {
    if (record.base64 !== undefined || record.wire === 'raw') return textOf(record);
    const text = replaceValues(record.wire, textOf(record), (name, value) => {
      if (name === 'kvsname' || name === 'jobid') return this.#names.get(value);
      if (name === 'pmirank') return String(this.#options.rank);
      if (name === 'pmijobid') return this.#options.jobId;
      return undefined;
    });
    if (record.masked === true && text.includes('***'))
      throw new Fault(`a secret is masked in '${text}'; record with --trace-secrets`);
    return text;
  }

  async *#receive(): AsyncGenerator<Finding> {
    const expected = this.#answers;
    this.#answers = [];
    this.#skipAnswers -= expected.splice(0, this.#skipAnswers).length;
    // Under a thrid each request of PMI-2 has its own answer, in any order.
    while (expected.length > 0) {
      const received = await this.#next();
      const message = parseMessage(received.wire, received.text);
      const recorded = takeMatching(expected, message);
      const request = this.#takeRequest(message);
      const comparison =
        recorded.wire === received.wire
          ? compareAnswers(request?.parsed, parseMessage(recorded.wire, textOf(recorded)), message)
          : 'differs';
      this.#learn(parseMessage(recorded.wire, textOf(recorded)), message);
      yield {
        type: 'answer',
        number: ++this.#answerCount,
        comparison,
        request: request?.text ?? '',
        recorded: textOf(recorded),
        received: received.text,
      };
    }
  }

  /** The request that this is the answer to. */
  #takeRequest({ attributes }: ParsedMessage): Pending | undefined {
    const thrid = attributes.get('thrid');
    const at = this.#requests.findIndex(({ parsed }) => parsed.attributes.get('thrid') === thrid);
    return this.#requests.splice(Math.max(at, 0), 1)[0];
  }

  /** Learns the names of this job, and whether frames follow. */
  #learn(recorded: ParsedMessage, received: ParsedMessage): void {
    for (const name of ['kvsname', 'jobid']) {
      const [before, now] = [recorded.attributes.get(name), received.attributes.get(name)];
      if (before !== undefined && now !== undefined) this.#names.set(before, now);
    }
    if (received.command === 'response_to_init' && this.#asked2)
      this.#reader.framed =
        received.attributes.get('pmi_version') === '2' && Number(received.attributes.get('rc') ?? 0) === 0;
  }

  async #next(): Promise<ReceivedMessage> {
    const request = this.#requests[0]?.text ?? '';
    for (;;) {
      const message = this.#reader.next();
      if (message !== undefined) return message;
      const piece = await this.#piece();
      if (piece === 'late')
        throw new Fault(`no answer within ${this.#options.timeout / 1000} s to '${request}'`);
      if (piece === undefined) {
        const rest = this.#reader.rest();
        if (rest !== undefined) return rest;
        throw new Fault(`the server closed the connection instead of an answer to '${request}'`);
      }
      this.#reader.push(piece);
    }
  }

  /** undefined: the server has closed the connection. */
  async #piece(): Promise<Buffer | 'late' | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((fulfil) => {
      timer = setTimeout(() => fulfil('late'), this.#options.timeout);
    });
    try {
      const piece = await Promise.race([this.#pieces.next(), late]);
      if (piece === 'late') return piece;
      return piece.done === true ? undefined : piece.value;
    } catch {
      // The connection was reset.
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The conversation cannot go on. */
class Fault extends Error {}

/** The record with another text, whose length follows from it. */
function translatedRecord({ length: _, ...record }: MessageRecord, text: string): MessageRecord {
  return { ...record, text };
}

/** Removes the recorded answer that this one stands for: that with the same thrid, else the next one. */
function takeMatching(expected: MessageRecord[], { attributes }: ParsedMessage): MessageRecord {
  const thrid = attributes.get('thrid');
  const at =
    thrid === undefined
      ? 0
      : expected.findIndex(
          (record) => parseMessage(record.wire, textOf(record)).attributes.get('thrid') === thrid,
        );
  return expected.splice(Math.max(at, 0), 1)[0]!;
}
