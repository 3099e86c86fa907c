// How a job ends by `wireup run`: who is to blame, who is missing, limits of time, signals, and what is written down.

import {
  chmodSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { describeFailure, launch } from '../../dist/index.js';
import {
  eventually,
  lines,
  needs,
  peer,
  program,
  root,
  Run,
  run,
  toolLines,
  transports,
  wireup,
  wireupRun,
} from '../interop/helpers';

vi.setConfig({ testTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), 'endings-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** For what is not timed here, on a machine that is busy. */
const patience = 20_000;
const deadline = 55_000;

/** Asks where the ranks are until it is told this. */
async function told(job: Run, line: string): Promise<void> {
  const ask = (): boolean => {
    job.kill('SIGURG');
    return lines(job.stderr).includes(line);
  };
  expect(await eventually(ask, patience), job.stderr).toBe(true);
}

const mpich = needs('mpicc');
const compiler = needs('cc');

describe.skipIf(mpich.missing)(`a rank that the others wait for in MPI_Init${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(['exit 0', 'sleep 1000 & exit 0'])(
      '%s: the job ends, and the missing one is named',
      async (end) => {
        const script = `if [ "$PMI_RANK" = 1 ]; then ${end}; fi; exec "$0"`;
        // The limit is the test's proof that it was not that which ended the job.
        const result = await run(wireupRun(4, transport, '-t', '50', 'sh', '-c', script, program('hello')), {
          deadline,
        });
        expect(result.code).toBe(1);
        expect(toolLines(result.stderr)).toEqual([
          expect.stringMatching(
            /rank 1 \(pid \d+, sh, before PMI init\) on \S+ exited with code 0 while others wait in PMI barrier 0: [0-3,-]+; missing: 1; 3 other ranks were ended$/,
          ),
        ]);
      },
    );
  });

  it('several have left by then: all are named', async () => {
    const go = join(folder, 'several');
    const script = `case $PMI_RANK in
      0) until [ -e ${go} ]; do sleep 0.01; done; exec "$0";;
      3) exec tail -f /dev/null;;
      *) exit 0;; esac`;
    const job = await launch({
      program: 'sh',
      args: ['-c', script, program('hello')],
      ranks: 5,
      stdout: 'ignore',
      stderr: 'ignore',
      timeout: deadline,
    });
    let left = 0;
    for await (const event of job.events())
      if (event.type === 'exited' && ++left === 3) writeFileSync(go, '');
    const result = await job.result;
    expect(result.exitCode).toBe(1);
    expect(describeFailure(result)).toMatch(
      / in PMI barrier 0: 0; missing: 1-2,4; 2 other ranks were ended$/,
    );
  });

  it('one never calls MPI_Init and stays: only a limit of time ends that', async () => {
    const script = 'if [ "$PMI_RANK" = 1 ]; then exec sleep 1000; fi; exec "$0"';
    const result = await run(
      wireupRun(3, 'tcp', '--startup-timeout', '3', 'sh', '-c', script, program('hello')),
    );
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)).toEqual([
      'wireup: the ranks had not found each other after 3 s; 3 ranks were ended',
      // How far the others are by then is a matter of the machine.
      expect.stringMatching(/^wireup: never connected: (1|0-1|1-2|0-2)(;|$)/),
    ]);
  });

  it('--on-early-exit wait lets them wait', async () => {
    const script = 'if [ "$PMI_RANK" = 1 ]; then exit 0; fi; exec "$0"';
    const job = new Run(wireupRun(3, 'fd', '--on-early-exit', 'wait', 'sh', '-c', script, program('hello')), {
      deadline,
    });
    await told(job, 'wireup: 3 ranks: initialized: 0,2; left PMI: 1; in barrier 0: 0,2; missing: 1');
    job.kill('SIGTERM');
    const { code, stderr } = await job.done;
    expect(code).toBe(143);
    expect(stderr).not.toMatch(/while others wait/);
  });

  it('finalizes, when the others are in a barrier', async () => {
    const result = await run(wireupRun(3, 'fd', '-t', '50', program('raw_leave'), '1'), { deadline });
    expect(result.code).toBe(1);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(
        /rank 1 \(.*, past PMI finalize\) on \S+ left PMI while others wait in PMI barrier 1: .*; missing: 1; /,
      ),
    ]);
  });

  it('64 ranks that abort at once: one is named', async () => {
    const result = await run(wireupRun(64, 'fd', program('abort_with'), 'all', '9'), { deadline });
    expect(result.code).toBe(9);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* aborted the job with code 9/),
    ]);
  });
});

describe.skipIf(mpich.missing)(`MPI_Abort${mpich.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(['before', 'during', 'after'])('%s a collective, from every rank in turn', async (when) => {
      for (const rank of [0, 1, 2, 3]) {
        const result = await run(wireupRun(4, transport, program('abort_when'), String(rank), when, '42'));
        expect(result.code).toBe(42);
        expect(toolLines(result.stderr)).toEqual([
          expect.stringMatching(
            new RegExp(
              `^wireup: rank ${rank} \\(pid \\d+, \\S+, past PMI init\\) on \\S+ aborted the job with code 42`,
            ),
          ),
        ]);
      }
    });
  });
});

