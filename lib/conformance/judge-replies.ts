/**
 * Judges what servers send, as far as a recording shows it. `wireup check server` asks for more, because it chooses the
 * requests.
 */
import { createHash } from 'node:crypto';
import { commandsOf, type Command } from './commands';
import { copyOf, isRemembered, type Broken, type Limits, type Memory } from './judge-requests';
import { isInteger, isProcessMapping, type Message, type Request } from './wire';

/** A reply with what came before it on its connection. */
export interface ReplyContext {
  version: 1 | 2;
  /** Undefined: no request waits for this reply. */
  request: Request | undefined;
  /** The request, or the one that waits, breaks a rule itself, so any error is a valid reply. */
  isBadRequest: boolean;
  /** The command of the oldest request that waits, if the reply is not that to a request. */
  pending: string | undefined;
  /** The recording shows the requests before this message. Otherwise a reply may belong to one that is not shown. */
  isWhole: boolean;
  /** PMI_RANK; undefined: not known. */
  rank: number | undefined;
  connection: ServerState;
}

/** What the server has sent before on a connection. */
export class ServerState {
  /** The lines cmd=set that must follow an initack. */
  sets: string[] = [];
  /** The size of cmd=set. */
  size: string | undefined;
  /** PMI-2: the client has several threads. */
  threaded = false;
  /** The client has initialized. */
  initialized = false;
  /** Requests that the server cannot read, and whose replies may have any form. */
  unread = 0;
  /** A message other than the first initack has come before it. */
  lateInitack = false;
}

/** Letters of a kvsname that are compared. */
const MAX_NAME = 1024;

const SETS = ['size', 'rank', 'debug'];

/** RFC 13 has these lengths as the least ones. */
const LEAST_LIMITS = { kvsname: 16, key: 32, value: 64 };

/** What servers of MPICH 4.1.1 to 4.2 append to a value. */
const FOUND = ' found=TRUE';

function isError({ attributes }: Message): boolean {
  const rc = attributes.get('rc');
  return rc !== undefined && rc !== '0';
}

function digest(text: string): string {
  return createHash('sha1').update(text).digest('base64');
}

/** Judges the replies to the clients of one process group. */
export class ReplyJudge {
  /** The limits of get_maxes. */
  limits: Limits | undefined;
  /** By version: what servers call the key-value space. */
  readonly #kvsnames = new Map<1 | 2, string>();
  /** By key, a digest of the value; undefined: it was put more than once. */
  readonly #values = new Map<string, string | undefined>();
  readonly #memory: Memory;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  /** The kvsname of PMI-1. */
  get kvsname(): string | undefined {
    return this.#kvsnames.get(1);
  }

  /** Bytes that are no message. */
  malformed(version: 1 | 2, reason: string): Broken {
    return { rule: `P${version}-MESSAGE-1`, reason };
  }

  *judge(context: ReplyContext, reply: Message): Generator<Broken, void, undefined> {
    const { version, request, connection } = context;
    if (version === 1 && reply.command === 'set') return yield* judgeSet(context, reply);
    if (connection.sets.length > 0) {
      yield { rule: 'PORT-ACK-2', reason: `no cmd=set with ${connection.sets[0]} follows initack` };
      connection.sets = [];
    }
    if (request === undefined) return yield* judgeUnasked(context, reply);
    const command = commandsOf(version).get(request.command);
    if (command === undefined) return yield* judgeUnknown(version, request, reply);
    if (version === 2 && connection.threaded) yield* judgeThread(request, reply);
    if (isError(reply)) return yield* judgeError(context, request, reply);
    const missing = this.#missing(command, request, reply);
    if (missing !== undefined)
      return yield { rule: command.rule, reason: `the reply to ${request.command} has no ${missing}` };
    const wrong = command.numbers.find((name) => !isInteger(reply.attributes.get(name)));
    if (wrong !== undefined)
      return yield {
        rule: command.rule,
        reason: `${wrong} in the reply to ${request.command} is no whole number`,
      };
    yield* version === 1
      ? this.#judgeLine(context, request, reply)
      : this.#judgeFrame(context, request, reply);
  }

