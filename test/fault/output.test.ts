// The output and input of ranks in extreme cases: many ranks and a reader that pauses, binary data, readers that end,
// and more input than the buffers hold.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants as fs,
  mkdtempSync,
  openSync,
  read,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { promisify } from 'node:util';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { launch, type LaunchOptions } from '../../dist/index.js';
import { needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { places, Run, run, wireup } from '../support/run';

vi.setConfig({ testTimeout: 180_000 });

function start(...args: string[]): ChildProcess {
  const [node, ...words] = wireup('run', ...args);
  return spawn(node!, words, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Checks that each rank's lines arrive complete and in order. */
class LineCheck {
  readonly next: number[];
  #rest = '';

  constructor(
    private readonly name: string,
    ranks: number,
  ) {
    this.next = Array<number>(ranks).fill(0);
  }

  take(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) {
      const [name, rank, number, ...more] = line.split(' ');
      const expected = this.next[Number(rank)];
      if (name !== this.name || Number(number) !== expected || more.length > 0)
        throw new Error(`unexpected line: ${line}`);
      this.next[Number(rank)] = expected + 1;
    }
  }

  end(): void {
    expect(this.#rest).toBe('');
  }
}

function agentsOf(tool: number): number[] {
  // /proc lists the children of each thread.
  const childrenOf = (pid: number): number[] =>
    readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1')
        .split(' ')
        .filter((word) => word !== '')
        .map(Number),
    );
  const guard = childrenOf(tool)[0];
  return guard === undefined ? [] : childrenOf(guard);
}

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`the output of the ranks${compiler.note}`, () => {
  it('arrives complete from 256 ranks with 10,000 lines each on both streams, if the reader pauses', async () => {
    const ranks = 256;
    const count = 10_000;
    const tool = start('-n', String(ranks), program('print_lines'), String(count));
    const checks = { stdout: new LineCheck('out', ranks), stderr: new LineCheck('err', ranks) };
    let failure: unknown;
    let received = 0;
    for (const name of ['stdout', 'stderr'] as const) {
      tool[name]!.setEncoding('utf8').on('data', (chunk: string) => {
        received += chunk.length;
        try {
          checks[name].take(chunk);
        } catch (error) {
          failure ??= error;
        }
      });
    }
    const ended = once(tool, 'close') as Promise<[number]>;
    // Read a third, then pause until the processes have stopped moving, then read the rest.
    expect(await eventually(() => received > 30e6, 120_000)).toBe(true);
    tool.stdout!.pause();
    tool.stderr!.pause();
    const [agent] = agentsOf(tool.pid!);
    const written = (): string => /^wchar: (\d+)/m.exec(readFileSync(`/proc/${agent}/io`, 'latin1'))![1]!;
    let last = '';
    let still = 0;
    await eventually(() => {
      still = written() === last ? still + 1 : 0;
      last = written();
      return still === 30;
    }, 60_000);
    expect(still).toBe(30);
    const memory = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${agent}/status`, 'latin1'))![1]);
    tool.stdout!.resume();
    tool.stderr!.resume();
    const [code] = await ended;
    expect(failure).toBeUndefined();
    expect(code).toBe(0);
    for (const check of Object.values(checks)) {
      check.end();
      expect(check.next).toEqual(Array(ranks).fill(count));
    }
    console.log(
      `256 ranks, 5,120,000 lines: the agent never held more than ${(memory / 1024).toFixed(1)} MiB`,
    );
    // The bound of 128 KiB a stream (output.h), plus the memory of the program itself.
    expect(memory).toBeLessThan(ranks * 2 * 128 + 16 * 1024);
  });
});

it('PMI works while ranks print without end', async () => {
  const cli = wireup().join(' ');
  const tool = start('-n', '4', 'sh', '-c', `yes & exec ${cli} exchange`);
  let exchanged = '';
  let bytes = 0;
  tool.stdout!.setEncoding('latin1').on('data', (chunk: string) => {
    bytes += chunk.length;
    const at = chunk.indexOf(' ranks exchanged');
    if (at >= 0) exchanged = chunk.slice(Math.max(0, at - 1), at + 16);
  });
  const [code] = (await once(tool, 'close')) as [number];
  expect(code).toBe(0);
  expect(exchanged).toBe('4 ranks exchanged');
  expect(bytes).toBeGreaterThan(1e6);
});

describe.skipIf(compiler.missing)(`a stream of the wireup command with O_NONBLOCK${compiler.note}`, () => {
  // The output of `seq 1 100000`. The reader takes a little at a time, so that the stream is always full.
  const bytes = 588_895;
  const folder = mkdtempSync(join(tmpdir(), 'nonblocking-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  async function* slowly(read: () => Promise<Buffer | undefined>): AsyncGenerator<Buffer> {
    for (let chunk = await read(); chunk !== undefined; chunk = await read()) {
      yield chunk;
      await new Promise((next) => setTimeout(next, 1));
    }
  }

  /** Makes a pipe and opens both of its ends. */
  function makePipe(): [number, number] {
    const path = join(folder, 'fifo');
    execFileSync('mkfifo', [path]);
    const reader = openSync(path, fs.O_RDONLY | fs.O_NONBLOCK);
    const writer = openSync(path, fs.O_WRONLY);
    // Another open file description, without O_NONBLOCK, so that a read waits.
    const ends: [number, number] = [openSync(path, fs.O_RDONLY), writer];
    closeSync(reader);
    rmSync(path);
    return ends;
  }

  it.each(
    ['pipe', 'socket'].flatMap((kind) =>
      (['stdout', 'stderr'] as const).flatMap((stream) =>
        ['1', '4'].map((ranks) => [kind, stream, ranks] as const),
      ),
    ),
  )('loses no byte if it is a %s as %s of %s ranks', async (kind, stream, ranks) => {
    const fd = stream === 'stdout' ? 1 : 2;
    const script = `[ $PMI_RANK = 0 ] || exit 0; seq 1 100000 >&${fd}`;
    const stdio: (number | 'ignore' | 'pipe')[] = ['ignore', 'ignore', 'ignore'];
    const [reader, writer] = kind === 'pipe' ? makePipe() : [];
    stdio[fd] = writer ?? 'pipe';
    // Only this stream has O_NONBLOCK. The other one must not matter.
    const tool = spawn(program('nonblocking'), [`${fd}`, ...wireup('run', '-n', ranks, 'sh', '-c', script)], {
      stdio,
    });
    if (writer !== undefined) closeSync(writer);
    const ended = once(tool, 'close') as Promise<[number]>;
    const chunk = Buffer.alloc(4096);
    const readPipe = promisify(read);
    const source = tool[stream];
    // When the process exits, Node lets a stream without such a listener flow, and bytes that wait in it are lost.
    source?.on('readable', () => undefined);
    const read1 = async (): Promise<Buffer | undefined> => {
      if (reader === undefined) {
        for (;;) {
          const got = source!.read() as Buffer | null;
          if (got !== null) return got;
          if (source!.readableEnded) return undefined;
          await Promise.race([once(source!, 'readable'), once(source!, 'end')]);
        }
      }
      const { bytesRead } = await readPipe(reader, chunk, 0, chunk.length, null);
      return bytesRead === 0 ? undefined : Buffer.from(chunk.subarray(0, bytesRead));
    };
    const got: Buffer[] = [];
    for await (const piece of slowly(read1)) got.push(piece);
    if (reader !== undefined) closeSync(reader);
    const text = Buffer.concat(got).toString();
    expect({ length: text.length, code: (await ended)[0] }).toEqual({ length: bytes, code: 0 });
    expect(text.endsWith('\n99999\n100000\n')).toBe(true);
  });
});

describe('binary output', () => {
  const bytes = "printf '\\0\\1\\377a\\0'; head -c 1000000 /dev/zero; printf b";
  const expected = Buffer.concat([
    Buffer.from([0, 1, 255, 97, 0]),
    Buffer.alloc(1_000_000),
    Buffer.from('b'),
  ]);

  it('of one rank that fills a pipe waits for the reader, even after a line of wireup', async () => {
    // Both streams are one pipe that is read late. What the command does to the pipe must not make writes of the rank fail.
    const [node, ...words] = wireup('run', '-v', '-n', '1', 'sh', '-c', 'seq 1 200000');
    const command = [node, ...words].map((word) => `'${word}'`).join(' ');
    const { stdout } = await run(['sh', '-c', `{ ${command} 2>&1; } | { sleep 0.5; grep -c '^[0-9]'; }`]);
    expect(stdout).toBe('200000\n');
  });

  it.each(['1', '4'])('with NULs and without newlines arrives complete with %s ranks', async (ranks) => {
    const tool = start('-n', ranks, 'sh', '-c', `[ $PMI_RANK = 0 ] || exit 0; ${bytes}`);
    const [got] = await Promise.all([buffer(tool.stdout!), once(tool, 'close')]);
    expect(got.equals(expected)).toBe(true);
  });

  it('in lines of 10 MB from four ranks arrives in complete lines', async () => {
    const script = 'head -c 10000000 /dev/zero | tr "\\0" $PMI_RANK; echo';
    for (const label of [[], ['-l']]) {
      const tool = start('-n', '4', ...label, 'sh', '-c', script);
      const [got] = await Promise.all([text(tool.stdout!), once(tool, 'close')]);
      const lines = got.split('\n');
      expect(lines.pop()).toBe('');
      expect(lines.map((line) => line.length)).toEqual(
        Array(4).fill(10_000_000 + (label.length > 0 ? 4 : 0)),
      );
      expect(lines.map((line) => line.at(-1)).sort()).toEqual(['0', '1', '2', '3']);
      expect(lines.every((line) => new Set(line.slice(label.length > 0 ? 4 : 0)).size === 1)).toBe(true);
    }
  });
});

describe.each(places)('ends of streams %s', (_, place) => {
  it('a rank that closes its stdout runs on', async () => {
    const { code, stdout, stderr } = await run(
      wireup('run', ...place, '-n', '2', '-l', 'sh', '-c', 'echo before; exec >&-; echo after >&2'),
    );
    expect(code).toBe(0);
    expect(stdout.split('\n').sort()).toEqual(['', '[0] before', '[1] before']);
    expect(stderr.split('\n').sort()).toEqual(['', '[0] after', '[1] after']);
  });

  it.each(['1', '2', '64'])(
    'a reader that closes the pipe ends a job of %s ranks like `yes | head`, without a message',
    async (ranks) => {
      const pipeline = '"$@" | head -n 1 >&2; exit ${PIPESTATUS[0]}';
      const { code, stderr } = await run([
        'bash',
        '-c',
        pipeline,
        'bash',
        ...wireup('run', ...place, '-n', ranks, 'yes'),
      ]);
      expect(stderr).toBe('y\n');
      expect(code).toBe(141);
    },
  );

  it('a reader that pauses delays neither a time limit nor the third ^C', async () => {
    const limited = start(...place, '-t', '1', '--kill-timeout', '0.1', '-n', '2', 'yes');
    limited.stdout!.pause();
    expect(await once(limited, 'exit')).toEqual([124, null]);

    const interrupted = start(...place, '-n', '2', 'sh', '-c', "trap '' INT; echo ready >&2; exec yes");
    interrupted.stdout!.pause();
    let ready = '';
    interrupted.stderr!.setEncoding('utf8').on('data', (chunk: string) => (ready += chunk));
    expect(await eventually(() => ready.split('ready').length === 3, 20_000)).toBe(true);
    const ended = once(interrupted, 'exit');
    // The kernel merges pending signals of one number, so INT is sent until the job has ended.
    const again = setInterval(() => interrupted.kill('SIGINT'), 50);
    expect(await ended.finally(() => clearInterval(again))).toEqual([130, null]);
  });

  it('a full disk is reported and ends the job', async () => {
    // The last rank to start writes once and waits. Both ranks run by then, and neither gets SIGPIPE before it is ended.
    const program = '[ $PMI_RANK = 0 ] || echo full; exec sleep 60';
    const { code, stderr } = await run(
      wireup('run', ...place, '-n', '2', '-l', '-outfile-pattern', '/dev/full', 'sh', '-c', program),
    );
    expect(stderr).toMatch(
      /^wireup: output cannot be written to \/dev\/full(?: on \S+)?: no space left on device \(ENOSPC\); 2 ranks were ended\n$/,
    );
    expect(code).toBe(1);
  });

  it('an output file that cannot be created is reported before any rank runs', async () => {
    const { code, stderr } = await run(
      wireup('run', ...place, '-n', '2', '-outfile-pattern', '/no/such/folder/%r', 'true'),
    );
    expect(stderr).toMatch(
      /^wireup: rank ([01]) on \S+ could not be started: open \/no\/such\/folder\/\1: No such file or directory\n$/,
    );
    expect(code).toBe(1);
  });
});

describe('standard input', () => {
  it('of 1 GiB reaches a slow rank complete', async () => {
    const size = 2 ** 30;
    const [node, ...words] = wireup(
      'run',
      '-n',
      '2',
      '--stdin',
      '0',
      'sh',
      '-c',
      '[ $PMI_RANK = 0 ] || exit 0; read -r line; wc -c',
    );
    const tool = spawn(node!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const block = Buffer.alloc(1 << 20, 'x');
    // The rank waits for the first line, which is written after the pipes and the agent's buffer have been full for a
    // while.
    tool.stdin.on('error', () => undefined);
    let sent = 0;
    const source = new Readable({
      read() {
        if (sent === 0) this.push('\n');
        this.push(sent++ < size / block.length ? block : null);
      },
    });
    source.pipe(tool.stdin);
    const [got, [code]] = await Promise.all([text(tool.stdout), once(tool, 'close') as Promise<[number]>]);
    expect(code).toBe(0);
    expect(Number(got)).toBe(size);
  });

  it('reaches each of 64 ranks complete', async () => {
    const [node, ...words] = wireup('run', '-n', '64', '--stdin', 'all', 'cksum');
    const tool = spawn(node!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    tool.stdin.end(Buffer.alloc(300_000, 'y'));
    const [got, [code]] = await Promise.all([text(tool.stdout), once(tool, 'close') as Promise<[number]>]);
    expect(code).toBe(0);
    const lines = got.trimEnd().split('\n');
    expect(lines).toHaveLength(64);
    expect(new Set(lines).size).toBe(1);
    expect(lines[0]).toMatch(/ 300000$/);
  });

  it.each([
    ['0', ['0: x', '1: ', '2: ']],
    ['none', ['0: ', '1: ', '2: ']],
    ['1-2', ['0: ', '1: x', '2: x']],
    ['all', ['0: x', '1: x', '2: x']],
  ])('reaches the ranks of --stdin %s', async (readers, expected) => {
    const [node, ...words] = wireup(
      'run',
      '-n',
      '3',
      '--stdin',
      readers,
      'sh',
      '-c',
      'echo "$PMI_RANK: $(cat)"',
    );
    const tool = spawn(node!, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    tool.stdin.on('error', () => undefined).end('x\n');
    const got = await text(tool.stdout);
    expect(got.split('\n').sort()).toEqual(['', ...expected]);
  });
});

describe('the streams of a Job', () => {
  const shell = (script: string, more: object): LaunchOptions => ({
    program: 'sh',
    args: ['-c', script],
    ranks: 3,
    ...more,
  });

  it('contain the output of all ranks', async () => {
    const job = await launch(
      shell('echo out; echo err >&2', { stdout: 'pipe', stderr: 'pipe', label: '[%r] ' }),
    );
    const [out, err, { exitCode }] = await Promise.all([text(job.stdout!), text(job.stderr!), job.result]);
    expect(exitCode).toBe(0);
    expect(out.split('\n').sort()).toEqual(['', '[0] out', '[1] out', '[2] out']);
    expect(err.split('\n').sort()).toEqual(['', '[0] err', '[1] err', '[2] err']);
    expect(job.rankStdout).toBeUndefined();
  });

  it('contain the output of each rank unchanged with pipe-per-rank', async () => {
    const job = await launch(
      shell("printf 'out\\0%s' $PMI_RANK; echo err >&2", { stdout: 'pipe-per-rank', stderr: 'ignore' }),
    );
    const outs = await Promise.all(job.rankStdout!.map((stream) => text(stream)));
    expect(outs).toEqual(['0', '1', '2'].map((rank) => `out\0${rank}`));
    expect((await job.result).exitCode).toBe(0);
    expect(job.stdout).toBeUndefined();
  });

  it('delay the ranks and lose nothing if the reader pauses', async () => {
    const job = await launch(shell('seq 1 200000', { stdout: 'pipe' }));
    const begun = await once(job.stdout!, 'data');
    job.stdout!.pause();
    const rest = text(job.stdout!);
    const got = String(begun[0]) + (await rest);
    expect(got.split('\n')).toHaveLength(3 * 200_000 + 1);
    expect((await job.result).exitCode).toBe(0);
  });

  it('can belong to some ranks only', async () => {
    const job = await launch(shell('echo $PMI_RANK', { stdout: 'pipe', outputFrom: [0, 2] }));
    expect((await text(job.stdout!)).split('\n').sort()).toEqual(['', '0', '2']);
  });
});

const terminal = needs('script');
describe.skipIf(terminal.missing)(`the progress line${terminal.note}`, () => {
  const onTerminal = (...words: string[]): string[] => [
    'script',
    '-qec',
    [...wireup('run', ...words)].map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' '),
    '/dev/null',
  ];
  const erase = '\r\u001b[K';

  it('is on the terminal until the ranks print', async () => {
    // The ranks wait until the test has seen the line.
    const gate = join(tmpdir(), `progress-${process.pid}`);
    const job = new Run(
      onTerminal('-n', '3', 'sh', '-c', `while [ ! -e ${gate} ]; do sleep 0.05; done; echo hi`),
    );
    await job.until(({ stdout }) => stdout.includes('wireup: 3 ranks: 3 connected'));
    writeFileSync(gate, '');
    const { stdout } = await job.done.finally(() => rmSync(gate));
    const at = stdout.lastIndexOf(erase);
    expect(at).toBeGreaterThan(0);
    expect(stdout.slice(at + erase.length)).toBe('hi\r\nhi\r\nhi\r\n');
  });

  it.each([2, 20, 200])('has one row on a terminal of %i columns', async (columns) => {
    const gate = join(tmpdir(), `progress-${process.pid}-${columns}`);
    const inside = wireup('run', '-n', '3', 'sh', '-c', `while [ ! -e ${gate} ]; do sleep 0.05; done`)
      .map((word) => `'${word}'`)
      .join(' ');
    const job = new Run(['script', '-qec', `stty cols ${columns}; ${inside}`, '/dev/null']);
    const whole = 'wireup: 3 ranks: 3 connected';
    const shown = whole.slice(0, columns - 1);
    await job.until(({ stdout }) => stdout.includes(shown));
    writeFileSync(gate, '');
    const { stdout } = await job.done.finally(() => rmSync(gate));
    const lines = stdout.split(erase).filter((line) => line !== '');
    expect(lines.every((line) => whole.startsWith(line) && line.length < columns)).toBe(true);
  });

  it('is absent with --progress none and without a terminal, and a line of its own with plain', async () => {
    const slow = ['-n', '2', 'sh', '-c', 'sleep 0.8'];
    expect((await run(onTerminal('--progress', 'none', ...slow))).stdout).toBe('');
    const plain = await run(wireup('run', '--progress', 'plain', ...slow));
    expect(plain.stderr).toMatch(/^(wireup: 2 ranks: .*\n)+$/);
    expect((await run(wireup('run', ...slow))).stderr).toBe('');
  });
});
