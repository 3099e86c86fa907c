// The private folder of --pmi unix: which of XDG_RUNTIME_DIR, TMPDIR and /tmp it is made in, and that other users cannot
// interfere with it.

import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, Run, run, wireup, wireupRun } from '../support/run';
import { needsRoot, OTHER_UID } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

const base = mkdtempSync(join(tmpdir(), 'place-'));
afterAll(() => rmSync(base, { recursive: true }));
const good = join(base, 'good');
beforeEach(() => {
  rmSync(good, { recursive: true, force: true });
  mkdirSync(good);
});

let count = 0;
function folder(mode = 0o700, owner = process.geteuid!()): string {
  const path = join(base, `folder-${++count}`);
  mkdirSync(path);
  chownSync(path, owner, owner);
  chmodSync(path, mode);
  return path;
}

const printPort = ['sh', '-c', 'echo "$PMI_PORT"'];
const runPrintPort = wireupRun(1, 'unix', '--no-exec-shim', ...printPort);

const superuser = needsRoot();
const places: [string, () => string, boolean?][] = [
  ['that names no folder', () => join(base, 'none')],
  ['that names a file', () => '/etc/passwd'],
  ['that is not an absolute path', () => 'good'],
  [
    'in which the paths of sockets would be too long',
    () => {
      const path = join(folder(), 'x'.repeat(100));
      mkdirSync(path);
      return path;
    },
  ],
  ['that other users can write to', () => folder(0o777)],
  [
    'in a folder that other users can write to',
    () => {
      const path = join(folder(0o777), 'inner');
      mkdirSync(path);
      return path;
    },
  ],
  [`of another user${superuser.note}`, () => folder(0o700, OTHER_UID), superuser.missing],
  [
    `that is a link to another user's folder${superuser.note}`,
    () => {
      const path = join(base, `link-${++count}`);
      symlinkSync(folder(0o755, OTHER_UID), path);
      return path;
    },
    superuser.missing,
  ],
];

describe.each(places)('an XDG_RUNTIME_DIR %s', (_, make, missing = false) => {
  it.skipIf(missing)('is not used; TMPDIR is', async () => {
    const place = make();
    const { code, stdout, stderr } = await run(runPrintPort, {
      environment: { XDG_RUNTIME_DIR: place, TMPDIR: good },
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^unix://${good}/wireup-\\w{6}/pmi-0\n$`));
    expect(readdirSync(good)).toEqual([]);
  });

  it.skipIf(missing)('is not used as TMPDIR either; /tmp is', async () => {
    const place = make();
    const { code, stdout } = await run(runPrintPort, {
      environment: { XDG_RUNTIME_DIR: place, TMPDIR: place },
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^unix:\/\/\/tmp\/wireup-\w{6}\/pmi-0\n$/);
  });
});

it.skipIf(superuser.missing)(
  `XDG_RUNTIME_DIR may be a sticky folder, like /tmp, or a folder of root${superuser.note}`,
  async () => {
    const sticky = folder(0o1777);
    for (const XDG_RUNTIME_DIR of [sticky, good]) {
      const { stdout } = await run(runPrintPort, { environment: { XDG_RUNTIME_DIR } });
      expect(stdout).toMatch(new RegExp(`^unix://${XDG_RUNTIME_DIR}/wireup-`));
    }
  },
);

const tools = needs('unshare', 'cc');
describe.skipIf(tools.missing || superuser.missing)(
  `if no folder is writable${tools.note}${superuser.note}`,
  () => {
    const bare = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o ro none /tmp && exec "$0" "$@"'];
    const environment = { XDG_RUNTIME_DIR: join(tmpdir(), 'none'), TMPDIR: join(tmpdir(), 'none') };

    it('PMI_PORT has an abstract name', async () => {
      const { code, stdout } = await run([...bare, ...runPrintPort], { environment });
      expect(code).toBe(0);
      expect(stdout).toMatch(/^unix:\/\/@wireup-[0-9a-f]{32}\n$/);
    });

    it('the ranks exchange business cards with wireup-exec and without it', async () => {
      const exchange = [process.execPath, join(root, 'dist/cli.js'), 'exchange'];
      for (const options of [[], ['--no-exec-shim']]) {
        const { code, stdout } = await run([...bare, ...wireupRun(4, 'unix', ...options, ...exchange)], {
          environment,
        });
        expect(code).toBe(0);
        expect(stdout).toContain('4 ranks exchanged their cards');
      }
    });

    it('another user is refused', async () => {
      const server = new Run([...bare, ...wireup('serve', '-n', '1', '--address', 'unix')], { environment });
      await server.until(({ stdout }) => stdout.endsWith('\n'));
      const name = /unix:\/\/@(wireup-[0-9a-f]{32})/.exec(server.stdout)![1]!;
      const other = await run([program('named_client'), `${OTHER_UID}`, `other-${process.pid}`, `@${name}`]);
      expect(other.code).toBe(0);
      expect(
        await eventually(() => server.stderr.includes(`uid ${OTHER_UID} is not allowed`), 20_000),
        server.stderr,
      ).toBe(true);
      server.kill('SIGTERM');
      await server.done;
    });
  },
);

it.skipIf(superuser.missing)(
  `names serve does not use another user's XDG_RUNTIME_DIR${superuser.note}`,
  async () => {
    const theirs = folder(0o755, OTHER_UID);
    const server = new Run(wireup('names', 'serve'), {
      environment: { XDG_RUNTIME_DIR: theirs, TMPDIR: good },
    });
    await server.until(({ stdout }) => stdout.endsWith('\n'));
    expect(server.stdout).toMatch(new RegExp(`^unix://${good}/wireup-\\w{6}/pmi\n$`));
    server.kill('SIGTERM');
    await server.done;
    expect(readdirSync(theirs)).toEqual([]);
  },
);

it('the next run removes the folders that a killed process has left, empty ones included', async () => {
  const empty = join(good, 'wireup-empty1');
  mkdirSync(empty, { mode: 0o700 });
  const server = new Run(wireup('serve', '-n', '1', '--address', 'unix'), {
    environment: { XDG_RUNTIME_DIR: good },
    mayLeaveFiles: true,
  });
  await server.until(({ stdout }) => stdout.endsWith('\n'));
  expect(() => lstatSync(empty)).toThrow('ENOENT');
  server.kill('SIGKILL');
  await server.done;
  expect(readdirSync(good)).toHaveLength(1);
  const { stdout } = await run(runPrintPort, { environment: { XDG_RUNTIME_DIR: good } });
  expect(lines(stdout)).toHaveLength(1);
  expect(readdirSync(good)).toEqual([]);
});
