/** Reads the file of `--result`. It may come from anywhere, so its form is checked as far as a timeline uses it. */
import { readFileSync } from 'node:fs';
import type { ResultWithGroups } from './spawned';
import { systemWords } from '../system-words';

type Check = (value: unknown) => boolean;

const number: Check = (value) => Number.isFinite(value);
const count: Check = (value) => Number.isInteger(value) && (value as number) >= 0;
const text: Check = (value) => typeof value === 'string';
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const object =
  (members: Record<string, Check>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(members).every(([name, check]) => check((value as Record<string, unknown>)[name]));

const times = object({
  ...Object.fromEntries(
    ['started', 'connected', 'initialized', 'finalized', 'aborted', 'disconnected', 'exited'].map((name) => [
      name,
      optional(number),
    ]),
  ),
  entered: optional(listOf((value) => value === null || number(value))),
});

const barriers = object({ count, times: listOf(number) });
const row = { rank: count, host: text, state: text, times, code: optional(number), signal: optional(text) };

const isResult = object({
  exitCode: number,
  begun: number,
  duration: number,
  ended: count,
  host: text,
  barriers,
  apps: listOf(object({ program: text, ranks: count })),
  ranks: listOf(object({ ...row, cpu: optional(object({ user: number, system: number })) })),
  failure: optional(object({ reason: text, rank: optional(count), limit: optional(number) })),
  groups: optional(
    listOf(
      object({
        group: count,
        by: object({ group: count, rank: count }),
        programs: listOf(text),
        barriers,
        ranks: listOf(object(row)),
      }),
    ),
  ),
});

/** @throws an Error that names the file */
export function readResult(file: string): ResultWithGroups {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file}: ${systemWords(error)}`, { cause: error });
  }
  const ordered = (ranks: { rank: number }[]): boolean => ranks.every(({ rank }, i) => rank === i);
  if (!isResult(value) || !ordered((value as ResultWithGroups).ranks))
    throw new Error(`${file}: this is not a file of wireup run --result, or one of an older version`);
  return value as ResultWithGroups;
}
