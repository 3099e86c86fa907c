/** wireup's own server keeps every rule of conformance, over every transport. */
import { afterEach, describe, expect, it, test, vi } from 'vitest';

import { rulesFor } from '../../lib/conformance/rules';
import { check, knownServers, rulesWith, type CheckResult } from '../support/conformance';
import { closeFakeServers, startFakeServer } from '../support/fake-server';
import { run, transports, wireup, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 120_000 });

describe('wireup run', () => {
  const results: CheckResult[] = [];

  it.each(transports)('--pmi %s', async (transport) => {
    const launcher = wireupRun(4, transport).concat(transport === 'unix' ? ['--no-exec-shim'] : []);
    const result = await check(['server', '--destructive', 'all', '--', ...launcher]);
    expect(rulesWith(result, 'failed')).toEqual(knownServers.wireup.failed);
    expect(rulesWith(result, 'not-offered')).toEqual(knownServers.wireup.notOffered);
    results.push(result);
  });

  it('every rule was tried', () => {
    const tried = results.flatMap((result) => rulesWith(result, 'passed', 'failed', 'not-offered'));
    const missing = rulesFor('server').filter(({ id }) => !tried.includes(id));
    expect(missing.map(({ id }) => id)).toEqual([]);
  });
});

test('wireup run --strict does what RFC 13 demands', async () => {
  const launcher = wireupRun(2, 'fd', '--strict');
  const result = await check(['server', '--destructive', 'all', '--', ...launcher]);
  expect(rulesWith(result, 'failed')).toEqual([]);
  expect(result.code).toBe(0);
});

test('a job of one rank, and ranks that start the check themselves', async () => {
  const one = await check(['server', '--', ...wireupRun(1, 'fd')]);
  expect(one.code).toBe(0);
  expect(rulesWith(one, 'failed')).toEqual([]);
  const tap = await run(wireupRun(3, 'fd', ...wireup('check', 'server', '--pmi-version', '2', '--tap')));
  expect(tap.code).toBe(0);
  const lines = tap.stdout.split('\n').filter((line) => line !== '');
  expect(lines[0]).toBe('TAP version 14');
  const count = Number(/^1\.\.(\d+)$/.exec(lines[1]!)![1]);
  expect(lines.filter((line) => line.startsWith('ok '))).toHaveLength(count);
});

test.each([
  [['server'], /neither PMI_FD nor PMI_PORT is set: start it as the ranks of a launcher/],
  [['server', '--destructive', 'some'], /--destructive: expected all, or some of/],
  [['server', '--pmi-version', '3'], /--pmi-version: expected 1.1, 1.2 or 2/],
  [['server', '--tap', '--json'], /--json|--tap/],
])('wrong use: %j', async (words, message) => {
  const result = await run(wireup('check', ...words));
  expect(result.code).toBe(2);
  expect(result.stderr).toMatch(message);
});

test('a launcher that starts no rank', async () => {
  const result = await run(wireup('check', 'server', '--', 'true'));
  expect(result).toMatchObject({ code: 1, stdout: '' });
  expect(result.stderr).toBe('wireup: true ended with code 0, and no rank has reported\n');
  const missing = await run(wireup('check', 'server', '--', '/nonexistent'));
  expect(missing.code).toBe(1);
  expect(missing.stderr).toBe('wireup: /nonexistent: no such file or directory\n');
});

describe('a hostile server', () => {
  afterEach(closeFakeServers);

  test.each<[string, string]>([
    ['sends a line that does not end', 'x'.repeat(3 << 20)],
    ['sends more than anyone asks for', 'cmd=maxes\n'.repeat(1 << 18)],
    ['sends control characters', 'cmd=\u001b]0;x\u0007 rc=\u001b[31m\n'],
  ])('that %s', async (_, reply) => {
    const PMI_PORT = await startFakeServer(() => reply);
    const result = await run(wireup('check', 'server', '--timeout', '2'), {
      environment: { PMI_PORT, PMI_ID: '1' },
    });
    expect(result).toMatchObject({ code: 1, stderr: '' });
    expect(result.stdout).toMatch(/failed/);
    // eslint-disable-next-line no-control-regex -- these are the characters
    expect(result.stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
    expect(result.stdout.length).toBeLessThan(20_000);
  });

  test.each([
    [{ PMI_FD: 'abc' }, 'PMI_FD is no open socket'],
    [{ PMI_FD: '99', PMI_RANK: '0', PMI_SIZE: '1' }, 'PMI_FD is no open socket'],
    [{ PMI_PORT: '127.0.0.1:99999999', PMI_ID: '0' }, 'PMI_PORT=127.0.0.1:99999999 is no address'],
  ])('%j is none', async (environment, reason) => {
    const result = await run(wireup('check', 'server'), { environment });
    expect(result).toMatchObject({ code: 1, stderr: '' });
    expect(result.stdout).toContain(reason);
  });
});
