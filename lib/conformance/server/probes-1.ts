/** The checks of PMI-1.1. */
import { NoReply, NotOffered, NotTried, Violation, type Findings } from '../finding';
import { ruleOf } from '../rules';
import { isInteger, isProcessMapping, isUnsigned, type Message } from '../wire';
import type { Place } from './probes-start';
import { gather, meet, releasedEarly, type Gathered, type Sighting, type Space } from './ranks';
import { isError, type LineSession } from './session';

/** Replies that wait for other ranks, among them rank 0 with its checks. */
const BARRIER_TIMEOUTS = 20;

/** Every character that RFC 13 allows in a value. */
export const ALL_CHARACTERS = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 33 + i));

/** The value of a get_result, without what newer servers of MPICH append to it. */
function valueOf({ attributes }: Message): string | undefined {
  return attributes.get('value')?.replace(/ found=TRUE$/i, '');
}

/** The limits that the server reports, in bytes with a terminator. */
interface Limits {
  readonly kvsname: number;
  readonly key: number;
  readonly value: number;
}

/** Requests about keys, for a kvsname that the server has given. */
class Kvs implements Space {
  readonly #session: LineSession;
  readonly name: string;
  readonly limits: Limits;

  constructor(session: LineSession, name: string, limits: Limits) {
    this.#session = session;
    this.name = name;
    this.limits = limits;
  }

  putLine(key: string, value: string): string {
    return `cmd=put kvsname=${this.name} key=${key} value=${value}`;
  }

  getLine(key: string): string {
    return `cmd=get kvsname=${this.name} key=${key}`;
  }

  async put(key: string, value: string): Promise<void> {
    await this.#session.succeed(this.putLine(key, value), 'put_result');
  }

  /** The value; undefined also if the reply breaks a rule. */
  async get(key: string): Promise<string | undefined> {
    const message = await this.#session.exchange(this.getLine(key));
    return isError(message) ? undefined : valueOf(message);
  }

  async barrier(): Promise<void> {
    const { timeout } = this.#session;
    await this.#session.succeed('cmd=barrier_in', 'barrier_out', { timeout: timeout * BARRIER_TIMEOUTS });
  }
}

/** Sends init. Returns the version that the server then speaks. @throws {@link Violation} */
export async function init(session: LineSession, minor: number): Promise<[major: number, minor: number]> {
  const { attributes } = await session.succeed(
    `cmd=init pmi_version=1 pmi_subversion=${minor}`,
    'response_to_init',
  );
  return ['pmi_version', 'pmi_subversion'].map((name) => {
    if (!isUnsigned(attributes.get(name))) throw new Violation(`expected ${name}=`);
    return Number(attributes.get(name));
  }) as [number, number];
}

async function checkInit(findings: Findings, session: LineSession): Promise<void> {
  let answer: [number, number];
  await findings.check('P1-INIT-1', [], async () => {
    answer = await init(session, 1);
  });
  await findings.check('P1-INIT-2', ['P1-INIT-1'], async () => {
    const [major, minor] = answer;
    if (major > 1 || minor > 1)
      throw new Violation(
        `asked for 1.1, got ${major}.${minor}`,
        session.transcript.since(session.transcript.length - 2),
      );
  });
}

/** Returns the kvsname, if the server has given one. */
export async function probePmi1(
  findings: Findings,
  session: LineSession,
  place: Place,
): Promise<string | undefined> {
  await checkInit(findings, session);
  const kvs = await checkInformation(findings, session);
  if (kvs !== undefined) {
    if (place.rank === 0) await checkMessages(findings, session, kvs);
    await checkKvs(findings, session, kvs, place);
    if (place.rank === 0) await checkNames(findings, session);
    if (place.rank === 0) await checkPipeline(findings, session);
  }
  session.checkUnread();
  passive(findings, session);
  return kvs?.name;
}

