/** The judge of recordings: against the transcripts, the table of messages, and recordings with one fault. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { commandsOf, SPAWN_NEEDS } from '../../lib/conformance/commands';
import { isRule, ruleOf } from '../../lib/conformance/rules';
import type { TraceRecord } from '../../lib/trace/format';
import { marksOf, recordingOf } from '../support/judged';
import { parseTranscripts, readTranscripts } from '../support/transcript';
import { messageTable, servedCommands } from '../support/wire-table';

const transcripts = readTranscripts().map((transcript, i) => ({
  ...transcript,
  name: `${transcript.file} ${i}: ${transcript.title}`,
}));

test.each(['v1', 'v2'] as const)(
  'the transcripts show each request of %s that the server carries out',
  (version) => {
    const shown = new Set(
      transcripts.flatMap(({ lines }) =>
        lines.flatMap((line) => {
          if (line.kind !== 'send') return [];
          const isOfVersion = line.framed === (version === 'v2') || line.text.includes('pmi_version=2');
          return isOfVersion ? (/^m?cmd=([^ ;]+)/.exec(line.text)?.[1] ?? []) : [];
        }),
      ),
    );
    expect(servedCommands(version).filter((command) => !shown.has(command))).toEqual([]);
  },
);

/** The broken rules of the level MUST. */
function brokenMusts(records: readonly TraceRecord[]): string[] {
  const musts = marksOf(records).filter(({ level }) => level === 'MUST');
  return [...new Set(musts.map(({ rule }) => rule))].sort();
}

test.each(transcripts)('$name breaks the rules that it names, and no other MUST', (transcript) => {
  expect(brokenMusts(recordingOf(transcript))).toEqual(transcript.breaks);
});

describe('the message table, the rules and the transcripts agree', () => {
  /** Commands that are in no document that has rules. */
  const withoutRules = ['create_kvs', 'destroy_kvs', 'getbyidx'];
  const requests = messageTable().filter(({ direction }) => direction === 'to-server');

  test.each([1, 2] as const)('PMI-%d: the commands, their replies and what they need', (version) => {
    const name = `v${version}` as const;
    const inTable = requests
      // The init of PMI-2 is a line.
      .filter(
        (row) =>
          row[name] !== '' && !withoutRules.includes(row[name]) && !(version === 2 && row.name === 'init'),
      )
      .map((row) => {
        const reply = messageTable().find((other) => other.name === row.reply)!;
        const of = (presence: string, { attributes }: typeof row): string[] =>
          attributes
            .filter((attribute) => attribute.presence === presence && attribute[name] !== '')
            .map((attribute) => attribute[name]);
        return [
          row[name],
          {
            needs: row.form === 'block' ? [] : of('required', row),
            reply: row.reply === row.name ? undefined : reply[name],
            returns: of('on-success', reply),
          },
        ] as const;
      });
    const inRules = [...commandsOf(version)].map(
      ([command, { needs, reply, returns }]) => [command, { needs, reply, returns }] as const,
    );
    const expected = new Map(inTable);
    // The table has one row for initack and fullinit, and the rules judge fullinit's attributes by C2-FULLINIT-1.
    if (version === 2) {
      expected.set('fullinit', {
        ...expected.get('fullinit')!,
        needs: [],
        returns: ['rank', 'size', 'appnum'],
      });
      expected.set('spawn', { ...expected.get('spawn')!, needs: ['ncmds'] });
    }
    if (version === 1) expected.set('singinit', { ...expected.get('singinit')!, returns: [] });
    expect(Object.fromEntries(inRules)).toEqual(Object.fromEntries(expected));
  });

  test('a block of a spawn', () => {
    const { attributes } = requests.find(({ name }) => name === 'spawn')!;
    const needed = attributes.filter(({ presence }) => presence === 'required').map(({ v1 }) => v1);
    expect([...SPAWN_NEEDS].sort()).toEqual(needed.sort());
  });

  test('each reply is demanded by a rule', () => {
    const rules = [1, 2].flatMap((version) =>
      [...commandsOf(version as 1 | 2).values()].map(({ rule }) => rule),
    );
    expect(rules.filter((rule) => !isRule(rule))).toEqual([]);
  });

  test('each command is in docs/wire.md and in a transcript', () => {
    const page = readFileSync(join(__dirname, '../../docs/wire.md'), 'utf8');
    const sent = new Set(
      transcripts.flatMap(({ lines }) =>
        lines.flatMap((line) => (line.kind === 'send' ? [/^ *m?cmd=([^ ;]*)/.exec(line.text)?.[1]] : [])),
      ),
    );
    const names = requests.flatMap(({ v1, v2 }) => [v1, v2]).filter((name) => name !== '');
    expect(names.filter((name) => !page.includes(`cmd=${name}\``))).toEqual([]);
    expect(names.filter((name) => !sent.has(name))).toEqual([]);
  });

  test('the rules that transcripts name are MUSTs', () => {
    const named = transcripts.flatMap(({ breaks }) => breaks);
    expect(named.filter((rule) => !isRule(rule) || ruleOf(rule).level !== 'MUST')).toEqual([]);
  });
});

