/** Requests and replies of one version of PMI on a raw connection, and the faults that any reply may have. */
import { NoReply, NotTried, Violation, type Transcript } from '../finding';
import { frameOf, isInteger, Malformed, parseFrame, parseLine, type Message } from '../wire';
import type { RawConnection } from './raw-connection';

/** A reply that breaks a rule that holds for all replies. */
interface Fault {
  readonly reason: string;
  readonly lines: readonly string[];
}

export abstract class Session {
  /** The first reply that is not of the form of a message. */
  malformed: Fault | undefined;
  /** The first message that no request has asked for. */
  unasked: Fault | undefined;
  readonly connection: RawConnection;
  readonly transcript: Transcript;
  readonly timeout: number;

  constructor(connection: RawConnection, transcript: Transcript, timeout: number) {
    this.connection = connection;
    this.transcript = transcript;
    this.timeout = timeout;
  }

  /** The bytes of a request. */
  abstract encode(request: string): string;
  protected abstract read(timeout: number): Promise<string>;
  protected abstract parse(text: string): Message;

  /**
   * Sends a request and reads one reply, of any name.
   *
   * @param options.timeout milliseconds, for replies that wait for other ranks
   * @throws NoReply; NotTried if the reply is malformed, which `malformed` then reports
   */
  async exchange(request: string, options: { slowly?: boolean; timeout?: number } = {}): Promise<Message> {
    this.send(request, options.slowly);
    if (options.slowly === true) await this.connection.writeSlowly(this.encode(request));
    return this.receive(options.timeout);
  }

  /** Sends a request. `recordOnly`: the caller writes it. */
  send(request: string, recordOnly = false): void {
    this.checkUnread();
    this.transcript.add('C', this.encode(request).replace(/\n$/, ''));
    if (!recordOnly) this.connection.write(this.encode(request));
  }

  async receive(timeout = this.timeout): Promise<Message> {
    const begin = this.transcript.length;
    try {
      return this.parse(await this.read(timeout));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.malformed ??= {
        reason: error.message,
        lines: this.transcript.since(Math.max(0, begin - 1)),
      };
      throw new NotTried('the reply is malformed');
    }
  }

  /**
   * Sends a request and reads its reply.
   *
   * @throws Violation if the reply has another name, or an rc that is no number
   */
  async ask(
    request: string,
    reply: string,
    options: { slowly?: boolean; timeout?: number } = {},
  ): Promise<Message> {
    return this.expect(await this.exchange(request, options), reply);
  }

  expect(message: Message, reply: string): Message {
    if (message.command !== reply) throw new Violation(`expected the reply ${reply}, got ${message.command}`);
    const rc = message.attributes.get('rc');
    if (rc !== undefined && !isInteger(rc)) throw new Violation('rc is no number');
    return message;
  }

  /** The same, for a request that must succeed. */
  async succeed(
    request: string,
    reply: string,
    options: { slowly?: boolean; timeout?: number } = {},
  ): Promise<Message> {
    const message = await this.ask(request, reply, options);
    if (isError(message)) throw new Violation('the request is valid, and the server reports an error');
    return message;
  }

  /** Records what the server has sent without a request. */
  checkUnread(): void {
    const unread = this.connection.takeUnread();
    if (unread === '') return;
    this.transcript.add('S', unread.replace(/\n$/, ''));
    this.unasked ??= {
      reason: 'the server has sent more than one reply',
      lines: this.transcript.since(Math.max(0, this.transcript.length - 4)),
    };
  }
}

export class LineSession extends Session {
  encode(request: string): string {
    return `${request}\n`;
  }

  protected read(timeout: number): Promise<string> {
    return this.connection.readLine(timeout);
  }

  protected parse(text: string): Message {
    return parseLine(text);
  }
}

export class FrameSession extends Session {
  encode(request: string): string {
    return frameOf(request);
  }

  protected read(timeout: number): Promise<string> {
    return this.connection.readFrame(timeout);
  }

  protected parse(text: string): Message {
    return parseFrame(text);
  }
}

export function isError({ attributes }: Message): boolean {
  const rc = attributes.get('rc');
  return rc !== undefined && Number(rc) !== 0;
}

/** Whether the error stands for the end of the conversation with this server. */
export function isNoReply(error: unknown): error is NoReply {
  return error instanceof NoReply;
}