describe('64 ranks that exit with 3 at once', () => {
  it('one is named', async () => {
    const result = await run(wireupRun(64, 'fd', 'sh', '-c', 'exit 3'));
    expect(result.code).toBe(3);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/^wireup: rank \d+ .* exited with code 3/),
    ]);
  });
});

describe('--on-failure wait', () => {
  it('lets the others run on, and the first failure gives the code', async () => {
    const script = `case $PMI_RANK in
      1) exit 5;;
      2) while ! [ -e ${folder}/go ]; do sleep 0.01; done; exit 6;;
      *) while ! [ -e ${folder}/go ]; do sleep 0.01; done; echo done; esac`;
    const job = new Run(wireupRun(3, 'fd', '-v', '--on-failure', 'wait', 'sh', '-c', script));
    const agents = () => job.processes().filter(({ name }) => name === 'sh').length;
    // Rank 1 has gone, and nobody was ended by that.
    expect(await eventually(() => job.stderr.includes('PMI over') && agents() === 2, patience)).toBe(true);
    writeFileSync(join(folder, 'go'), '');
    const result = await job.done;
    expect(result.code).toBe(5);
    expect(result.stdout).toBe('done\n');
    expect(toolLines(result.stderr)[1]).toMatch(/rank 1 \(pid \d+, sh\) on \S+ exited with code 5$/);
  });
});

