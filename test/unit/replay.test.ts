/** The replay of recordings against servers that are this test. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { compareAnswers, parseMessage, replaceValues, type Comparison } from '../../lib/trace/answers';
import type { Direction, TraceRecord, Wire } from '../../lib/trace/format';
import { Replay, type Finding } from '../../lib/trace/replay';
import { JobEnds, SpawnedGroups } from '../../lib/trace/whole-job';

test.each<[wire: Wire, text: string, command: string, attributes: Record<string, string>]>([
  ['1', 'cmd=get  kvsname=k\tkey=a', 'get', { kvsname: 'k', key: 'a' }],
  [
    '1',
    'cmd=get_result rc=0 msg=a b c value=x y=z ',
    'get_result',
    { rc: '0', msg: 'a b c', value: 'x y=z ' },
  ],
  ['1', 'mcmd=spawn', 'spawn', {}],
  ['1', 'no attribute = at all', '', { 'no attribute': '', '': ' at all' }],
  ['2', 'cmd=x;a=1;b=two words;c=one;;two;', 'x', { a: '1', b: 'two words', c: 'one;;two' }],
  ['1', '', '', {}],
])('wire %s: %j', (wire, text, command, attributes) => {
  const parsed = parseMessage(wire, text);
  expect(parsed.command).toBe(command);
  if (!text.startsWith('no ')) expect(Object.fromEntries(parsed.attributes)).toEqual(attributes);
});

test.each<[Comparison, request: string, recorded: string, received: string]>([
  ['same', 'cmd=put', 'cmd=put_result rc=0 msg=success', 'cmd=put_result msg=success'],
  ['allowed', 'cmd=put', 'cmd=put_result rc=0 msg=success', 'cmd=put_result rc=0'],
  ['allowed', 'cmd=get key=a', 'cmd=get_result rc=-1 msg=none', 'cmd=get_result rc=14 msg=not found'],
  ['differs', 'cmd=get key=a', 'cmd=get_result rc=0 value=1', 'cmd=get_result rc=-1'],
  ['differs', 'cmd=get key=a', 'cmd=get_result rc=0 value=1', 'cmd=get_result rc=0 value=2'],
  ['allowed', 'cmd=get key=PMI_process_mapping', 'cmd=get_result rc=0 value=1', 'cmd=get_result rc=1'],
  ['allowed', 'cmd=get_my_kvsname', 'cmd=my_kvsname kvsname=a', 'cmd=my_kvsname kvsname=b'],
  ['allowed', 'cmd=get_universe_size', 'cmd=universe_size size=4', 'cmd=universe_size size=-1'],
  ['differs', 'cmd=barrier_in', 'cmd=barrier_out', 'cmd=barrier_out_of_order'],
  ['differs', 'cmd=init', 'cmd=response_to_init pmi_version=1', 'cmd=response_to_init pmi_version=2'],
])('%s: the answers to %s', (expected, request, recorded, received) => {
  const [asked, before, now] = [request, recorded, received].map((text) => parseMessage('1', text));
  expect(compareAnswers(asked, before!, now!)).toBe(expected);
});

test('values are replaced whole, and all other bytes stay', () => {
  const replace = (wire: Wire, text: string): string =>
    replaceValues(wire, text, (name, value) => (name === 'kvsname' && value === 'old' ? 'new' : undefined));
  expect(replace('1', 'cmd=put  kvsname=old key=kvsname value=old')).toBe(
    'cmd=put  kvsname=new key=kvsname value=old',
  );
  expect(replace('1', 'cmd=put other-kvsname=old kvsname=older')).toBe(
    'cmd=put other-kvsname=old kvsname=older',
  );
  expect(replace('2', 'cmd=x;kvsname=old;value=a b;')).toBe('cmd=x;kvsname=new;value=a b;');
});

const say = (dir: Direction, text: string, wire: Wire = '1', more: object = {}): TraceRecord => ({
  t: 0,
  group: 0,
  rank: 0,
  dir,
  wire,
  text,
  ...more,
});

/** Replays against a server that reacts to each piece that it gets. Returns the findings and what the server got. */
async function play(
  records: Iterable<TraceRecord>,
  react: (socket: Socket, text: string) => void,
  timeout = 20_000,
): Promise<{ findings: Finding[]; got: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'replay-'));
  let got = '';
  const server = createServer((socket) => {
    socket.on('error', () => undefined).setEncoding('utf8');
    socket.on('data', (text: string) => {
      got += text;
      react(socket, text);
    });
  });
  onTestFinished(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, 's');
  server.listen(path);
  await once(server, 'listening');
  const socket = connect(path);
  await once(socket, 'connect');
  const findings: Finding[] = [];
  const replay = new Replay(socket, {
    timeout,
    rank: 5,
    jobId: '7.0',
    spawned: (index) => Promise.resolve(['other', 'a', String(index)]),
    isEndedByAnother: () => Promise.resolve(false),
  });
  const all = (async function* () {
    yield* records;
  })();
  for await (const finding of replay.run(all)) if (finding.type !== 'sent') findings.push(finding);
  return { findings, got };
}

