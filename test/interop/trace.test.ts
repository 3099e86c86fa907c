// Recordings of MPICH and of Slurm's PMI-2 client: they are whole, break no rule, and become transcripts that pass.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';

import { isMessage, RecordingParser, type MessageRecord, type TraceRecord } from '../../lib/trace/format';
import { dynamicMpich, needs, installed } from '../support/installed';
import { compile, program } from '../support/programs';
import { expectPlayed, replay, replayEverywhere, type Ending } from '../support/replays';
import { root } from '../support/root';
import { lines, run, transports, wireup, wireupRun, type Result, type Transport } from '../support/run';

vi.setConfig({ testTimeout: 90_000 });

const folder = mkdtempSync(join(tmpdir(), 'trace-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

/** Runs a job, and returns its recording. */
async function record(
  ranks: number,
  transport: Transport,
  ...argv: string[]
): Promise<{ file: string; records: TraceRecord[] }> {
  const { file, records, ...result } = await recordAny(ranks, transport, ...argv);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return { file, records };
}

/** The same for a job that may fail. */
async function recordAny(
  ranks: number,
  transport: Transport,
  ...argv: string[]
): Promise<Result & { file: string; records: TraceRecord[] }> {
  const file = join(folder, `${++files}.jsonl`);
  const result = await run(wireupRun(ranks, transport, '--trace-file', file, ...argv), { deadline: 80_000 });
  const parser = new RecordingParser(file);
  const records = [...parser.push(readFileSync(file))];
  parser.end();
  return { ...result, file, records };
}

function textsOf(records: TraceRecord[], group: number, rank: number, dir: 'C' | 'S'): string[] {
  return records
    .filter((one): one is MessageRecord => isMessage(one) && one.group === group && one.rank === rank)
    .filter((one) => one.dir === dir)
    .map(({ text }) => text!);
}

async function trace(...args: string[]): Promise<string> {
  const result = await run(wireup('trace', ...args));
  expect(result).toMatchObject({ code: 0, stderr: '' });
  return result.stdout;
}

/** Neither side has broken a rule. */
async function expectLawful(file: string): Promise<void> {
  expect(lines(await trace(file)).filter((line) => / {6}rule /.test(line))).toEqual([]);
}

const mpich = needs('mpicc');
describe.skipIf(mpich.missing)(`MPICH${mpich.note}`, () => {
  it.each(transports)('its start and end, --pmi %s', async (transport) => {
    const { file, records } = await record(4, transport, program('hello'));
    for (const rank of [0, 1, 2, 3]) {
      const sent = textsOf(records, 0, rank, 'C');
      expect(sent).toContain('cmd=init pmi_version=1 pmi_subversion=1');
      expect(sent.filter((text) => text.startsWith('cmd=put '))).not.toEqual([]);
      expect(sent.at(-1)).toBe('cmd=finalize');
      expect(textsOf(records, 0, rank, 'S').at(-1)).toBe('cmd=finalize_ack');
    }
    await expectLawful(file);
    await expectPlayed([file]);
    await replayEverywhere([file], ['0', '1', '2', '3'], 'finalized', [transport]);
  });
});

interface Row {
  what: string;
  argv: () => string[];
  ending: Ending;
}

const rows: Row[] = [
  { what: 'is killed', argv: () => [program('kill_self'), '0', '11'], ending: 'left' },
  { what: 'exits without finalize', argv: () => [program('exit_before_finalize'), '0', '5'], ending: 'left' },
  { what: 'sends an abort', argv: () => [program('raw_abort'), '0', '7'], ending: 'aborted' },
  {
    what: 'forks',
    argv: () => ['sh', '-c', '"$0" & wait $!; exit', program('hello')],
    ending: 'finalized',
  },
  { what: 'never speaks', argv: () => ['true'], ending: 'finalized' },
  {
    what: 'sends garbage',
    argv: () => [
      'bash',
      '-c',
      String.raw`printf '\0\377garbage\nmore\n' >&$PMI_FD; read -t 60 a <&$PMI_FD; read -t 60 a <&$PMI_FD`,
    ],
    ending: 'garbage',
  },
];

const any = needs('mpicc', 'mpiexec');
describe.skipIf(any.missing)(`a rank that ends in another way${any.note}`, () => {
  it.each(rows)('that $what', async ({ argv, ending }) => {
    const { file } = await recordAny(1, 'fd', ...argv());
    await replayEverywhere([file], ['0'], ending);
    await expectPlayed([file]);
  });

  it('that never speaks, --pmi tcp: it is not in the recording', async () => {
    const { file, records } = await recordAny(1, 'tcp', 'true');
    expect(records).toEqual([]);
    await replayEverywhere([file], ['0']);
  });

  it.each(transports)('of two ranks, of which one aborts, --pmi %s', async (transport) => {
    const { file } = await recordAny(2, transport, program('raw_abort'), '1', '7');
    await replayEverywhere([file], ['1'], 'aborted', [transport], 2);
    await expectPlayed([file]);
  });
});

const compiled = needs('cc', 'mpiexec');
it.skipIf(compiled.missing)(
  `PMI-2: one rank aborts while another one is in a fence${compiled.note}`,
  async () => {
    const library = join(root, 'build/Release/libpmi2.so.0');
    const { file } = await recordAny(2, 'fd', program('pmi2_calls'), library, 'abort');
    const hydra = [installed('mpiexec'), '-n', '2'];
    for (const launcher of [hydra, wireupRun(2, 'fd')]) {
      const { report } = await replay([file], launcher);
      expect(report.at(-1), report.join('\n')).toBeDefined();
      expect(report.filter((line) => / differs: |difference/.test(line))).toEqual([]);
      expect(
        report.some(
          (line) => line.startsWith('1: ') && line.endsWith('the rank aborts the job, as recorded'),
        ),
      ).toBe(true);
    }
    await expectPlayed([file]);
  },
);

const slurm = needs('cc', 'libpmi2');
describe.skipIf(slurm.missing)(`Slurm's PMI-2 client${slurm.note}`, () => {
  it.each(transports)('an exchange, --pmi %s', async (transport) => {
    const { file, records } = await record(
      4,
      transport,
      program('pmi2_calls'),
      installed('libpmi2'),
      'exchange',
    );
    for (const rank of [0, 1, 2, 3]) {
      const frames = records.filter(isMessage).filter((one) => one.rank === rank && one.wire === '2');
      expect(frames.filter(({ dir }) => dir === 'C').at(-1)!.text).toMatch(/^cmd=finalize;/);
      // It pads the length of a frame with blanks on the right.
      expect(frames.filter(({ dir }) => dir === 'C').at(-1)!.length).toMatch(/^\d+ +$/);
      // Over PMI_PORT a PMI_ID crosses, which is masked.
      const identified = frames.find(({ text }) => text!.startsWith('cmd=fullinit;'))!;
      // With --pmi unix wireup-exec has identified the rank before.
      if (transport !== 'tcp') expect(identified.masked).toBeUndefined();
      else expect(identified.text).toMatch(/^cmd=fullinit;(?:.*;)?(?:srcid|pmirank)=\*\*\*;/);
    }
    await expectPlayed([file]);
    await replayEverywhere([file], ['0', '1', '2', '3'], 'finalized', [transport]);
  });

  it('a spawn: the messages of the spawned process group have its number', async () => {
    for (const name of ['one', 'two']) writeFileSync(join(folder, name), '#!/bin/sh\n', { mode: 0o755 });
    // The children are searched in the PATH of the command.
    vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
    const { file, records } = await record(1, 'fd', program('pmi2_calls'), installed('libpmi2'), 'spawn');
    expect(textsOf(records, 0, 0, 'C').some((text) => text.startsWith('cmd=spawn;'))).toBe(true);
    expect(records.some(({ group, rank }) => group === 1 && rank === 0)).toBe(true);
    await replayEverywhere([file], ['0', '1.0', '1.1', '1.2'], 'finalized', transports);
    await expectPlayed([file], 2);
  });
});

/** The place of the first record that matches, after another place. */
function placeOf(records: TraceRecord[], what: object, after = -1): number {
  const at = records.findIndex(
    (record, index) =>
      index > after && Object.entries(what).every(([name, value]) => Reflect.get(record, name) === value),
  );
  expect(at, JSON.stringify(what)).toBeGreaterThan(after);
  return at;
}

const spawning = dynamicMpich();
describe.skipIf(spawning.missing)(`MPI_Comm_spawn${spawning.note}`, () => {
  it.each(transports)('of two children, --pmi %s: the lines of both process groups', async (transport) => {
    const { file, records } = await record(2, transport, compile('spawn', spawning.mpicc), 'one', '2');
    // Rank 0 sends the whole block before the children are started, and gets its reply after it.
    const block = placeOf(records, { group: 0, rank: 0, dir: 'C', text: 'mcmd=spawn' });
    const sent = textsOf(records, 0, 0, 'C');
    const from = sent.indexOf('mcmd=spawn');
    expect(sent.slice(from, sent.indexOf('endcmd') + 1).map((text) => text.replace(/=.*/, ''))).toEqual([
      ...['mcmd', 'nprocs', 'execname', 'totspawns', 'spawnssofar', 'arg1', 'arg2', 'argcnt'],
      ...['preput_num', 'preput_key_0', 'preput_val_0', 'info_num', 'endcmd'],
    ]);
    const port = sent.find((text) => text.startsWith('preput_val_0='))!.slice('preput_val_0='.length);
    expect(port).toMatch(/^tag#0\$/);
    const end = placeOf(records, { group: 0, rank: 0, dir: 'C', text: 'endcmd' }, block);
    placeOf(records, { group: 0, rank: 0, dir: 'S', text: 'cmd=spawn_result rc=0 errcodes=0,0' }, end);
    expect(textsOf(records, 0, 1, 'C')).not.toContain('mcmd=spawn');

    const kvsname = textsOf(records, 1, 0, 'S')
      .find((text) => text.startsWith('cmd=my_kvsname '))!
      .slice(23);
    expect(textsOf(records, 0, 0, 'S')).not.toContain(`cmd=my_kvsname kvsname=${kvsname}`);
    for (const rank of [0, 1]) {
      let at = placeOf(records, { group: 1, rank, event: 'connected' }, end);
      for (const [dir, text] of [
        ['C', 'cmd=init pmi_version=1 pmi_subversion=1'],
        ['S', 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0'],
        ['C', 'cmd=get_my_kvsname'],
        ['S', `cmd=my_kvsname kvsname=${kvsname}`],
        ['C', 'cmd=barrier_in'],
        ['S', 'cmd=barrier_out'],
        ['C', `cmd=get kvsname=${kvsname} key=PARENT_ROOT_PORT_NAME`],
        ['S', `cmd=get_result rc=0 msg=success value=${port}`],
        ['C', 'cmd=finalize'],
        ['S', 'cmd=finalize_ack'],
      ])
        at = placeOf(records, { group: 1, rank, dir, text }, at);
      placeOf(records, { group: 1, rank, event: 'closed' }, at);
      expect(textsOf(records, 0, rank, 'S').at(-1)).toBe('cmd=finalize_ack');
    }
    expect(records.every(({ group }) => group === 0 || group === 1)).toBe(true);

    const shown = lines(await trace(file));
    expect(shown.filter((line) => / 1\.[01]: /.test(line))).toHaveLength(
      records.filter(({ group }) => group === 1).length,
    );
    expect(shown).toHaveLength(records.length);
    await expectLawful(file);
    await replayEverywhere([file], ['0', '1', '1.0', '1.1'], 'finalized', [transport]);
    await expectPlayed([file], 2);
  });
});