describe('limits of time', () => {
  it.each([
    ['-t 0.5', ['-t', '0.5'], {}],
    ['MPIEXEC_TIMEOUT', [], { MPIEXEC_TIMEOUT: '0.5' }],
  ] as [string, string[], Record<string, string>][])('%s', async (_, options, environment) => {
    const result = await run(wireupRun(2, 'fd', ...options, 'sleep', '1000'), { environment });
    expect(result.code).toBe(124);
    // Whoever has been started by then.
    expect(toolLines(result.stderr)[0]).toMatch(
      /^wireup: the job was not over after 0\.5 s(; 1 rank was ended|; 2 ranks were ended)?$/,
    );
  });

  it.each([
    ['2592000', 0],
    ['99999999999999999999', 0],
    ['0', 0],
    ['', 0],
    ['-1', 2],
    ['x', 2],
    ['1e3', 2],
  ])("MPIEXEC_TIMEOUT='%s': exit code %d", async (text, code) => {
    const result = await run(wireupRun(1, 'fd', 'true'), { environment: { MPIEXEC_TIMEOUT: text } });
    expect(result.code).toBe(code);
    expect(result.stderr).toMatch(
      code === 0
        ? /^$/
        : /^wireup: MPIEXEC_TIMEOUT=\S+: expected a positive number of seconds, or 0 for no limit \(see --help\)\n$/,
    );
  });

  it('a month is a limit', async () => {
    expect(
      (await run(wireupRun(1, 'fd', '-t', '2592000', '--startup-timeout', '2592000', 'true'))).code,
    ).toBe(0);
  });

  it.each(['0', '-1', 'x', '', '1e3', '9999999999'])("-t '%s' is wrong use", async (text) => {
    expect((await run(wireup('run', '-t', text, 'true'))).code).toBe(2);
    expect((await run(wireup('run', '--startup-timeout', text, 'true'))).code).toBe(2);
  });

  /** A job that is being ended: its rank has said INT, and TERM when it has heard that. */
  async function ending(killTimeout: string, onTerm: string, ...options: string[]): Promise<Run> {
    const script = `trap 'echo INT' INT; trap '${onTerm}' TERM; echo ready; while :; do sleep 0.05; done`;
    const job = new Run(wireupRun(1, 'fd', '--kill-timeout', killTimeout, ...options, 'sh', '-c', script), {
      deadline,
    });
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout === 'ready\nINT\n');
    job.kill('SIGINT');
    return job;
  }

  it('--kill-timeout: KILL for who does not obey TERM', async () => {
    const file = join(folder, 'killed.json');
    const job = await ending('0.2', '', '--result', file);
    expect((await job.done).code).toBe(130);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ ranks: [{ signal: 'SIGKILL' }] });
  });

  it('--kill-timeout: all that time for who needs it', async () => {
    // By the rank's own count this is longer than the five seconds that it has by default, and never shorter.
    const job = await ending('1000', 'for i in $(seq 110); do sleep 0.05; done; echo done; exit 0');
    expect(await job.done).toMatchObject({ code: 130, stdout: 'ready\nINT\ndone\n' });
  });

  it.skipIf(compiler.missing)(`--startup-timeout does not end what is wired up${compiler.note}`, async () => {
    const job = new Run(
      wireupRun(2, 'fd', '--startup-timeout', '5', '-t', '6', program('raw_stage'), 'running'),
    );
    const result = await job.done;
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)[0]).toMatch(/was not over after 6 s/);
  });
});

describe.skipIf(compiler.missing)(`where the ranks are${compiler.note}`, () => {
  const script =
    'case $PMI_RANK in 0) echo sleeping; exec sleep 1000;; 1) exec "$0" connected;; *) exec "$0" first-barrier;; esac';

  it('is said on SIGURG', async () => {
    const job = new Run(wireupRun(4, 'tcp', 'sh', '-c', script, program('raw_stage')));
    await job.until(() => lines(job.stdout).length === 4);
    const places =
      'wireup: 4 ranks: never connected: 0; connected, no init: 1; initialized: 2-3; in barrier 0: 2-3; missing: 0-1';
    // What ranks 2 and 3 have written last may not have been read yet.
    await told(job, places);
    job.kill('SIGTERM');
    expect((await job.done).code).toBe(143);
  });

  it('is said when wire-up takes too long', async () => {
    const result = await run(
      wireupRun(4, 'tcp', '--startup-timeout', '5', 'sh', '-c', script, program('raw_stage')),
    );
    expect(result.code).toBe(124);
    expect(toolLines(result.stderr)).toEqual([
      'wireup: the ranks had not found each other after 5 s; 4 ranks were ended',
      'wireup: never connected: 0; connected, no init: 1; initialized: 2-3; in barrier 0: 2-3; missing: 0-1',
    ]);
  });
});

