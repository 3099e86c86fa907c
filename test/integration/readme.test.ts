/** README.md and docs/ are correct: their examples run, their tables agree with the code, their links resolve. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  describeFailure,
  type JobFailure,
  type JobResult,
  type PmiStatus,
  type RankFacts,
} from '../../dist/index.js';
import { needs } from '../support/installed';
import { examplesOf, masked, programs, read } from '../support/readme';
import { root } from '../support/root';
import { protocolTable, wireTable } from '../support/wire-table';

/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

describe('in a project that has the package installed', () => {
  let project: string;
  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'wireup-readme-'));
    writeFileSync(join(project, 'package.json'), '{ "private": true }');
    mkdirSync(join(project, 'node_modules/.bin'), { recursive: true });
    symlinkSync(root, join(project, 'node_modules/wireup'));
    for (const name of ['wireup', 'mpiexec.wireup'])
      symlinkSync('../wireup/dist/wireup', join(project, 'node_modules/.bin', name));
  });
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  const run = (command: string, ...args: string[]) => {
    const env = { ...process.env, PATH: `${process.env.PATH}:${project}/node_modules/.bin` };
    const { stdout, stderr, status } = spawnSync(command, args, {
      cwd: project,
      encoding: 'utf8',
      timeout,
      env,
    });
    return { stdout: masked(stdout), stderr, status };
  };

  test.each([...examplesOf('README.md'), ...examplesOf('docs/api-guide.md')])(
    '$title prints its output',
    ({ code, output }) => {
      writeFileSync(join(project, 'example.mjs'), code);
      expect(run(process.execPath, 'example.mjs')).toEqual({ stdout: masked(output), stderr: '', status: 0 });
    },
  );

  const tools = needs('mpicc');
  test.skipIf(tools.missing)(`hello.c prints its lines${tools.note}`, () => {
    const [, source, command, output] =
      /^```c\n([^]*?)^```\n\n```sh\n([^]*?)^```\n\n```text\n([^]*?)^```/m.exec(read('README.md'))!;
    writeFileSync(join(project, 'hello.c'), source!);
    const { stdout, stderr, status } = run('sh', '-c', command!);
    expect({ lines: stdout.split('\n').sort(), stderr, status }).toEqual({
      lines: output!.split('\n').sort(),
      stderr: '',
      status: 0,
    });
  });

  test('wireup exchange runs', () => {
    const [command] = /wireup run -n 4 wireup exchange/.exec(read('README.md'))!;
    expect(run('sh', '-c', command)).toMatchObject({ stderr: '', status: 0 });
  });
});

test('docs/api-guide.md contains every program of examples/', () => {
  const guide = read('docs/api-guide.md');
  for (const program of programs) expect(guide).toContain(`\`\`\`js\n${program}\`\`\`\n`);
});

describe('docs/endings.md shows the messages about failures', () => {
  const failed = (program: string, ended: number, failure: JobFailure): string => {
    const rank = {
      rank: 1,
      host: 'node7',
      appnum: 0,
      state: 'finalized' as const,
      coreDumped: false,
      ended: false,
    };
    const result: JobResult = {
      exitCode: 1,
      stopped: false,
      failure: { pid: 4242, ...failure },
      ended,
      begun: 0,
      duration: 0,
      barriers: { count: 0, times: [] },
      host: 'node7',
      apps: [{ program, ranks: 64 }],
      ranks: [rank, { ...rank, times: { initialized: 1 } }].map((row) => ({ times: {}, ...row })),
      spawned: 0,
    };
    return describeFailure(result)!;
  };
  const status: PmiStatus = {
    size: 8,
    ranks: { absent: '5', connected: '3', initialized: '0-2,4,6-7', finalized: '', disconnected: '' },
    barrier: { number: 0, inside: '0-2,4,6-7', missing: '3,5' },
    groupBarriers: [],
    openGroupBarriers: 0,
    kvsEntries: 0,
    rejected: 0,
    unidentified: 0,
  };
  const late = (rank: number, pmi: RankFacts['pmi'], systemCall: string, file?: string): RankFacts => ({
    rank,
    host: 'node7',
    pid: 4711 + rank,
    pmi,
    process: {
      pid: 4711 + rank,
      name: 'a.out',
      state: 'waiting',
      systemCall,
      processorTime: 10,
      ...(file === undefined ? {} : { file }),
    },
  });
  const signal: JobFailure = {
    reason: 'signal',
    rank: 1,
    phase: 'initialized',
    barrier: 2,
    signal: 'SIGSEGV',
    coreDumped: true,
  };
  test.each([
    failed('./a.out', 63, signal),
    failed('./a.out', 3, {
      reason: 'abort',
      rank: 1,
      phase: 'initialized',
      code: 42,
      message: 'no convergence',
    }),
    failed('sh', 3, {
      reason: 'early',
      rank: 1,
      phase: 'none',
      code: 0,
      barrier: 0,
      waiting: '0,2-3',
      missing: '1',
    }),
    failed('./a.out', 3, {
      reason: 'lost',
      rank: 1,
      phase: 'initialized',
      cutOff: 'it left 1 MiB of replies unread',
    }),
    failed('./a.out', 8, {
      reason: 'startup',
      limit: 10_000,
      status,
      late: [late(3, 'connected', 'read', 'pipe:[40522646]'), late(5, 'absent', 'clock_nanosleep')],
    }),
  ])('%s', (text) => {
    for (const line of text.split('\n')) expect(read('docs/endings.md')).toContain(`\nwireup: ${line}\n`);
  });
  test('README.md shows a message about a failure', () => {
    expect(read('README.md')).toContain(`\nwireup: ${failed('./a.out', 63, signal)}\n`);
  });
});

test('README.md has the table of protocols that the core generates', () => {
  expect(read('README.md')).toContain(`\n${protocolTable()}\n`);
});

test('docs/wire.md has the tables of messages that the core generates', () => {
  expect(read('docs/wire.md')).toContain(`\n${wireTable('v1')}\n`);
  expect(read('docs/wire.md')).toContain(`\n${wireTable('v2')}\n`);
});

const pages = ['.', 'docs'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** The id that GitHub gives to a heading. */
const idOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

