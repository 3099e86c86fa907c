import { expect, test } from 'vitest';
import { formatIdset } from '../../dist/index.js';

test.each([
  [[], ''],
  [[0], '0'],
  [[0, 1], '0-1'],
  [[0, 1, 2, 7, 9, 10], '0-2,7,9-10'],
  [[3, 5, 7], '3,5,7'],
])('%j is %j', (ids, text) => expect(formatIdset(ids)).toBe(text));