/** The rules of all replies. */
function passive(findings: Findings, session: LineSession): void {
  const { malformed, unasked } = session;
  if (malformed !== undefined) findings.fail('P1-MESSAGE-1', malformed.reason, malformed.lines);
  else findings.add({ rule: 'P1-MESSAGE-1', status: 'passed' });
  if (unasked !== undefined) findings.fail('P1-MESSAGE-2', unasked.reason, unasked.lines);
  else findings.add({ rule: 'P1-MESSAGE-2', status: 'passed' });
}

async function checkInformation(findings: Findings, session: LineSession): Promise<Kvs | undefined> {
  let kvs: Kvs | undefined;
  // Those of most servers, if this one reports none.
  let limits = { kvsname: 256, key: 64, value: 1024 };
  await findings.check('P1-MAXES-1', ['P1-INIT-1'], async () => {
    const { attributes } = await session.succeed('cmd=get_maxes', 'maxes');
    const [kvsname, key, value] = ['kvsname_max', 'keylen_max', 'vallen_max'].map((name) => {
      if (!isUnsigned(attributes.get(name))) throw new Violation(`expected ${name}=`);
      return Number(attributes.get(name));
    }) as [number, number, number];
    limits = { kvsname, key, value };
  });
  await findings.check('P1-MAXES-2', ['P1-MAXES-1'], async () => {
    if (limits.kvsname < 16 || limits.key < 32 || limits.value < 64)
      throw new Violation('too small', session.transcript.since(session.transcript.length - 2));
  });
  await findings.check('P1-UNIVERSE-1', ['P1-INIT-1'], async () => {
    const message = await session.ask('cmd=get_universe_size', 'universe_size');
    if (!isError(message) && !isInteger(message.attributes.get('size')))
      throw new Violation('expected size=');
  });
  await findings.check('P1-APPNUM-1', ['P1-INIT-1'], async () => {
    const message = await session.ask('cmd=get_appnum', 'appnum');
    if (!isError(message) && !isInteger(message.attributes.get('appnum')))
      throw new Violation('expected appnum=');
  });
  await findings.check('P1-KVSNAME-1', ['P1-INIT-1'], async () => {
    const { attributes } = await session.succeed('cmd=get_my_kvsname', 'my_kvsname');
    const name = attributes.get('kvsname');
    if (name === undefined || name === '') throw new Violation('expected kvsname=');
    if (name.length >= limits.kvsname)
      throw new Violation(`the limit is ${limits.kvsname}, with a terminator`);
    kvs = new Kvs(session, name, limits);
  });
  if (kvs === undefined) return undefined;
  await findings.check('P1-MAP-1', [], async () => {
    const message = await session.ask(kvs!.getLine('PMI_process_mapping'), 'get_result');
    const value = valueOf(message);
    if (isError(message) || value === undefined) throw new Violation('the key is missing');
    if (!isProcessMapping(value)) throw new Violation('neither a vector of blocks nor empty');
  });
  return kvs;
}

/** The last check before finalize: after a server that answers only one of the requests, nothing else can be checked. */
async function checkPipeline(findings: Findings, session: LineSession): Promise<void> {
  await findings.check('P1-MESSAGE-7', ['P1-MAXES-1', 'P1-APPNUM-1'], async () => {
    // As one write.
    session.checkUnread();
    session.transcript.add('C', 'cmd=get_maxes');
    session.transcript.add('C', 'cmd=get_appnum');
    session.connection.write('cmd=get_maxes\ncmd=get_appnum\n');
    session.expect(await session.receive(), 'maxes');
    session.expect(await session.receive(), 'appnum');
  });
}

async function checkMessages(findings: Findings, session: LineSession, kvs: Kvs): Promise<void> {
  await findings.check('P1-MESSAGE-3', ['P1-MAXES-1'], async () => {
    await session.succeed('cmd=get_maxes', 'maxes', { slowly: true });
  });
  await findings.check('P1-MESSAGE-5', ['P1-KVSNAME-1'], async () => {
    await session.succeed(`cmd=put   kvsname=${kvs.name}  key=check-blanks  value=x`, 'put_result');
  });
  await findings.check('P1-MESSAGE-6', ['P1-MAXES-1'], async () => {
    await session.succeed('cmd=get_maxes check=1', 'maxes');
  });
}

