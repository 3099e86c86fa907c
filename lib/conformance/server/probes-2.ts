/** The checks of PMI-2. */
import { NotOffered, NotTried, Violation, type Findings } from '../finding';
import { isInteger, isProcessMapping, isUnsigned, type Message } from '../wire';
import { judge } from './probes-1';
import type { Place } from './probes-start';
import { gather, meet, type Gathered, type Space } from './ranks';
import type { Route } from './raw-connection';
import { FrameSession, isError, type LineSession } from './session';

/** Fences wait for other ranks. */
const FENCE_TIMEOUTS = 20;

/** Every character that a value of a frame can have without an escape. */
const ALL_CHARACTERS = String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 32 + i)).replace(';', '');

class Kvs implements Space {
  readonly #session: FrameSession;
  readonly jobid: string;

  constructor(session: FrameSession, jobid: string) {
    this.#session = session;
    this.jobid = jobid;
  }

  async put(key: string, value: string): Promise<void> {
    await this.#session.succeed(`cmd=kvs-put;key=${key};value=${value};`, 'kvs-put-response');
  }

  getFrame(key: string): string {
    return `cmd=kvs-get;jobid=${this.jobid};srcid=-1;key=${key};`;
  }

  ask(key: string): Promise<Message> {
    return this.#session.ask(this.getFrame(key), 'kvs-get-response');
  }

  /** Undefined also if the reply breaks a rule. */
  async get(key: string): Promise<string | undefined> {
    const message = await this.#session.exchange(this.getFrame(key));
    return isFound(message) ? message.attributes.get('value') : undefined;
  }

  async barrier(): Promise<void> {
    const { timeout } = this.#session;
    await this.#session.succeed('cmd=kvs-fence;', 'kvs-fence-response', {
      timeout: timeout * FENCE_TIMEOUTS,
    });
  }
}

const isFound = (message: Message): boolean =>
  !isError(message) && message.attributes.get('found')?.toUpperCase() !== 'FALSE';

/** What is known of this rank before fullinit. */
interface RankOfFrames {
  readonly place: Place;
  readonly route: Route;
  readonly environment: NodeJS.ProcessEnv;
}

export async function probePmi2(findings: Findings, lines: LineSession, rank: RankOfFrames): Promise<Place> {
  await findings.check('P2-INIT-1', [], async () => {
    const message = await lines.ask('cmd=init pmi_version=2 pmi_subversion=0', 'response_to_init');
    const version = message.attributes.get('pmi_version');
    if (isError(message) || version !== '2') throw new NotOffered(`the server speaks PMI-${version ?? 1}`);
  });
  if (!findings.passed('P2-INIT-1')) {
    for (const rule of OTHERS) await findings.check(rule, ['P2-INIT-1'], async () => undefined);
    return rank.place;
  }
  const session = new FrameSession(lines.connection, lines.transcript, lines.timeout);
  const place = await fullinit(findings, session, rank);
  if (place === undefined) {
    passive(findings, session);
    return rank.place;
  }
  const kvs = await information(findings, session);
  if (kvs === undefined) {
    passive(findings, session);
    return place;
  }
  if (place.rank === 0) await alone(findings, session, kvs);
  await together(findings, session, kvs, place);
  await findings.check('P2-FINALIZE-1', [], async () => {
    await session.succeed('cmd=finalize;', 'finalize-response');
  });
  session.checkUnread();
  passive(findings, session);
  return place;
}

/** The rules that depend on P2-INIT-1. */
const OTHERS = [
  'P2-MESSAGE-1',
  'P2-MESSAGE-2',
  'P2-MESSAGE-3',
  'P2-FULLINIT-1',
  'P2-FULLINIT-2',
  'P2-FULLINIT-3',
  'P2-JOBID-1',
  'P2-PUT-1',
  'P2-GET-1',
  'P2-GET-2',
  'P2-FENCE-1',
  'P2-FENCE-2',
  'P2-FENCE-3',
  'P2-NODE-1',
  'P2-NODE-2',
  'P2-JOB-1',
  'P2-JOB-2',
  'P2-NAME-1',
  'P2-NAME-2',
  'P2-NAME-3',
  'P2-FINALIZE-1',
];

function passive(findings: Findings, { malformed, unasked }: FrameSession): void {
  const fault = malformed ?? unasked;
  if (fault !== undefined) findings.fail('P2-MESSAGE-1', fault.reason, fault.lines);
  else findings.add({ rule: 'P2-MESSAGE-1', status: 'passed' });
}

async function fullinit(
  findings: Findings,
  session: FrameSession,
  { place: { rank, size }, route, environment }: RankOfFrames,
): Promise<Place | undefined> {
  let reply: Message | undefined;
  await findings.check('P2-FULLINIT-1', [], async () => {
    const who = route.kind === 'port' ? (route.id ?? '0') : rank;
    const job = environment.PMI_JOBID === undefined ? '' : `pmijobid=${environment.PMI_JOBID};`;
    const message = await session.succeed(
      `cmd=fullinit;${job}pmirank=${who};threaded=TRUE;`,
      'fullinit-response',
    );
    const { attributes } = message;
    if (!isUnsigned(attributes.get('rank')) || !isUnsigned(attributes.get('size')))
      throw new Violation('expected rank and size');
    if (!isInteger(attributes.get('appnum'))) throw new Violation('expected appnum');
    if (Number(attributes.get('rank')) >= Number(attributes.get('size')))
      throw new Violation('the rank is not below the size');
    reply = message;
  });
  if (reply === undefined) return undefined;
  const { attributes } = reply;
  const lines = session.transcript.since(session.transcript.length - 2);
  const place = { rank: Number(attributes.get('rank')), size: Number(attributes.get('size')) };
  await findings.check('P2-FULLINIT-2', [], async () => {
    if (environment.PMI_RANK === undefined || environment.PMI_SIZE === undefined)
      throw new NotTried('PMI_RANK or PMI_SIZE is not set');
    if (place.rank !== rank || place.size !== size)
      throw new Violation(`expected rank ${rank} of ${size}`, lines);
  });
  await findings.check('P2-FULLINIT-3', [], async () => {
    if (attributes.has('spawner-jobid')) throw new Violation('this process was not spawned', lines);
  });
  return place;
}

