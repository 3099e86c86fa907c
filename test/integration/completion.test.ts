/** `wireup completion`: each script in its own shell on a terminal, with the Tab key. */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runOptions } from '../../lib/cli/run-options';
import { flagsOf, longName } from '../../lib/cli/option';
import { tapOptions } from '../../lib/cli/tap';
import { tapPath } from '../../lib/native';
import { installed, needs } from '../support/installed';

const cli = join(__dirname, '../../dist/cli.js');
/** In milliseconds. vitest cannot interrupt a synchronous call. */
const timeout = 50_000;

const scriptFor = (shell: string): string => {
  const { stdout, status } = spawnSync(process.execPath, [cli, 'completion', shell], {
    encoding: 'utf8',
    timeout,
  });
  expect(status).toBe(0);
  return stdout;
};

interface Shell {
  /** The words that start it without the files of its user. */
  readonly words: readonly string[];
  /** Reads the completion script. The commands print their words, between braces, in place of doing anything. */
  readonly begin: (script: string) => string;
}

const posixStub = `wireup() { printf '{'; printf '<%s>' "$@"; printf '}\\n'; }; mpiexec.wireup() { wireup "$@"; }`;

const shells: Record<'bash' | 'zsh' | 'fish', Shell> = {
  bash: { words: ['--norc', '--noprofile', '-i'], begin: (script) => `${posixStub}; source ${script}` },
  zsh: {
    words: ['-f', '-i'],
    begin: (script) =>
      `unsetopt beep autoremoveslash; autoload -Uz compinit; compinit -u -D; ${posixStub}; source ${script}`,
  },
  fish: {
    words: ['--no-config', '-i'],
    begin: (script) =>
      `function wireup; printf '{'; printf '<%s>' $argv; printf '}\\n'; end; ` +
      `function mpiexec.wireup; wireup $argv; end; source ${script}`,
  },
};

/** A shell on a terminal, in a folder with known names. Its PATH has no node: completion must not start wireup. */
class Terminal {
  readonly #child: ChildProcessWithoutNullStreams;
  #output = '';
  #changed = (): void => undefined;

  constructor(folder: string, command: string) {
    const env = { PATH: join(folder, 'bin'), HOME: folder, HOSTFILE: join(folder, 'hosts'), TERM: 'dumb' };
    this.#child = spawn(installed('script'), ['-q', '-f', '-e', '-c', command, '/dev/null'], {
      cwd: join(folder, 'work'),
      env,
      stdio: 'pipe',
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#changed();
    });
  }

  /** Types the keys, and waits for output that matches. */
  async type(keys: string, pattern: RegExp): Promise<string> {
    const begin = this.#output.length;
    this.#child.stdin.write(keys);
    for (;;) {
      const match = pattern.exec(this.#output.slice(begin));
      if (match !== null) return match[0];
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.stdin.write('\u0003\nexit\n');
    await exited;
  }
}

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'completion-test-'));
  for (const name of ['bin', 'work', 'work/a-folder', '.ssh']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'work/a-file.json'), '');
  // Where the shells look for the names of hosts.
  writeFileSync(join(folder, 'hosts'), '127.0.0.1 a-host-of-it\n');
  writeFileSync(join(folder, '.ssh/known_hosts'), 'a-host-of-it ssh-ed25519 AAAA\n');
  writeFileSync(join(folder, 'bin/a-program'), '#!/bin/sh\n', { mode: 0o755 });
  for (const name of [
    'bash',
    'zsh',
    'fish',
    'sh',
    'cat',
    'sed',
    'sort',
    'uname',
    'getent',
    'awk',
    'ls',
    'cut',
  ]) {
    const { stdout } = spawnSync('which', [name], { encoding: 'utf8' });
    if (stdout !== '') symlinkSync(stdout.trim(), join(folder, 'bin', name));
  }
});

afterAll(() => rmSync(folder, { recursive: true }));

const tools = needs('script', 'zsh', 'fish');