test('the kvsname is translated, and a different answer is found', async () => {
  const { findings, got } = await play(
    [
      say('C', 'cmd=initack pmiid=***', '1', { masked: true }),
      say('S', 'cmd=initack rc=0'),
      say('S', 'cmd=set size=1'),
      say('C', 'cmd=get_my_kvsname'),
      say('S', 'cmd=my_kvsname kvsname=old'),
      say('C', 'cmd=get kvsname=old key=a'),
      say('S', 'cmd=get_result rc=0 msg=success value=x'),
    ],
    (socket, text) =>
      socket.write(text.includes('kvsname=new') ? 'cmd=get_result rc=-1\n' : 'cmd=my_kvsname kvsname=new\n'),
  );
  expect(got).toBe('cmd=get_my_kvsname\ncmd=get kvsname=new key=a\n');
  expect(findings).toMatchObject([
    { type: 'answer', comparison: 'allowed' },
    { type: 'answer', comparison: 'differs', received: 'cmd=get_result rc=-1' },
    { type: 'end', end: 'over' },
  ]);
});

test('frames of PMI-2 may be answered in another order under a thrid', async () => {
  const frame = (text: string): string => `${String(text.length).padStart(6)}${text}`;
  const { findings, got } = await play(
    [
      say('C', 'cmd=init pmi_version=2 pmi_subversion=0'),
      say('S', 'cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0'),
      say('C', 'cmd=fullinit;pmijobid=1.0;pmirank=0;', '2'),
      say('S', 'cmd=fullinit-response;rc=0;', '2'),
      say('C', 'cmd=kvs-get;thrid=1;key=a;', '2'),
      say('C', 'cmd=kvs-get;thrid=2;key=b;', '2', { length: '26    ' }),
      say('S', 'cmd=kvs-get-response;thrid=1;value=A;rc=0;', '2'),
      say('S', 'cmd=kvs-get-response;thrid=2;value=B;rc=0;', '2'),
    ],
    (socket, text) => {
      if (text.startsWith('cmd=init'))
        socket.write('cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n');
      else if (text.includes('fullinit')) socket.write(frame('cmd=fullinit-response;rc=0;'));
      if (text.includes('thrid=2'))
        socket.write(
          frame('cmd=kvs-get-response;rc=0;value=B;thrid=2;') +
            frame('cmd=kvs-get-response;thrid=1;value=A;rc=0;'),
        );
    },
  );
  expect(got).toContain('    36cmd=fullinit;pmijobid=7.0;pmirank=5;');
  expect(got).toContain('26    cmd=kvs-get;thrid=2;key=b;');
  expect(findings).toMatchObject([
    ...[1, 2, 3, 4].map((number) => ({ type: 'answer', number, comparison: 'same' })),
    { type: 'end', end: 'hang-up' },
  ]);
});

const spawn = (...more: TraceRecord[]): TraceRecord[] => [
  ...['mcmd=spawn', 'nprocs=1', 'execname=a', 'arg1=b', 'argcnt=1', 'info_num=0', 'endcmd'].map((text) =>
    say('C', text),
  ),
  ...more,
];

