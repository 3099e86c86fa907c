/** wireup's own clients keep every rule of conformance, over every transport. */
import { join } from 'node:path';
import { describe, expect, it, test, vi } from 'vitest';

import { rulesFor } from '../../lib/conformance/rules';
import { check, rulesWith, type CheckResult } from '../support/conformance';
import { needs } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { Run, run, transports, wireup } from '../support/run';

vi.setConfig({ testTimeout: 120_000 });

const compiler = needs('cc');
const library = (name: string): string => join(root, 'build/Release', name);

const clients: readonly [name: string, argv: () => string[]][] = [
  ['PmiClient', () => wireup('exchange')],
  ['libpmi.so.0', () => [program('libpmi_exchange'), library('libpmi.so.0'), 'any-mapping']],
  ['libpmi2.so.0', () => [program('pmi2_calls'), library('libpmi2.so.0'), 'exchange']],
];

describe.skipIf(compiler.missing)(`wireup's clients${compiler.note}`, () => {
  const results: CheckResult[] = [];

  describe.each(transports)('--pmi %s', (transport) => {
    it.each(clients)('%s', async (_, argv) => {
      const result = await check(['client', '--pmi', transport, '--', ...argv()]);
      expect(rulesWith(result, 'failed', 'not-offered')).toEqual([]);
      expect(result.code).toBe(0);
      results.push(result);
    });
  });

  it('every rule was tried', () => {
    const tried = results.flatMap((result) => rulesWith(result, 'passed'));
    expect(rulesFor('client').filter(({ id }) => !tried.includes(id))).toEqual([]);
  });
});

test('a program that uses no PMI, and one that does not exist', async () => {
  const none = await check(['client', '--', 'true']);
  expect(none.code).toBe(1);
  expect(none.findings[0]).toMatchObject({ rule: 'C-RUN-1', reason: 'the program does not use PMI' });
  const missing = await run(wireup('check', 'client', '--', '/nonexistent'));
  expect(missing).toMatchObject({ code: 1, stdout: '' });
  expect(missing.stderr).toBe('wireup: /nonexistent: no such file or directory\n');
});

test.each([
  [['client'], /missing required argument 'program'/],
  [['client', '-n', '0', 'true'], /--ranks: expected a whole number from 1 to 1024/],
])('wrong use: %j', async (words, message) => {
  const result = await run(wireup('check', ...words));
  expect(result.code).toBe(2);
  expect(result.stderr).toMatch(message);
});

describe('a hostile client', () => {
  test.each([
    ['a message that does not end', 'exec cat /dev/zero >&$PMI_FD', 'C1-MESSAGE-1'],
    ['a block that does not end', 'echo mcmd=spawn >&$PMI_FD; exec yes >&$PMI_FD', 'C1-MESSAGE-1'],
  ])('that sends %s', async (_, script, rule) => {
    const result = await check(['client', '-n', '1', '--timeout', '20', '--', 'bash', '-c', script]);
    expect(result.code).toBe(1);
    expect(rulesWith(result, 'failed')).toContain(rule);
    // The server has ended the connection.
    expect(result.findings[0]!.reason).not.toContain('not ended after');
  });

  test('that leaves a process with its stderr', async () => {
    const script = 'sleep 300 & echo $! >&2; exit 3';
    const checking = new Run(wireup('check', 'client', '-n', '1', '--', 'bash', '-c', script));
    await checking.until(({ stdout }) => stdout.includes('C-RUN-1'));
    const pid = Number(/ended with code 3: (\d+)/.exec(checking.stdout)![1]);
    process.kill(pid, 'SIGKILL');
    expect(await checking.done).toMatchObject({ code: 1 });
  });
});
