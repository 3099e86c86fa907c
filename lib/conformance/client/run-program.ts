/** Runs a program as the ranks of a {@link ModelJob}. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { ClientJudge } from './judge';
import type { Manner, ModelClient } from './model';
import { ModelServer, type ClientTransport } from './model-server';

export interface ProgramOptions {
  readonly program: readonly string[];
  readonly size: number;
  readonly transport: ClientTransport;
  /** For the whole program, in milliseconds. */
  readonly timeout: number;
}

export interface ProgramRun {
  readonly judge: ClientJudge;
  readonly clients: readonly ModelClient[];
  /** Why the program has not ended successfully; undefined: it has. */
  readonly failure: string | undefined;
  /** The last messages of the rank that has failed first. */
  readonly lines: readonly string[];
  /** How long the program ran, in milliseconds. */
  readonly time: number;
}

/** Variables of process managers, as `scrubEnvironment()` removes them. */
const STALE = /^(PMI_|PMI2_|PMIX_|HYDI_|MPI_LOCAL)/;

/** How long other ranks may go on after one has failed, in milliseconds. */
const GRACE = 300;

/** The characters of stderr that are kept, for the last line. */
const MAX_STDERR = 4096;

export async function runProgram(options: ProgramOptions, manner: Manner): Promise<ProgramRun> {
  const { program, size, transport, timeout } = options;
  const begin = performance.now();
  const server = await ModelServer.open(size, transport, manner);
  const { judge, clients } = server;
  const children: ChildProcess[] = [];
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL');
  };
  let failure: { text: string; rank: number } | undefined;
  const timers: NodeJS.Timeout[] = [];
  const fail = (text: string, rank: number): void => {
    failure ??= { text, rank };
    timers.push(setTimeout(killAll, GRACE));
  };
  judge.onAborted = (rank) => fail(`rank ${rank} sent abort`, rank);
  timers.push(setTimeout(() => fail(`not ended after ${timeout / 1000} s`, waiting(clients)), timeout));
  try {
    const ends = Array.from({ length: size }, async (_, rank) => {
      const env: NodeJS.ProcessEnv = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !STALE.test(name)),
      );
      Object.assign(env, server.environmentOf(rank));
      const child = spawn(program[0]!, program.slice(1), {
        env,
        stdio: ['ignore', 'ignore', 'pipe', ...(transport === 'fd' ? (['pipe'] as const) : [])],
      });
      children.push(child);
      const ended = endOf(child);
      if (transport === 'fd' && child.stdio[3]) server.serve(child.stdio[3] as Socket, rank);
      let said = '';
      child.stderr
        ?.setEncoding('utf8')
        .on('data', (text: string) => (said = (said + text).slice(-MAX_STDERR)));
      const [code, signal] = await ended;
      if (code === 0) return;
      const last = said.trimEnd().split('\n').at(-1) ?? '';
      const how = code === null ? `was ended by ${signal}` : `ended with code ${code}`;
      fail(`rank ${rank} ${how}${last === '' ? '' : `: ${last}`}`, rank);
    });
    await Promise.all(ends);
  } finally {
    for (const timer of timers) clearTimeout(timer);
    killAll();
    server.close();
  }
  const { transcript } = clients.find(({ rank }) => rank === failure?.rank) ?? {
    transcript: server.job.transcripts[0]!,
  };
  return {
    judge,
    clients,
    time: performance.now() - begin,
    failure: failure?.text,
    lines: failure === undefined ? [] : transcript.since(Math.max(0, transcript.length - 6)),
  };
}

/**
 * How the program has ended, when its last lines have been read. A process that it has left may hold its stderr open.
 *
 * @throws rejects if the program cannot be started
 */
async function endOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  const closed = once(child, 'close');
  // It is not awaited if the program cannot be started.
  closed.catch(() => undefined);
  const end = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  const timer = setTimeout(() => {
    for (const stream of child.stdio) stream?.destroy();
  }, GRACE);
  await closed;
  clearTimeout(timer);
  return end;
}

/** A rank that has sent nothing after its last reply. */
function waiting(clients: readonly ModelClient[]): number {
  return clients.find(({ finalized }) => !finalized)?.rank ?? 0;
}
