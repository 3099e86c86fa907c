// Processes that have no business with a job: of other users, and of our own, in every bad manner. They are started
// from text on a command line, because another user may not be able to read this checkout.

import { spawn, type ChildProcess } from 'node:child_process';

/** Nobody that a machine has. */
export const OTHER_UID = 54_321;

export const isRoot = process.geteuid?.() === 0;

/** For `describe.skipIf(asRoot.missing)`: who is not root cannot be two users. With CI=true nothing is skipped. */
export function needsRoot(): { missing: boolean; note: string } {
  if (isRoot) return { missing: false, note: '' };
  if (process.env['CI'] === 'true') throw new Error('CI=true and not root: other users cannot be tried');
  return { missing: true, note: ' (needs root)' };
}

export type Target = { port: number; host: string } | { path: string };

/** Where a server listens, of the URI that it says. */
export function targetOf(uri: string): Target {
  if (uri.startsWith('unix://')) return { path: uri.slice('unix://'.length) };
  const { hostname, port } = new URL(uri);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/**
 * What strangers do with a connection:
 *
 * - `talk`: say something, hear everything until the server hangs up, and tell it
 * - `shoot`: say something and close at once; `reset`: the same, with RST
 * - `idle`: say something (perhaps nothing) and stay
 * - `crowd`: the same, and come again when thrown out
 * - `endless`: write without end, never a newline unless `over` has one; `noise`: random bytes again and again
 */
export type Manner = 'talk' | 'shoot' | 'reset' | 'idle' | 'crowd' | 'endless' | 'noise';

export interface Task {
  target: Target;
  manner: Manner;
  text?: string;
  /** What `endless` writes over and over after the text. */
  over?: string;
  /** How many connections, one after the other (`talk`, `shoot`, `reset`) or side by side. */
  count?: number;
}

function perform(): void {
  const net = require('node:net') as typeof import('node:net');
  const { randomBytes } = require('node:crypto') as typeof import('node:crypto');
  const { target, manner, text = '', over = 'x', count = 1 } = JSON.parse(process.env['TASK']!) as Task;
  const endless = over.repeat(Math.ceil(16_384 / over.length));
  let left = count;
  let heard = '';
  const settled = (): void => {
    if (--left !== 0) return;
    process.stdout.write(`${JSON.stringify(heard)}\n`);
    if (manner === 'talk' || manner === 'shoot' || manner === 'reset') process.exit(0);
  };
  const open = (done: () => void): void => {
    const socket = net.connect(target);
    let connected = false;
    const end = (): void => {
      if (!connected) settled();
      connected = true;
      done();
    };
    socket.on('error', () => undefined);
    socket.on('close', end);
    // Who writes without end does not read.
    if (manner !== 'endless') socket.on('data', (bytes) => (heard += bytes.toString('latin1')));
    socket.on('connect', () => {
      switch (manner) {
        case 'talk':
          socket.write(text);
          return;
        case 'shoot':
          socket.end(text, () => socket.destroy());
          return;
        case 'reset':
          socket.write(text, () => socket.resetAndDestroy());
          return;
        default:
          connected = true;
          settled();
          if (text !== '') socket.write(text);
      }
      if (manner === 'idle' || manner === 'crowd') return;
      const more = (): void => {
        if (socket.destroyed) return;
        socket.write(manner === 'endless' ? endless : randomBytes(16_384), () => setImmediate(more));
      };
      more();
    });
  };
  const sideBySide = manner === 'idle' || manner === 'crowd' || manner === 'endless' || manner === 'noise';
  // Who is thrown out comes again, but for the idle ones, which only take room.
  const again = (): void => open(manner === 'idle' ? () => undefined : again);
  if (sideBySide) {
    for (let i = 0; i < count; i++) again();
    setInterval(() => undefined, 1 << 30);
  } else {
    let begun = 0;
    const next = (): void => {
      if (begun++ < count) open(next);
    };
    next();
  }
}

/** A stranger at work. `ready` resolves with all it heard, when all its connections have been made (or are over). */
export class Stranger implements Disposable {
  readonly ready: Promise<string>;
  readonly #child: ChildProcess;

  constructor(task: Task, uid?: number) {
    this.#child = spawn(process.execPath, ['-e', `(${perform.toString()})()`], {
      cwd: '/',
      env: { PATH: process.env['PATH'], TASK: JSON.stringify(task) },
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    let said = '';
    this.ready = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      // Not at its exit, when its words may lie in the pipe.
      this.#child.on('close', () => reject(new Error(`the stranger ended without a word: ${said}`)));
      this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.endsWith('\n')) resolve(JSON.parse(said) as string);
      });
    });
    this.ready.catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/**
 * The codes of a client of ours that is refused when it connects: over TCP it may have been hung up on before it has
 * asked who the server is, and then does not trust it.
 */
export const refusedCode = /^ERR_PMI_(REFUSED|SERVER_UID)$/;

/** Does it and goes. */
export async function stranger(task: Task, uid?: number): Promise<string> {
  using one = new Stranger(task, uid);
  return await one.ready;
}
