/** `wireup run --timeline` and `wireup report`: what the files show, and how the page looks in a browser. */
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import type { JobResult, RankResult } from '../../dist/index.js';
import type { SpawnedGroup } from '../../lib/timeline/spawned';
import { inBrowser, type Scheme } from '../support/browser';
import { dynamicMpich, needs } from '../support/installed';
import { long } from '../support/long';
import { eventually } from '../support/processes';
import { compile, program } from '../support/programs';
import { Run, run, toolLines, wireup, wireupRun } from '../support/run';

const folder = mkdtempSync(join(tmpdir(), 'timeline-'));
afterAll(() => rmSync(folder, { recursive: true }));

const mpich = needs('mpicc');
const compiler = needs('cc');
const browser = needs('chromium');
const deadline = 55_000;

const readJson = <T>(file: string): T => JSON.parse(readFileSync(file, 'utf8')) as T;

interface TraceEvent {
  name: string;
  ph: string;
  cat?: string;
  pid: number;
  tid: number;
  ts: number;
  dur?: number;
  args?: Record<string, unknown>;
}

/** The findings of a page. */
const findingsOf = (page: string): string =>
  /<ul id="findings">([^]*?)<\/ul>/.exec(readFileSync(page, 'utf8'))?.[1] ?? '';

/** The row of a rank in the table of a page. */
const rowOf = (page: string, rank: number | string): string =>
  new RegExp(`<tr data-rank="${rank}">.*`).exec(readFileSync(page, 'utf8'))?.[0] ?? '';

/** The figures that a page has of each moment: how many ranks, the first, median and last time, and the last rank. */
const momentsOf = (page: string): Record<string, string[]> =>
  inBrowser(
    page,
    1600,
    'light',
    `Object.fromEntries([...document.querySelectorAll('#moments tbody tr')].map((row) =>
      [row.cells[0].textContent, [row.cells[1].textContent, ...[...row.querySelectorAll('data')].map(({ value }) => value), row.cells[5].textContent]]))`,
  );

/** The same figures, computed from a result. */
function momentsOfResult({ ranks, barriers }: JobResult): Record<string, string[]> {
  const figures = (timeOf: (row: RankResult) => number): string[] => {
    const rows = [...ranks].sort((a, b) => timeOf(a) - timeOf(b) || a.rank - b.rank);
    const times = rows.map(timeOf);
    const half = times.length / 2;
    const median = (times[Math.ceil(half) - 1]! + times[Math.floor(half)]!) / 2;
    return [`${times.length}`, `${times[0]}`, `${median}`, `${times.at(-1)}`, `${rows.at(-1)!.rank}`];
  };
  return {
    started: figures(({ times }) => times.started!),
    init: figures(({ times }) => times.initialized!),
    ...Object.fromEntries(
      barriers.times.map((_, number) => [
        `enters barrier ${number}`,
        figures(({ times }) => times.entered![number]!),
      ]),
    ),
    finalize: figures(({ times }) => times.finalized!),
    exit: figures(({ times }) => times.exited!),
  };
}

/** A job of many ranks on many hosts, with one rank that comes late. */
function largeResult(size: number, late: number): JobResult {
  const random = (rank: number, n: number): number => ((rank * 7919 + n * 104_729) % 1009) / 10;
  const times = (rank: number): { started: number; initialized: number; entered: number[] } => {
    const started = 20 + rank / 2 + random(rank, 1) / 10;
    const initialized = started + 80 + random(rank, 2) + (rank === late ? 2000 : 0);
    return { started, initialized, entered: [initialized + 30 + random(rank, 3)] };
  };
  const released = Math.max(...Array.from({ length: size }, (_, rank) => times(rank).entered[0]!)) + 1;
  const ranks = Array.from({ length: size }, (_, rank): RankResult => ({
    rank,
    appnum: 0,
    host: `n${Math.floor(rank / 16)}`,
    pid: 1000 + rank,
    state: 'finalized',
    code: 0,
    coreDumped: false,
    ended: false,
    times: {
      ...times(rank),
      finalized: released + random(rank, 4),
      exited: released + 110 + random(rank, 5),
    },
    cpu: { user: 50, system: 10 },
  }));
  return {
    exitCode: 0,
    stopped: false,
    ended: 0,
    begun: 1_795_842_495_879.5,
    duration: released + 250,
    barriers: { count: 1, times: [released] },
    host: 'n0',
    apps: [{ program: './a.out', ranks: size }],
    ranks,
    spawned: 0,
  };
}

