/** Cuts the bytes of a server into messages: lines of PMI-1, and frames of PMI-2 as soon as these are agreed on. */
import { payloadOf, type Wire } from './format';

/** No server sends a longer message. */
const MAX_MESSAGE = 1 << 20;

const NEWLINE = 0x0a;
const LENGTH_SIZE = 6;

/** A message that the server has sent. */
export interface ReceivedMessage {
  wire: Wire;
  /** Bytes that are not UTF-8 are shown in base64. */
  text: string;
}

/** Bytes go in by push(), messages come out by next(). */
export class WireReader {
  #bytes: Buffer = Buffer.alloc(0);

  /** PMI-2: frames follow. */
  framed = false;

  /** Bytes that wait for next(). */
  get length(): number {
    return this.#bytes.length;
  }

  /** Adds bytes of the server. */
  push(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
  }

  /** The next message; undefined: it is not complete. An incomplete one is returned as raw if it cannot become a message. */
  next(): ReceivedMessage | undefined {
    if (this.framed) {
      if (this.#bytes.length < LENGTH_SIZE) return undefined;
      const text = this.#bytes.toString('latin1', 0, LENGTH_SIZE);
      if (!/^ *\d+ *$/.test(text)) return this.rest();
      const size = LENGTH_SIZE + Number(text);
      return this.#bytes.length < size ? undefined : this.#take('2', LENGTH_SIZE, size, size);
    }
    const end = this.#bytes.indexOf(NEWLINE);
    if (end >= 0) return this.#take('1', 0, end, end + 1);
    return this.#bytes.length < MAX_MESSAGE ? undefined : this.rest();
  }

  /** What is left, as raw bytes; undefined: nothing. */
  rest(): ReceivedMessage | undefined {
    const { length } = this.#bytes;
    return length === 0 ? undefined : this.#take('raw', 0, length, length);
  }

  #take(wire: Wire, from: number, to: number, size: number): ReceivedMessage {
    const content = this.#bytes.subarray(from, to);
    this.#bytes = this.#bytes.subarray(size);
    return { wire, text: textOf(payloadOf(content)) };
  }
}

/** The text of a message for a comparison and for people. */
export function textOf(payload: { text?: string; base64?: string }): string {
  return payload.text ?? `base64:${payload.base64 ?? ''}`;
}
