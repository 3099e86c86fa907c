/** Spawns of a replay: other programs take the place of the recorded ones. */
import { parseMessage } from './answers';
import { isMessage, type MessageRecord, type TraceRecord, type Wire } from './format';
import { HeldRecords } from './held';
import { textOf } from './wire-reader';

/** Whether the message is the answer to a spawn. */
export function isSpawnAnswer(record: MessageRecord): boolean {
  const answers = ['spawn_result', 'spawn-response'];
  return record.dir === 'S' && answers.includes(parseMessage(record.wire, textOf(record)).command);
}

/**
 * The messages in place of a line of a spawn in PMI-1, or of its frame in PMI-2.
 *
 * @param words the program and its arguments
 */
export function withProgram(wire: Wire, text: string, words: readonly string[]): string[] {
  return wire === '2' ? [frameWithProgram(text, words)] : linesWithProgram(text, words);
}

function linesWithProgram(line: string, [program, ...args]: readonly string[]): string[] {
  if (line.startsWith('execname='))
    return [
      `execname=${program!}`,
      `argcnt=${args.length}`,
      ...args.map((arg, index) => `arg${index + 1}=${arg}`),
    ];
  return /^arg(?:cnt|\d+)=/.test(line) ? [] : [line];
}

function frameWithProgram(frame: string, [program, ...args]: readonly string[]): string {
  const escaped = (text: string): string => text.replaceAll(';', ';;');
  const fields = (frame.match(/(?:[^;]|;;)+/g) ?? []).flatMap((field) => {
    if (field.startsWith('subcmd=')) return [`subcmd=${escaped(program!)}`];
    if (field.startsWith('maxprocs='))
      return [field, `argc=${args.length}`, ...args.map((arg, index) => `argv${index}=${escaped(arg)}`)];
    return /^arg(?:c|v\d+)=/.test(field) ? [] : [field];
  });
  return fields.map((field) => `${field};`).join('');
}

/** Reads the records of a connection, and may read some in advance. */
export class Lookahead {
  readonly #records: AsyncIterator<TraceRecord>;
  readonly #ahead = new HeldRecords<TraceRecord>();
  /** What was read in advance, but not held. */
  #over: TraceRecord | undefined;

  constructor(records: AsyncIterable<TraceRecord>) {
    this.#records = records[Symbol.asyncIterator]();
  }

  /** undefined: there are no more. */
  async next(): Promise<TraceRecord | undefined> {
    const record = this.#ahead.take();
    if (record !== undefined) return record;
    const over = this.#over;
    this.#over = undefined;
    return over ?? this.#read();
  }

  /** The next answer to a spawn on this connection. Undefined if it is not there, or too far away. */
  async findSpawnAnswer(): Promise<MessageRecord | undefined> {
    for (let at = 0; this.#over === undefined; at++) {
      if (at === this.#ahead.length) {
        const next = await this.#read();
        if (next === undefined) return undefined;
        if (!this.#ahead.add(next)) this.#over = next;
      }
      const record = this.#ahead.at(at) ?? this.#over!;
      if (isMessage(record) ? isSpawnAnswer(record) : record.event === 'closed')
        return isMessage(record) ? record : undefined;
    }
    return undefined;
  }

  async #read(): Promise<TraceRecord | undefined> {
    const next = await this.#records.next();
    return next.done === true ? undefined : next.value;
  }

  /** Must be called at the end. */
  async close(): Promise<void> {
    await this.#records.return?.();
  }
}