/** A whole conversation of two ranks, which breaks nothing. */
const good = `
C0: cmd=init pmi_version=1 pmi_subversion=1
S0: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0
C1: cmd=init pmi_version=1 pmi_subversion=1
S1: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0
C0: cmd=get_maxes
S0: cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024
C0: cmd=get_appnum
S0: cmd=appnum appnum=0
C0: cmd=get_universe_size
S0: cmd=universe_size size=2
C0: cmd=get_my_kvsname
S0: cmd=my_kvsname kvsname=kvs
C1: cmd=get_my_kvsname
S1: cmd=my_kvsname kvsname=kvs
C0: cmd=get kvsname=kvs key=PMI_process_mapping
S0: cmd=get_result rc=0 msg=success value=(vector,(0,1,2))
C0: cmd=put kvsname=kvs key=k value=v
S0: cmd=put_result rc=0 msg=success
C0: cmd=barrier_in
C1: cmd=barrier_in
S0: cmd=barrier_out rc=0
S1: cmd=barrier_out rc=0
C1: cmd=get kvsname=kvs key=k
S1: cmd=get_result rc=0 msg=success value=v
C0: cmd=finalize
S0: cmd=finalize_ack rc=0
`;

const good2 = `
C0: cmd=init pmi_version=2 pmi_subversion=0
S0: cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0
C0> cmd=fullinit;pmirank=0;threaded=TRUE;
S0> cmd=fullinit-response;rc=0;rank=0;size=2;appnum=0;
C0> cmd=kvs-put;thrid=1;key=k;value=v;
S0> cmd=kvs-put-response;thrid=1;rc=0;
C0> cmd=kvs-get;thrid=1;key=k;
S0> cmd=kvs-get-response;thrid=1;rc=0;found=TRUE;value=v;
C0> cmd=info-getjobattr;key=PMI_process_mapping;
S0> cmd=info-getjobattr-response;rc=0;found=TRUE;value=(vector,(0,1,2));
C0> cmd=finalize;
S0> cmd=finalize-response;rc=0;
`;

const goodPort = `
C0: cmd=initack pmiid={pmi_id:1}
S0: cmd=initack rc=0
S0: cmd=set size=2
S0: cmd=set rank=1
S0: cmd=set debug=0
C0: cmd=init pmi_version=1 pmi_subversion=1
S0: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0
`;

function rulesOf(lines: string, options = ''): string[] {
  const [transcript] = parseTranscripts('test', `\`\`\`pmi size=2${options}\n${lines.trim()}\n\`\`\`\n`);
  return [...new Set(marksOf(recordingOf(transcript!)).map(({ rule }) => rule))];
}

test('conversations that keep all rules have no mark', () => {
  expect([rulesOf(good), rulesOf(good2), rulesOf(goodPort, ' transport=port')]).toEqual([[], [], []]);
});

