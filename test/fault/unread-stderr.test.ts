// If stderr is a pipe that is not read, only the lines of `wireup` itself are delayed.

import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { run, wireupRun } from '../support/run';
import { eventually } from '../support/processes';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'unread-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Makes a full pipe. Returns the end for the command, and the end that this test reads. */
async function fullPipe(name: string): Promise<{ stderr: number; reader: number }> {
  const path = join(folder, name);
  expect((await run(['mkfifo', path])).code).toBe(0);
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const block = Buffer.alloc(4096, '.');
  expect(() => {
    for (;;) writeSync(reader, block);
  }).toThrow(/EAGAIN/);
  return { reader, stderr: openSync(path, constants.O_WRONLY) };
}

/** Reads the content of the pipe, without what filled it before. */
function drain(reader: number): string {
  const block = Buffer.alloc(1 << 16);
  let text = '';
  try {
    for (;;) text += block.toString('utf8', 0, readSync(reader, block));
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
  }
  return text.replaceAll('.', '');
}

const exitCode = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('exit', resolve));

function start(stderr: number, ...args: string[]): ChildProcess {
  const [command, ...words] = wireupRun(1, 'fd', ...args);
  const child = spawn(command!, words, { stdio: ['ignore', 'pipe', stderr] });
  closeSync(stderr);
  return child;
}

describe('a stderr that is not read', () => {
  it('does not delay the end of the job at a time limit', async () => {
    const { stderr, reader } = await fullPipe('timeout');
    expect(await exitCode(start(stderr, '--timeout', '0.5', 'tail', '-f', '/dev/null'))).toBe(124);
    closeSync(reader);
  });

  it('does not delay ^C', async () => {
    const { stderr, reader } = await fullPipe('interrupt');
    const child = start(stderr, '-v', 'sh', '-c', "trap '' INT; echo ready; exec tail -f /dev/null");
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    const end = exitCode(child);
    // The kernel merges pending signals of one number, so INT is sent until the command has ended.
    expect(
      await eventually(() => {
        child.kill('SIGINT');
        return child.exitCode !== null || child.signalCode !== null;
      }, 30_000),
    ).toBe(true);
    expect(await end).toBe(130);
    closeSync(reader);
  });

  it('gets the lines once it is read', async () => {
    const { stderr, reader } = await fullPipe('late');
    const child = start(stderr, '-v', 'sh', '-c', 'echo ready; exec tail -f /dev/null');
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    let text = '';
    expect(await eventually(() => (text += drain(reader)).includes('\n'), 30_000)).toBe(true);
    expect(text).toMatch(/^wireup: 1 rank of sh on \S+, PMI over fd\n$/);
    child.kill('SIGTERM');
    expect(await exitCode(child)).toBe(143);
    closeSync(reader);
  });
});