/**
 * Keys and barriers. A server need not show a key before the next barrier, so rank 0 puts all keys first. The other ranks
 * only take part. If one of them cannot go on, it ends, and rank 0 sees that its report is missing.
 */
async function checkKvs(
  findings: Findings,
  session: LineSession,
  kvs: Kvs,
  { rank, size }: Place,
): Promise<void> {
  const begin = session.transcript.length;
  const later = rank === 0 ? await putAll(findings, session, kvs) : [];
  let own: Sighting | undefined;
  let all: Gathered | undefined;
  const needs = rank === 0 ? ['P1-PUT-1'] : [];
  await findings.check('P1-BARRIER-3', needs, async () => {
    own = await meet(kvs, rank, size, kvs.name);
  });
  if (rank === 0 && own !== undefined) {
    for (const check of later) await check();
    await checkGets(findings, session, kvs);
  }
  if (own === undefined) return;
  await findings.check('P1-BARRIER-3', ['P1-BARRIER-3'], async () => {
    for (let i = 0; i < 3; ++i) await kvs.barrier();
    all = await gather(kvs, own!, size, session.timeout);
  });
  if (rank !== 0 || all === undefined) return;
  const lines = session.transcript.since(begin).filter((line) => /barrier|key=check-\d+ /.test(`${line} `));
  judge(findings, all, size, lines, {
    barrier: 'P1-BARRIER-1',
    visible: 'P1-BARRIER-2',
    name: 'P1-KVSNAME-2',
    get: 'P1-GET-1',
  });
}

/** Puts the keys of the rules. Returns the checks of their values, for after a barrier. */
async function putAll(
  findings: Findings,
  { transcript }: LineSession,
  kvs: Kvs,
): Promise<(() => Promise<void>)[]> {
  const put = async (
    rule: string,
    needs: string[],
    key: string,
    value: string,
  ): Promise<() => Promise<void>> => {
    const begin = transcript.length;
    await findings.check(rule, needs, () => kvs.put(key, value));
    const lines = transcript.since(begin);
    return async () => {
      if (!findings.passed(rule)) return;
      await findings.check(rule, [], async () => {
        const at = transcript.length;
        if ((await kvs.get(key)) !== value)
          throw new Violation('the value that was put does not come back', [
            ...lines,
            ...transcript.since(at),
          ]);
      });
    };
  };
  const stored = ['P1-PUT-1'];
  const limited = [...stored, 'P1-MAXES-1'];
  await findings.check('P1-PUT-1', [], () => kvs.put('check-whole-name', 'check'));
  return [
    await put('P1-GET-1', stored, 'check-characters', ALL_CHARACTERS),
    await put('P1-GET-2', stored, 'check-empty', ''),
    await put('P1-PUT-2', limited, 'k'.repeat(kvs.limits.key - 1), 'long-key'),
    await put('P1-PUT-3', limited, 'check-long', 'v'.repeat(kvs.limits.value - 1)),
    await put('P1-PUT-4', stored, 'check-blank', 'two words'),
  ];
}

