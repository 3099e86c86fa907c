/** The lines of the command on stderr, if their reader is slow. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { report } from '../../lib/cli/report';

let writable = true;
let written = '';

vi.mock('node:fs', async (original) => ({
  ...(await original<typeof import('node:fs')>()),
  writeSync: (fd: number, bytes: Uint8Array) => {
    expect(fd).toBe(2);
    written += Buffer.from(bytes).toString();
    return bytes.length;
  },
}));
vi.mock('../../lib/native', () => ({ native: { waitWritable: () => writable } }));

beforeEach(() => {
  written = '';
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

const lines = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `line ${i} ${'x'.repeat(100)}`);

test('a reader that keeps up gets each line at once', () => {
  for (const line of lines(1000)) report(line);
  expect(written).toBe(
    lines(1000)
      .map((line) => `wireup: ${line}\n`)
      .join(''),
  );
});

test('a slow reader gets the first lines, and a count of those that were dropped', async () => {
  writable = false;
  for (const line of lines(1000)) report(line);
  // It would fit, but later lines must not come before the count.
  report('short');
  expect(written).toBe('');
  writable = true;
  await vi.advanceTimersByTimeAsync(1000);
  const got = written.trimEnd().split('\n');
  const kept = got.length - 1;
  expect(kept).toBeGreaterThan(500);
  expect(got.slice(0, kept)).toEqual(lines(kept).map((line) => `wireup: ${line}`));
  expect(got[kept]).toBe(
    `wireup: ${1001 - kept} lines are missing here, because the reader of stderr was too slow`,
  );
  written = '';
  report('after it');
  expect(written).toBe('wireup: after it\n');
});