test('spawns start other programs, and several blocks have one answer', async () => {
  let blocks = 0;
  const { findings, got } = await play(
    [
      ...spawn(...spawn(say('S', 'cmd=spawn_result rc=0 errcodes=0,0'))),
      ...spawn(say('S', 'cmd=spawn_result rc=0 errcodes=0,5')),
    ],
    (socket, text) => {
      blocks += text.match(/endcmd/g)?.length ?? 0;
      if (blocks < 2) return;
      blocks = 1;
      socket.write('cmd=spawn_result rc=0\n');
    },
  );
  const block = (number: number): string =>
    `mcmd=spawn\nnprocs=1\nexecname=other\nargcnt=2\narg1=a\narg2=${number}\ninfo_num=0\nendcmd\n`;
  expect(got).toBe(block(0) + block(0) + block(1));
  expect(findings).toMatchObject([
    { type: 'answer', comparison: 'same' },
    { type: 'answer', comparison: 'differs' },
    { type: 'end', end: 'over' },
  ]);
});

test('a spawn of PMI-2 starts other programs', async () => {
  const { got } = await play(
    [
      say('C', 'cmd=spawn;thrid=1;ncmds=1;subcmd=a;;b;maxprocs=2;argc=1;argv0=x;infokeycount=0;', '2'),
      say('S', 'cmd=spawn-response;thrid=1;rc=0;jobid=j;', '2'),
    ],
    (socket) => socket.end('cmd=spawn-response;thrid=1;rc=0;jobid=j;'),
  );
  expect(got.slice(6)).toBe(
    'cmd=spawn;thrid=1;ncmds=1;subcmd=other;maxprocs=2;argc=2;argv0=a;argv1=0;infokeycount=0;',
  );
});

test('a spawn that has failed is left out with its answer', async () => {
  const { findings, got } = await play(
    [
      ...spawn(say('S', 'cmd=spawn_result rc=-1')),
      say('C', 'cmd=finalize'),
      say('S', 'cmd=finalize_ack'),
      ...spawn(),
    ],
    (socket) => socket.write('cmd=finalize_ack\n'),
  );
  expect(got).toBe('cmd=finalize\n');
  expect(findings).toMatchObject([
    { type: 'left-out', text: 'mcmd=spawn' },
    { type: 'answer', comparison: 'same' },
    { type: 'left-out', text: 'mcmd=spawn', reason: 'it has no answer' },
    { type: 'end', end: 'over' },
  ]);
});

