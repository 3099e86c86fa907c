/** Compares the answers on one connection of a transcript that has those of another server, as `wireup replay` does. */
import { isFailure, parseMessage } from '../../lib/trace/answers';
import { payloadOf, type MessageRecord, type Wire } from '../../lib/trace/format';
import { compareWithRecorded, isInvalid, PendingRequests } from '../../lib/trace/requests';
import { textOf, WireReader, type ReceivedMessage } from '../../lib/trace/wire-reader';

/** A message of a transcript. */
interface Message {
  framed: boolean;
}
interface Content {
  content: string;
  unfinished: boolean;
}

function recordOf(dir: 'C' | 'S', { framed }: Message, { content, unfinished }: Content): MessageRecord {
  const wire: Wire = framed ? '2' : unfinished ? 'raw' : '1';
  return { t: 0, group: 0, dir, wire, ...payloadOf(Buffer.from(content, 'latin1')) };
}

export class OtherAnswers {
  readonly #requests = new PendingRequests();
  readonly #reader = new WireReader();
  /** In the middle of a command of several lines (mcmd). */
  #inBlock = false;
  /** Something that is no request of PMI was sent. Servers may answer with errors, or end the connection. */
  #hasInvalid = false;

  sent(line: Message, content: Content): void {
    const record = recordOf('C', line, content);
    if (!this.#inBlock) {
      this.#requests.add(record);
      this.#hasInvalid ||= record.wire === 'raw' || isInvalid(record);
    }
    if (record.wire !== '1') return;
    const text = textOf(record);
    this.#inBlock = this.#inBlock ? text !== 'endcmd' : text.startsWith('mcmd=');
  }

  /**
   * @param more what the server sends next; empty: it has closed the connection
   * @throws if the answer differs in what a client relies on
   */
  async receive(line: Message, content: Content, more: () => Promise<string>): Promise<void> {
    const record = recordOf('S', line, content);
    const recorded = parseMessage(record.wire, textOf(record));
    for (;;) {
      const received = await this.#next(line.framed, more);
      if (received === undefined) {
        if (this.#hasInvalid) return;
        throw new Error(`the server closed the connection, expected ${textOf(record)}`);
      }
      const message = parseMessage(received.wire, received.text);
      const request = this.#requests.take(message);
      // The recorded server has not answered this request.
      if (request?.invalid === true && isFailure(message) && this.#requests.expects(record)) continue;
      if (received.wire === record.wire && compareWithRecorded(request, recorded, message) !== 'differs')
        return;
      throw new Error(
        `the answer to ${request?.text ?? 'no request'} differs: expected ${textOf(record)}, got ${received.text}`,
      );
    }
  }

  async #next(framed: boolean, more: () => Promise<string>): Promise<ReceivedMessage | undefined> {
    this.#reader.framed = framed;
    for (;;) {
      const message = this.#reader.next();
      if (message !== undefined) return message;
      const bytes = await more();
      if (bytes === '') return this.#reader.rest();
      this.#reader.push(Buffer.from(bytes, 'latin1'));
    }
  }

  /** @throws if the server has sent more than errors about what is no request */
  end(rest: string): void {
    this.#reader.push(Buffer.from(rest, 'latin1'));
    for (let message = this.#reader.next(); message !== undefined; message = this.#reader.next()) {
      const parsed = parseMessage(message.wire, message.text);
      if (this.#requests.take(parsed)?.invalid !== true || !isFailure(parsed))
        throw new Error(`the server sent more: ${message.text}`);
    }
    if (this.#reader.length > 0) throw new Error('the server sent an incomplete message');
  }
}
