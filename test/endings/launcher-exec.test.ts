// Commands of a user that should reach hosts and do not pass on what they should, and a caller whose directory is gone: the
// message names the host and what to do, and nothing is left.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, describe, expect, it, vi } from 'vitest';

import { installed, needs } from '../support/installed';
import { root } from '../support/root';
import { lines, run, wireup, type Result } from '../support/run';

vi.setConfig({ testTimeout: 60_000 });
/** In milliseconds. */
const deadline = 50_000;

const folder = mkdtempSync(join(tmpdir(), 'launcher-exec-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The path of a command whose first argument is a host, and the others the words to execute there. */
function command(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\nshift\n${script}\n`, { mode: 0o755 });
  return path;
}

const optionsOf = (path: string): string[] => [
  ...['--launcher', 'exec', '--launcher-exec', path],
  ...['--hosts', 'n1,n2'],
];
const runBy = (path: string, ...words: string[]): Promise<Result> =>
  run(wireup('run', ...optionsOf(path), ...words), { deadline });

const passes = command('passes', 'exec "$@"');

describe('a command that does not pass stdin and stdout on is named, with what to do', () => {
  async function expectNamed(path: string, stream: string): Promise<void> {
    const { code, stdout, stderr } = await runBy(path, 'echo', 'started');
    const reason = `wireup-agent: ${stream} is neither a pipe nor a socket \\(.*need -i`;
    expect(lines(stderr)).toEqual([
      expect.stringMatching(new RegExp(`^wireup: host n[12] could not be started: .*${reason}`)),
    ]);
    expect(stdout).toBe('');
    expect(code).toBe(1);
  }

  it.each([
    ['has no stdin', 'exec "$@" <&-', 'stdin'],
    ['has another stdin', 'exec "$@" </dev/null', 'stdin'],
    ['has no stdout', 'exec "$@" >&-', 'stdout'],
    ['has another stdout', 'exec "$@" >/dev/null', 'stdout'],
    ['runs in the background', '"$@" & wait', 'stdin'],
  ])('if it %s', (name, script, stream) => expectNamed(command(name.replaceAll(' ', '-'), script), stream));

  const terminal = needs('script');
  it.skipIf(terminal.missing)(`if it has a terminal${terminal.note}`, () =>
    expectNamed(command('terminal', `exec ${installed('script')} -q -e -f -c "$*" /dev/null`), 'stdin'),
  );
});

describe('a caller whose directory was removed', () => {
  const runGone = (...words: string[]): Promise<Result> => {
    const gone = join(folder, 'gone');
    const script = `mkdir '${gone}' && cd '${gone}' && rmdir '${gone}' && exec "$@" 2>&1 | grep -v 'sh: 0: getcwd'`;
    return run(['bash', '-c', `set -o pipefail; ${script}`, 'sh', ...wireup('run', ...words)], { deadline });
  };

  it.each([
    ['by a command', optionsOf(passes)],
    ['by fork', ['--launcher', 'fork', '--hosts', 'n1,n2']],
  ])('cannot start ranks on other hosts, %s', async (_, options) => {
    const { code, stdout } = await runGone(...options, 'echo', 'started');
    expect(lines(stdout)).toEqual([
      'wireup: rank 0 on n1 could not be started: getcwd (the folder in which the launcher was started): No such file or directory',
    ]);
    expect(code).toBe(1);
  });

  it('cannot name files there for the output of ranks on other hosts', async () => {
    const { code, stdout } = await runGone(
      ...optionsOf(passes),
      '-wdir',
      '/',
      '-outfile-pattern',
      'out-%r',
      'pwd',
    );
    expect(lines(stdout)).toEqual([
      'wireup: getcwd (the folder in which the launcher was started): No such file or directory',
    ]);
    expect(code).toBe(1);
  });

  it('can start them in another directory', async () => {
    const { code, stdout } = await runGone(...optionsOf(passes), '-wdir', '/', 'pwd');
    expect(lines(stdout)).toEqual(['/', '/']);
    expect(code).toBe(0);
  });
});

describe('hosts of a tree whose next hosts cannot be started', () => {
  const partly = join(folder, 'partly');
  writeFileSync(partly, '#!/bin/sh\n[ "$1" != n1 ] || exit 7\nshift\nexec "$@"\n', { mode: 0o755 });
  const chain = ['--launcher', 'exec', '--launcher-exec', partly, '--tree-width', '1'];

  it('are started by another host for a later spawn', async () => {
    const script = `
      const { PmiClient } = require(${JSON.stringify(join(root, 'dist/index.js'))});
      (async () => {
        const pmi = await PmiClient.fromEnv();
        for (const host of ['n1', 'n2', 'n3'])
          await pmi.spawn([{ program: 'true', info: { host } }]).then(
            () => console.log(host, 'started'),
            () => console.log(host, 'refused'));
        await pmi.finalize();
      })();`;
    const rank = [process.execPath, '-e', script];
    const words = wireup('run', ...chain, '--hosts', 'localhost,n1,n2,n3', '-n', '1', ...rank);
    const { code, stdout, stderr } = await run(words, { deadline });
    expect(lines(stdout)).toEqual(['n1 refused', 'n2 started', 'n3 started']);
    expect(lines(stderr)).toEqual([
      'wireup: rank 0 could not spawn: host n1 could not be started: partly n1 ended with code 7',
    ]);
    expect(code).toBe(0);
  });

  it('are not reported as a fault of the launcher', async () => {
    // The first hosts are lost while the others are still being named.
    const fails = command('fails', 'exit 7');
    const words = [
      '--launcher',
      'exec',
      '--launcher-exec',
      fails,
      '--tree-width',
      '32',
      '--hosts',
      'm[1-300]',
    ];
    const { code, stderr } = await run(wireup('run', ...words, 'true'), { deadline });
    expect(lines(stderr)).toEqual([
      expect.stringMatching(/^wireup: host m\d+ could not be started: fails m\d+ ended with code 7$/),
    ]);
    expect(code).toBe(1);
  });
});