test.each(pages)('the links of %s resolve', (page) => {
  const text = read(page).replace(/^```[^]*?^```/gm, '');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
  for (const link of links.filter((each) => !/^https?:/.test(each))) {
    const [path, anchor] = link.split('#') as [string, string?];
    const target = path === '' ? page : join(dirname(page), path);
    expect(existsSync(join(root, target)), link).toBe(true);
    if (anchor === undefined) continue;
    const ids = [...read(target).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => idOf(heading!));
    expect(ids, link).toContain(anchor);
  }
});

test.each(pages)('the paths in %s exist', (page) => {
  // Paths in native/ may lack that folder, as in `#include` lines.
  const paths = [
    ...read(page).matchAll(/`((?:test|native|lib|examples|wire|engine|os|runtime|addon|tools)\/[\w./-]+)`/g),
  ];
  for (const [, path] of paths.filter(([, each]) => !each!.includes('NAME')))
    expect(existsSync(join(root, path!)) || existsSync(join(root, 'native', path!)), path).toBe(true);
});

test('`npm start` runs eight ranks', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: { start: string } };
  const [command, ...args] = scripts.start.split('&& ')[1]!.split(' ');
  const { stdout, stderr, status } = spawnSync(command!, args, { cwd: root, encoding: 'utf8', timeout });
  expect(status).toBe(0);
  expect(stderr).toMatch(
    /^wireup: 8 ranks of node on \S+, PMI over fd\nwireup: phases: spawn .*\nwireup: the job ended after \d+\.\d\d s with exit code 0\n$/,
  );
  const lines = stdout.trimEnd().split('\n').sort();
  expect(lines).toHaveLength(9);
  for (let rank = 0; rank < 8; rank++) {
    expect(lines).toContainEqual(
      expect.stringMatching(`^rank ${rank} of 8, pid \\d+ on \\S+: has the cards of all ranks$`),
    );
  }
  expect(lines).toContainEqual(expect.stringMatching(/^8 ranks exchanged their cards in \d+\.\d ms$/));
});

test.each(['', 'run', 'exchange', 'serve', 'names'])(
  '`wireup %s --help` exits with 0 and prints the usage',
  (command) => {
    const { stdout, status } = spawnSync(
      process.execPath,
      ['dist/cli.js', ...(command === '' ? [] : [command]), '--help'],
      {
        cwd: root,
        encoding: 'utf8',
        timeout,
      },
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Usage: wireup/);
  },
);
