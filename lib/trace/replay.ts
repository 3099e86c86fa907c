/**
 * Sends the messages of a recorded client to a server, and compares its answers with the recorded ones. It keeps one request
 * and the answers to it in memory, however long the recording is.
 */
import type { Socket } from 'node:net';
import { isFailure, parseMessage, replaceValues, type Comparison, type ParsedMessage } from './answers';
import { bytesOf, isMessage, type EventRecord, type MessageRecord, type TraceRecord } from './format';
import { HeldRecords } from './held';
import { isSpawnAnswer, Lookahead, withProgram } from './replay-spawn';
import { compareWithRecorded, isInvalid, PendingRequests } from './requests';
import { ServerConnection, type Absent } from './server-connection';
import { textOf, type ReceivedMessage } from './wire-reader';

/** How the replayed connection ends, as the recorded one did. */
export type End =
  /** The client closes it. */
  | 'over'
  /** The client closes it between init and finalize, so the launcher may end the job. */
  | 'hang-up'
  /** The client aborts the job, so the launcher ends this process. */
  | 'abort'
  /** The launcher has ended the client, which waited for an answer or for nothing. */
  | 'ended'
  /** The server has closed it. */
  | 'server';

/** What the replay has found, in the order of the conversation. */
export type Finding =
  | { type: 'sent'; text: string }
  | { type: 'left-out'; text: string; reason: string }
  /** Before the first request that is none of PMI, at which a launcher may end this process: Hydra does. */
  | { type: 'invalid'; text: string }
  | {
      type: 'answer';
      /** The number of the answer, from 1. */
      number: number;
      comparison: Comparison;
      request: string;
      recorded: string;
      received: string;
    }
  /** The end comes, at which the launcher may end this process. Of `abort` and `ended`, faults may follow. */
  | { type: 'end'; end: End }
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
  /**
   * The program and the arguments in place of those of a spawn.
   *
   * @param index how many spawns of this rank have succeeded before in the recording
   */
  spawned: (index: number) => Promise<readonly string[]>;
  /** Whether the recorded job was ended by another rank before this one's connection was closed. */
  isEndedByAnother: () => Promise<boolean>;
}

/** What stands in a finding for an answer that does not exist. */
const NO_ANSWER = 'no answer';
const CLOSED = 'the server closes the connection';

/** Names of this job that are remembered. A job has one, and one for each process group that it has spawned. */
const MAX_NAMES = 65_536;

/** The handshake of PMI_PORT. wireup-exec makes it before the replay. */
const handshake = {
  C: ['initack'],
  S: ['initack', 'set'],
};

/** A spawn of which a request is a part. */
interface Spawn {
  /** Why it is left out. */
  reason?: string;
  /** The program and the arguments that are sent. */
  words: readonly string[];
}

/** Replays the messages of one connection. */
export class Replay {
  readonly #server: ServerConnection;
  readonly #options: ReplayOptions;
  /** Recorded name: name in this job. */
  readonly #names = new Map<string, string>();
  readonly #requests = new PendingRequests();
  #answers = new HeldRecords<MessageRecord>();
  #answerCount = 0;
  /** In the middle of a command of several lines (mcmd). */
  #inBlock = false;
  /** Until its recorded answer. */
  #spawn: Spawn | undefined;
  #spawnCount = 0;
  #asked2 = false;
  /** Between init and finalize. */
  #active = false;
  /** A request that is none of PMI has been sent. */
  #hasWarned = false;

  /** @param socket a connection as PMI_FD has it */
  constructor(socket: Socket, options: ReplayOptions) {
    this.#server = new ServerConnection(socket, options.timeout);
    this.#options = options;
  }

  /**
   * Replays the connection until its end.
   *
   * @param records those of one connection
   */
  async *run(records: AsyncIterable<TraceRecord>): AsyncGenerator<Finding, void, undefined> {
    const reader = new Lookahead(records);
    try {
      yield* this.#follow(reader);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      yield { type: 'failed', reason: error.message };
    } finally {
      await reader.close();
      this.#server.close();
    }
  }