describe.skipIf(compiler.missing)(`--timeline${compiler.note}`, () => {
  it('writes trace events of each rank, whose times are those of --result, and each message', async () => {
    const [result, timeline, trace] = ['few.json', 'few-events.json', 'few.jsonl'].map((name) =>
      join(folder, name),
    ) as [string, string, string];
    const line = wireupRun(
      4,
      'tcp',
      '--map',
      'block:2',
      ...['--result', result, '--timeline', timeline, '--trace-file', trace, program('raw_exchange')],
    );
    expect((await run(line)).code).toBe(0);
    const { ranks, barriers } = readJson<JobResult>(result);
    const { traceEvents } = readJson<{ traceEvents: TraceEvent[] }>(timeline);
    for (const { rank, times } of ranks) {
      const own = traceEvents.filter(({ tid, ph }) => tid === rank && ph !== 'M');
      const phases = own.filter(({ cat }) => cat?.endsWith('phase'));
      expect(phases[0]).toMatchObject({ name: 'before init', ts: times.started! * 1000 });
      for (const [number, released] of barriers.times.entries()) {
        const { ts, dur } = phases.find(({ name }) => name === `barrier ${number}`)!;
        expect(ts).toBe(times.entered![number]! * 1000);
        expect(ts + dur!).toBeCloseTo(released * 1000, 3);
      }
      expect(own.find(({ name }) => name === 'exit')?.ts).toBe(times.exited! * 1000);
      // One slice for each of its requests, inside of the life of the rank.
      const messages = own.filter(({ cat }) => cat === 'pmi');
      expect(messages.filter(({ name }) => name === 'get')).toHaveLength(4);
      for (const { ts } of messages) {
        expect(ts).toBeGreaterThan(times.started! * 1000 - 5000);
        expect(ts).toBeLessThan(times.exited! * 1000 + 5000);
      }
    }
    expect(traceEvents.filter(({ cat }) => cat === 'path,phase').length).toBeGreaterThan(0);
  });

  it.each(['html', 'svg'])(
    'writes a .%s that names the rank that came last to the first barrier',
    async (form) => {
      const file = join(folder, `late.${form}`);
      const go = join(folder, `go-${form}`);
      const script = `if [ $PMI_RANK = 2 ]; then until [ -e ${go} ]; do sleep 0.01; done; fi; exec "$0"`;
      const job = new Run(
        wireupRun(4, 'fd', '--timeline', file, 'sh', '-c', script, program('raw_exchange')),
        {
          deadline,
        },
      );
      const waits = await eventually(() => {
        job.kill('SIGURG');
        return job.stderr.includes('in barrier 0: 0-1,3; missing: 2');
      }, deadline);
      expect(waits, job.stderr).toBe(true);
      writeFileSync(go, '');
      expect((await job.done).code).toBe(0);
      const text = readFileSync(file, 'utf8');
      expect(text).toMatch(/Rank 2 on \S+ entered it last/);
      const rows = text.split('<g><title>').filter((row) => row.startsWith('rank '));
      expect(rows.map((row) => row.includes('class="path"'))).toEqual([false, false, true, false]);
    },
  );

  it('shows which rank failed, and when', async () => {
    const file = join(folder, 'failed.html');
    const script = 'if [ $PMI_RANK = 1 ]; then exit 3; fi; exec sleep 1000';
    expect((await run(wireupRun(3, 'fd', '--timeline', file, 'sh', '-c', script))).code).toBe(3);
    expect(findingsOf(file)).toMatch(
      /Rank 1 \(pid \d+, sh\) on \S+ exited with code 3; 2 other ranks were ended\./,
    );
    expect(rowOf(file, 1)).toContain('exit 3, failed');
    expect(rowOf(file, 0)).toContain('SIGTERM, ended by wireup');
    expect(readFileSync(file, 'utf8').match(/<path class="fail"/g)).toHaveLength(1);
  });

  it.each(['timeline.txt', ''])("refuses '%s' as wrong use before any rank runs", async (file) => {
    const result = await run(wireupRun(1, 'fd', '--timeline', file, 'echo', 'ran'));
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(toolLines(result.stderr)).toEqual([
      expect.stringContaining('expected a name that ends with .html, .svg or .json'),
    ]);
  });

  it('reports a full disk', async () => {
    const full = join(folder, 'full.html');
    symlinkSync('/dev/full', full);
    const result = await run(wireupRun(1, 'fd', '--timeline', full, 'true'));
    expect(result.code).toBe(1);
    expect(toolLines(result.stderr)).toEqual([
      expect.stringMatching(/cannot write the timeline to .*no space left/i),
    ]);
  });
});

