/** Judges what clients send, rule by rule. */
import type { Judge, ModelClient, ModelJob, Request } from './model';

export interface Fault {
  readonly reason: string;
  readonly lines: readonly string[];
}

/** The attributes that each command of PMI-1 needs. */
const commands1: Readonly<Record<string, readonly string[]>> = {
  initack: ['pmiid'],
  init: ['pmi_version', 'pmi_subversion'],
  get_maxes: [],
  get_universe_size: [],
  get_appnum: [],
  get_my_kvsname: [],
  put: ['key', 'value'],
  get: ['key'],
  barrier_in: [],
  finalize: [],
  abort: [],
  publish_name: ['service', 'port'],
  unpublish_name: ['service'],
  lookup_name: ['service'],
  spawn: [],
  singinit: ['pmi_version', 'pmi_subversion'],
};

/** The attributes that each block of a spawn needs. */
const SPAWN = ['nprocs', 'execname'];

/** The attributes that each command of PMI-2 needs. */
const commands2: Readonly<Record<string, readonly string[]>> = {
  fullinit: [],
  'job-getid': [],
  'kvs-put': ['key', 'value'],
  'kvs-get': ['key'],
  'kvs-fence': [],
  finalize: [],
  abort: [],
  spawn: ['ncmds'],
  'name-publish': ['name', 'port'],
  'name-unpublish': ['name'],
  'name-lookup': ['name'],
  'info-putnodeattr': ['key', 'value'],
  'info-getnodeattr': ['key'],
  'info-getjobattr': ['key'],
  'job-connect': ['jobid'],
  'job-disconnect': ['jobid'],
};

export class ClientJudge implements Judge {
  /** The first fault of each rule. */
  readonly faults = new Map<string, Fault>();
  /** Rules to which some request was subject. */
  readonly seen = new Set<string>();
  /** Called when the server must end a connection. */
  onRefused: (client: ModelClient) => void = () => undefined;
  /** Called when a rank has sent abort. */
  onAborted: (rank: number) => void = () => undefined;
  readonly #expectedIds: readonly string[] | undefined;
  readonly #keys = new Set<string>();
  #job: ModelJob | undefined;

  /** @param pmiIds by rank, if the clients must identify themselves */
  constructor(pmiIds: readonly string[] | undefined) {
    this.#expectedIds = pmiIds;
  }

  /** The process group that it judges. */
  set job(job: ModelJob) {
    this.#job = job;
  }

  onMalformed(client: ModelClient, reason: string): void {
    this.#fail(`C${client.version}-MESSAGE-1`, reason, client);
  }

  onAbort({ rank }: ModelClient): void {
    this.onAborted(rank);
  }