const init = [
  say('C', 'cmd=init pmi_version=1 pmi_subversion=1'),
  say('S', 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0'),
];
const closed = (more: object = {}): TraceRecord => ({ t: 0, group: 0, rank: 0, event: 'closed', ...more });
const answered = { type: 'answer', comparison: 'same' };

/** Answers to what the client sends. */
const answers =
  (table: Record<string, string | undefined>) =>
  (socket: Socket, text: string): void => {
    for (const line of text.trimEnd().split('\n')) {
      const answer = {
        'cmd=init pmi_version=1 pmi_subversion=1': (init[1] as { text: string }).text,
        ...table,
      }[line];
      if (answer === 'end') socket.end();
      else if (answer !== undefined) socket.write(`${answer}\n`);
    }
  };

test.each<
  [string, TraceRecord[], (socket: Socket, text: string) => void, findings: object[], timeout?: number]
>([
  [
    'a rank that was killed hangs up',
    [...init, closed({ lost: true })],
    answers({}),
    [answered, { type: 'end', end: 'hang-up' }],
  ],
  ['a rank that never speaks', [closed()], answers({}), [{ type: 'end', end: 'over' }]],
  [
    'a rank that aborts the job',
    [...init, say('C', 'cmd=abort exitcode=3'), closed({ lost: true })],
    answers({ 'cmd=abort exitcode=3': 'end' }),
    [answered, { type: 'end', end: 'abort' }],
  ],
  [
    'an abort that does not end the job',
    [say('C', 'cmd=abort exitcode=3')],
    answers({}),
    [{ type: 'end' }, { type: 'failed', reason: 'the job has not ended 0.1 s after the abort' }],
    100,
  ],
  [
    'a rank that was ended in a barrier, as the job is now',
    [...init, say('C', 'cmd=barrier_in'), closed({ lost: true })],
    answers({ 'cmd=barrier_in': 'end' }),
    [answered, { type: 'end', end: 'ended' }],
  ],
  [
    'a rank that was ended in a barrier, which does not end now either',
    [say('C', 'cmd=barrier_in'), closed({ lost: true })],
    answers({}),
    [{ type: 'end', end: 'ended' }],
    100,
  ],
  [
    'a rank that was ended in a barrier, which ends now',
    [...init, say('C', 'cmd=barrier_in'), closed({ lost: true })],
    answers({ 'cmd=barrier_in': 'cmd=barrier_out' }),
    [
      answered,
      { type: 'end', end: 'ended' },
      { type: 'answer', comparison: 'differs', recorded: 'no answer', received: 'cmd=barrier_out' },
    ],
  ],
  [
    'a server that closes the connection, as recorded',
    [...init, say('C', 'cmd=barrier_in'), closed({ reason: 'late' })],
    answers({ 'cmd=barrier_in': 'end' }),
    [answered, { type: 'end', end: 'server' }],
  ],
  [
    'a server that does not close the connection',
    [closed({ reason: 'late' })],
    answers({}),
    [{ type: 'failed', reason: 'the server has not closed the connection within 0.1 s' }],
    100,
  ],
  [
    'garbage: errors of other words',
    [say('C', 'junk'), say('S', 'cmd=unknown rc=-1'), closed()],
    answers({ junk: 'cmd=what rc=7 msg=bad' }),
    [
      { type: 'invalid', text: 'junk' },
      { type: 'answer', comparison: 'allowed' },
      { type: 'end', end: 'over' },
    ],
  ],
  [
    'garbage: a server that closes the connection instead',
    [say('C', 'junk'), say('S', 'cmd=unknown rc=-1'), say('C', 'more'), closed()],
    answers({ junk: 'end' }),
    [
      { type: 'invalid' },
      { type: 'answer', comparison: 'allowed', received: 'the server closes the connection' },
      { type: 'end', end: 'server' },
    ],
  ],
  [
    'garbage: a server that answers instead of closing the connection',
    [say('C', 'junk'), closed({ reason: 'the server has closed it' })],
    answers({ junk: 'cmd=what rc=7' }),
    [{ type: 'invalid' }, { type: 'answer', comparison: 'allowed' }, { type: 'end', end: 'over' }],
  ],
  [
    'garbage: a server that answers instead of ending the rank, and goes on',
    [say('C', 'junk'), say('C', 'more'), closed()],
    answers({ junk: 'cmd=what rc=7', more: 'cmd=what rc=7' }),
    [
      { type: 'invalid' },
      { type: 'end', end: 'ended' },
      { type: 'answer', comparison: 'allowed' },
      { type: 'answer', comparison: 'allowed' },
    ],
    // Longer than the test may take.
    600_000,
  ],
  [
    'garbage: a server that is content with it',
    [say('C', 'junk'), say('S', 'cmd=unknown rc=-1'), closed()],
    answers({ junk: 'cmd=unknown rc=0' }),
    [{ type: 'invalid' }, { type: 'answer', comparison: 'differs' }, { type: 'end' }],
  ],
])('%s', async (_, records, react, expected, timeout) => {
  const { findings } = await play(records, react, timeout);
  expect(findings).toMatchObject(expected);
});

const asked = [say('C', 'cmd=get_maxes'), say('S', 'cmd=maxes')];
test.each<[string, TraceRecord[], (socket: Socket) => void, string]>([
  ['a server that hangs up', asked, (socket) => socket.end(), 'the server closed the connection instead of'],
  [
    'a server that sends a byte now and then',
    asked,
    (socket) => {
      const timer = setInterval(() => socket.write('x'), 10);
      onTestFinished(() => clearInterval(timer));
    },
    'no answer within 0.1 s',
  ],
  [
    'a server that reads nothing',
    Array.from({ length: 20 }, () => say('C', 'x'.repeat(1 << 20), 'raw')),
    (socket) => socket.pause(),
    'the server has read nothing for 0.1 s',
  ],
  ['a silent server', asked, () => undefined, 'no answer within 0.1 s'],
  [
    'a masked secret',
    [say('C', 'cmd=other secret=***', '1', { masked: true })],
    () => undefined,
    "a secret is masked in 'cmd=other secret=***'",
  ],
  [
    'dropped records',
    [{ t: 0, group: 0, rank: 0, event: 'dropped', count: 3 }],
    () => undefined,
    'the recording lacks messages here',
  ],
  [
    'more answers than a client would wait for',
    Array.from({ length: 70_000 }, () => say('S', 'cmd=maxes')),
    () => undefined,
    'the recording has too many answers',
  ],
])('%s ends the replay', async (_, records, react, reason) => {
  const { findings } = await play(records, react, 100);
  expect(findings).toHaveLength(1);
  expect((findings[0] as { reason: string }).reason).toContain(reason);
});

test('a server that sends without end after an abort ends the replay', async () => {
  const flood = (socket: Socket): void => {
    const write = (): void => {
      while (socket.write('cmd=maxes\n'.repeat(1000)));
    };
    socket.on('drain', write);
    write();
  };
  const { findings } = await play([say('C', 'cmd=abort exitcode=1')], flood, 100);
  expect(findings).toMatchObject([
    { type: 'end', end: 'abort' },
    { type: 'failed', reason: 'the job has not ended 0.1 s after the abort' },
  ]);
});

test('a fence that is answered before the job ends is no difference, and the rank waits on', async () => {
  const { findings } = await play(
    [
      say('C', 'cmd=init pmi_version=2 pmi_subversion=0'),
      say('S', 'cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0'),
      say('C', 'cmd=kvs-fence;', '2'),
      closed(),
    ],
    (socket, text) => {
      if (text.startsWith('cmd=init'))
        socket.write('cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n');
      else socket.end('    28cmd=kvs-fence-response;rc=0;');
    },
  );
  expect(findings).toMatchObject([
    { type: 'answer', comparison: 'same' },
    { type: 'end', end: 'ended' },
    { type: 'answer', comparison: 'allowed', received: 'cmd=kvs-fence-response;rc=0;' },
  ]);
});

test('a flood without an end of a line is one answer that differs', async () => {
  const { findings } = await play(asked, (socket) => socket.write('x'.repeat(3 << 20)));
  expect(findings).toMatchObject([{ type: 'answer', comparison: 'differs' }, { type: 'end' }]);
});

test('the groups of spawns are those in their order, if the recording has all of them', () => {
  const spawned = (rank: number, rc: number): TraceRecord[] =>
    spawn(say('S', `cmd=spawn_result rc=${rc}`)).map((record) => ({ ...record, rank }));
  const groups = (...records: TraceRecord[]): SpawnedGroups => {
    const collected = new SpawnedGroups();
    for (const record of records) collected.add(record);
    return collected;
  };
  const all = [...spawned(0, 0), ...spawned(1, -1), ...spawned(1, 0), ...spawned(0, 0)];
  const of = [3, 7, 2].map((group) => ({ ...closed(), group }));
  const known = groups(...all, ...of);
  expect([known.of('0', 0), known.of('1', 0), known.of('0', 1), known.of('0', 2)]).toEqual([
    2,
    3,
    7,
    undefined,
  ]);
  expect(groups(...all, ...of.slice(1)).of('0', 0)).toBeUndefined();
});

test('the rank that has ended the job', () => {
  const ends = new JobEnds();
  const add = (rank: number, at: number, ...records: TraceRecord[]): void => {
    for (const record of records) ends.add({ ...record, rank }, at);
  };
  for (const rank of [0, 1, 2, 3]) add(rank, 10, ...init);
  add(3, 20, say('C', 'cmd=finalize'), closed());
  expect([0, 1, 2, 3].some((rank) => ends.isBefore(String(rank)))).toBe(false);
  add(1, 30, say('C', 'cmd=abort exitcode=1'));
  add(0, 31, closed({ lost: true }));
  add(1, 32, closed({ lost: true }));
  expect([0, 2, 3].map((rank) => ends.isBefore(String(rank)))).toEqual([true, true, false]);
});