describe.skipIf(mpich.missing)(`a timeline of MPICH ranks of which one is missing${mpich.note}`, () => {
  const size = long ? 64 : 8;
  const odd = long ? 17 : 5;
  const others = long ? '0-16,18-63' : '0-4,6-7';

  /** The processor time of a process, in ticks of the kernel. */
  const ticksOf = (pid: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };
  const pidsOf = (table: string): number[] => readJson<{ pid: number }[]>(table).map(({ pid }) => pid);

  /** Starts a job, ends it when `ready` holds, and returns its timeline. */
  async function endWhen(
    name: string,
    words: string[],
    ready: (job: Run, pids: () => number[]) => boolean,
  ): Promise<string> {
    const file = join(folder, `${name}.html`);
    const table = join(folder, `${name}-table.json`);
    const options = ['--timeline', file, '--proctable', table, '--kill-timeout', '1', '--stdin', `${odd}`];
    const [tool, ...line] = wireupRun(size, 'fd', ...options, ...words);
    // The stdin of the job stays open until tail ends, which is when the job has ended.
    const job = new Run(
      ['sh', '-c', 'mkfifo "$0" && exec "$@" <>"$0"', join(folder, `${name}-fifo`), tool!, ...line],
      {
        deadline,
      },
    );
    const found = await eventually(() => ready(job, () => pidsOf(table)), deadline - 5000);
    expect(found, job.stderr).toBe(true);
    job.kill('SIGTERM');
    await job.done;
    return file;
  }

  const waited = (job: Run): boolean => {
    job.kill('SIGURG');
    return job.stderr.includes(`in barrier 0: ${others}; missing: ${odd}`);
  };
  const script = (does: string): string[] => [
    'sh',
    '-c',
    `if [ "$PMI_RANK" = ${odd} ]; then ${does}; fi; exec "$0"`,
    program('hello'),
  ];

  it.each([
    ['sleeps', 'exec sleep 1000'],
    ['reads stdin', 'exec cat'],
    ['is stopped', 'kill -STOP $$'],
  ])('because it %s before MPI_Init', async (name, does) => {
    const page = await endWhen(name.replaceAll(' ', '-'), script(does), waited);
    expect(findingsOf(page)).toContain(
      `Barrier 0 did not complete: ranks ${others} waited in it for rank ${odd}.`,
    );
    expect(findingsOf(page)).toContain(`Rank ${odd} never sent PMI init.`);
    expect(findingsOf(page)).not.toContain('processor time');
    // Started, not connected, no init, no barrier.
    expect(rowOf(page, odd)).toMatch(
      /<data value="[\d.]+">[^<]+<\/data><\/td><td>–<\/td><td>–<\/td><td>–<\/td>/,
    );
  });

  it('because it spins before MPI_Init', async () => {
    const spun = (pids: number[]): boolean => {
      const ticks = pids.map(ticksOf);
      return ticks[odd]! > 200 + 5 * Math.max(...ticks.filter((_, rank) => rank !== odd));
    };
    const page = await endWhen(
      'spins',
      script('while :; do :; done'),
      (job, pids) => waited(job) && spun(pids()),
    );
    expect(findingsOf(page)).toContain(`Rank ${odd} never sent PMI init.`);
    expect(findingsOf(page)).toMatch(new RegExp(`Rank ${odd} used more processor time than the others: \\d`));
  });

  it('because it does not enter MPI_Barrier, in which the others poll', async () => {
    const polled = (pids: number[]): boolean => {
      const ticks = pids.map(ticksOf);
      return ticks.every((used, rank) => rank === odd || used > 50 + 5 * ticks[odd]!);
    };
    const page = await endWhen('mpi-barrier', [program('mpi_barrier_without'), `${odd}`], (_, pids) => {
      try {
        return polled(pids());
      } catch {
        // The process table is not written yet.
        return false;
      }
    });
    expect(findingsOf(page)).toMatch(new RegExp(`Rank ${odd} used less processor time than the others: \\d`));
    expect(findingsOf(page)).not.toContain('did not complete');
  });
});

