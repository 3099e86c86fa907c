import { expect, test } from 'vitest';
import { printable } from '../../lib/printable';
import { describeFailure, type JobResult } from '../../lib/result';

test.each([
  ['', ''],
  ['/tmp/a b, back\\slash, grüße, 中文, می‌خ, 😀', '/tmp/a b, back\\slash, grüße, 中文, می‌خ, 😀'],
  ['a\nwireup: rank 0 finished OK', 'a\\nwireup: rank 0 finished OK'],
  ['\r\t\0', '\\r\\t\\x00'],
  ['\u001b]0;title\u0007', '\\x1b]0;title\\x07'],
  ['\u007f\u009b1m', '\\x7f\\x9b1m'],
  ['\u202e\u2066\u061c', '\\u202e\\u2066\\u061c'],
  ['\u2028\u2029', '\\u2028\\u2029'],
  ['\ud800x', '\\ud800x'],
])('printable text of %j is %j', (text, shown) => {
  expect(printable(text)).toBe(shown);
  expect(printable(shown)).toBe(shown);
});

test('the description of a failure is one line, whatever the names in it contain', () => {
  const evil = 'x\u001b[2J\nwireup: rank 0 finished OK';
  const result = (failure: JobResult['failure']): JobResult => ({
    exitCode: 3,
    stopped: false,
    failure: failure!,
    ended: 0,
    begun: 0,
    duration: 1,
    barriers: { count: 0, times: [] },
    host: evil,
    apps: [{ program: evil, ranks: 1 }],
    ranks: [
      {
        rank: 0,
        appnum: 0,
        host: evil,
        pid: 42,
        state: 'absent',
        coreDumped: false,
        ended: false,
        times: {},
      },
    ],
    spawned: 0,
  });
  const failures: JobResult['failure'][] = [
    { reason: 'exit', rank: 0, pid: 42, code: 3 },
    { reason: 'abort', rank: 0, pid: 42, code: 3, message: evil },
    { reason: 'spawn', rank: 0, message: evil },
    { reason: 'output', message: evil, errno: 28 },
    { reason: 'agent', message: evil },
    { reason: 'host', host: evil, message: evil, ranks: '0' },
    { reason: 'exit', rank: 0, group: 1, program: evil, pid: 42, code: 3 },
  ];
  for (const failure of failures) {
    const text = describeFailure(result(failure))!;
    expect(text).toContain('x\\x1b[2J\\nwireup: rank 0 finished OK');
    expect(text).not.toMatch(/\p{Cc}/u);
  }
});
