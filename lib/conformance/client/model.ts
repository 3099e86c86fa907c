/**
 * A PMI server for checks of clients: it follows the documents, in a manner that the caller chooses, and
 * passes every request to a judge. It is no model of speed.
 */
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import {
  FRAME_LENGTH,
  Malformed,
  MAX_MESSAGE,
  parseFrame,
  parseLine,
  readFrameLength,
  type Message,
  type Request,
} from '../wire';
import { Transcript } from '../finding';
import { ClientState, type Limits } from '../judge-requests';

export interface Reply {
  readonly command: string;
  readonly attributes: readonly (readonly [name: string, value: string])[];
}

/** How a server may behave. Everything that is absent is as in the documents' examples. */
export interface Manner {
  /** The subversion of PMI-1 in the reply to init. */
  readonly subversion?: number;
  readonly limits?: Limits;
  readonly mapping?: string;
  /** Variables of a rank that it adds or changes. */
  environment?(rank: number): Record<string, string>;
  /** Changes what arrives from a client. */
  input?(bytes: string): string;
  /** The server replies only after this. */
  hold?(rank: number, request: Request): Promise<void> | undefined;
  /** Changes a reply, or replaces it by bytes; undefined: the server sends nothing. */
  reply?(reply: Reply, request: Request, rank: number): Reply | string | undefined;
  /** Divides the bytes of a reply into writes. */
  pieces?(bytes: string): readonly string[];
  /** The length before a frame. */
  frameLength?(length: number): string;
  /** A barrier ends when this many ranks have entered it. */
  barrierOf?(size: number): number;
  /** Whether a get sees the key. */
  sees?(rank: number, key: string, putBy: number): boolean;
}

/** Learns of everything that clients send. */
export interface Judge {
  onRequest(client: ModelClient, request: Request): void;
  /** Bytes that are no message. */
  onMalformed(client: ModelClient, reason: string): void;
  /** The server ends the connection, because the client has not identified itself. */
  onRefused(client: ModelClient): void;
  /** The client wants the job to end. */
  onAbort(client: ModelClient): void;
  /** A request has come before the reply to the one before it. */
  onOverlap(client: ModelClient): void;
}

export const DEFAULT_LIMITS: Limits = { kvsname: 256, key: 64, value: 1024 };

/** Before each reply, so that a client that does not wait for it is seen; in milliseconds. */
const REPLY_DELAY = 1;

const ok = ['rc', '0'] as const;
const success = ['msg', 'success'] as const;
const failed = (why: string): readonly (readonly [string, string])[] => [
  ['rc', '-1'],
  ['msg', why],
];

/** The most lines of a block of mcmd; more than the arguments of any program. */
const MAX_BLOCK = 1 << 16;

/** A process group. */
export class ModelJob {
  readonly size: number;
  readonly kvsname = 'check-kvs';
  readonly manner: Manner;
  readonly judge: Judge;
  readonly transcripts: Transcript[];
  readonly keys = new Map<string, { value: string; by: number }>();
  readonly nodeAttributes = new Map<string, string>();
  readonly names = new Map<string, string>();
  #inside = new Map<ModelClient, () => void>();

  constructor(size: number, manner: Manner, judge: Judge) {
    this.size = size;
    this.manner = manner;
    this.judge = judge;
    this.transcripts = Array.from({ length: size }, () => new Transcript());
    this.keys.set('PMI_process_mapping', { value: manner.mapping ?? `(vector,(0,1,${size}))`, by: -1 });
  }

  get limits(): Limits {
    return this.manner.limits ?? DEFAULT_LIMITS;
  }

