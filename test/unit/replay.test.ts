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
  const replay = new Replay(socket, { timeout, rank: 5, jobId: '7.0' });
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
      say('C', 'cmd=abort exitcode=1'),
    ],
    (socket, text) =>
      socket.write(text.includes('kvsname=new') ? 'cmd=get_result rc=-1\n' : 'cmd=my_kvsname kvsname=new\n'),
  );
  expect(got).toBe('cmd=get_my_kvsname\ncmd=get kvsname=new key=a\n');
  expect(findings).toMatchObject([
    { type: 'answer', comparison: 'allowed' },
    { type: 'answer', comparison: 'differs', received: 'cmd=get_result rc=-1' },
    { type: 'left-out', reason: 'it would end the job' },
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
  expect(findings).toMatchObject(
    [1, 2, 3, 4].map((number) => ({ type: 'answer', number, comparison: 'same' })),
  );
});

test('a spawn and its answer are left out', async () => {
  const { findings, got } = await play(
    [
      ...['mcmd=spawn', 'nprocs=1', 'execname=a', 'endcmd'].map((text) => say('C', text)),
      say('S', 'cmd=spawn_result rc=0'),
      say('C', 'cmd=finalize'),
      say('S', 'cmd=finalize_ack'),
    ],
    (socket) => socket.write('cmd=finalize_ack\n'),
  );
  expect(got).toBe('cmd=finalize\n');
  expect(findings).toMatchObject([
    { type: 'left-out', text: 'mcmd=spawn' },
    { type: 'answer', comparison: 'same' },
  ]);
});

const asked = [say('C', 'cmd=get_maxes'), say('S', 'cmd=maxes')];
test.each<[string, TraceRecord[], (socket: Socket) => void, string]>([
  ['a server that hangs up', asked, (socket) => socket.end(), 'the server closed the connection instead of'],
  ['a silent server', asked, () => undefined, 'no answer within 0.1 s'],
  ['a recording without messages', [], () => undefined, 'the recording has no messages'],
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
    'the recording has more than 65536 answers',
  ],
])('%s ends the replay', async (_, records, react, reason) => {
  const { findings } = await play(records, react, 100);
  expect(findings).toHaveLength(1);
  expect((findings[0] as { reason: string }).reason).toContain(reason);
});

test('a flood without an end of a line is one answer that differs', async () => {
  const { findings } = await play(asked, (socket) => socket.write('x'.repeat(3 << 20)));
  expect(findings).toMatchObject([{ type: 'answer', comparison: 'differs' }]);
});