  onOverlap(client: ModelClient): void {
    this.#fail(
      `C${client.version}-MESSAGE-2`,
      'a request comes before the reply to the one before it',
      client,
    );
  }

  onRequest(client: ModelClient, request: Request): void {
    const { command, attributes, version } = request;
    const prefix = `C${version}`;
    this.seen.add(`${prefix}-MESSAGE-1`).add(`${prefix}-MESSAGE-2`).add(`${prefix}-MESSAGE-3`);
    const needed = (version === 1 ? commands1 : commands2)[command];
    const missing = needed?.find((name) => !attributes.has(name));
    if (needed === undefined) this.#fail(`${prefix}-MESSAGE-3`, `${command} is no command`, client);
    else if (missing !== undefined) this.#fail(`${prefix}-MESSAGE-3`, `${command} needs ${missing}`, client);
    if (request.block !== undefined) this.#judgeBlock(client, request.block);
    if (client.commands.at(-1) === 'finalize')
      this.#fail(version === 1 ? 'C1-FINALIZE-2' : 'C2-FINALIZE-1', `${command} follows finalize`, client);
    if (version === 1) this.#judgeLine(client, request);
    else this.#judgeFrame(client, request);
  }

  #judgeBlock(client: ModelClient, block: readonly string[]): void {
    const names = block.map((line) => line.split('=')[0]!);
    const missing = SPAWN.find((name) => !names.includes(name));
    if (missing !== undefined) this.#fail('C1-MESSAGE-3', `spawn needs ${missing}`, client);
  }

  #judgeLine(client: ModelClient, { command, attributes }: Request): void {
    const { commands } = client;
    const isInit2 = command === 'init' && attributes.get('pmi_version') === '2';
    if (this.#expectedIds !== undefined && commands.length === 0 && !isInit2) {
      this.seen.add('C-PORT-1');
      if (command !== 'initack') this.#fail('C-PORT-1', `the first request is ${command}`, client);
      else if (!this.#expectedIds.includes(attributes.get('pmiid') ?? ''))
        this.#fail('C-PORT-1', 'pmiid is not PMI_ID', client);
    }
    const requests = commands.filter((name) => name !== 'initack');
    if (command !== 'initack' && requests.length === 0) {
      this.seen.add('C1-INIT-1');
      // A client may abort at any time.
      if (command !== 'init' && command !== 'abort')
        this.#fail('C1-INIT-1', `the first request is ${command}`, client);
    }
    this.seen.add('C1-FINALIZE-2');
    if (command !== 'put' && command !== 'get') return;
    this.seen.add('C1-KVSNAME-1');
    const kvsname = attributes.get('kvsname');
    if (kvsname !== undefined && kvsname !== this.#job?.kvsname)
      this.#fail('C1-KVSNAME-1', `the server's kvsname is ${this.#job?.kvsname}`, client);
    if (command === 'put') this.#judgePut(client, attributes.get('key') ?? '', attributes.get('value') ?? '');
  }

  #judgePut(client: ModelClient, key: string, value: string): void {
    for (let i = 1; i <= 5; ++i) this.seen.add(`C1-PUT-${i}`);
    const limits = this.#job!.limits;
    if (key === '' || key.length >= limits.key)
      this.#fail('C1-PUT-1', `the key has ${key.length} bytes, keylen_max is ${limits.key}`, client);
    if (value.length >= limits.value)
      this.#fail('C1-PUT-2', `the value has ${value.length} bytes, vallen_max is ${limits.value}`, client);
    if (!/^[!-~]*$/.test(value)) this.#fail('C1-PUT-3', 'the value has another character', client);
    if (key.startsWith('PMI_')) this.#fail('C1-PUT-4', `the key is ${key}`, client);
    if (this.#keys.has(key)) this.#fail('C1-PUT-5', `${key} is put again`, client);
    this.#keys.add(key);
  }

  #judgeFrame(client: ModelClient, { command, attributes }: Request): void {
    if (client.commands.length === 1) {
      this.seen.add('C2-FULLINIT-1');
      const who = attributes.get('pmirank') ?? attributes.get('srcid');
      const ids = this.#expectedIds;
      const known = ids === undefined ? who === String(client.rank) : who !== undefined && ids.includes(who);
      if (command !== 'fullinit') this.#fail('C2-FULLINIT-1', `the first frame is ${command}`, client);
      else if (!known) this.#fail('C2-FULLINIT-1', 'pmirank is another one', client);
      if (ids !== undefined) {
        this.seen.add('C-PORT-1');
        if (command !== 'fullinit' || !known) this.#fail('C-PORT-1', 'fullinit does not have PMI_ID', client);
      }
    }
    this.seen.add('C2-FINALIZE-1');
    if (command !== 'kvs-put') return;
    this.seen.add('C2-PUT-1');
    const [key, value] = [attributes.get('key') ?? '', attributes.get('value') ?? ''];
    if (key === '' || key.length >= 64 || value.length >= 1024)
      this.#fail('C2-PUT-1', `the key has ${key.length} bytes, the value ${value.length}`, client);
  }

  #fail(rule: string, reason: string, { transcript }: ModelClient): void {
    if (!this.faults.has(rule))
      this.faults.set(rule, { reason, lines: transcript.since(Math.max(0, transcript.length - 4)) });
  }
}
