// A job over many hosts: every rank gets the business card of every rank, over each kind of link, and the links between the hosts
// carry each barrier in one message up and one message down. The hosts are pretended.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { srunJob } from '../support/fake-srun';
import { needs } from '../support/installed';
import { framesOf, type Frame } from '../support/link-frames';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, Run, run, transports, wireup } from '../support/run';

vi.setConfig({ testTimeout: 250_000 });
const deadline = 240_000;

const folder = mkdtempSync(join(tmpdir(), 'many-hosts-'));
afterAll(() => rmSync(folder, { recursive: true }));

const compiler = needs('cc');
const okLines = (ranks: number): string[] =>
  Array.from({ length: ranks }, (_, rank) => `raw_exchange: rank ${rank} of ${ranks} ok`).sort();

describe.skipIf(compiler.missing)(`every rank gets the business cards of all ranks${compiler.note}`, () => {
  const [ranks, hosts, widths] = long ? [1024, 64, [4, 32]] : [128, 16, [2]];
  const title = `${ranks} ranks on ${hosts} hosts`;

  async function expectExchange(words: string[], environment: Record<string, string> = {}): Promise<void> {
    const result = await run([...words, program('raw_exchange')], { deadline, environment });
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(okLines(ranks));
  }

  describe.each(transports)('over %s', (pmi) => {
    it.each(['block', 'cyclic'])(`${title}, %s`, (map) =>
      expectExchange(wireup('run', '-n', `${ranks}`, '--map', `${map}:${hosts}`, '--pmi', pmi)),
    );
  });

  describe.each(widths)('over a tree of width %i', (width) => {
    it(`${title}, with byte streams`, () =>
      expectExchange(wireup('run', '-n', `${ranks}`, '--map', `block:${hosts}`, '--tree-width', `${width}`)));

    it.each([
      ['ZeroMQ and keys', []],
      ['ZeroMQ without keys', ['--insecure-links']],
    ])(`${title}, with %s`, async (_, options) => {
      const place = { count: hosts, ranksPerHost: ranks / hosts };
      const job = srunJob(folder, place, '--tree-width', `${width}`, ...options);
      await expectExchange(job.words, job.environment);
      // Without libzmq, each host has an srun of its own.
      expect(job.sruns()).toHaveLength(1);
    });
  });
});

describe.skipIf(compiler.missing)(`hosts that start one another${compiler.note}`, () => {
  it.each([1, 3])('up to %i others each', async (width) => {
    const tree = ['--map', 'cyclic:10', '--tree-width', `${width}`];
    const result = await run(wireup('run', '-n', '20', ...tree, program('raw_exchange')), { deadline });
    expect(result).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(lines(result.stdout).sort()).toEqual(okLines(20));
  });

  it('a failed start names the host that has tried it', async () => {
    const launcher = join(folder, 'launcher');
    writeFileSync(
      launcher,
      '#!/bin/sh\nhost=$1; shift; [ $host != h3 ] || { echo no route >&2; exit 1; }; exec "$@"\n',
      {
        mode: 0o755,
      },
    );
    const hosts = ['--hosts', 'h1,h2,h3', '--launcher', 'exec', '--launcher-exec', launcher];
    const { code, stderr } = await run(wireup('run', ...hosts, '--tree-width', '1', 'true'));
    expect(stderr).toMatch(
      /^wireup: host h3 could not be started: from h2: launcher h3 ended with code 1: no route$/m,
    );
    expect(code).toBe(1);
  });

  it('all hosts that have not answered in time are named', async () => {
    const launcher = join(folder, 'silent');
    writeFileSync(launcher, '#!/bin/sh\nhost=$1; shift; [ $host = h1 ] || exec sleep 1000; exec "$@"\n', {
      mode: 0o755,
    });
    const hosts = ['--hosts', 'h[1-4]', '--launcher', 'exec', '--launcher-exec', launcher];
    const { code, stderr } = await run(wireup('run', ...hosts, '--start-timeout', '5', 'true'));
    expect(stderr).toMatch(
      /^wireup: host h2 could not be started: no answer within 5 s; no answer of h3, h4 either$/m,
    );
    expect(code).toBe(1);
  });
});

