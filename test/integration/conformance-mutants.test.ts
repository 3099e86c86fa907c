/**
 * Servers and clients that break one rule each. `wireup check` reports that rule, and no other MUST.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';

import { checkClient } from '../../lib/conformance/client/check-client';
import type { Manner, Reply } from '../../lib/conformance/client/model';
import { ModelServer, type ClientTransport } from '../../lib/conformance/client/model-server';
import { runProgram } from '../../lib/conformance/client/run-program';
import type { Finding } from '../../lib/conformance/finding';
import { checkAsRank } from '../../lib/conformance/server/check-rank';
import { readJournals } from '../../lib/conformance/server/journal';
import type { PmiVersion } from '../../lib/conformance/rule';
import { ruleOf } from '../../lib/conformance/rules';
import type { Request } from '../../lib/conformance/wire';
import { frameOf } from '../../lib/conformance/wire';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { wireup } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });

/** The broken rules of the level MUST. */
function broken(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ rule, status }) => status === 'failed' && ruleOf(rule).level === 'MUST')
    .map(({ rule }) => rule);
}

// Servers

const error = [
  ['rc', '-1'],
  ['msg', 'no'],
] as const;

/** Replaces the attributes of one reply, in both versions. */
function changed(
  command: string,
  change: (reply: Reply, request: Request, rank: number) => Reply['attributes'],
): Manner {
  return {
    reply: (reply, request, rank) =>
      reply.command === command ? { ...reply, attributes: change(reply, request, rank) } : reply,
  };
}

const without =
  (name: string) =>
  (reply: Reply): Reply['attributes'] =>
    reply.attributes.filter(([each]) => each !== name);

const instead =
  (name: string, value: string) =>
  (reply: Reply): Reply['attributes'] =>
    reply.attributes.map(([each, old]) => [each, each === name ? value : old]);

/** Replaces a reply by bytes. */
function bytes(command: string, text: string): Manner {
  return { reply: (reply) => (reply.command === command ? text : reply) };
}

const keyOf = ({ attributes }: Request): string => attributes.get('key') ?? '';

/** Releases every rank at once. Rank 0 comes to the barrier when rank 1 has left it. */
function earlyRelease(): Manner {
  let left = (): void => undefined;
  const hasLeft = new Promise<void>((resolve) => (left = resolve));
  return {
    barrierOf: () => 1,
    hold: (rank, { command }) => (rank === 0 && command === 'get_my_kvsname' ? hasLeft : undefined),
    reply: (reply, _, rank) => {
      if (rank === 1 && reply.command === 'barrier_out') left();
      return reply;
    },
  };
}

/** Refuses the second barrier of each rank. */
function oneBarrier(command: string): Manner {
  const counts = new Map<number, number>();
  return changed(command, ({ attributes }, _, rank) => {
    const count = (counts.get(rank) ?? 0) + 1;
    counts.set(rank, count);
    return count === 2 ? error : attributes;
  });
}

/** Finds a name that was unpublished. */
function stickyName(): Manner {
  let gone = false;
  return {
    reply: (reply) => {
      if (reply.command === 'unpublish_result') gone = true;
      const found = gone && reply.command === 'lookup_result';
      return found
        ? {
            ...reply,
            attributes: [
              ['rc', '0'],
              ['port', 'port-1'],
            ],
          }
        : reply;
    },
  };
}

type ServerMutant = [rule: string, manner: () => Manner, version?: PmiVersion, transport?: ClientTransport];

