/** Requests of a client that wait for their answers, and the comparison of these with recorded ones. */
import { compareAnswers, isFailure, parseMessage, type Comparison, type ParsedMessage } from './answers';
import type { NativeMessage } from '../native';
import type { MessageRecord } from './format';
import { parseMessage as specified } from './messages';
import { textOf } from './wire-reader';

/** A request that has been sent, as far as its answer depends on it. */
export interface PendingRequest {
  text: string;
  parsed: ParsedMessage;
  /** It is no request of PMI. Some servers answer with an error, others close the connection. */
  invalid: boolean;
  /** The name of its answer in the table of messages. */
  reply: string | undefined;
}

const specOf = (record: MessageRecord): NativeMessage | undefined => specified(record).spec;

/** Whether the first message of a request is none of PMI. */
export function isInvalid(record: MessageRecord): boolean {
  return record.wire !== 'raw' && specOf(record) === undefined;
}

/** The requests of one connection without answers, in their order. */
export class PendingRequests {
  readonly #requests: PendingRequest[] = [];

  get length(): number {
    return this.#requests.length;
  }

  get oldest(): PendingRequest | undefined {
    return this.#requests[0];
  }

  /** Adds a request that is sent, if it gets an answer. */
  add(record: MessageRecord, text = textOf(record)): void {
    // The server waits for the rest of an incomplete message.
    if (record.wire === 'raw') return;
    const parsed = parseMessage(record.wire, text);
    // The blocks of a spawn get one answer together.
    if (parsed.command === 'spawn' && this.#requests.at(-1)?.parsed.command === 'spawn') return;
    const spec = specOf(record);
    this.#requests.push({ text, parsed, invalid: spec === undefined, reply: spec?.reply });
  }

  /** Whether a request waits for an answer of this name. */
  expects(answer: MessageRecord): boolean {
    const name = specOf(answer)?.name;
    return name !== undefined && this.#requests.some(({ reply }) => reply === name);
  }

  /** Removes the request that this is the answer to: that with the same thrid, else the oldest one. */
  take({ command, attributes }: ParsedMessage): PendingRequest | undefined {
    // Three such lines follow the answer to initack.
    if (command === 'set') return undefined;
    const thrid = attributes.get('thrid');
    const at = this.#requests.findIndex(({ parsed }) => parsed.attributes.get('thrid') === thrid);
    return this.#requests.splice(Math.max(at, 0), 1)[0];
  }
}

/**
 * Compares an answer with the recorded one. Servers word their errors about what is no request as they like.
 *
 * @param request undefined: it is not known
 */
export function compareWithRecorded(
  request: PendingRequest | undefined,
  recorded: ParsedMessage,
  received: ParsedMessage,
): Comparison {
  const comparison = compareAnswers(request?.parsed, recorded, received);
  const isError = request?.invalid === true && isFailure(recorded) && isFailure(received);
  return comparison === 'differs' && isError ? 'allowed' : comparison;
}