  #missing({ returns }: Command, request: Request, { attributes }: Message): string | undefined {
    if (request.version === 2 && attributes.get('found')?.toUpperCase() === 'FALSE') return undefined;
    return returns.find((name) => !attributes.has(name));
  }

  *#judgeLine(context: ReplyContext, request: Request, reply: Message): Generator<Broken, void, undefined> {
    const { attributes } = reply;
    switch (request.command) {
      case 'initack':
        if (context.connection.lateInitack)
          yield { rule: 'PORT-REFUSE-1', reason: 'the client has sent another message before initack' };
        context.connection.sets = [...SETS];
        return;
      case 'init':
        context.connection.initialized = true;
        if (isNewer(attributes, request.attributes))
          yield { rule: 'P1-INIT-2', reason: 'the version is newer than the one for which the client asks' };
        return;
      case 'get_maxes':
        return yield* this.#judgeLimits(attributes);
      case 'get_my_kvsname':
        return yield* this.#judgeName(1, attributes.get('kvsname')!);
      case 'put':
        return this.#remember(request);
      case 'get':
        return yield* this.#judgeGet(request, attributes.get('value')!);
      case 'spawn': {
        const codes = attributes.get('errcodes');
        if (codes !== undefined && !codes.split(',').every(isInteger))
          yield { rule: 'P1-SPAWN-2', reason: 'errcodes are not whole numbers' };
      }
    }
  }

  *#judgeLimits(attributes: ReadonlyMap<string, string>): Generator<Broken, void, undefined> {
    const limit = (name: string): number => Number(attributes.get(name));
    this.limits = { kvsname: limit('kvsname_max'), key: limit('keylen_max'), value: limit('vallen_max') };
    for (const [name, least] of Object.entries(LEAST_LIMITS)) {
      const is = this.limits[name as keyof Limits];
      if (is < least) yield { rule: 'P1-MAXES-2', reason: `the limit of a ${name} is ${is}, not ${least}` };
    }
  }

  *#judgeName(version: 1 | 2, name: string): Generator<Broken, void, undefined> {
    const limit = this.limits?.kvsname;
    if (version === 1 && (name === '' || (limit !== undefined && name.length >= limit)))
      yield { rule: 'P1-KVSNAME-1', reason: `the kvsname has ${name.length} bytes` };
    const known = this.#kvsnames.get(version);
    if (known === undefined) this.#kvsnames.set(version, copyOf(name.slice(0, MAX_NAME)));
    else if (known !== name.slice(0, MAX_NAME))
      yield {
        rule: version === 1 ? 'P1-KVSNAME-2' : 'P2-JOBID-1',
        reason: `another rank has got ${known}`,
      };
  }

  /** The server has stored the value of a put. */
  #remember({ attributes }: Request): void {
    const [key, value] = [attributes.get('key') ?? '', attributes.get('value') ?? ''];
    if (this.#values.has(key)) this.#values.set(key, undefined);
    else if (isRemembered(key, this.#memory)) this.#values.set(copyOf(key), digest(value));
  }

  *#judgeGet({ version, attributes }: Request, value: string): Generator<Broken, void, undefined> {
    const key = attributes.get('key') ?? '';
    if (version === 1 && key === 'PMI_process_mapping' && !isProcessMapping(value))
      yield { rule: 'P1-MAP-1', reason: 'the value is neither a vector of blocks nor empty' };
    const put = this.#values.get(key);
    if (put === undefined || put === digest(value)) return;
    if (version === 1 && value.endsWith(FOUND) && put === digest(value.slice(0, -FOUND.length)))
      yield { rule: 'P1-GET-5', reason: `'${FOUND.trim()}' follows the value` };
    else yield { rule: `P${version}-GET-1`, reason: `another value was put for ${key}` };
  }

  *#judgeFrame(context: ReplyContext, request: Request, reply: Message): Generator<Broken, void, undefined> {
    const { attributes } = reply;
    switch (request.command) {
      case 'fullinit': {
        context.connection.threaded = request.attributes.get('threaded')?.toUpperCase() === 'TRUE';
        const [rank, size] = [attributes.get('rank')!, attributes.get('size')!];
        if (Number(rank) >= Number(size))
          yield { rule: 'P2-FULLINIT-1', reason: `the rank is ${rank}, the size is ${size}` };
        if (context.rank !== undefined && Number(rank) !== context.rank)
          yield { rule: 'P2-FULLINIT-2', reason: `the reply has rank ${rank}` };
        return;
      }
      case 'job-getid':
        return yield* this.#judgeName(2, attributes.get('jobid')!);
      case 'kvs-put':
        return this.#remember(request);
      case 'kvs-get': {
        const value = attributes.get('value');
        if (!attributes.has('found')) yield { rule: 'P2-GET-1', reason: 'the reply to kvs-get has no found' };
        else if (value !== undefined && attributes.get('found')!.toUpperCase() === 'TRUE')
          yield* this.#judgeGet(request, value);
        return;
      }
      case 'info-getjobattr': {
        const [key, value] = [request.attributes.get('key'), attributes.get('value')];
        if (value === undefined) return;
        if (key === 'PMI_process_mapping' && !isProcessMapping(value))
          yield { rule: 'P2-JOB-1', reason: 'the value is neither a vector of blocks nor empty' };
        if (key === 'universeSize' && !isInteger(value))
          yield { rule: 'P2-JOB-2', reason: 'the value is no whole number' };
      }
    }
  }
}