const spawning = dynamicMpich();
describe.skipIf(spawning.missing)(`spawned process groups${spawning.note}`, () => {
  it('are in the result, and in each form of a timeline', async () => {
    const [result, page] = [join(folder, 'spawns.json'), join(folder, 'spawns-run.html')];
    const options = ['--launcher', 'fork', '--hosts', 'n0:2,n1:4', '--result', result, '--timeline', page];
    const job = await run(wireupRun(1, 'fd', ...options, compile('spawn', spawning.mpicc), 'one', '3'), {
      deadline,
    });
    expect(job.code, job.stderr).toBe(0);
    const { groups, duration } = readJson<JobResult & { groups: SpawnedGroup[] }>(result);
    expect(groups).toMatchObject([{ group: 1, by: { group: 0, rank: 0 } }]);
    const [{ ranks }] = groups as [SpawnedGroup];
    expect(ranks.map(({ rank, state, code }) => [rank, state, code])).toEqual(
      [0, 1, 2].map((rank) => [rank, 'finalized', 0]),
    );
    expect(new Set(ranks.map(({ host }) => host))).toEqual(new Set(['n0', 'n1']));
    for (const { times } of ranks) {
      const { started, initialized, entered, finalized, exited } = times;
      const order = [started!, initialized!, entered![0]!, finalized!, exited!, duration];
      expect(order).toEqual([...order].sort((a, b) => a - b));
    }
    // wireup report makes the same page of the result.
    expect((await run(wireup('report', result, join(folder, 'spawns.html')))).code).toBe(0);
    expect(readFileSync(join(folder, 'spawns.html'), 'utf8')).toBe(readFileSync(page, 'utf8'));
    const rows = [...readFileSync(page, 'utf8').matchAll(/<title>rank ([^ ]+) on/g)].map(([, rank]) => rank);
    expect([...new Set(rows)]).toEqual(['0', '1.0', '1.1', '1.2']);
    expect(readFileSync(page, 'utf8')).toContain('process group 1: ranks 0-2 of ');
    expect(rowOf(page, '1.2')).toContain(`<data value="${ranks[2]!.times.initialized}">`);
    const events = join(folder, 'spawns-events.json');
    expect((await run(wireup('report', result, events))).code).toBe(0);
    const { traceEvents } = readJson<{ traceEvents: TraceEvent[] }>(events);
    expect(traceEvents.filter(({ pid, name }) => pid === 1_000_001 && name === 'exit')).toHaveLength(3);
  });
});

describe('wireup report', () => {
  it('writes the same page as --timeline', async () => {
    const [result, timeline] = [join(folder, 'same.json'), join(folder, 'same-run.html')];
    const line = wireupRun(2, 'fd', '--result', result, '--timeline', timeline, 'true');
    expect((await run(line)).code).toBe(0);
    expect(await run(wireup('report', result))).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect(readFileSync(join(folder, 'same.html'), 'utf8')).toBe(readFileSync(timeline, 'utf8'));
  });

  it.each([
    ['is no JSON', 'x'],
    ['is no result', '{}'],
    ['has text in place of a number', JSON.stringify({ ...largeResult(2, 1), duration: '<script>' })],
  ])('refuses a file that %s', async (_, content) => {
    const file = join(folder, 'wrong.json');
    writeFileSync(file, content);
    const { code, stderr } = await run(wireup('report', file));
    expect(code).toBe(1);
    expect(toolLines(stderr)).toEqual([expect.stringContaining(file)]);
  });

  it('names a file that does not exist', async () => {
    const { code, stderr } = await run(wireup('report', '/nonexistent'));
    expect([code, stderr]).toEqual([1, 'wireup: /nonexistent: no such file or directory\n']);
  });

  it('escapes what a result contains', async () => {
    const file = join(folder, 'hostile.json');
    const bad = '"><script>alert(1)</script>';
    const result = largeResult(2, 1);
    result.apps[0]!.program = bad;
    for (const row of result.ranks) Object.assign(row, { host: bad, state: bad, signal: bad });
    writeFileSync(file, JSON.stringify(result));
    for (const form of ['html', 'svg']) {
      const target = join(folder, `hostile.${form}`);
      expect((await run(wireup('report', file, target))).code).toBe(0);
      expect(readFileSync(target, 'utf8')).not.toContain('<script');
    }
  });
});

