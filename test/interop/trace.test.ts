// Recordings of MPICH and of Slurm's PMI-2 client: they are whole, break no rule, and become transcripts that pass.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';

import { isMessage, RecordingParser, type MessageRecord, type TraceRecord } from '../../lib/trace/format';
import { dynamicMpich, needs, installed } from '../support/installed';
import { compile, program } from '../support/programs';
import { lines, run, transports, wireup, wireupRun, type Transport } from '../support/run';
import { parseTranscripts, play } from '../support/transcript';

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
  const file = join(folder, `${++files}.jsonl`);
  const result = await run(wireupRun(ranks, transport, '--trace-file', file, ...argv), { deadline: 80_000 });
  expect(result).toMatchObject({ code: 0, stderr: '' });
  const parser = new RecordingParser(file);
  const records = [...parser.push(readFileSync(file))];
  parser.end();
  return { file, records };
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
  expect(lines(await trace(file)).filter((line) => line.includes(': ^ '))).toEqual([]);
}

/** The recording is a test that our server passes. */
async function expectReplayed(file: string): Promise<void> {
  const transcripts = parseTranscripts('recording', await trace(file, '--transcript'));
  expect(transcripts).toHaveLength(1);
  await play(transcripts[0]!, 'tcp', 'line by line');
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
    await expectReplayed(file);
  });
});

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
    await expectReplayed(file);
  });

  it('a spawn: the messages of the spawned process group have its number', async () => {
    for (const name of ['one', 'two']) writeFileSync(join(folder, name), '#!/bin/sh\n', { mode: 0o755 });
    // The children are searched in the PATH of the command.
    vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
    const { records } = await record(1, 'fd', program('pmi2_calls'), installed('libpmi2'), 'spawn');
    expect(textsOf(records, 0, 0, 'C').some((text) => text.startsWith('cmd=spawn;'))).toBe(true);
    expect(records.some(({ group, rank }) => group === 1 && rank === 0)).toBe(true);
  });
});

const spawning = dynamicMpich();
describe.skipIf(spawning.missing)(`MPI_Comm_spawn${spawning.note}`, () => {
  it.each(transports)('of two children, --pmi %s', async (transport) => {
    const { records } = await record(2, transport, compile('spawn', spawning.mpicc), 'one', '2');
    expect(textsOf(records, 0, 0, 'C')).toContain('mcmd=spawn');
    for (const rank of [0, 1]) expect(textsOf(records, 1, rank, 'C').at(-1)).toBe('cmd=finalize');
  });
});
