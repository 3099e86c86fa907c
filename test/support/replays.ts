// Replays recordings of the tests against Hydra and `wireup run`, and plays them as transcripts.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, onTestFinished } from 'vitest';

import { installed } from './installed';
import { cuttings, play } from './play';
import { lines, run, wireup, wireupRun, type Transport } from './run';
import { parseTranscripts } from './transcript';

/** In milliseconds, for a busy machine. */
const deadline = 60_000;

/** A new folder for recordings. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'recordings-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** How the recorded ranks have ended, and so those of the replay. */
export type Ending = 'finalized' | 'left' | 'aborted' | 'garbage';

/** What the report of a rank ends with. */
const lastLines: Readonly<Record<Ending, RegExp>> = {
  finalized: / answers, none differs$/,
  left: / answers, none differs; the rank hangs up without finalize, as recorded$/,
  aborted: / answers, none differs; the rank aborts the job, as recorded$/,
  // Hydra ends at it, and kills its ranks. A recording may end with the connection or, before that, with the kill.
  garbage:
    / answers, none differs(?: before a message that is no request of PMI, at which .*|; the rank waits until the job is ended, as recorded)?$/,
};

/** Replays recordings with one launcher, and returns the report: for each rank its lines. */
export async function replay(
  files: readonly string[],
  launcher: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string; report: string[] }> {
  const report = join(newFolder(), 'report');
  const result = await run(wireup('replay', '--report', report, ...files, '--', ...launcher), {
    deadline,
    environment,
  });
  return { ...result, report: lines(readFileSync(report, 'utf8')) };
}

/**
 * No answer may differ, and every rank ends as recorded.
 *
 * @param ranks those that must report their end, such as 1.0 for one that was spawned
 * @param size how many are launched, if `ranks` has not all of them
 */
export async function replayEverywhere(
  files: readonly string[],
  ranks: readonly string[],
  ending: Ending = 'finalized',
  transports: readonly Transport[] = ['fd'],
  size?: number,
): Promise<void> {
  const launched = size ?? ranks.filter((rank) => !rank.includes('.')).length;
  const hydra = [installed('mpiexec'), '-n', String(launched)];
  for (const launcher of [hydra, ...transports.map((transport) => wireupRun(launched, transport))]) {
    const { code, stderr, report } = await replay(files, launcher);
    const found = JSON.stringify({ launcher, code, stderr, report });
    for (const rank of ranks) {
      const last = report.filter((line) => line.startsWith(`${rank}: `)).at(-1);
      expect(last, found).toMatch(lastLines[ending]);
    }
    expect(
      report.filter((line) => / differs: |left out/.test(line)),
      found,
    ).toEqual([]);
    if (ending === 'finalized') expect({ code, stderr }, found).toEqual({ code: 0, stderr: '' });
    // Hydra learns of a hang-up, or of the exit of the rank, by chance.
    else if (launcher !== hydra && ending === 'left') expect(code, found).toBe(1);
    else if (ending === 'aborted') expect(code, found).toBe(7);
  }
}

/**
 * The recordings of a job are a test that our server passes.
 *
 * @param files of all ranks
 */
export async function expectPlayed(files: readonly string[], groups = 1): Promise<void> {
  const { code, stdout, stderr } = await run(wireup('trace', '--transcript', ...files), { deadline });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const transcripts = parseTranscripts('recording', stdout);
  expect(transcripts).toHaveLength(groups);
  for (const transcript of transcripts) {
    for (const cutting of cuttings) {
      // The page belongs to the failure.
      const result = await play(transcript, 'tcp', cutting).then(
        () => 'passed',
        (error: unknown) => (error as Error).message,
      );
      expect(result, `${cutting}\n${stdout}`).toBe('passed');
    }
  }
}