async function checkGets(findings: Findings, session: LineSession, kvs: Kvs): Promise<void> {
  await findings.check('P1-MESSAGE-4', ['P1-GET-1'], async () => {
    const message = await session.ask(`cmd=get key=check-whole-name kvsname=${kvs.name}`, 'get_result');
    if (isError(message) || valueOf(message) !== 'check')
      throw new Violation('key before kvsname: the value does not come back');
  });
  await findings.check('P1-GET-3', [], async () => {
    const message = await session.ask(kvs.getLine('check-missing'), 'get_result');
    if (!isError(message)) throw new Violation('the key does not exist, and the reply has no error');
  });
  await findings.check('P1-GET-4', [], async () => {
    const message = await session.ask(kvs.getLine('PMI_check_missing'), 'get_result');
    if (isError(message) || valueOf(message) !== '') throw new NotOffered('the server reports an error');
  });
  await findings.check('P1-GET-5', ['P1-GET-1'], async () => {
    const { text } = await session.ask(kvs.getLine('check-whole-name'), 'get_result');
    if (!text.endsWith('value=check')) throw new Violation('something follows the value');
  });
  await findings.check('P1-GET-6', ['P1-GET-1', 'P1-GET-3'], async () => {
    for (const key of ['check-whole', 'check-whole-name-and-more'])
      if ((await kvs.get(key)) === 'check') throw new Violation(`${key} is not the key that was put`);
  });
  await findings.check('P1-PUT-5', ['P1-GET-1'], async () => {
    await session.succeed('cmd=put key=check-default value=default', 'put_result');
    const message = await session.ask('cmd=get key=check-whole-name', 'get_result');
    if (isError(message) || valueOf(message) !== 'check')
      throw new Violation('the value that was put does not come back');
  });
  await findings.check('P1-PUT-6', ['P1-PUT-1'], async () => {
    const message = await session.ask(kvs.putLine('PMI_check', 'x'), 'put_result');
    if (!isError(message)) throw new NotOffered('the server stores it');
  });
}

/** Judges what the ranks have seen. */
export function judge(
  findings: Findings,
  { sightings: all, twin }: Gathered,
  size: number,
  lines: readonly string[],
  rules: { barrier: string; visible: string; name: string; get: string },
): void {
  const report = (rule: string, fault: string | undefined): void => {
    if (fault === undefined) findings.add({ rule, status: 'passed' });
    else findings.fail(rule, fault, lines);
  };
  if (size === 1) {
    for (const rule of [rules.barrier, rules.visible, 'ENV-3'])
      findings.add({ rule, status: 'not-tried', reason: 'it needs several ranks' });
    if (!findings.passed(rules.name))
      findings.add({ rule: rules.name, status: 'not-tried', reason: 'it needs several ranks' });
    return;
  }
  if (twin !== undefined) {
    findings.fail('ENV-3', `two processes have the number ${twin}`, lines);
    for (const rule of [rules.barrier, rules.visible, rules.name])
      findings.add({ rule, status: 'not-tried', reason: 'it needs ENV-3' });
    return;
  }
  const silent = size - all.length;
  if (silent > 0) {
    for (const rule of [rules.barrier, rules.visible, rules.name, 'ENV-3'])
      findings.add({ rule, status: 'not-tried', reason: `${silent} ranks have not reported` });
    return;
  }
  const early = releasedEarly(all);
  report(
    rules.barrier,
    early && `rank ${early[0].rank} was released before rank ${early[1].rank} had entered the barrier`,
  );
  // A MAY: the barrier may be lazy.
  const needsBarrier = early !== undefined && ruleOf(rules.barrier).level === 'MUST';
  if (!needsBarrier && findings.passed(rules.get)) {
    const blind = all.find(({ missing }) => missing !== -1);
    report(rules.visible, blind && `rank ${blind.rank} does not get the key of rank ${blind.missing}`);
  } else {
    findings.add({
      rule: rules.visible,
      status: 'not-tried',
      reason: `it needs ${needsBarrier ? rules.barrier : rules.get}`,
    });
  }
  const other = all.find(({ kvsname }) => kvsname !== all[0]!.kvsname);
  report(rules.name, other && `rank 0 has ${all[0]!.kvsname}, rank ${other.rank} has ${other.kvsname}`);
  report('ENV-3', undefined);
}

const SERVICE = 'wireup-check';

