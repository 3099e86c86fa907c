/** What a line of PMI can carry: checked before anything is sent, and for a client without a server too. */
import { KEY } from './limits';
import { checkString, optionError } from './options';

/** How much of each the server takes, and what its version of PMI cannot say. */
export interface Room {
  /** Bytes, with a terminator. */
  key: number;
  value: number;
  /** PMI 2 ends its fields with a semicolon. */
  semicolons: boolean;
}

function isKey(value: unknown, room: Room): boolean {
  return (
    typeof value === 'string' &&
    KEY.test(value) &&
    Buffer.byteLength(value) < room.key &&
    (room.semicolons || !value.includes(';'))
  );
}

/** Each of them. There may be thousands, and what one is called is made only for the one that is wrong. */
export function checkKeys(name: string, values: readonly unknown[], room: Room): readonly string[] {
  const wrong = values.findIndex((value) => !isKey(value, room));
  if (wrong >= 0) checkKey(`${name}[${wrong}]`, values[wrong], room);
  return values as readonly string[];
}

/** A key, or the name of a service. */
export function checkKey(name: string, value: unknown, room: Room): string {
  if (isKey(value, room)) return value as string;
  if (typeof value !== 'string') throw optionError(name, 'a string', value);
  throw optionError(
    name,
    `1 to ${room.key - 1} bytes without blanks, newlines, NULs${room.semicolons ? '' : ', semicolons'} and '='`,
    value,
  );
}

/** A value, or the port of a service. */
export function checkValue(name: string, value: unknown, room: Room): string {
  const text = checkString(name, value);
  if (
    !text.includes('\n') &&
    Buffer.byteLength(text) < room.value &&
    (room.semicolons || !text.includes(';'))
  )
    return text;
  throw optionError(
    name,
    `at most ${room.value - 1} bytes without newlines${room.semicolons ? '' : ' and semicolons'}`,
    value,
  );
}

/** Keys and their values, as an object. */
export function checkPairs(name: string, value: unknown, room: Room): [string, string][] {
  if (typeof value !== 'object' || value === null) throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([key, text]) => [
    checkKey(name, key, room),
    checkValue(`${name}.${key}`, text, room),
  ]);
}