describe('signals', () => {
  const deaf = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo ready; while :; do sleep 0.05; done";

  it('INT is passed on, the second ends the job, the third kills it', async () => {
    const job = new Run(wireupRun(1, 'fd', '--kill-timeout', '1000', 'sh', '-c', deaf));
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout === 'ready\nINT\n');
    job.kill('SIGINT');
    await job.until(() => job.stdout.endsWith('TERM\n'));
    job.kill('SIGINT');
    const { code, stderr } = await job.done;
    expect(code).toBe(130);
    expect(toolLines(stderr)).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGWINCH'] as const)(
    '%s reaches the group of every rank',
    async (signal) => {
      const name = signal.slice(3);
      // The shell waits for a child that is in its group, and dies of the signal unless the trap is there.
      const script = `trap 'echo got' ${name}; sh -c "trap 'echo got; exit' ${name}; echo ready; while :; do sleep 0.05; done"; exit 7`;
      const job = new Run(wireupRun(2, 'fd', '--on-failure', 'wait', 'sh', '-c', script));
      await job.until(() => lines(job.stdout).length === 2);
      job.kill(signal);
      const { code, stdout } = await job.done;
      expect(code).toBe(7);
      expect(lines(stdout).filter((line) => line === 'got')).toHaveLength(4);
    },
  );

  function state(pid: number): string | undefined {
    return /^State:\s*(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  }

  const nohup = needs('nohup');
  it.skipIf(nohup.missing)(`under nohup a HUP ends nothing${nohup.note}`, async () => {
    const script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    const job = new Run([peer('nohup'), join(root, 'dist', 'wireup'), 'run', '-n', '2', 'sh', '-c', script]);
    await job.until(() => lines(job.stdout).length === 2);
    const ranks = job
      .processes()
      .filter(({ name }) => name === 'sh')
      .map(({ pid }) => pid);
    for (const pid of [job.pid, ...ranks]) process.kill(pid, 'SIGHUP');
    job.kill('SIGUSR1');
    expect((await job.done).code).toBe(5);
  });

  it.skipIf(compiler.missing)(`on a terminal, ^C reaches the ranks once, by us${compiler.note}`, async () => {
    const script = "trap 'echo got INT' INT; trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done";
    const job = new Run([program('on_terminal'), 'foreground', ...wireupRun(2, 'fd', 'sh', '-c', script)]);
    await job.until(() => job.stdout.split('ready').length === 3);
    job.kill('SIGUSR1');
    await job.until(() => job.stdout.split('got INT').length === 3);
    job.kill('SIGTERM');
    const { code, stdout } = await job.done;
    expect(code).toBe(6);
    expect(stdout.split('got INT')).toHaveLength(3);
  });

  it.skipIf(compiler.missing).each(['background', 'tostop'])(
    `in the %s of a terminal nothing stops`,
    async (how) => {
      // Rank 0 reads the terminal, as far as it may, and all write to it.
      const script =
        "[ $PMI_RANK = 1 ] && { echo ready; exit 0; }; trap 'echo end; exit 0' TERM; echo ready; exec 3<&0; cat <&3 & wait";
      const job = new Run([program('on_terminal'), how, ...wireupRun(2, 'fd', 'sh', '-c', script)]);
      await job.until(() => job.stdout.split('ready').length === 3);
      job.kill('SIGTERM');
      const { code, stdout } = await job.done;
      expect(stdout.replace(/\r/g, '')).toBe('ready\nready\nend\n');
      expect(code).toBe(0);
    },
  );

  it('TSTP stops ranks and tool, CONT lets all go on', async () => {
    // A shell that starts something as it is stopped waits for what has stopped, which is another state.
    const job = new Run(wireupRun(2, 'fd', 'sh', '-c', 'echo $$; exec tail -f /dev/null'));
    await job.until(() => job.stdout.endsWith('\n') && lines(job.stdout).length === 2);
    const ranks = lines(job.stdout).map(Number);
    job.kill('SIGTSTP');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) === 'T'), patience)).toBe(
      true,
    );
    job.kill('SIGCONT');
    expect(await eventually(() => [job.pid, ...ranks].every((pid) => state(pid) !== 'T'), patience)).toBe(
      true,
    );
    job.kill('SIGUSR1');
    expect((await job.done).code).toBe(138);
  });
});