test.each([
  ['P1-MESSAGE-1', good, 'cmd=appnum appnum=0', 'appnum=0 cmd=appnum'],
  ['P1-MESSAGE-2', good, 'S0: cmd=appnum appnum=0', 'S0: cmd=appnum appnum=0\nS0: cmd=appnum appnum=0'],
  ['P1-INIT-1', good, 'S0: cmd=response_to_init pmi_version=1', 'S0: cmd=response_to_init'],
  ['P1-INIT-2', good, 'pmi_subversion=1 rc=0', 'pmi_subversion=2 rc=0'],
  ['P1-MAXES-1', good, ' keylen_max=64', ''],
  ['P1-MAXES-2', good, 'vallen_max=1024', 'vallen_max=63'],
  ['P1-APPNUM-1', good, 'appnum=0', 'appnum=none'],
  ['P1-UNIVERSE-1', good, 'cmd=universe_size size=2', 'cmd=universe size=2'],
  ['P1-KVSNAME-1', good, 'S0: cmd=my_kvsname kvsname=kvs', 'S0: cmd=my_kvsname'],
  ['P1-KVSNAME-2', good, 'S1: cmd=my_kvsname kvsname=kvs', 'S1: cmd=my_kvsname kvsname=another'],
  ['P1-MAP-1', good, '(vector,(0,1,2))', '(0,1,2)'],
  ['P1-PUT-1', good, 'put_result rc=0', 'get_result rc=0'],
  [
    'P1-BARRIER-1',
    good,
    'C1: cmd=barrier_in\nS0: cmd=barrier_out rc=0',
    'S0: cmd=barrier_out rc=0\nC1: cmd=barrier_in',
  ],
  ['P1-GET-1', good, 'value=v\nC0: cmd=finalize', 'value=w\nC0: cmd=finalize'],
  ['P1-GET-1', good, ' value=v\nC0: cmd=finalize', '\nC0: cmd=finalize'],
  ['P1-GET-5', good, 'value=v\nC0: cmd=finalize', 'value=v found=TRUE\nC0: cmd=finalize'],
  ['P1-FINALIZE-1', good, 'finalize_ack rc=0', 'finalize_ack rc=-1'],
  ['P1-ERROR-2', good, 'C1: cmd=get k', 'C1: cmd=getfoo k'],
  [
    'C1-INIT-1',
    good,
    'C0: cmd=init pmi_version=1 pmi_subversion=1\nS0: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n',
    '',
  ],
  ['C1-KVSNAME-1', good, 'cmd=put kvsname=kvs', 'cmd=put kvsname=another'],
  ['C1-PUT-1', good, /key=k\b/g, `key=${'k'.repeat(64)}`],
  ['C1-PUT-2', good, 'key=k value=v', `key=x value=${'v'.repeat(1024)}`],
  ['C1-PUT-3', good, /value=v\n/g, 'value=v w\n'],
  ['C1-PUT-4', good, /key=k\b/g, 'key=PMI_k'],
  ['C1-FINALIZE-2', good, 'S0: cmd=finalize_ack rc=0', 'S0: cmd=finalize_ack rc=0\nC0: cmd=get_appnum'],
  ['C1-MESSAGE-1', good, 'C0: cmd=get_appnum', 'C0: get_appnum'],
  ['C1-MESSAGE-3', good, 'cmd=finalize\n', 'cmd=put key=x\n'],
  ['P2-MESSAGE-1', good2, 'finalize-response;rc=0;', 'finalize-response;rc=0'],
  ['P2-MESSAGE-3', good2, 'kvs-put-response;thrid=1;', 'kvs-put-response;'],
  ['P2-FULLINIT-1', good2, 'appnum=0;', ''],
  ['P2-FULLINIT-2', good2, 'rank=0;size', 'rank=1;size'],
  ['P2-GET-1', good2, 'value=v;\nC0> cmd=info', 'value=w;\nC0> cmd=info'],
  ['P2-JOB-1', good2, '(vector,(0,1,2))', '(0,1,2)'],
  ['P2-FINALIZE-1', good2, 'finalize-response;rc=0;', 'finalize-response;rc=1;'],
  ['C2-FULLINIT-1', good2, 'pmirank=0', 'pmirank=1'],
  ['C2-PUT-1', good2, 'key=k;value=v;', 'key=;value=v;'],
  [
    'PORT-ACK-2',
    goodPort,
    'S0: cmd=set size=2\nS0: cmd=set rank=1',
    'S0: cmd=set rank=1\nS0: cmd=set size=2',
  ],
  ['PORT-ACK-3', goodPort, 'rank=1', 'rank=2'],
  ['C-PORT-1', goodPort, /.*initack.*\n(.*cmd=set.*\n)*/g, ''],
])('%s is found', (rule, lines, from, to) => {
  const found = rulesOf(lines.replace(from, to), lines === goodPort ? ' transport=port' : '');
  expect(found).toContain(rule);
});

test('a gap, or a recording without its beginning, accuses nobody', () => {
  const [transcript] = parseTranscripts('test', `\`\`\`pmi size=2\n${good.trim()}\n\`\`\`\n`);
  const records = recordingOf(transcript!);
  for (let cut = 2; cut < records.length; ++cut) {
    expect(marksOf(records.slice(cut))).toEqual([]);
    const gap: TraceRecord = { t: cut, group: 0, event: 'dropped', count: 3 };
    expect(marksOf([...records.slice(0, cut), gap, ...records.slice(cut + 3)])).toEqual([]);
  }
});
