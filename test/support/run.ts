// Runs a command with a deadline, and checks that it leaves nothing behind.

import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually, mark, processesMarked, type Process } from './processes';
import { root } from './root';

/** In milliseconds. */
const askAgain = 300;

export type Transport = 'fd' | 'tcp' | 'unix';
export const transports: readonly Transport[] = ['fd', 'tcp', 'unix'];

/**
 * Where the ranks of a job are, for `describe.each`: a name, and the options of `wireup run`. The two hosts are pretended; the
 * ranks are on them in turn.
 */
export const places: readonly (readonly [name: string, options: readonly string[]])[] = [
  ['on one host', []],
  ['over two hosts', ['--launcher', 'fork', '--hosts', 'node0,node1']],
];

export interface Result {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** In milliseconds. At the deadline the command is killed and the test fails. Default: 30,000. */
  deadline?: number;
  environment?: Record<string, string>;
  directory?: string;
  /** Files may remain. For tests that kill `wireup` with SIGKILL. */
  mayLeaveFiles?: boolean;
  /** In milliseconds: how long the processes of a job may live after its command has ended. Default: 2,000. */
  exitTimeout?: number;
}

/** A running command and its output so far. `done` rejects if the deadline passes, or if processes or files are left. */
export class Run {
  readonly done: Promise<Result>;
  readonly pid: number;
  stdout = '';
  stderr = '';
  private readonly id = randomUUID();
  private readonly folder = mkdtempSync(join(tmpdir(), 'run-'));
  private readonly child: ChildProcess;
  private readonly waiters = new Set<() => void>();

  constructor(
    private readonly argv: readonly string[],
    private readonly options: RunOptions = {},
  ) {
    const [file, ...args] = argv;
    if (file === undefined) throw new Error('nothing to run');
    this.child = spawn(file, args, {
      cwd: options.directory,
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        // All temporary files are made here, so that the end of the run can find those that are left.
        TMPDIR: this.folder,
        XDG_RUNTIME_DIR: this.folder,
        [mark]: this.id,
        ...options.environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A POSIX process group of its own, so that signals from the terminal of the tests do not reach it.
      detached: true,
    });
    this.pid = this.child.pid ?? -1;
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.received((this.stdout += text)));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.received((this.stderr += text)));
    this.done = this.finish();
    // A test may await something else first. Until then Node must not report the rejection as unhandled.
    this.done.catch(() => undefined);
  }

  /** Resolves when `condition` holds for the output; rejects if the command ends before that. */
  async until(condition: (run: Run) => boolean): Promise<void> {
    let look = (): void => undefined;
    const seen = new Promise<void>((fulfil) => {
      look = () => {
        if (condition(this)) fulfil();
      };
      this.waiters.add(look);
      look();
    });
    const ended = this.done.then((result) => {
      if (!condition(this)) throw new Error(`ended before the expected output\n${this.report(result)}`);
    });
    await Promise.race([seen, ended]).finally(() => this.waiters.delete(look));
  }

  /** Asks the command where the ranks are, until its reply matches. Rejects if the command ends before that. */
  async untilPlaces(pattern: RegExp): Promise<void> {
    const again = setInterval(() => this.kill('SIGURG'), askAgain);
    await this.until(({ stderr }) => pattern.test(stderr)).finally(() => clearInterval(again));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** The living processes of this run: the command, its agent, the ranks and what they have started. */
  processes(): Process[] {
    return processesMarked(this.id);
  }

  private received(_output: string): void {
    for (const look of this.waiters) look();
  }

  private report(result?: Result): string {
    const end = result === undefined ? '' : `code ${result.code}, signal ${result.signal}\n`;
    return `${this.argv.join(' ')}\n${end}--- stdout\n${this.stdout}\n--- stderr\n${this.stderr}`;
  }

  private async finish(): Promise<Result> {
    const deadline = this.options.deadline ?? 30_000;
    const failures: string[] = [];
    const timer = setTimeout(() => {
      failures.push(`not finished after ${deadline} ms`);
      this.killAll();
    }, deadline);

    const closed = new Promise<void>((fulfil) => this.child.once('close', () => fulfil()));
    const result = await new Promise<Result>((fulfil, reject) => {
      this.child.once('error', reject);
      this.child.once('exit', (code, signal) => fulfil({ code, signal, stdout: '', stderr: '' }));
    }).finally(() => clearTimeout(timer));

    await eventually(() => this.processes().length === 0, this.options.exitTimeout ?? 2000);
    const left = this.processes();
    if (left.length > 0) {
      failures.push(`left running: ${left.map(({ pid, name }) => `${name} (${pid})`).join(', ')}`);
      this.killAll();
    }
    await closed;
    result.stdout = this.stdout;
    result.stderr = this.stderr;

    const files = readdirSync(this.folder, { recursive: true });
    rmSync(this.folder, { recursive: true });
    if (files.length > 0 && this.options.mayLeaveFiles !== true)
      failures.push(`left files: ${files.join(', ')}`);
    if (failures.length > 0) throw new Error(`${failures.join('; ')}\n${this.report(result)}`);
    return result;
  }

  private killAll(): void {
    for (const { pid } of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // The process has ended by itself.
      }
    }
  }
}

export function run(argv: readonly string[], options?: RunOptions): Promise<Result> {
  return new Run(argv, options).done;
}

/** The command line of the `wireup` command as it is installed. */
export function wireup(...args: string[]): string[] {
  return [join(root, 'dist', 'wireup'), ...args];
}

/** The command line of `wireup run` with N ranks and a transport. */
export function wireupRun(ranks: number, transport: Transport, ...args: string[]): string[] {
  return wireup('run', '-n', String(ranks), '--pmi', transport, ...args);
}

export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** The number of reports of `wireup` that contain `what`. A line may stand for several ("3 more ..."). */
export function reported(stderr: string, what: string): number {
  return toolLines(stderr)
    .filter((line) => line.includes(what))
    .reduce((sum, line) => sum + Number(/^wireup: (?:refused )?(\d+) more\b/.exec(line)?.[1] ?? 1), 0);
}

/**
 * The lines of `wireup` itself, without those of the ranks. A rank writes to the same stderr, and a line of `wireup`
 * may follow an incomplete line of a rank: MPICH writes "[unset]: " without a newline.
 */
export function toolLines(stderr: string): string[] {
  return lines(stderr).flatMap((line) => {
    const start = line.indexOf('wireup: ');
    return start === -1 ? [] : [line.slice(start)];
  });
}
