/** Checks of arguments and options. Each error names the option, what was expected, and what was given. */
import { inspect } from 'node:util';
import { PmiError } from './errors';
import { MAX_KEY, MAX_KVSNAME } from './limits';
import { native } from './native';

/** A sequence of bytes, such as a path or an argument. A string stands for its UTF-8 encoding. */
export type Bytes = string | Uint8Array;

/** How many characters of an invalid value an error shows. */
const MAX_SHOWN = 120;

export function optionError(name: string, expected: string, value: unknown): PmiError {
  return new PmiError(
    'ERR_PMI_OPTION',
    `${name}: expected ${expected}, got ${inspect(value, { depth: 0, maxStringLength: MAX_SHOWN })}`,
  );
}

export function checkInteger(name: string, value: unknown, min: number, max: number): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw optionError(name, `a whole number from ${min} to ${max}`, value);
  }
  return value as number;
}

/** True if a string has no lone surrogate, so that it can be encoded as UTF-8. */
export function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}

/** Checks a string that is passed to another program: it must have no NUL and no lone surrogate. */
export function checkString(name: string, value: unknown): string {
  if (typeof value !== 'string') throw optionError(name, 'a string', value);
  if (value.includes('\0')) throw optionError(name, 'a string without a NUL', value);
  if (!isWellFormed(value)) throw optionError(name, 'a string without lone surrogates', value);
  return value;
}

/** Checks a kvsname: it must be one word in every version of PMI. */
export function checkKvsname(name: string, value: unknown): string {
  const text = checkString(name, value);
  if (!/^[^\0- \x7f=;]+$/.test(text) || Buffer.byteLength(text) >= MAX_KVSNAME) {
    throw optionError(
      name,
      `a kvsname: 1 to ${MAX_KVSNAME - 1} bytes without blanks, control characters, '=' and ';'`,
      value,
    );
  }
  return text;
}

/** Checks a PMI_ID: it must be one word in every version of PMI. */
export function checkPmiId(name: string, value: unknown): string {
  const text = checkString(name, value);
  if (!/^[^\n \t=;]+$/.test(text) || Buffer.byteLength(text) >= MAX_KEY) {
    throw optionError(
      name,
      `a PMI_ID: 1 to ${MAX_KEY - 1} bytes without blanks, newlines, '=' and ';'`,
      value,
    );
  }
  return text;
}

/** Checks bytes without a NUL, and returns them as the addon represents them. */
export function checkBytes(name: string, value: unknown): string {
  if (typeof value === 'string') return checkString(name, value);
  if (!(value instanceof Uint8Array)) throw optionError(name, 'a string or a Uint8Array', value);
  if (value.includes(0)) throw optionError(name, 'bytes without a NUL', value);
  return native.textOfBytes(value);
}

export function checkBytesList(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw optionError(name, 'an array of strings or Uint8Arrays', value);
  return value.map((item, i) => checkBytes(`${name}[${i}]`, item));
}

export function checkStrings(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw optionError(name, 'an array of strings', value);
  return value.map((item, i) => checkString(`${name}[${i}]`, item));
}

export function checkIntegers(name: string, value: unknown, min: number, max: number): number[] {
  if (!Array.isArray(value)) throw optionError(name, 'an array of whole numbers', value);
  return value.map((item, i) => checkInteger(`${name}[${i}]`, item, min, max));
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw optionError(name, 'true or false', value);
  return value;
}

export function checkOneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  if (!allowed.includes(value as T)) {
    throw optionError(name, allowed.map((item) => `'${item}'`).join(' or '), value);
  }
  return value as T;
}

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal))
    throw optionError('signal', 'an AbortSignal', value);
  return value;
}

/** Checks that `value` is an object with known properties only, so that a misspelt option is an error. */
export function checkOptions<T extends object>(
  where: string,
  value: T,
  known: readonly (keyof T & string)[],
): T {
  if (typeof value !== 'object' || value === null) throw optionError(where, 'an object', value);
  for (const name of Object.keys(value)) {
    if (!(known as readonly string[]).includes(name)) {
      throw optionError(
        `${where}.${name}`,
        `one of the options ${known.join(', ')}`,
        (value as Record<string, unknown>)[name],
      );
    }
  }
  return value;
}