describe.skipIf(browser.missing)(`the page of 1,024 ranks in a browser${browser.note}`, () => {
  const size = 1024;
  const late = 517;
  const result = largeResult(size, late);
  const page = join(folder, 'large.html');
  const ready = (async () => {
    const file = join(folder, 'large.json');
    writeFileSync(file, JSON.stringify(result));
    expect((await run(wireup('report', file))).code).toBe(0);
  })();

  it('has less than 2 MB and needs no network', async () => {
    await ready;
    expect(statSync(page).size).toBeLessThan(2_000_000);
    expect(readFileSync(page, 'utf8')).not.toMatch(/(src|href)=|url\(|@import|<script/);
  });

  it('has the figures of the result', async () => {
    await ready;
    expect(momentsOf(page)).toEqual(momentsOfResult(result));
    expect(rowOf(page, late)).toContain(`<data value="${result.ranks[late]!.times.entered![0]}">`);
  });

  it.each<[number, Scheme]>([
    [400, 'light'],
    [400, 'dark'],
    [1600, 'light'],
    [1600, 'dark'],
  ])(
    'at %i pixels, %s: does not overflow, is readable, and draws each bar where its time is',
    async (width, scheme) => {
      await ready;
      const seen = inBrowser<{
        width: number;
        scroll: number;
        ground: string;
        texts: string[];
        bars: string[];
        smallest: number;
        hits: string[];
      }>(
        page,
        width,
        scheme,
        `(() => {
        const style = (node) => getComputedStyle(node);
        const plot = document.querySelector('svg.plot').getBoundingClientRect();
        const titles = [...document.querySelectorAll('svg.plot > g > title')];
        const late = titles.find(({ textContent }) => textContent.startsWith('rank ${late} on')).parentNode;
        const box = late.getBoundingClientRect();
        const at = (time) => document.elementFromPoint(plot.left + plot.width * time / ${result.duration}, box.top + box.height / 2).getAttribute('class');
        return {
          width: innerWidth,
          scroll: document.documentElement.scrollWidth,
          ground: style(document.body).backgroundColor,
          texts: [...new Set([...document.querySelectorAll('h1, p, li, td, th')].map((node) => style(node).color)),
            ...new Set([...document.querySelectorAll('svg text')].map((node) => style(node).fill))],
          bars: [...new Set([...document.querySelectorAll('svg.plot rect:not(.path)')].map((node) => style(node).fill))],
          smallest: Math.min(...[...document.querySelectorAll('svg text, td, li')].map((node) => parseFloat(style(node).fontSize))),
          hits: [at(${result.ranks[late]!.times.started! + 500}), at(${result.ranks[late]!.times.initialized! + 20}), at(${result.ranks[late]!.times.exited! - 20})],
        };
      })()`,
      );
      expect(seen.width).toBe(width);
      expect(seen.scroll).toBeLessThanOrEqual(width);
      expect(seen.smallest).toBeGreaterThanOrEqual(11);
      // The contrast that WCAG 2 demands of text is 4.5. Bars also differ by their place.
      for (const text of seen.texts) expect(contrast(text, seen.ground), text).toBeGreaterThanOrEqual(4.5);
      for (const bar of seen.bars) expect(contrast(bar, seen.ground), bar).toBeGreaterThanOrEqual(2);
      expect(seen.hits).toEqual(['start', 'run', 'end']);
    },
  );
});

describe.skipIf(browser.missing || compiler.missing)(
  `the page of a real job${browser.note || compiler.note}`,
  () => {
    // More than have a row each.
    const size = long ? 1024 : 128;
    const [result, page] = [join(folder, 'real.json'), join(folder, 'real.html')];
    const hosts = Array.from({ length: 8 }, (_, i) => `n${i}:${size / 8}`).join(',');

    it('has the figures of --result, less than 2 MB, and no overflow', async () => {
      const options = ['--launcher', 'fork', '--hosts', hosts, '--result', result, '--timeline', page];
      const { code, stderr } = await run(wireupRun(size, 'fd', ...options, program('raw_exchange')), {
        deadline: long ? 300_000 : deadline,
      });
      expect(code, stderr).toBe(0);
      expect(statSync(page).size).toBeLessThan(2_000_000);
      expect(momentsOf(page)).toEqual(momentsOfResult(readJson<JobResult>(result)));
      for (const width of [400, 1600]) {
        for (const scheme of ['light', 'dark'] as const)
          expect(inBrowser(page, width, scheme, 'document.documentElement.scrollWidth')).toBe(width);
      }
    }, 400_000);
  },
);

/** The contrast of two colours as WCAG 2 defines it: 1 to 21. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string): number => {
    const [r, g, b] = colour.match(/[\d.]+/g)!.map((part) => {
      const value = Number(part) / 255;
      return value <= 0.040_45 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high! + 0.05) / (low! + 0.05);
}