  /** Calls `release` when the barrier ends. */
  enter(client: ModelClient, release: () => void): void {
    this.#inside.set(client, release);
    if (this.#inside.size < (this.manner.barrierOf?.(this.size) ?? this.size)) return;
    const waiting = [...this.#inside.values()];
    this.#inside = new Map();
    for (const end of waiting) end();
  }
}

/** A connection to the server. */
export class ModelClient {
  /** -1 until its initack. */
  rank: number;
  version: 1 | 2 = 1;
  /** The names of the requests, in their order. */
  readonly commands: string[] = [];
  /** What the judge knows of the requests before. */
  readonly state = new ClientState();
  readonly #job: ModelJob;
  readonly #write: (bytes: string) => void;
  readonly #pmiIds: readonly string[] | undefined;
  #input = '';
  #busy = false;
  #block: string[] | undefined;
  #refused = false;

  /**
   * @param rank of an inherited connection
   * @param pmiIds by rank, for a connection that must identify itself
   */
  constructor(
    job: ModelJob,
    write: (bytes: string) => void,
    rank: number | undefined,
    pmiIds?: readonly string[],
  ) {
    this.#job = job;
    this.#write = write;
    this.rank = rank ?? -1;
    this.#pmiIds = pmiIds;
  }

  get finalized(): boolean {
    return this.commands.includes('finalize');
  }

  get transcript(): Transcript {
    return this.#job.transcripts[Math.max(0, this.rank)]!;
  }

  receive(bytes: string): void {
    if (this.#refused) return;
    this.#input += this.#job.manner.input?.(bytes) ?? bytes;
    if (this.#input.length > MAX_MESSAGE)
      return this.#end('a client sends more without a reply than any message has');
    if (this.#busy) return this.#job.judge.onOverlap(this);
    this.#next();
  }

  #next(): void {
    for (;;) {
      if (this.#busy || this.#refused) return;
      const text = this.#take();
      if (text === undefined) return;
      this.#handle(text);
    }
  }

  /** Takes a complete line or frame from the input. */
  #take(): string | undefined {
    if (this.version === 1) {
      const end = this.#input.indexOf('\n');
      if (end === -1) return undefined;
      const line = this.#input.slice(0, end);
      this.#input = this.#input.slice(end + 1);
      this.transcript.add('C', line);
      return line;
    }
    if (this.#input.length < FRAME_LENGTH) return undefined;
    const length = readFrameLength(this.#input.slice(0, FRAME_LENGTH));
    if (length === undefined) {
      this.transcript.add('C', this.#input);
      this.#end('a frame does not begin with its length');
      return undefined;
    }
    if (this.#input.length < FRAME_LENGTH + length) return undefined;
    const frame = this.#input.slice(FRAME_LENGTH, FRAME_LENGTH + length);
    this.transcript.add('C', this.#input.slice(0, FRAME_LENGTH + length));
    this.#input = this.#input.slice(FRAME_LENGTH + length);
    return frame;
  }

  /** Takes nothing more, and ends the connection. */
  #end(reason: string): void {
    this.#input = '';
    this.#refused = true;
    this.#job.judge.onMalformed(this, reason);
    this.#job.judge.onRefused(this);
  }

  #handle(text: string): void {
    if (this.#block !== undefined) {
      this.#block.push(text);
      if (this.#block.length > MAX_BLOCK) return this.#end('a block of mcmd does not end');
      if (text !== 'endcmd') return;
      const block = this.#block;
      this.#block = undefined;
      return this.#request({ ...parseLine(block[0]!), version: 1, block });
    }
    let message: Message;
    try {
      message = this.version === 1 ? parseLine(text) : parseFrame(text);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      return this.#job.judge.onMalformed(this, error.message);
    }
    if (message.attributes.has('mcmd')) {
      this.#block = [text];
      return;
    }
    this.#request({ ...message, version: this.version });
  }

  #request(request: Request): void {
    this.#job.judge.onRequest(this, request);
    this.commands.push(request.command);
    if (request.command === 'abort') return this.#job.judge.onAbort(this);
    this.#busy = true;
    if (this.#input !== '') this.#job.judge.onOverlap(this);
    const replies = this.version === 1 ? this.#answer(request) : this.#answerFrame(request);
    if (replies === 'barrier') {
      const reply =
        this.version === 1
          ? { command: 'barrier_out', attributes: [ok] }
          : { command: 'kvs-fence-response', attributes: [ok] };
      return this.#job.enter(this, () => this.#send([reply], request));
    }
    this.#send(replies, request);
  }

  #send(replies: readonly Reply[], request: Request): void {
    const held = this.#job.manner.hold?.(this.rank, request) ?? Promise.resolve();
    void held
      .then(() => delay(REPLY_DELAY))
      .then(async () => {
        this.#busy = false;
        const bytes = replies.map((reply) => this.#encode(reply, request)).join('');
        for (const [i, piece] of (this.#job.manner.pieces?.(bytes) ?? [bytes]).entries()) {
          // The client reads the first pieces alone, if it is not busy.
          if (i > 0) await (i < 3 ? delay(REPLY_DELAY) : immediate());
          if (piece !== '') this.#write(piece);
        }
        if (request.command === 'init' && request.attributes.get('pmi_version') === '2') this.version = 2;
        this.#next();
      });
  }

  #encode(plain: Reply, request: Request): string {
    const { manner } = this.#job;
    const reply = manner.reply === undefined ? plain : manner.reply(plain, request, this.rank);
    if (reply === undefined) return '';
    let bytes: string;
    if (typeof reply === 'string') {
      bytes = reply;
    } else if (this.version === 1) {
      bytes = `${[['cmd', reply.command], ...reply.attributes].map(([name, value]) => `${name}=${value}`).join(' ')}\n`;
    } else {
      const thrid = request.attributes.get('thrid');
      const attributes = [
        ['cmd', reply.command],
        ...(thrid === undefined ? [] : [['thrid', thrid]]),
        ...reply.attributes,
      ];
      const content = attributes.map(([name, value]) => `${name}=${value};`).join('');
      const length = manner.frameLength?.(content.length) ?? String(content.length).padStart(FRAME_LENGTH);
      bytes = length + content;
    }
    for (const line of bytes.replace(/\n$/, '').split('\n')) this.transcript.add('S', line);
    return bytes;
  }

  #answer({ command, attributes }: Request): Reply[] | 'barrier' {
    const job = this.#job;
    const one = (name: string, ...pairs: (readonly [string, string])[]): Reply[] => [
      { command: name, attributes: pairs },
    ];
    const key = attributes.get('key') ?? '';
    const service = attributes.get('service') ?? '';
    if (this.rank === -1 && command !== 'initack') {
      if (command === 'init' && attributes.get('pmi_version') === '2') return this.#init(attributes);
      return this.#refuse();
    }
    switch (command) {
      case 'initack': {
        const rank = this.#pmiIds?.indexOf(attributes.get('pmiid') ?? '') ?? -1;
        if (rank === -1) {
          return this.#refuse();
        }
        this.rank = rank;
        return [
          { command: 'initack', attributes: [ok] },
          { command: 'set', attributes: [['size', String(job.size)]] },
          { command: 'set', attributes: [['rank', String(rank)]] },
          { command: 'set', attributes: [['debug', '0']] },
        ];
      }
      case 'init':
        return this.#init(attributes);
      case 'get_maxes':
        return one(
          'maxes',
          ['kvsname_max', String(job.limits.kvsname)],
          ['keylen_max', String(job.limits.key)],
          ['vallen_max', String(job.limits.value)],
        );
      case 'get_universe_size':
        return one('universe_size', ['size', String(job.size)]);
      case 'get_appnum':
        return one('appnum', ['appnum', '0']);
      case 'get_my_kvsname':
        return one('my_kvsname', ['kvsname', job.kvsname]);
      case 'put':
        job.keys.set(key, { value: attributes.get('value') ?? '', by: this.rank });
        return one('put_result', ok, success);
      case 'get': {
        const value = this.#get(key);
        return value === undefined
          ? one('get_result', ...failed('key_not_found'))
          : one('get_result', ok, success, ['value', value]);
      }
      case 'barrier_in':
        return attributes.has('group') ? one('barrier_out', ok) : 'barrier';
      case 'finalize':
        return one('finalize_ack');
      case 'publish_name':
        job.names.set(service, attributes.get('port') ?? '');
        return one('publish_result', ok, success);
      case 'unpublish_name':
        return job.names.delete(service)
          ? one('unpublish_result', ok, success)
          : one('unpublish_result', ...failed('service_not_found'));
      case 'lookup_name': {
        const found = job.names.get(service);
        return found === undefined
          ? one('lookup_result', ...failed('service_not_found'))
          : one('lookup_result', ok, ['port', found]);
      }
      case 'spawn':
        return one('spawn_result', ...failed('not_supported'));
      default:
        return one(`${command}_result`, ...failed('unknown_command'));
    }
  }

  #refuse(): Reply[] {
    this.#refused = true;
    this.#job.judge.onRefused(this);
    return [];
  }

  #init(attributes: ReadonlyMap<string, string>): Reply[] {
    const version = attributes.get('pmi_version') ?? '1';
    const subversion = version === '2' ? 0 : (this.#job.manner.subversion ?? 1);
    return [
      {
        command: 'response_to_init',
        attributes: [['pmi_version', version], ['pmi_subversion', String(subversion)], ok],
      },
    ];
  }

  #get(key: string): string | undefined {
    const entry = this.#job.keys.get(key);
    if (entry === undefined || this.#job.manner.sees?.(this.rank, key, entry.by) === false) return undefined;
    return entry.value;
  }

  #answerFrame({ command, attributes }: Request): Reply[] | 'barrier' {
    const job = this.#job;
    const one = (...pairs: (readonly [string, string])[]): Reply[] => [
      { command: `${command}-response`, attributes: pairs },
    ];
    const key = attributes.get('key') ?? '';
    const name = attributes.get('name') ?? '';
    const found = (value: string | undefined): Reply[] =>
      value === undefined ? one(ok, ['found', 'FALSE']) : one(ok, ['found', 'TRUE'], ['value', value]);
    if (this.rank === -1 && command !== 'fullinit') {
      return this.#refuse();
    }
    switch (command) {
      case 'fullinit': {
        if (this.rank === -1)
          this.rank = this.#pmiIds?.indexOf(attributes.get('pmirank') ?? attributes.get('srcid') ?? '') ?? -1;
        return one(
          ok,
          ['pmi-version', '2'],
          ['pmi-subversion', '0'],
          ['rank', String(this.rank)],
          ['size', String(job.size)],
          ['appnum', '0'],
          ['debugged', 'FALSE'],
          ['pmiverbose', 'FALSE'],
        );
      }
      case 'job-getid':
        return one(ok, ['jobid', job.kvsname]);
      case 'kvs-put':
        job.keys.set(key, { value: attributes.get('value') ?? '', by: this.rank });
        return one(ok);
      case 'kvs-get':
        return found(this.#get(key));
      case 'kvs-fence':
        return 'barrier';
      case 'info-putnodeattr':
        job.nodeAttributes.set(key, attributes.get('value') ?? '');
        return one(ok);
      case 'info-getnodeattr':
        return found(job.nodeAttributes.get(key));
      case 'info-getjobattr':
        return found(key === 'universeSize' ? String(job.size) : this.#get(key));
      case 'name-publish':
        job.names.set(name, attributes.get('port') ?? '');
        return one(ok);
      case 'name-unpublish':
        return job.names.delete(name) ? one(ok) : one(['rc', '1'], ['errmsg', 'not_found']);
      case 'name-lookup': {
        const port = job.names.get(name);
        return port === undefined
          ? one(['rc', '1'], ['errmsg', 'not_found'])
          : one(ok, ['port', port], ['value', port]);
      }
      case 'finalize':
        return one(ok);
      default:
        return one(['rc', '-1'], ['errmsg', 'not_supported']);
    }
  }
}