describe('hosts that have not answered are named', () => {
  const never = join(folder, 'never');
  writeFileSync(never, '#!/bin/sh\nhost=$1; shift; [ $host = h1 ] || exec sleep 1000; exec "$@"\n', {
    mode: 0o755,
  });
  const words = (...more: string[]): string[] =>
    wireup('run', '--launcher', 'exec', '--launcher-exec', never, ...more);
  const awaited = 'no answer yet from h2, h3, h4';

  it('on SIGURG, by wireup status, and as progress', async () => {
    const options = { environment: { XDG_RUNTIME_DIR: mkdtempSync(join(folder, 'jobs-')) } };
    const job = new Run(words('--hosts', 'h[1-5]', '--progress', 'plain', 'true'), options);
    await job.until(({ stderr }) =>
      stderr.includes('wireup: 5 ranks: 5 not connected; no answer yet from h2, h3, h4 and 1 more hosts\n'),
    );
    await job.untilPlaces(/^wireup: 5 ranks: never connected: 0-4; no answer yet from h2, h3, h4, h5$/m);
    const { stdout } = await run(wireup('status', String(job.pid)), options);
    expect(stdout).toContain('\nno answer yet from h2, h3, h4, h5\n');
    job.kill('SIGINT');
    expect((await job.done).code).toBe(130);
  });

  it.each([
    ['--timeout', 'the job exceeded its time limit of 5 s'],
    ['--startup-timeout', 'not all ranks completed PMI init and their first barrier within 5 s'],
  ])('when %s ends the job', async (option, message) => {
    const { code, stderr } = await run(words('--hosts', 'h[1-4]', option, '5', 'true'));
    expect(lines(stderr)).toEqual([`wireup: ${message}`, `wireup: never connected: 0-3; ${awaited}`]);
    expect(code).toBe(124);
  });
});

describe.skipIf(compiler.missing)(`the links of a job over hosts${compiler.note}`, () => {
  const names = ['h1', 'h2', 'h3', 'h4'];
  const ranks = 2 * names.length;

  /** Runs a program on all hosts, and returns the frames of the link to each host. */
  async function record(...command: string[]): Promise<{ up: Frame[]; down: Frame[] }[]> {
    const own = mkdtempSync(join(folder, 'links-'));
    const launcher = join(own, 'launcher');
    writeFileSync(
      launcher,
      `#!/bin/sh
host=$1; shift; tee '${own}'/$host.down | "$@" | tee '${own}'/$host.up
`,
      { mode: 0o755 },
    );
    const { code, stdout, stderr } = await run(
      wireup(
        ...['run', '-n', `${ranks}`, '--hosts', names.map((name) => `${name}:2`).join(',')],
        ...['--launcher', 'exec', '--launcher-exec', launcher, ...command],
      ),
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(lines(stdout).sort()).toEqual(okLines(ranks));
    return names.map((name) => ({
      up: framesOf(readFileSync(join(own, `${name}.up`))),
      down: framesOf(readFileSync(join(own, `${name}.down`))),
    }));
  }

  /** The keys of the business cards of these ranks. */
  const cards = (...of: number[]): string[] => of.map((rank) => `card-${rank}`);

  it('carry a barrier in one message up and one message down, with each new key once', async () => {
    const links = await record(program('raw_exchange'));
    for (const [host, { up, down }] of links.entries()) {
      const own = cards(2 * host, 2 * host + 1);
      const others = cards(...Array(ranks).keys()).filter((key) => !own.includes(key));
      // The second barrier comes after no put.
      expect(up.flatMap(({ fence }) => fence ?? [])).toEqual([
        { group: 0, number: 0, keys: own, last: true },
        { group: 0, number: 1, keys: [], last: true },
      ]);
      expect(down.flatMap(({ fence }) => fence ?? [])).toEqual([
        { group: 0, number: 0, keys: others, last: true },
        { group: 0, number: 1, keys: [], last: true },
      ]);
      expect(up.filter(({ kind }) => kind === 'Release')).toEqual([]);
      expect(down.filter(({ kind }) => kind === 'Fence')).toEqual([]);
    }
  });
});
