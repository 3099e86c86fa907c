/** The commands of PMI as the documents have them: what each request and each reply needs, and which rule demands the reply. */

export interface Command {
  /** The attributes that the request needs. */
  readonly needs: readonly string[];
  /** The command of the reply; undefined: there is none. */
  readonly reply: string | undefined;
  /** The attributes that a reply without an error needs. */
  readonly returns: readonly string[];
  /** Those of `returns` that are whole numbers. */
  readonly numbers: readonly string[];
  /** The rule that demands this reply. */
  readonly rule: string;
}

type Commands = ReadonlyMap<string, Command>;

function command1(
  reply: string | undefined,
  needs: readonly string[],
  rule = 'P1-MESSAGE-2',
  returns: readonly string[] = [],
  numbers = returns,
): Command {
  return { needs, reply, returns, numbers, rule };
}

const LIMITS = ['kvsname_max', 'keylen_max', 'vallen_max'];
const VERSION = ['pmi_version', 'pmi_subversion'];

/** PMI-1.1 and 1.2. Those of PMI-1.0, such as create_kvs, are in no document that has rules here. */
export const commands1: Commands = new Map(
  Object.entries({
    initack: command1('initack', ['pmiid'], 'PORT-ACK-1'),
    init: command1('response_to_init', VERSION, 'P1-INIT-1', VERSION),
    get_maxes: command1('maxes', [], 'P1-MAXES-1', LIMITS),
    get_universe_size: command1('universe_size', [], 'P1-UNIVERSE-1', ['size']),
    get_appnum: command1('appnum', [], 'P1-APPNUM-1', ['appnum']),
    get_my_kvsname: command1('my_kvsname', [], 'P1-KVSNAME-1', ['kvsname'], []),
    put: command1('put_result', ['key', 'value'], 'P1-PUT-1'),
    get: command1('get_result', ['key'], 'P1-GET-1', ['value'], []),
    barrier_in: command1('barrier_out', []),
    finalize: command1('finalize_ack', [], 'P1-FINALIZE-1'),
    abort: command1(undefined, []),
    publish_name: command1('publish_result', ['service', 'port']),
    unpublish_name: command1('unpublish_result', ['service']),
    lookup_name: command1('lookup_result', ['service'], 'P1-NAME-2', ['port'], []),
    spawn: command1('spawn_result', []),
    singinit: command1('singinit_info', VERSION),
  }),
);

/** The attributes that each block of a spawn needs. */
export const SPAWN_NEEDS: readonly string[] = ['nprocs', 'execname'];

type Row2 = readonly [
  name: string,
  needs: readonly string[],
  rule?: string,
  returns?: readonly string[],
  numbers?: readonly string[],
];

const rows2: readonly Row2[] = [
  ['fullinit', [], 'P2-FULLINIT-1', ['rank', 'size', 'appnum'], ['rank', 'size', 'appnum']],
  ['job-getid', [], 'P2-JOBID-1', ['jobid']],
  ['kvs-put', ['key', 'value'], 'P2-PUT-1'],
  ['kvs-get', ['key'], 'P2-GET-1', ['value']],
  ['kvs-fence', [], 'P2-FENCE-3'],
  ['finalize', [], 'P2-FINALIZE-1'],
  ['spawn', ['ncmds']],
  ['name-publish', ['name', 'port'], 'P2-NAME-1'],
  ['name-unpublish', ['name']],
  ['name-lookup', ['name'], 'P2-NAME-2', ['port']],
  ['info-putnodeattr', ['key', 'value'], 'P2-NODE-1'],
  ['info-getnodeattr', ['key'], 'P2-NODE-1', ['value']],
  ['info-getjobattr', ['key'], 'P2-JOB-1', ['value']],
  ['job-connect', ['jobid']],
  ['job-disconnect', ['jobid']],
];

/** PMI-2, after the change to frames. */
export const commands2: Commands = new Map([
  ['abort', { needs: [], reply: undefined, returns: [], numbers: [], rule: 'P2-MESSAGE-1' }],
  ...rows2.map(([name, needs, rule = 'P2-MESSAGE-1', returns = [], numbers = []]): [string, Command] => [
    name,
    { needs, reply: `${name}-response`, returns, numbers, rule },
  ]),
]);

export function commandsOf(version: 1 | 2): Commands {
  return version === 1 ? commands1 : commands2;
}
