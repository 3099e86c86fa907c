// Names and messages of peers, ranks and files that appear in lines of wireup end no line and contain no escape sequences.

import { chmodSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it, onTestFinished, vi } from 'vitest';

import { needs } from '../support/installed';
import { eventually } from '../support/processes';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, Run, run, wireup, wireupRun } from '../support/run';
import { needsRoot, OTHER_UID } from '../support/hostile-clients';

vi.setConfig({ testTimeout: 60_000 });

const unprintable = 'x\u001b[2J\u009b31m\u202e\nwireup: rank 0 finished OK';
const shown = 'x\\x1b[2J\\x9b31m\\u202e\\nwireup: rank 0 finished OK';

const compiler = needs('cc');

function traversableFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'printable-'));
  chmodSync(folder, 0o755);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Checks that every line is one of wireup, and none is forged. */
function expectOnlyToolLines(stderr: string): void {
  expect(stderr.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  for (const line of lines(stderr)) expect(line).toMatch(/^wireup: (?!rank 0 finished OK)/);
}

const superuser = needsRoot();
it.skipIf(compiler.missing || superuser.missing)(
  `the name of another user's socket is printed escaped${compiler.note}${superuser.note}`,
  async () => {
    const path = join(traversableFolder(), 'socket');
    const server = new Run(wireup('serve', '-n', '1', '--address', `unix://${path}`, '--allow-uid', '0'));
    await server.until(({ stdout }) => stdout.endsWith('\n'));
    chmodSync(path, 0o777);
    expect((await run([program('named_client'), `${OTHER_UID}`, `${unprintable}\u00e9`, path])).code).toBe(0);
    expect(await eventually(() => server.stderr.endsWith(' is not allowed\n'), 20_000), server.stderr).toBe(
      true,
    );
    expectOnlyToolLines(server.stderr);
    expect(server.stderr).toContain(`refused @${shown}\u00e9 (uid ${OTHER_UID}`);
    server.kill('SIGTERM');
    await server.done;
  },
);

it('the message of an abort is printed escaped', async () => {
  const script = `require(${JSON.stringify(join(root, 'dist/index.js'))}).PmiClient.fromEnv().then((pmi) => pmi.abort(3, ${JSON.stringify(unprintable)}))`;
  const { code, stderr } = await run(wireupRun(1, 'fd', process.execPath, '-e', script));
  expect(code).toBe(3);
  expectOnlyToolLines(stderr);
  // The client replaces the newline by a blank, because no line of PMI can contain it.
  expect(stderr).toContain(`aborted the job with code 3: ${shown.replace('\\n', ' ')}`);
});

it('the name of a program that fails, or cannot be started, is printed escaped', async () => {
  const file = join(traversableFolder(), unprintable);
  copyFileSync('/bin/false', file);
  const failed = await run(wireupRun(1, 'fd', file));
  expect(failed.code).toBe(1);
  expectOnlyToolLines(failed.stderr);
  expect(failed.stderr).toContain(shown);
  rmSync(file);
  const missing = await run(wireupRun(1, 'fd', file));
  expect(missing.code).toBe(127);
  expectOnlyToolLines(missing.stderr);
  expect(missing.stderr).toContain(shown);
});

it('the name of a program that wireup-exec cannot run is printed escaped', async () => {
  const { code, stderr } = await run([join(root, 'build/Release/wireup-exec'), `./${unprintable}`]);
  expect(code).toBe(127);
  expect(stderr).toBe(`wireup-exec: cannot run ./${shown}: No such file or directory\n`);
});

it('an unknown option is printed escaped', async () => {
  const { code, stderr } = await run(wireup('run', `--${unprintable}`, 'true'));
  expect(code).toBe(2);
  expectOnlyToolLines(stderr);
});

it.skipIf(compiler.missing)(`a long status line is cut between characters${compiler.note}`, async () => {
  const script = `
    const { launch } = require(${JSON.stringify(join(root, 'dist/index.js'))});
    launch({ program: 'sleep', args: ['1000'], ranks: 1, label: '[%r] ' }).then((job) => {
      job.showStatus('x' + '\\u00fc'.repeat(600));
      process.on('SIGTERM', () => job.stop({ grace: 0 }));
    });`;
  const job = new Run([program('on_terminal'), 'foreground', process.execPath, '-e', script]);
  await job.until(({ stdout }) => stdout.includes('ü'.repeat(499)));
  job.kill('SIGTERM');
  const { stdout } = await job.done;
  expect(stdout).not.toContain('\ufffd');
  expect(stdout.split('\r')[0]).toBe(`x${'ü'.repeat(499)}`);
});
