// What the interop and fault tests stand on: the C programs compiled, the peers found, a tool run to its end under a
// deadline, and a look at what it left behind.

import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { homedir, hostname, tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

export const root = resolve(__dirname, '../..');
const programs = join(__dirname, 'programs');
const compiled = join(root, 'out', 'interop');

/** vitest cannot interrupt what is run synchronously. */
const timeout = 50_000;

export type Transport = 'fd' | 'tcp' | 'unix';
export const transports: readonly Transport[] = ['fd', 'tcp', 'unix'];

// ---- Peers -------------------------------------------------------------------------------------------------------

// The Debian package that brings each (or what else it takes), for whoever reads that a suite was skipped.
const packages = {
  bwrap: 'bubblewrap, where namespaces can be made',
  'c++': 'g++',
  cc: 'gcc',
  gdb: 'gdb',
  // mpiexec -pmi-port hands its ranks the host's name, which they must be able to look up.
  hostname: 'a host name that resolves',
  cmake: 'cmake',
  ip: 'iproute2, where root can make network namespaces',
  // Slurm's client of PMI-2, a library.
  libpmi2: 'libpmi2-0',
  mpicc: 'libmpich-dev',
  mpiexec: 'mpich',
  munged: 'munge',
  nohup: 'coreutils',
  nsenter: 'util-linux',
  'pkg-config': 'pkg-config',
  prlimit: 'util-linux',
  script: 'bsdutils',
  setsid: 'util-linux',
  slurmctld: 'slurmctld',
  slurmd: 'slurmd',
  srun: 'slurm-client',
  unshare: 'util-linux',
  valgrind: 'valgrind',
} as const;
export type Peer = keyof typeof packages;

function onPath(name: string): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

function lookFor(peer: Peer): string | undefined {
  switch (peer) {
    case 'bwrap': {
      const path = onPath(peer);
      const probe = ['--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
      return path !== undefined && spawnSync(path, probe, { timeout }).status === 0 ? path : undefined;
    }
    case 'hostname':
      return spawnSync('getent', ['hosts', hostname()], { timeout }).status === 0 ? hostname() : undefined;
    case 'ip': {
      const path = onPath(peer);
      const probe = ['-n', path ?? '', 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'other'];
      return path !== undefined && spawnSync('unshare', probe, { timeout }).status === 0 ? path : undefined;
    }
    case 'libpmi2': {
      const listed = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8', timeout }).stdout ?? '';
      return /libpmi2\.so\.0 .* => (\S+)/.exec(listed)?.[1];
    }
    case 'mpicc':
    case 'mpiexec':
      // The plain names may be Open MPI's, which speaks no PMI-1.
      return onPath(`${peer}.mpich`) ?? (onPath('mpichversion') === undefined ? undefined : onPath(peer));
    default:
      return onPath(peer);
  }
}

const found = new Map<Peer, string | undefined>();

function find(peer: Peer): string | undefined {
  if (!found.has(peer)) {
    found.set(peer, lookFor(peer));
  }
  return found.get(peer);
}

/** The path of a peer that `needs()` has found. */
export function peer(name: Peer): string {
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not installed (Debian package ${packages[name]})`);
  return path;
}

/**
 * For `describe.skipIf(peers.missing)(`title${peers.note}`)`: the note names the packages that are not there. With
 * CI=true nothing may be skipped: it throws.
 */
export function needs(...names: Peer[]): { missing: boolean; note: string } {
  const missing = [
    ...new Set(names.filter((name) => find(name) === undefined).map((name) => packages[name])),
  ];
  if (missing.length === 0) return { missing: false, note: '' };
  if (process.env['CI'] === 'true') throw new Error(`CI=true and not installed: ${missing.join(', ')}`);
  return { missing: true, note: ` (needs ${missing.join(', ')})` };
}

/**
 * mpicc of the MPICH that build-mpich.sh has built, which can spawn, open ports and connect. It is no package, so that
 * nothing fails where it is missing; the title says so.
 */
export function dynamicMpich(): { missing: boolean; note: string; mpicc: string } {
  const cache =
    process.env['WIREUP_TEST_CACHE'] ??
    join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'wireup');
  const mpicc = join(cache, 'mpich-4.0.2-3-ch3-nemesis/bin/mpicc');
  const missing = !existsSync(mpicc);
  return { missing, note: missing ? ' (needs test/interop/build-mpich.sh to have been run)' : '', mpicc };
}

// ---- Programs ----------------------------------------------------------------------------------------------------

const built = new Map<string, string>();

/** The path of the compiled programs/NAME.c. */
export function program(name: string): string {
  const isMpi = readFileSync(join(programs, `${name}.c`)).includes('"check.h"');
  return compile(name, isMpi ? peer('mpicc') : peer('cc'));
}

/** The compiled programs/NAME.c. */
export function compile(name: string, compiler: string): string {
  const known = built.get(name);
  if (known !== undefined) return known;
  const source = readFileSync(join(programs, `${name}.c`));
  const include = join(root, 'native/tools/libpmi/include');
  const flags = ['-std=gnu17', '-g', '-O1', '-Wall', '-Wextra', '-Werror', '-I', include];
  const hash = createHash('sha256').update(source).update(compiler).update(flags.join(' '));
  for (const header of readdirSync(programs)
    .filter((file) => file.endsWith('.h'))
    .sort()) {
    hash.update(readFileSync(join(programs, header)));
  }
  const target = join(compiled, `${name}-${hash.digest('hex').slice(0, 12)}`);
  if (!existsSync(target)) {
    mkdirSync(compiled, { recursive: true });
    // Test files run side by side: whoever compiled first or last, the name always holds a whole program.
    const unfinished = `${target}.${process.pid}`;
    execFileSync(compiler, [...flags, '-o', unfinished, join(programs, `${name}.c`)], {
      stdio: ['ignore', 'inherit', 'inherit'],
      timeout,
    });
    renameSync(unfinished, target);
  }
  built.set(name, target);
  return target;
}

// ---- Processes ---------------------------------------------------------------------------------------------------

/** A process that cannot be taken for a later one of the same number. */
export interface Process {
  pid: number;
  startTime: string;
  name: string;
}

export function processOf(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = stat.lastIndexOf(')');
    const fields = stat.slice(end + 2).split(' ');
    // A zombie has ended; only its parent has not looked yet.
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, startTime: fields[19] ?? '', name: stat.slice(stat.indexOf('(') + 1, end) };
  } catch {
    return undefined;
  }
}

export function isAlive(process: Process): boolean {
  return processOf(process.pid)?.startTime === process.startTime;
}

const mark = 'INTEROP_TEST_RUN';

function processesMarked(id: string): Process[] {
  const marked: Process[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    let environment: string;
    try {
      environment = readFileSync(`/proc/${entry}/environ`, 'latin1');
    } catch {
      continue;
    }
    if (!environment.split('\0').includes(`${mark}=${id}`)) continue;
    const process = processOf(Number(entry));
    if (process !== undefined) marked.push(process);
  }
  return marked;
}

/** Looks until `condition` holds, at most `milliseconds`; whether it held. */
export async function eventually(condition: () => boolean, milliseconds: number): Promise<boolean> {
  const end = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > end) return false;
    await new Promise((next) => setTimeout(next, 10));
  }
  return true;
}

// ---- Runs --------------------------------------------------------------------------------------------------------

export interface Result {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Milliseconds until the tool is killed and the test fails. */
  deadline?: number;
  environment?: Record<string, string>;
  directory?: string;
  /** Socket files may stay: for tests that kill the tool with SIGKILL. */
  mayLeaveFiles?: boolean;
}

// What a job may take to disappear after its tool has ended, in milliseconds.
const afterEnd = 2000;

/** A running tool with its output so far. `done` rejects when the deadline passes or something is left behind. */
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
        // Whatever temporary files there are, they are here, and gone afterwards.
        TMPDIR: this.folder,
        XDG_RUNTIME_DIR: this.folder,
        [mark]: this.id,
        ...options.environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: at the deadline all of it can be killed at once.
      detached: true,
    });
    this.pid = this.child.pid ?? -1;
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.heard((this.stdout += text)));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.heard((this.stderr += text)));
    this.done = this.finish();
    // Whoever waits for something else first still gets the rejection when it comes to it.
    this.done.catch(() => undefined);
  }

  /** Resolves when `condition` holds for the output; rejects when the tool ends before. */
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

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Everything that was started in this run and lives: the tool, its agent, ranks and what they started. */
  processes(): Process[] {
    return processesMarked(this.id);
  }

  private heard(_output: string): void {
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

    await eventually(() => this.processes().length === 0, afterEnd);
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
        // It ended by itself.
      }
    }
  }
}

export function run(argv: readonly string[], options?: RunOptions): Promise<Result> {
  return new Run(argv, options).done;
}

/** The tool as it is installed. */
export function wireup(...args: string[]): string[] {
  return [join(root, 'dist', 'wireup'), ...args];
}

/** `wireup run` with N ranks over a transport. */
export function wireupRun(ranks: number, transport: Transport, ...args: string[]): string[] {
  return wireup('run', '-n', String(ranks), '--pmi', transport, ...args);
}

export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

/** How many lines of the tool are about that, those among them that it has told together. */
export function told(stderr: string, what: string): number {
  return toolLines(stderr)
    .filter((line) => line.includes(what))
    .reduce((sum, line) => sum + Number(/^wireup: (?:refused )?(\d+) more\b/.exec(line)?.[1] ?? 1), 0);
}

/**
 * The tool's own lines, without those of the ranks. A rank writes to the same stderr and may have written half a line before:
 * MPICH writes "[unset]: " by itself.
 */
export function toolLines(stderr: string): string[] {
  return lines(stderr).flatMap((line) => {
    const start = line.indexOf('wireup: ');
    return start === -1 ? [] : [line.slice(start)];
  });
}