function* judgeSet(
  { connection, isWhole }: ReplyContext,
  { attributes }: Message,
): Generator<Broken, void, undefined> {
  if (connection.sets.length === 0) {
    if (isWhole) yield { rule: 'P1-MESSAGE-2', reason: 'cmd=set does not follow an initack' };
    return;
  }
  const name = connection.sets.shift()!;
  if (!attributes.has(name)) {
    connection.sets = [];
    return yield { rule: 'PORT-ACK-2', reason: `${name} is not in its place after initack` };
  }
  if (name === 'size') connection.size = attributes.get('size')!;
  if (name === 'rank' && !(Number(attributes.get('rank')) < Number(connection.size)))
    yield {
      rule: 'PORT-ACK-3',
      reason: `the rank is ${attributes.get('rank')}, the size is ${connection.size}`,
    };
}

/** No request waits for this reply. */
function* judgeUnasked(context: ReplyContext, { command }: Message): Generator<Broken, void, undefined> {
  const { version, pending, isWhole, isBadRequest, connection } = context;
  const commands = commandsOf(version);
  if (pending === undefined && connection.unread > 0) {
    connection.unread--;
    return;
  }
  if (isBadRequest) return;
  if (pending !== undefined)
    return yield {
      rule: commands.get(pending)?.rule ?? `P${version}-MESSAGE-1`,
      reason: `the reply to ${pending} is ${command}`,
    };
  if (!isWhole) return;
  const asked = [...commands.values()].find(({ reply }) => reply === command);
  const rule = version === 1 ? 'P1-MESSAGE-2' : (asked?.rule ?? 'P2-MESSAGE-1');
  yield { rule, reason: `no request waits for ${command}` };
}

/** The client has sent an unknown command. */
function* judgeUnknown(version: 1 | 2, request: Request, reply: Message): Generator<Broken, void, undefined> {
  if (version === 2) return;
  const known = [...commandsOf(1).values()].some(({ reply: name }) => name === reply.command);
  yield known && !isError(reply)
    ? { rule: 'P1-ERROR-2', reason: `${request.command} is answered as another command` }
    : { rule: 'P1-ERROR-1', reason: `${request.command} is no command, but the connection stays open` };
}

function* judgeThread({ attributes }: Request, reply: Message): Generator<Broken, void, undefined> {
  const thrid = attributes.get('thrid');
  if (thrid !== undefined && reply.attributes.get('thrid') !== thrid)
    yield { rule: 'P2-MESSAGE-3', reason: `the request has thrid=${thrid}` };
}

/** The reply reports an error. */
function* judgeError(
  { version, isBadRequest, connection }: ReplyContext,
  { command, attributes }: Request,
  reply: Message,
): Generator<Broken, void, undefined> {
  if (isBadRequest) return;
  if (command === 'init' && asksForNewer(attributes) && !reply.attributes.has('pmi_version'))
    yield { rule: 'P12-INIT-1', reason: 'the reply does not have the version that the server speaks' };
  if (version === 1 && command === 'get' && attributes.get('key') === 'PMI_process_mapping')
    yield { rule: 'P1-MAP-1', reason: 'the key has no value' };
  if (command === 'finalize' && connection.initialized)
    yield { rule: `P${version}-FINALIZE-1`, reason: 'the reply to finalize is an error' };
}

function versionOf(attributes: ReadonlyMap<string, string>): [number, number] {
  return [Number(attributes.get('pmi_version')), Number(attributes.get('pmi_subversion'))];
}

function isNewer(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  const [[major, minor], [otherMajor, otherMinor]] = [versionOf(a), versionOf(b)];
  return major > otherMajor || (major === otherMajor && minor > otherMinor);
}

function asksForNewer(attributes: ReadonlyMap<string, string>): boolean {
  const [major, minor] = versionOf(attributes);
  return major > 1 || (major === 1 && minor > 1);
}