const servers: ServerMutant[] = [
  // A descriptor has no other number of the rank.
  ['ENV-1', () => ({ environment: (rank) => ({ PMI_RANK: ` ${rank}` }) }), '1.1', 'fd'],
  ['ENV-2', () => ({ environment: () => ({ PMI_SPAWNED: '1' }) })],
  ['ENV-2', () => ({ environment: () => ({ PMI_SPAWNED: '1' }) }), '2'],
  ['ENV-3', () => ({ environment: () => ({ PMI_RANK: '0' }) }), '1.1', 'fd'],
  ['P1-MESSAGE-1', () => bytes('appnum', 'appnum=0\n')],
  ['P1-MESSAGE-2', () => bytes('universe_size', 'cmd=universe_size size=2\ncmd=universe_size size=2\n')],
  ['P1-INIT-1', () => changed('response_to_init', without('pmi_subversion'))],
  ['P1-INIT-2', () => ({ subversion: 2 })],
  ['P1-MAXES-1', () => changed('maxes', without('vallen_max'))],
  ['P1-UNIVERSE-1', () => changed('universe_size', instead('size', 'large'))],
  ['P1-APPNUM-1', () => changed('appnum', without('appnum'))],
  ['P1-KVSNAME-1', () => changed('my_kvsname', without('kvsname'))],
  ['P1-KVSNAME-2', () => changed('my_kvsname', (_, __, rank) => [['kvsname', `kvs-${rank}`]])],
  ['P1-MAP-1', () => ({ mapping: '(vector,0,1,2)' })],
  ['P1-PUT-1', () => changed('put_result', () => error)],
  [
    'P1-PUT-2',
    () =>
      changed('put_result', ({ attributes }, request) => (keyOf(request).length > 40 ? error : attributes)),
  ],
  [
    'P1-PUT-3',
    () =>
      changed('get_result', ({ attributes }) =>
        attributes.map(([name, value]) => [name, value.slice(0, 1000)]),
      ),
  ],
  [
    'P1-GET-1',
    () =>
      changed('get_result', ({ attributes }) =>
        attributes.map(([name, value]) => [name, value.split('=')[0]!]),
      ),
  ],
  [
    'P1-GET-2',
    () => changed('get_result', ({ attributes }) => (attributes.at(-1)![1] === '' ? error : attributes)),
  ],
  [
    'P1-GET-3',
    () =>
      changed('get_result', ({ attributes }) =>
        attributes[0]![1] === '0'
          ? attributes
          : [
              ['rc', '0'],
              ['value', 'unknown'],
            ],
      ),
  ],
  [
    'P1-GET-6',
    () =>
      changed('get_result', ({ attributes }, request) =>
        keyOf(request) === 'check-whole'
          ? [
              ['rc', '0'],
              ['value', 'check'],
            ]
          : attributes,
      ),
  ],
  ['P1-BARRIER-1', earlyRelease],
  ['P1-BARRIER-2', () => ({ sees: (rank, key, by) => by === rank || !/^check-\d+$/.test(key) })],
  ['P1-BARRIER-3', () => oneBarrier('barrier_out')],
  ['P1-NAME-2', () => changed('lookup_result', instead('port', 'another'))],
  [
    'P1-NAME-3',
    () =>
      changed('lookup_result', ({ attributes }, request) =>
        request.attributes.get('service')!.endsWith('-missing')
          ? [
              ['rc', '0'],
              ['port', 'x'],
            ]
          : attributes,
      ),
  ],
  ['P1-NAME-4', stickyName],
  ['P1-FINALIZE-1', () => bytes('finalize_ack', 'cmd=finalize_result\n')],
  ['P12-INIT-1', () => changed('response_to_init', () => error), '1.2'],
  [
    'P12-BARRIER-1',
    () => ({
      subversion: 2,
      ...changed('barrier_out', ({ attributes }, request) =>
        request.attributes.has('group') ? error : attributes,
      ),
    }),
    '1.2',
  ],
  [
    'P2-MESSAGE-1',
    () => bytes('info-putnodeattr-response', frameOf('cmd=info-putnodeattr-response;rc=0;x=1')),
    '2',
  ],
  [
    'P2-MESSAGE-3',
    () => ({
      reply: (reply, request) =>
        request.attributes.has('thrid') ? frameOf('cmd=job-getid-response;rc=0;jobid=check-kvs;') : reply,
    }),
    '2',
  ],
  ['P2-FULLINIT-1', () => changed('fullinit-response', without('appnum')), '2'],
  ['P2-FULLINIT-2', () => changed('fullinit-response', instead('size', '3')), '2'],
  [
    'P2-FULLINIT-3',
    () => changed('fullinit-response', ({ attributes }) => [...attributes, ['spawner-jobid', 'x']]),
    '2',
  ],
  ['P2-PUT-1', () => changed('kvs-put-response', () => error), '2'],
  [
    'P2-GET-1',
    () =>
      changed('kvs-get-response', (reply) =>
        reply.attributes.at(-1)![0] === 'value' ? without('found')(reply) : reply.attributes,
      ),
    '2',
  ],
  [
    'P2-GET-2',
    () =>
      changed('kvs-get-response', ({ attributes }, request) =>
        keyOf(request) === 'check-missing'
          ? [
              ['rc', '0'],
              ['found', 'TRUE'],
              ['value', 'x'],
            ]
          : attributes,
      ),
    '2',
  ],
  ['P2-FENCE-2', () => ({ sees: (rank, key, by) => by === rank || !/^check-\d+$/.test(key) }), '2'],
  ['P2-FENCE-3', () => oneBarrier('kvs-fence-response'), '2'],
  ['P2-NODE-1', () => changed('info-getnodeattr-response', instead('value', 'there')), '2'],
  ['P2-JOB-1', () => ({ mapping: 'unknown' }), '2'],
  ['P2-FINALIZE-1', () => changed('finalize-response', () => error), '2'],
  ['PORT-ACK-1', () => changed('initack', () => error), '1.1', 'tcp'],
  [
    'PORT-ACK-2',
    () => ({
      reply: (reply) => (reply.attributes[0]?.[0] === 'size' && reply.command === 'set' ? undefined : reply),
    }),
    '1.1',
    'tcp',
  ],
];

