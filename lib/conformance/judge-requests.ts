/** Judges what clients send, message by message. `wireup check client` and `wireup trace` use it. */
import { commandsOf, SPAWN_NEEDS } from './commands';
import type { Request } from './wire';

/** A rule that a message breaks. */
export interface Broken {
  readonly rule: string;
  readonly reason: string;
}

/** The limits of get_maxes, each with the terminator of a C string. */
export interface Limits {
  readonly kvsname: number;
  readonly key: number;
  readonly value: number;
}

/** How many letters of keys may still be remembered, because a hostile client could send any number. */
export interface Memory {
  left: number;
}

const MAX_LETTERS = 16 << 20;

/** What a remembered key takes beside its letters. */
const KEY_OVERHEAD = 128;

/** Longer keys are not remembered. No server has a higher limit. */
const MAX_KEY = 1024;

/** Whether the key may be remembered. If so, its letters are subtracted. */
export function isRemembered(key: string, memory: Memory): boolean {
  if (key === '' || key.length > MAX_KEY || memory.left < key.length + KEY_OVERHEAD) return false;
  memory.left -= key.length + KEY_OVERHEAD;
  return true;
}

/** A copy, because a part of a string keeps the whole message in memory. */
export function copyOf(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** What a client has sent before on its connection. */
export class ClientState {
  /** The rank, if it is known. */
  rank: number | undefined;
  /** The client must identify itself by a PMI_ID for which this is true. */
  isPmiId: ((id: string) => boolean) | undefined;
  /** The recording has the connection from its beginning. */
  whole = true;
  /** It has sent finalize. */
  finalized = false;
  /** It has sent a request. */
  started = false;
  /** It has sent a request other than initack. */
  begun = false;
  /** It has sent a frame. */
  framed = false;
}

/** Judges the clients of one process group. */
export class RequestJudge {
  /** Rules to which some request was subject. */
  readonly seen = new Set<string>();
  /** As the server has given it; undefined: not known. */
  kvsname: string | undefined;
  /** As the server has given them; undefined: not known. */
  limits: Limits | undefined;
  readonly #keys = new Set<string>();
  readonly #memory: Memory;

  constructor(memory: Memory = { left: MAX_LETTERS }) {
    this.#memory = memory;
  }

  /** The broken rules. The request then belongs to the state. */
  judge(client: ClientState, request: Request): Broken[] {
    const broken = [...this.#judgeAny(client, request)];
    client.finalized ||= request.command === 'finalize';
    client.started = true;
    client.begun ||= request.command !== 'initack';
    client.framed ||= request.version === 2;
    return broken;
  }

  /** Bytes that are no request. */
  malformed(version: 1 | 2, reason: string): Broken {
    return { rule: `C${version}-MESSAGE-1`, reason };
  }

  /** A request has come before the reply to the one before it. */
  overlap(version: 1 | 2): Broken {
    return { rule: `C${version}-MESSAGE-2`, reason: 'a request comes before the reply to the one before it' };
  }

  *#judgeAny(client: ClientState, request: Request): Generator<Broken, void, undefined> {
    const { command, attributes, version } = request;
    const prefix = `C${version}`;
    this.seen.add(`${prefix}-MESSAGE-1`).add(`${prefix}-MESSAGE-2`).add(`${prefix}-MESSAGE-3`);
    const needs = commandsOf(version).get(command)?.needs;
    const missing = [
      ...(needs ?? []).filter((name) => !attributes.has(name)),
      ...(request.block === undefined ? [] : missingInBlock(request.block)),
    ][0];
    if (needs === undefined) yield { rule: `${prefix}-MESSAGE-3`, reason: `${command} is no command` };
    else if (missing !== undefined)
      yield { rule: `${prefix}-MESSAGE-3`, reason: `${command} needs ${missing}` };
    if (client.finalized)
      yield {
        rule: version === 1 ? 'C1-FINALIZE-2' : 'C2-FINALIZE-1',
        reason: `${command} follows finalize`,
      };
    yield* version === 1 ? this.#judgeLine(client, request) : this.#judgeFrame(client, request);
  }

  *#judgeLine(client: ClientState, { command, attributes }: Request): Generator<Broken, void, undefined> {
    const isInit2 = command === 'init' && attributes.get('pmi_version') === '2';
    const { isPmiId } = client;
    if (isPmiId !== undefined && client.whole && !client.started && !isInit2) {
      this.seen.add('C-PORT-1');
      if (command !== 'initack') yield { rule: 'C-PORT-1', reason: `the first request is ${command}` };
      else if (!isPmiId(attributes.get('pmiid') ?? ''))
        yield { rule: 'C-PORT-1', reason: 'pmiid is not PMI_ID' };
    }
    if (command !== 'initack' && client.whole && !client.begun) {
      this.seen.add('C1-INIT-1');
      // A client may abort at any time.
      if (command !== 'init' && command !== 'abort')
        yield { rule: 'C1-INIT-1', reason: `the first request is ${command}` };
    }
    this.seen.add('C1-FINALIZE-2');
    if (command !== 'put' && command !== 'get') return;
    this.seen.add('C1-KVSNAME-1');
    const kvsname = attributes.get('kvsname');
    if (kvsname !== undefined && this.kvsname !== undefined && kvsname !== this.kvsname)
      yield { rule: 'C1-KVSNAME-1', reason: `the server's kvsname is ${this.kvsname}` };
    if (command === 'put')
      yield* this.#judgePut(kvsname, attributes.get('key') ?? '', attributes.get('value') ?? '');
  }

  *#judgePut(kvsname = this.kvsname ?? '', key: string, value: string): Generator<Broken, void, undefined> {
    for (let i = 1; i <= 5; ++i) this.seen.add(`C1-PUT-${i}`);
    const { limits } = this;
    if (key === '' || (limits !== undefined && key.length >= limits.key)) {
      const limit = limits === undefined ? '' : `, keylen_max is ${limits.key}`;
      yield { rule: 'C1-PUT-1', reason: `the key has ${key.length} bytes${limit}` };
    }
    if (limits !== undefined && value.length >= limits.value)
      yield {
        rule: 'C1-PUT-2',
        reason: `the value has ${value.length} bytes, vallen_max is ${limits.value}`,
      };
    if (!/^[!-~]*$/.test(value)) yield { rule: 'C1-PUT-3', reason: 'the value has another character' };
    if (key.startsWith('PMI_')) yield { rule: 'C1-PUT-4', reason: `the key is ${key}` };
    const name = `${kvsname} ${key}`;
    if (this.#keys.has(name)) yield { rule: 'C1-PUT-5', reason: `${key} is put again` };
    else if (key !== '' && isRemembered(name, this.#memory)) this.#keys.add(copyOf(name));
  }

  *#judgeFrame(client: ClientState, { command, attributes }: Request): Generator<Broken, void, undefined> {
    if (!client.framed && client.whole) {
      this.seen.add('C2-FULLINIT-1');
      const id = attributes.get('pmirank') ?? attributes.get('srcid');
      const { isPmiId, rank } = client;
      const known =
        id !== undefined && (isPmiId === undefined ? rank === undefined || id === String(rank) : isPmiId(id));
      // A client may abort at any time.
      if (command === 'abort') return;
      if (command !== 'fullinit') yield { rule: 'C2-FULLINIT-1', reason: `the first frame is ${command}` };
      else if (!known) yield { rule: 'C2-FULLINIT-1', reason: 'pmirank is another one' };
      if (isPmiId !== undefined) {
        this.seen.add('C-PORT-1');
        if (command !== 'fullinit' || !known)
          yield { rule: 'C-PORT-1', reason: 'fullinit does not have PMI_ID' };
      }
    }
    this.seen.add('C2-FINALIZE-1');
    if (command !== 'kvs-put') return;
    this.seen.add('C2-PUT-1');
    const [key, value] = [attributes.get('key') ?? '', attributes.get('value') ?? ''];
    if (key === '' || key.length >= 64 || value.length >= 1024)
      yield {
        rule: 'C2-PUT-1',
        reason: `the key has ${key.length} bytes, the value ${value.length}`,
      };
  }
}

function missingInBlock(block: readonly string[]): string[] {
  const names = block.map((line) => line.split('=', 1)[0]!);
  return SPAWN_NEEDS.filter((name) => !names.includes(name));
}