async function information(findings: Findings, session: FrameSession): Promise<Kvs | undefined> {
  let kvs: Kvs | undefined;
  await findings.check('P2-JOBID-1', [], async () => {
    const { attributes } = await session.succeed('cmd=job-getid;', 'job-getid-response');
    const jobid = attributes.get('jobid');
    if (jobid === undefined || jobid === '') throw new Violation('expected jobid=');
    kvs = new Kvs(session, jobid);
  });
  return kvs;
}

async function alone(findings: Findings, session: FrameSession, kvs: Kvs): Promise<void> {
  await findings.check('P2-MESSAGE-2', ['P2-JOBID-1'], async () => {
    await session.succeed('cmd=job-getid;', 'job-getid-response', { slowly: true });
  });
  await findings.check('P2-MESSAGE-3', ['P2-JOBID-1'], async () => {
    const { attributes } = await session.succeed('cmd=job-getid;thrid=7;', 'job-getid-response');
    if (attributes.get('thrid') !== '7') throw new Violation('expected thrid=7');
  });
  await findings.check('P2-PUT-1', [], () => kvs.put('check-one', 'check'));
  await findings.check('P2-NODE-1', [], async () => {
    await session.succeed('cmd=info-putnodeattr;key=check-node;value=here;', 'info-putnodeattr-response');
    const { attributes } = await session.succeed(
      'cmd=info-getnodeattr;key=check-node;wait=FALSE;',
      'info-getnodeattr-response',
    );
    if (attributes.get('value') !== 'here') throw new Violation('the value does not come back');
  });
  await findings.check('P2-NODE-2', [], async () => {
    const message = await session.ask(
      'cmd=info-getnodeattr;key=check-missing;wait=FALSE;',
      'info-getnodeattr-response',
    );
    if (isFound(message)) throw new Violation('the key does not exist');
  });
  const jobAttribute = (key: string): Promise<Message> =>
    session.ask(`cmd=info-getjobattr;key=${key};`, 'info-getjobattr-response');
  await findings.check('P2-JOB-1', [], async () => {
    const message = await jobAttribute('PMI_process_mapping');
    if (!isFound(message) || !isProcessMapping(message.attributes.get('value') ?? ' '))
      throw new Violation('neither a vector of blocks nor empty');
  });
  await findings.check('P2-JOB-2', [], async () => {
    const message = await jobAttribute('universeSize');
    if (!isFound(message) || !isInteger(message.attributes.get('value')))
      throw new Violation('not a whole number');
  });
  await names(findings, session);
}

async function names(findings: Findings, session: FrameSession): Promise<void> {
  const service = `wireup-check-${process.pid}`;
  const lookup = (name: string): Promise<Message> =>
    session.ask(`cmd=name-lookup;name=${name};`, 'name-lookup-response');
  await findings.check('P2-NAME-1', [], async () => {
    const message = await session.ask(
      `cmd=name-publish;name=${service};port=port-1;`,
      'name-publish-response',
    );
    if (isError(message))
      throw new NotOffered(`name-publish: ${message.attributes.get('errmsg') ?? 'an error'}`);
  });
  await findings.check('P2-NAME-2', ['P2-NAME-1'], async () => {
    const { attributes } = await lookup(service);
    // Slurm's server sends the port as value.
    if ((attributes.get('port') ?? attributes.get('value')) !== 'port-1')
      throw new Violation('the port does not come back');
  });
  await findings.check('P2-NAME-3', ['P2-NAME-1'], async () => {
    if (isFound(await lookup(`${service}-missing`))) throw new Violation('no rank has published it');
  });
}

async function together(
  findings: Findings,
  session: FrameSession,
  kvs: Kvs,
  { rank, size }: Place,
): Promise<void> {
  let all: Gathered | undefined;
  const begin = session.transcript.length;
  await findings.check('P2-FENCE-3', rank === 0 ? ['P2-PUT-1'] : [], async () => {
    // A key is sure to be there only after a fence.
    if (rank === 0) await kvs.put('check-characters', ALL_CHARACTERS);
    const own = await meet(kvs, rank, size, kvs.jobid);
    for (let i = 0; i < 3; ++i) await kvs.barrier();
    all = await gather(kvs, own, size, session.timeout);
  });
  if (rank !== 0 || all === undefined) return;
  const lines = session.transcript.since(begin).filter((line) => /fence|key=check-\d+;/.test(line));
  await findings.check('P2-GET-1', ['P2-PUT-1'], async () => {
    const { attributes } = await kvs.ask('check-characters');
    if (attributes.get('found')?.toUpperCase() !== 'TRUE') throw new Violation('expected found=TRUE');
    if (attributes.get('value') !== ALL_CHARACTERS) throw new Violation('the value does not come back');
  });
  await findings.check('P2-GET-2', [], async () => {
    if (isFound(await kvs.ask('check-missing'))) throw new Violation('the key does not exist');
  });
  judge(findings, all, size, lines, {
    barrier: 'P2-FENCE-1',
    visible: 'P2-FENCE-2',
    name: 'P2-JOBID-1',
    get: 'P2-GET-1',
  });
}
