/**
 * Checks of keys and values before they are sent: PMI must be able to carry them. They apply to a singleton
 * too.
 */
import { KEY } from './limits';
import { checkString, optionError } from './options';

/** The server's limits, and which bytes its version of PMI can carry. */
export interface WireLimits {
  /** Maximum sizes in bytes, with a terminator. */
  key: number;
  value: number;
  /** False in PMI-2, where a semicolon ends a field. */
  semicolons: boolean;
}

function isKey(value: unknown, limits: WireLimits): boolean {
  return (
    typeof value === 'string' &&
    KEY.test(value) &&
    Buffer.byteLength(value) < limits.key &&
    (limits.semicolons || !value.includes(';'))
  );
}

/** Checks many keys. There may be thousands, so the name of one is only built for an error. */
export function checkKeys(name: string, values: readonly unknown[], limits: WireLimits): readonly string[] {
  const wrong = values.findIndex((value) => !isKey(value, limits));
  if (wrong >= 0) checkKey(`${name}[${wrong}]`, values[wrong], limits);
  return values as readonly string[];
}

/** Checks a key, or the name of a service. */
export function checkKey(name: string, value: unknown, limits: WireLimits): string {
  if (isKey(value, limits)) return value as string;
  if (typeof value !== 'string') throw optionError(name, 'a string', value);
  throw optionError(
    name,
    `1 to ${limits.key - 1} bytes without blanks, newlines, NULs${limits.semicolons ? '' : ', semicolons'} and '='`,
    value,
  );
}

/** Checks a value, or the port of a service. */
export function checkValue(name: string, value: unknown, limits: WireLimits): string {
  const text = checkString(name, value);
  if (
    !text.includes('\n') &&
    Buffer.byteLength(text) < limits.value &&
    (limits.semicolons || !text.includes(';'))
  )
    return text;
  throw optionError(
    name,
    `at most ${limits.value - 1} bytes without newlines${limits.semicolons ? '' : ' and semicolons'}`,
    value,
  );
}

/** Checks an object of keys and values. */
export function checkPairs(name: string, value: unknown, limits: WireLimits): [string, string][] {
  if (typeof value !== 'object' || value === null) throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([key, text]) => [
    checkKey(name, key, limits),
    checkValue(`${name}.${key}`, text, limits),
  ]);
}