  async *#follow(reader: Lookahead): AsyncGenerator<Finding, void, undefined> {
    for (;;) {
      const record = await reader.next();
      if (record === undefined) return yield* this.#end();
      if (!isMessage(record)) {
        if (record.event === 'dropped')
          throw new Fault('the recording lacks messages here, which were dropped');
        if (record.event === 'closed') return yield* this.#end(record);
        continue;
      }
      if (this.#isHandshake(record)) continue;
      if (record.dir === 'S') {
        if (!this.#answers.add(record)) throw new Fault('the recording has too many answers to one request');
        continue;
      }
      if ((yield* this.#receive()) === 'closed') return;
      const { command } = parseMessage(record.wire, textOf(record));
      if (!this.#inBlock && record.wire !== 'raw') {
        if (command === 'abort') return yield* this.#abort(record);
        if (command === 'spawn') await this.#beginSpawn(reader);
      }
      yield* this.#send(record, command);
    }
  }

  /** Finds out how the spawn ended that begins here. */
  async #beginSpawn(reader: Lookahead): Promise<void> {
    // A spawn of several programs has several blocks and one answer.
    if (this.#spawn !== undefined) return;
    const answer = await reader.findSpawnAnswer();
    if (answer === undefined) this.#spawn = { reason: 'it has no answer', words: [] };
    else if (isFailure(parseMessage(answer.wire, textOf(answer))))
      this.#spawn = { reason: 'it has failed, and could start programs now', words: [] };
    else this.#spawn = { words: await this.#options.spawned(this.#spawnCount++) };
  }

  async *#abort(record: MessageRecord): AsyncGenerator<Finding, void, undefined> {
    yield { type: 'sent', text: textOf(record) };
    yield { type: 'end', end: 'abort' };
    const until = this.#server.deadline();
    await this.#write(bytesOf(record));
    for (;;) {
      const received = await this.#server.receive(until);
      if (received === 'closed') return;
      if (received === 'late' || performance.now() > until)
        throw new Fault(`the job has not ended ${this.#seconds} s after the abort`);
    }
  }

  /** @param closed undefined: the recording does not have the end of the connection */
  async *#end(closed?: EventRecord): AsyncGenerator<Finding, void, undefined> {
    if ((yield* this.#receive()) === 'closed') return;
    if (closed?.reason !== undefined) return yield* this.#expectClose();
    if (this.#requests.length > 0 || (this.#active && (await this.#options.isEndedByAnother()))) {
      yield { type: 'end', end: 'ended' };
      const until = this.#server.deadline();
      // An active rank waits on after all answers, because its hang-up would end the job of the other ranks.
      for (let goesOn = true; goesOn && performance.now() < until;) {
        const received = await this.#server.receive(until);
        if (typeof received === 'string') return;
        const finding = this.#unexpected(received, NO_ANSWER);
        yield finding;
        goesOn = finding.comparison === 'allowed' && (this.#active || this.#requests.length > 0);
      }
      return;
    }
    yield { type: 'end', end: this.#active ? 'hang-up' : 'over' };
  }

  /** The recorded server has closed the connection. */
  async *#expectClose(): AsyncGenerator<Finding, void, undefined> {
    do {
      const received = await this.#server.receive();
      if (received === 'closed') return yield { type: 'end', end: 'server' };
      if (received === 'late')
        throw new Fault(`the server has not closed the connection within ${this.#seconds} s`);
      yield this.#unexpected(received, CLOSED);
    } while (this.#requests.length > 0);
    yield { type: 'end', end: this.#active ? 'hang-up' : 'over' };
  }

  /** An answer that the recording does not have. */
  #unexpected(received: ReceivedMessage, recorded: string): Finding & { type: 'answer' } {
    const message = parseMessage(received.wire, received.text);
    const request = this.#requests.take(message);
    const isError = request?.invalid === true && isFailure(message);
    // A fence of PMI-2 need not be a barrier: Hydra answers at once, and waits for other ranks in kvs-get.
    const isLazyFence = request?.parsed.command === 'kvs-fence' && message.command === 'kvs-fence-response';
    return {
      type: 'answer',
      number: ++this.#answerCount,
      comparison: isError || isLazyFence ? 'allowed' : 'differs',
      request: request?.text ?? '',
      recorded,
      received: received.text,
    };
  }

  get #seconds(): number {
    return this.#options.timeout / 1000;
  }

  #isHandshake(record: MessageRecord): boolean {
    if (record.wire !== '1') return false;
    return handshake[record.dir].includes(parseMessage('1', textOf(record)).command);
  }

  async *#send(record: MessageRecord, command: string): AsyncGenerator<Finding, void, undefined> {
    const text = this.#translated(record);
    const isBegin = !this.#inBlock;
    if (record.wire === '1') {
      if (isBegin) this.#inBlock = text.startsWith('mcmd=');
      else this.#inBlock = text !== 'endcmd';
    }
    const spawn = isBegin && command !== 'spawn' ? undefined : this.#spawn;
    if (spawn?.reason !== undefined) {
      if (isBegin) yield { type: 'left-out', text, reason: spawn.reason };
      return;
    }
    if (isBegin && !this.#hasWarned && isInvalid(record)) {
      this.#hasWarned = true;
      yield { type: 'invalid', text };
    }
    for (const sent of spawn === undefined ? [text] : withProgram(record.wire, text, spawn.words)) {
      if (isBegin) this.#requests.add(record, sent);
      await this.#write(sent === textOf(record) ? bytesOf(record) : bytesOf(translatedRecord(record, sent)));
      yield { type: 'sent', text: sent };
    }
    if (!isBegin) return;
    if (command === 'init')
      this.#asked2 = parseMessage(record.wire, text).attributes.get('pmi_version') === '2';
    if (command === 'init' || command === 'finalize') this.#active = command === 'init';
  }

  /** If the server has closed the connection, the next answer is missing. */
  async #write(bytes: Buffer): Promise<void> {
    if ((await this.#server.send(bytes)) === 'late')
      throw new Fault(`the server has read nothing for ${this.#seconds} s`);
  }

  /** The text with the names of this job. */
  #translated(record: MessageRecord): string {
    if (record.base64 !== undefined || record.wire === 'raw') return textOf(record);
    // Slurm's library names its PMI_ID so over PMI_PORT, and its rank pmirank over PMI_FD.
    const recorded = textOf(record).replace(/^cmd=fullinit;srcid=/, 'cmd=fullinit;pmirank=');
    const text = replaceValues(record.wire, recorded, (name, value) => {
      if (name === 'kvsname' || name === 'jobid') return this.#names.get(value);
      if (name === 'pmirank') return String(this.#options.rank);
      if (name === 'pmijobid') return this.#options.jobId;
      return undefined;
    });
    if (record.masked === true && text.includes('***'))
      throw new Fault(`a secret is masked in '${text}'; record with --trace-secrets`);
    return text;
  }

  /** Receives the recorded answers. Returns `closed` if the server has closed the connection instead, as it may. */
  async *#receive(): AsyncGenerator<Finding, 'closed' | undefined, undefined> {
    const expected = this.#answers.takeAll();
    const spawned = expected.findIndex(isSpawnAnswer);
    if (spawned >= 0) {
      if (this.#spawn?.reason !== undefined) expected.splice(spawned, 1);
      this.#spawn = undefined;
    }
    // Under a thrid each request of PMI-2 has its own answer, in any order.
    while (expected.length > 0) {
      const received = await this.#server.receive();
      const { oldest } = this.#requests;
      if (received === 'closed' && oldest?.invalid === true) {
        const [request, recorded] = [oldest.text, textOf(expected[0]!)];
        const number = ++this.#answerCount;
        yield { type: 'answer', number, comparison: 'allowed', request, recorded, received: CLOSED };
        yield { type: 'end', end: 'server' };
        return 'closed';
      }
      if (typeof received === 'string') throw this.#missing(received);
      const message = parseMessage(received.wire, received.text);
      const recorded = takeMatching(expected, message);
      const before = parseMessage(recorded.wire, textOf(recorded));
      const request = this.#requests.take(message);
      const number = ++this.#answerCount;
      const comparison =
        recorded.wire === received.wire ? compareWithRecorded(request, before, message) : 'differs';
      this.#learn(before, message);
      yield {
        type: 'answer',
        number,
        comparison,
        request: request?.text ?? '',
        recorded: textOf(recorded),
        received: received.text,
      };
    }
    return undefined;
  }

  #missing(instead: Absent): Fault {
    const request = this.#requests.oldest?.text ?? '';
    return new Fault(
      instead === 'late'
        ? `no answer within ${this.#seconds} s to '${request}'`
        : `the server closed the connection instead of an answer to '${request}'`,
    );
  }

  /** Learns the names of this job, and whether frames follow. */
  #learn(recorded: ParsedMessage, received: ParsedMessage): void {
    for (const name of ['kvsname', 'jobid']) {
      const [before, now] = [recorded.attributes.get(name), received.attributes.get(name)];
      if (before !== undefined && now !== undefined && this.#names.size < MAX_NAMES)
        this.#names.set(before, now);
    }
    if (received.command === 'response_to_init' && this.#asked2)
      this.#server.framed =
        received.attributes.get('pmi_version') === '2' && Number(received.attributes.get('rc') ?? 0) === 0;
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