describe('a program whose interpreter is not there', () => {
  it.each([
    ['#!/no/such/interpreter -x\n', '/no/such/interpreter'],
    ['#! /bin/sh\r\n', '/bin/sh, with a carriage return behind it: the lines end as in DOS'],
    ['#!/no/such\u001b[31m\n', '/no/such\\x1b[31m'],
  ])('%j', async (head, named) => {
    const script = join(folder, 'script');
    writeFileSync(script, `${head}exit 0\n`, { mode: 0o755 });
    const result = await run(wireupRun(2, 'fd', script));
    expect(result.code).toBe(127);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringContaining(`execve ${script} (its interpreter ${named}): No such file or directory`),
    ]);
    const shimmed = await run(wireupRun(1, 'unix', script));
    expect(shimmed.code).toBe(127);
    expect(shimmed.stderr).toContain(
      `wireup-exec: cannot run ${script} (its interpreter ${named}): No such file or directory\n`,
    );
  });

  it.skipIf(compiler.missing)(`an ELF file names its loader${compiler.note}`, async () => {
    const file = join(folder, 'elf');
    const bytes = readFileSync(program('no_pmi'));
    const loader = /\/[\w./-]*ld-linux[\w.-]*/.exec(bytes.toString('latin1'))![0];
    bytes.write('X'.repeat(3), bytes.indexOf(loader) + 1, 'latin1');
    writeFileSync(file, bytes, { mode: 0o755 });
    const result = await run(wireupRun(1, 'fd', file));
    expect(result.code).toBe(127);
    expect(result.stderr).toContain(
      `execve ${file} (its interpreter /XXX${loader.slice(4)}): No such file or directory`,
    );
  });
});

describe('^C', () => {
  it('that the ranks do not end by is explained, once', async () => {
    const job = new Run(
      wireupRun(1, 'fd', 'sh', '-c', "trap 'echo INT' INT; echo ready; while :; do sleep 0.05; done"),
      { deadline },
    );
    await job.until(() => job.stdout === 'ready\n');
    job.kill('SIGINT');
    await job.until(() => job.stderr.includes('\n'));
    expect(job.stderr).toBe(
      'wireup: the ranks were interrupted and go on; ^C twice within 2 s ends the job, once more kills it\n',
    );
    // One that is told of is enough for the second; which of those that follow ends the job is a matter of time.
    expect(
      await eventually(() => {
        job.kill('SIGINT');
        return job.processes().length === 0;
      }, patience),
    ).toBe(true);
    const result = await job.done;
    expect(result.code).toBe(130);
    expect(toolLines(result.stderr).slice(1)).toEqual([]);
  });

  it('that ends the job needs no words but its failure', async () => {
    const job = new Run(wireupRun(2, 'fd', 'sh', '-c', 'echo ready; exec tail -f /dev/null'), { deadline });
    await job.until(() => job.stdout === 'ready\nready\n');
    job.kill('SIGINT');
    const result = await job.done;
    expect(result.code).toBe(130);
    expect(toolLines(result.stderr)).toEqual([expect.stringMatching(/was killed by SIGINT/)]);
  });
});

