// Clients that are not ranks of a job and misbehave, of the same user or of another one. They are started from text on
// a command line, because another user may not be able to read this checkout.

import { spawn, type ChildProcess } from 'node:child_process';

/** A uid that no user has. */
export const OTHER_UID = 54_321;

export const isRoot = process.geteuid?.() === 0;

/**
 * For `describe.skipIf(asRoot.missing)`: only root can start processes of another user. With CI=true no test may be
 * skipped.
 */
export function needsRoot(): { missing: boolean; note: string } {
  if (isRoot) return { missing: false, note: '' };
  if (process.env['CI'] === 'true')
    throw new Error('CI=true and not root: processes of another user cannot be tested');
  return { missing: true, note: ' (needs root)' };
}

export type Target = { port: number; host: string } | { path: string };

/** Parses the address of a server. */
export function targetOf(uri: string): Target {
  if (uri.startsWith('unix://')) return { path: uri.slice('unix://'.length) };
  const { hostname, port } = new URL(uri);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/**
 * The behaviour of a client:
 *
 * - `send and read`: sends its text, receives until the server closes the connection, and prints what it received
 * - `send and close`: sends its text and closes at once; `reset`: the same, with RST
 * - `idle`: sends its text, which may be empty, and stays connected
 * - `reconnect`: the same, and connects again when the server closes the connection
 * - `endless`: writes without end, with newlines only if `over` has one; `noise`: writes random bytes without end
 */
export type Behaviour =
  'send and read' | 'send and close' | 'reset' | 'idle' | 'reconnect' | 'endless' | 'noise';

export interface Task {
  target: Target;
  behaviour: Behaviour;
  text?: string;
  /** Of `text`. Default: utf8. */
  encoding?: 'utf8' | 'latin1';
  /** The text that `endless` repeats after `text`. */
  over?: string;
  /**
   * The number of connections: one after the other for `send and read`, `send and close` and `reset`, otherwise at the
   * same time.
   */
  count?: number;
}

function perform(): void {
  const net = require('node:net') as typeof import('node:net');
  const { randomBytes } = require('node:crypto') as typeof import('node:crypto');
  const task = JSON.parse(process.env['TASK']!) as Task;
  const { target, behaviour, over = 'x', count = 1 } = task;
  const text = Buffer.from(task.text ?? '', task.encoding ?? 'utf8');
  const endless = over.repeat(Math.ceil(16_384 / over.length));
  let left = count;
  let received = '';
  const clientDone = (): void => {
    if (--left !== 0) return;
    process.stdout.write(`${JSON.stringify(received)}\n`);
    if (behaviour === 'send and read' || behaviour === 'send and close' || behaviour === 'reset')
      process.exit(0);
  };
  const open = (done: () => void): void => {
    const socket = net.connect(target);
    let connected = false;
    const end = (): void => {
      if (!connected) clientDone();
      connected = true;
      done();
    };
    socket.on('error', () => undefined);
    socket.on('close', end);
    // An endless writer does not read.
    if (behaviour !== 'endless') socket.on('data', (bytes) => (received += bytes.toString('latin1')));
    socket.on('connect', () => {
      switch (behaviour) {
        case 'send and read':
          socket.write(text);
          return;
        case 'send and close':
          socket.end(text, () => socket.destroy());
          return;
        case 'reset':
          socket.write(text, () => socket.resetAndDestroy());
          return;
        default:
          connected = true;
          clientDone();
          if (text.length > 0) socket.write(text);
      }
      if (behaviour === 'idle' || behaviour === 'reconnect') return;
      const more = (): void => {
        if (socket.destroyed) return;
        socket.write(behaviour === 'endless' ? endless : randomBytes(16_384), () => setImmediate(more));
      };
      more();
    });
  };
  const sideBySide =
    behaviour === 'idle' || behaviour === 'reconnect' || behaviour === 'endless' || behaviour === 'noise';
  // A connection that the server closes is opened again, except for idle ones, which only occupy a place.
  const again = (): void => open(behaviour === 'idle' ? () => undefined : again);
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

/** A process with such clients. `ready` resolves with what they received, once all have connected (or are done). */
export class HostileClient implements Disposable {
  readonly ready: Promise<string>;
  readonly #child: ChildProcess;

  constructor(task: Task, uid?: number) {
    this.#child = spawn(process.execPath, ['-e', `(${perform.toString()})()`], {
      cwd: '/',
      env: { PATH: process.env['PATH'], TASK: JSON.stringify(task) },
      stdio: ['ignore', 'pipe', 'inherit'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    let output = '';
    this.ready = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      // Not at its exit, because its output may still be in the pipe.
      this.#child.on('close', () => reject(new Error(`the client ended without output: ${output}`)));
      this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.endsWith('\n')) resolve(JSON.parse(output) as string);
      });
    });
    this.ready.catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}

/**
 * The codes of a PmiClient that is refused. Over TCP the server may close the connection before the client has checked
 * the server's uid, and then the client does not trust it.
 */
export const refusedCode = /^ERR_PMI_(REFUSED|SERVER_UID)$/;

/** Runs a client to its end, and returns what it received. */
export async function runHostileClient(task: Task, uid?: number): Promise<string> {
  using client = new HostileClient(task, uid);
  return await client.ready;
}