describe.skipIf(tools.missing).each(Object.keys(shells) as (keyof typeof shells)[])(
  `%s${tools.note}`,
  (name) => {
    let terminal: Terminal;

    beforeAll(async () => {
      const script = join(folder, `script.${name}`);
      writeFileSync(script, scriptFor(name));
      const { words, begin } = shells[name];
      terminal = new Terminal(folder, [installed(name), ...words].join(' '));
      await terminal.type(`${begin(script)}; echo read''y\n`, /ready/);
    });

    afterAll(() => terminal.end());

    test.each([
      ['wireup se', 'serve'],
      ['wireup names l', 'names list'],
      ['wireup completion fi', 'completion fish'],
      ['wireup help names', 'help names'],
      ['wireup trace --js', 'trace --json'],
      ['wireup run --on-f', 'run --on-failure'],
      ['wireup run -on-f', 'run -on-failure'],
      ['wireup run --pmi t', 'run --pmi tcp'],
      ['wireup run --pmi=t', 'run --pmi=tcp'],
      ['wireup run -pmi=t', 'run -pmi=tcp'],
      // What precedes the word: other names of options, values in two words, programs before a colon.
      ['wireup run -np 2 --bind-to hw', 'run -np 2 --bind-to hwthread'],
      ['wireup run -genv A 1 --launcher sl', 'run -genv A 1 --launcher slurm'],
      ['wireup run -genv A=1 -l -bootstrap sl', 'run -genv A=1 -l -bootstrap slurm'],
      ['wireup run --trace --on-f', 'run --trace --on-failure'],
      ['mpiexec.wireup -n 2 a-program : -n 3 --on-f', '-n 2 a-program : -n 3 --on-failure'],
      ['wireup run --result a-fi', 'run --result a-file.json'],
      ['wireup run --result=a-fi', 'run --result=a-file.json'],
      ['wireup trace a-fi', 'trace a-file.json'],
      ['wireup run --wdir a-', 'run --wdir a-folder/'],
      ['wireup run --hosts a-h', 'run --hosts a-host-of-it'],
      ['wireup run --hosts n1,a-h', 'run --hosts n1,a-host-of-it'],
      ['wireup run -n 2 a-pro', 'run -n 2 a-program'],
      ['wireup run a-program a-fi', 'run a-program a-file.json'],
      ['wireup check server -- a-pro', 'check server -- a-program'],
      ['wireup tap --trace-s', 'tap --trace-secrets'],
      ['wireup tap --trace-file a-fi', 'tap --trace-file a-file.json'],
      ['wireup tap --trace-file=x -v a-pro', 'tap --trace-file=x -v a-program'],
      ['wireup tap -v -- a-pro', 'tap -v -- a-program'],
    ])('%s', async (typed, expected) => {
      const line = await terminal.type(`${typed}\t\n`, /\{<.*>\}/);
      expect(line).toBe(
        `{${expected
          .split(' ')
          .map((word) => `<${word}>`)
          .join('')}}`,
      );
    });

    test('lists all candidates', async () => {
      await terminal.type('wireup run --on-\t\t', /on-(?:failure|early-exit)[^]*on-(?:failure|early-exit)/);
      await terminal.type("\u0015echo don''e\n", /done/);
    });
  },
);

test.each(['bash', 'zsh', 'fish'])('the script for %s has each option of wireup run', (shell) => {
  const script = scriptFor(shell);
  for (const key of Object.keys(runOptions)) expect(script).toContain(`'--${longName(key)}`);
});

test('the options of wireup tap are those that its program has', () => {
  const { stdout } = spawnSync(tapPath, ['--help'], { encoding: 'utf8', timeout });
  const options = /Options:\n([^]*?)\n\n/.exec(stdout)![1]!;
  const rows = options.split(/\n(?= {2}-)/).map((row) => row.trim().split(/\s+/).join(' '));
  expect(rows).toEqual(Object.entries(tapOptions).map(([key, row]) => `${flagsOf(key, row)} ${row.help}`));
});
