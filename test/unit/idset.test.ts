import { expect, test } from 'vitest';
import { formatIdset, parseIdset } from '../../dist/index.js';

test.each([
  [[], ''],
  [[0], '0'],
  [[0, 1], '0-1'],
  [[0, 1, 2, 7, 9, 10], '0-2,7,9-10'],
  [[3, 5, 7], '3,5,7'],
])('%j is written as %j, and parsed from it', (ids, text) => {
  expect(formatIdset(ids)).toBe(text);
  expect(parseIdset(text)).toEqual(ids);
});

test.each([
  ['[0-3,7]', [0, 1, 2, 3, 7]],
  ['7,1-2,2', [1, 2, 7]],
  ['[]', []],
])('parseIdset also accepts %s', (text, ids) => expect(parseIdset(text)).toEqual(ids));

test.each(['a', '3-1', '1,', ',', '1--2', '-1', ' 1', '[1', '1048576', '0-99999999999', '1.5'])(
  "parseIdset refuses '%s'",
  (text) => {
    expect(() => parseIdset(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_PMI_OPTION',
        message: expect.stringMatching(/^idset: /) as string,
      }) as Error,
    );
  },
);