/** In milliseconds, for one reply. */
const timeout = 3000;

/** What rank 0 of two finds. */
async function findingsOf(
  manner: Manner,
  version: PmiVersion,
  transport: ClientTransport,
): Promise<readonly Finding[]> {
  if (transport === 'fd') return findingsOfProcesses(manner, version);
  const server = await ModelServer.open(2, transport, manner);
  try {
    const reports = await Promise.all(
      [0, 1].map((rank) =>
        checkAsRank({
          environment: { PMI_RANK: String(rank), PMI_SIZE: '2', ...server.environmentOf(rank) },
          version,
          timeout,
          destructive: [],
          skipped: [],
          observer: {
            onPlace: () => undefined,
            onBegin: () => undefined,
            onLine: () => undefined,
            onFinding: () => undefined,
          },
        }),
      ),
    );
    return reports.find(({ rank }) => rank === 0)!.findings;
  } finally {
    server.close();
  }
}

/** The same with `wireup check server`, whose ranks inherit their connections. */
async function findingsOfProcesses(manner: Manner, version: PmiVersion): Promise<readonly Finding[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mutant-'));
  try {
    const words = ['--journal', folder, '--pmi-version', version, '--timeout', String(timeout / 1000)];
    const program = wireup('check', 'server', ...words);
    await runProgram({ program, size: 2, transport: 'fd', timeout: 30_000 }, manner);
    return readJournals(folder, '', () => undefined)!.report!.findings;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function expectBroken([
  rule,
  manner,
  version = '1.1',
  transport = 'unix',
]: ServerMutant): Promise<void> {
  expect(broken(await findingsOf(manner(), version, transport))).toEqual([rule]);
}

test.concurrent.each(servers)('a server that breaks %s', (...mutant) => expectBroken(mutant));

// Not beside others: a busy process reads a slow request at once. The ranks are processes, because rank 1 waits for rank 0.
test('a server that takes each read for a request breaks P1-MESSAGE-3', () =>
  expectBroken([
    'P1-MESSAGE-3',
    () => ({ input: (text) => (/^cmd=.*\n$/.test(text) ? text : '') }),
    '1.1',
    'fd',
  ]));

test.each(['fd', 'unix'] as const)('a server that breaks nothing, --pmi %s', async (transport) => {
  const failed: Finding[] = [];
  for (const version of ['1.1', '1.2', '2'] as const) {
    const findings = await findingsOf({ subversion: version === '1.2' ? 2 : 1 }, version, transport);
    failed.push(...findings.filter(({ status }) => status === 'failed'));
  }
  expect(failed).toEqual([]);
});

// Clients

const clients: [rule: string, fault: string, transport?: ClientTransport][] = [
  ['C-RUN-1', 'run'],
  ['C-PORT-1', 'pmiid', 'tcp'],
  ['C1-MESSAGE-1', 'malformed'],
  ['C1-MESSAGE-2', 'pipeline'],
  ['C1-MESSAGE-3', 'command'],
  ['C1-INIT-1', 'first'],
  ['C1-KVSNAME-1', 'kvsname'],
  ['C1-PUT-1', 'key'],
  ['C1-PUT-2', 'value'],
  ['C1-PUT-3', 'characters'],
  ['C1-PUT-4', 'prefix'],
  ['C1-PUT-5', 'twice'],
  ['C1-FINALIZE-2', 'late'],
  ['C1-READ-4', 'read'],
  ['C1-READ-5', 'rc'],
  ['C1-READ-6', 'msg'],
  ['C1-READ-9', 'mapping'],
  ['C1-READ-11', 'error'],
];

const compiler = needs('cc');

function checkMutant(fault: string, transport: ClientTransport = 'fd'): ReturnType<typeof checkClient> {
  return checkClient({ program: [program('mutant_client'), fault], size: 1, transport, timeout: 20_000 });
}

describe.skipIf(compiler.missing)(`clients${compiler.note}`, () => {
  test.concurrent.each(clients)('a client that breaks %s', async (rule, fault, transport) => {
    const { findings } = await checkMutant(fault, transport);
    // The server refuses a client with another PMI_ID, so its program cannot succeed.
    expect(broken(findings)).toEqual(rule === 'C-PORT-1' ? ['C-RUN-1', rule] : [rule]);
  });

  test.each([
    ['C1-READ-1', 'order'],
    ['C1-READ-2', 'extra'],
    ['C1-FINALIZE-1', 'unfinished'],
  ])('a client that breaks %s, which is a SHOULD', async (rule, fault) => {
    const { findings } = await checkMutant(fault);
    expect(findings.filter(({ status }) => status === 'failed').map((finding) => finding.rule)).toEqual([
      rule,
    ]);
  });

  test('a client that breaks nothing', async () => {
    const { findings } = await checkMutant('none');
    expect(findings.filter(({ status }) => status === 'failed')).toEqual([]);
  });
});