async function checkNames(findings: Findings, session: LineSession): Promise<void> {
  const service = `${SERVICE}-${process.pid}`;
  const lookup = async (name: string): Promise<string | undefined> => {
    const message = await session.ask(`cmd=lookup_name service=${name}`, 'lookup_result');
    return isError(message) || message.attributes.get('info') === 'notok'
      ? undefined
      : message.attributes.get('port');
  };
  await findings.check('P1-NAME-1', ['P1-INIT-1'], async () => {
    const message = await session.ask(`cmd=publish_name service=${service} port=port-1`, 'publish_result');
    if (isError(message) || message.attributes.get('info') === 'notok')
      throw new NotOffered(`publish_name: ${message.attributes.get('msg') ?? 'an error'}`);
  });
  await findings.check('P1-NAME-2', ['P1-NAME-1'], async () => {
    if ((await lookup(service)) !== 'port-1') throw new Violation('the port does not come back');
  });
  await findings.check('P1-NAME-3', ['P1-NAME-1'], async () => {
    if ((await lookup(`${service}-missing`)) !== undefined) throw new Violation('no rank has published it');
  });
  await findings.check('P1-NAME-4', ['P1-NAME-1'], async () => {
    const message = await session.ask(`cmd=unpublish_name service=${service}`, 'unpublish_result');
    if (isError(message)) throw new Violation('the service exists, and the server reports an error');
    if ((await lookup(service)) !== undefined) throw new Violation('it is still found');
  });
}

/** The spawn of a program that ends at once. */
const SPAWN = [
  'mcmd=spawn',
  'nprocs=1',
  'execname=true',
  'totspawns=1',
  'spawnssofar=1',
  'argcnt=0',
  'preput_num=0',
  'info_num=0',
  'endcmd',
];

/** Checks that may end the connection or the job, in an order in which the most harmless come first. */
export async function probeDestructive(
  findings: Findings,
  session: LineSession,
  kvsname: string | undefined,
  rules: readonly string[],
): Promise<void> {
  const asked = (rule: string): boolean => rules.includes(rule) && findings.lost === undefined;
  if (asked('P1-SPAWN-1')) await checkSpawn(findings, session);
  if (asked('P1-ERROR-2')) {
    await findings.check('P1-ERROR-2', ['P1-KVSNAME-1'], async () => {
      const reply = await replyOrEnd(session, `cmd=getfoo kvsname=${kvsname} key=PMI_process_mapping`);
      if (reply !== undefined && !isError(reply)) throw new Violation('the server executes it');
    });
  }
  if (asked('P1-ERROR-1') && session.connection.ended === undefined) {
    await findings.check('P1-ERROR-1', ['P1-INIT-1'], async () => {
      await replyOrEnd(session, 'cmd=check_unknown');
      await session.connection.changed(REPLY_WAIT);
      if (session.connection.ended === undefined) throw new Violation('the connection lives on');
    });
  }
  if (asked('P1-ABORT-1') && session.connection.ended === undefined) {
    await findings.check('P1-ABORT-1', ['P1-INIT-1'], async () => {
      session.send('cmd=abort exitcode=7');
      // This process ends with the job.
      await new Promise((resolve) => setTimeout(resolve, ABORT_WAIT));
      throw new Violation('the job goes on');
    });
  }
}

/** How long a server may take to end a connection after its reply, in milliseconds. */
const REPLY_WAIT = 1000;

/** How long a launcher may take to end a job, in milliseconds. */
const ABORT_WAIT = 20_000;

/** The reply; undefined: the server has ended the connection, or sends nothing. */
async function replyOrEnd(session: LineSession, request: string): Promise<Message | undefined> {
  try {
    return await session.exchange(request, { timeout: REPLY_WAIT });
  } catch (error) {
    if (error instanceof NoReply || error instanceof NotTried) return undefined;
    throw error;
  }
}

async function checkSpawn(findings: Findings, session: LineSession): Promise<void> {
  let result: Message | undefined;
  await findings.check('P1-SPAWN-1', ['P1-INIT-1'], async () => {
    result = await session.ask(SPAWN.join('\n'), 'spawn_result');
    if (isError(result)) throw new NotOffered(`spawn: ${result.attributes.get('msg') ?? 'an error'}`);
  });
  await findings.check('P1-SPAWN-2', ['P1-SPAWN-1'], async () => {
    const errcodes = result!.attributes.get('errcodes');
    if (errcodes !== undefined && !isInteger(errcodes)) throw new Violation('not one whole number');
  });
}