describe('--result', () => {
  interface Row {
    rank: number;
    pid?: number;
    state: string;
    code?: number;
    signal?: string;
    ended: boolean;
    times: Record<string, number>;
  }
  interface Document {
    exitCode: number;
    failure?: { reason: string; rank: number; code: number };
    ended: number;
    barriers: { count: number };
    ranks: Row[];
  }
  const read = (file: string): Document => JSON.parse(readFileSync(file, 'utf8')) as Document;

  it.skipIf(mpich.missing)(`tells how each rank ended, and when${mpich.note}`, async () => {
    const file = join(folder, 'good.json');
    writeFileSync(file, 'an older result, and a longer one'.repeat(1000));
    expect((await run(wireupRun(3, 'tcp', '--result', file, program('hello')))).code).toBe(0);
    const { exitCode, failure, barriers, ranks } = read(file);
    expect({ exitCode, failure }).toEqual({ exitCode: 0, failure: undefined });
    expect(barriers.count).toBeGreaterThan(0);
    expect(ranks.map(({ rank, state, code }) => [rank, state, code])).toEqual(
      [0, 1, 2].map((rank) => [rank, 'finalized', 0]),
    );
    for (const { times } of ranks) {
      const order = ['started', 'connected', 'initialized', 'finalized', 'exited'].map(
        (name) => times[name]!,
      );
      expect(
        order.every((time, i) => time > 0 && (i === 0 || time >= order[i - 1]!)),
        JSON.stringify(times),
      ).toBe(true);
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('good'))).toEqual(['good.json']);
  });

  it('tells of a failure', async () => {
    const file = join(folder, 'bad.json');
    const script = '[ $PMI_RANK = 1 ] && exit 3; exec sleep 1000';
    expect((await run(wireupRun(3, 'fd', '--result', file, 'sh', '-c', script))).code).toBe(3);
    expect(read(file)).toMatchObject({
      exitCode: 3,
      failure: { reason: 'exit', rank: 1, code: 3 },
      ended: 2,
    });
    expect(read(file).ranks.map(({ code, signal, ended }) => [code, signal, ended])).toEqual([
      [undefined, 'SIGTERM', true],
      [3, undefined, false],
      [undefined, 'SIGTERM', true],
    ]);
  });

  it.each([
    ['sh -c "exit 0"', 0, 1],
    ['sh -c "exit 5"', 5, 5],
  ])('a full disk is said, and %s keeps its code', async (_, code, expected) => {
    const result = await run(
      wireupRun(2, 'fd', '--on-failure', 'wait', '--result', '/dev/full', 'sh', '-c', `exit ${code}`),
    );
    expect(result.code).toBe(expected);
    expect(result.stderr).toMatch(
      /^wireup: the result could not be written to \/dev\/full: .*no space left on device/im,
    );
  });

  const mounts = needs('unshare');
  const mayMount = process.getuid?.() === 0;
  it.skipIf(mounts.missing || !mayMount)(
    `a disk that fills: nothing half written is left${mounts.note}${mayMount ? '' : ' (needs root)'}`,
    async () => {
      const disk = mkdtempSync(join(folder, 'disk-'));
      const script =
        'mount -t tmpfs -o size=32k none "$0" || exit 99; head -c 28k /dev/zero > "$0/fill"; echo old > "$0/r"; "$@"; echo $?; ls "$0"; cat "$0/r"';
      const tool = wireupRun(64, 'fd', '--result', join(disk, 'r'), 'true');
      const result = await run([peer('unshare'), '-m', 'sh', '-c', script, disk, ...tool]);
      expect(result.stdout).toBe('1\nfill\nr\nold\n');
      expect(result.stderr).toMatch(/could not be written to .*no space left on device/i);
    },
  );

  it('goes through a link, and a file keeps its mode', async () => {
    const file = join(folder, 'private.json');
    const link = join(folder, 'link');
    writeFileSync(file, 'old');
    chmodSync(file, 0o600);
    symlinkSync('private.json', link);
    expect((await run(wireupRun(1, 'fd', '--result', link, 'true'))).code).toBe(0);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(read(file).exitCode).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('is appended to what the tool says, on its own stdout', async () => {
    const log = join(folder, 'log');
    const [node, ...words] = wireupRun(1, 'fd', '--result', '/proc/self/fd/1', 'echo', 'said');
    const script = `"$@" > ${log}`;
    expect((await run(['sh', '-c', script, 'sh', node!, ...words])).code).toBe(0);
    const [said, ...json] = readFileSync(log, 'utf8').split('\n');
    expect(said).toBe('said');
    expect(JSON.parse(json.join('\n'))).toMatchObject({ exitCode: 0 });
  });

  it.each(['/no/such/folder/r', folder, ''])("'%s' is wrong use, said before anything runs", async (file) => {
    const result = await run(wireupRun(1, 'fd', '--result', file, 'echo', 'ran'));
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(toolLines(result.stderr)).toHaveLength(1);
  });
});
