/**
 * What an option of a command line is, and what each table of options (run-options.ts, admission.ts, serve.ts) is used for:
 * the parser, the help, the completion, the table in docs/options.md, and the options of launch() and PmiServer.listen().
 */
import { parseIdset } from '../idset';
import { MAX_MILLISECONDS } from '../limits';

/** Wrong use of the command, as one line. */
export class UsageError extends Error {}

/** The value of an option is wrong. The message begins with "expected". */
export class InvalidValue extends Error {}

/** Environment variables in the place of an option. */
export interface OptionVariable<Value> {
  readonly names: readonly string[];
  readonly read: (text: string) => Value;
  readonly late?: true;
}

/** One option. Its key in the table is its name: `startupTimeout` is `--startup-timeout`. */
export interface OptionRow {
  /** Its name of one letter. */
  readonly short?: string;
  /** Its names in other mpiexecs. */
  readonly also?: readonly string[];
  /**
   * The name of its value in the help, such as `<N>`. An option without it is a flag: false, or true if it is given. Shells
   * complete `<file>`, `<path>`, `<folder>`, `<folders>`, `<command>`, `<host>` and `<hosts>` (completion/grammar.ts).
   */
  readonly value?: string;
  /** The value if the option is given without one. A value must then be attached: `--trace=0-3`. */
  readonly optional?: string;
  /**
   * Converts the value.
   *
   * @param before the result for the same option further left, if there is one
   * @throws {@link InvalidValue}
   */
  readonly read?: (text: string, before?: never) => unknown;
  /** All values that it accepts. */
  readonly choices?: readonly string[];
  /** The words among the values that it accepts, for the completion, if it also accepts others. */
  readonly suggested?: readonly string[];
  readonly default?: string | number | readonly number[];
  /** The default in the help, if it is not the default's own text. */
  readonly defaultText?: string;
  /**
   * Environment variables, the first of which that is set gives the value if the option is not given. An empty variable counts
   * as not set. `late`: the parser does not read them; the command calls readVariable() if it needs the value.
   */
  readonly variable?: OptionVariable<unknown>;
  readonly help: string;
  /** The heading in the help. */
  readonly group?: string;
  /** The option concerns the next program only. Without it the option concerns the whole job. */
  readonly program?: true;
  /** The value is bytes to the system: it need not be UTF-8. */
  readonly bytes?: true;
  /** The value is a name and a value, in one word (NAME=VALUE) or in two. */
  readonly pair?: true;
  readonly required?: true;
  /** The keys of options that contradict this one. */
  readonly conflicts?: readonly string[];
  /** The key of an option without which this one has no meaning. */
  readonly needs?: string;
  /** It can only be on the command line, not among the defaults of a user (defaults.ts). */
  readonly noDefault?: true;
  /**
   * The keys of options that replace this one, if this one is a default and they come from a stronger source. The same holds for
   * options that contradict it or have the same setting.
   */
  readonly yieldsTo?: readonly string[];
  /**
   * The option of launch() (of a program: `LaunchApp`) or of PmiServer.listen() that gets the value. If it is absent, the
   * command itself uses the value.
   */
  readonly setting?: string;
  /** Makes the setting of the value, if it is not the value itself. A flag's is used only if the flag is given. */
  readonly toSetting?: (value: never, values: never) => unknown;
  /** The setting whose errors concern this option, if it is not `setting`. */
  readonly checkedAs?: string;
}

export type OptionTable = Readonly<Record<string, OptionRow>>;

type ReadValue<Row> = Row extends { read: (...args: never[]) => infer T }
  ? T
  : Row extends { choices: readonly (infer Choice)[] }
    ? Choice
    : string;

/** What the parser makes of an option. */
export type ValueOf<Row> = Row extends { value: string }
  ? Row extends { default: unknown } | { required: true }
    ? ReadValue<Row>
    : ReadValue<Row> | undefined
  : boolean;

export type Values<Rows> = { -readonly [Key in keyof Rows]: ValueOf<Rows[Key]> };

type PassedOn<Row> = Row extends { toSetting: (...args: never[]) => infer T }
  ? T
  : Exclude<ValueOf<Row>, undefined>;

/** The keys of options whose setting does not exist or has another type. There must be none (see `Fits`). */
export type Misfits<Rows, Settings> = {
  [Key in keyof Rows]: Rows[Key] extends { setting: infer Name }
    ? Name extends keyof Settings
      ? PassedOn<Rows[Key]> extends Settings[Name]
        ? never
        : Key
      : Key
    : never;
}[keyof Rows];

/** The compiler names the misfits here. */
export type Fits<None extends never> = None;

/** `startupTimeout` as `startup-timeout`. */
export function longName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `-n, --ranks <N>`. */
export function flagsOf(key: string, { short, value }: OptionRow): string {
  const shown = value === undefined ? '' : value.startsWith('[') ? `[=${value.slice(1)}` : ` ${value}`;
  return `${short === undefined ? '' : `-${short}, `}--${longName(key)}${shown}`;
}

/** Where the value comes from if the option is not given, for people; empty if there is no value then. */
export function defaultOf({ value, variable, default: fallback, defaultText }: OptionRow): string {
  const own = defaultText ?? (value === undefined || fallback === undefined ? undefined : String(fallback));
  return [...(variable?.names ?? []), own].filter((text) => text !== undefined).join(', else ');
}

/** @param option how the command line names it */
export function readValue(option: string, row: OptionRow, text: string, before: unknown): unknown {
  try {
    if (row.read !== undefined) return row.read(text, before as never);
    if (row.choices !== undefined && !row.choices.includes(text))
      throw new InvalidValue(`expected ${listOf(row.choices)}`);
    return text;
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new UsageError(`${option}: ${error.message}, got '${shortened(text)}'`);
  }
}

/** Characters of a wrong value that a message shows. */
const MAX_SHOWN = 120;

export function shortened(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}...`;
}

/** `fd, tcp or unix`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)!}`;
}

/** The values where nothing is given. */
export function defaultsOf<Rows extends OptionTable>(rows: Rows): Values<Rows> {
  const values = Object.entries(rows).map(([key, row]) => [
    key,
    row.value === undefined ? false : row.default,
  ]);
  return Object.fromEntries(values) as Values<Rows>;
}

/** Adds the values of environment variables to `values`, for options that are not in `given`. */
export function addVariables<Rows extends OptionTable>(
  rows: Rows,
  values: Values<Rows>,
  given: ReadonlySet<string>,
): void {
  for (const [key, { variable }] of Object.entries(rows)) {
    if (variable === undefined || variable.late || given.has(key)) continue;
    const value = readVariable(variable);
    if (value !== undefined) (values as Record<string, unknown>)[key] = value;
  }
}

/**
 * Undefined if none of the variables is set.
 *
 * @throws {@link UsageError}
 */
export function readVariable<Value>({ names, read }: OptionVariable<Value>): Value | undefined {
  const name = names.find((one) => process.env[one]);
  if (name === undefined) return undefined;
  const text = process.env[name]!;
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new UsageError(`${name}=${shortened(text)}: ${error.message}`);
  }
}

/** @throws {@link UsageError} if an option in `given` contradicts another or lacks another */
export function checkTogether(rows: OptionTable, given: ReadonlySet<string>): void {
  for (const key of given) {
    const other = rows[key]?.conflicts?.find((conflicting) => given.has(conflicting));
    if (other !== undefined)
      throw new UsageError(`--${longName(key)} and --${longName(other)}: expected one of them`);
    const needed = rows[key]?.needs;
    if (needed !== undefined && !given.has(needed))
      throw new UsageError(`--${longName(key)} needs --${longName(needed)}`);
  }
}

/** The options of the library that the values ask for. */
export function settingsOf<Settings>(rows: OptionTable, values: Readonly<Record<string, unknown>>): Settings {
  const settings: Record<string, unknown> = {};
  for (const [key, { setting, value: takesValue, toSetting }] of Object.entries(rows)) {
    const value = values[key];
    if (setting === undefined || value === undefined || (takesValue === undefined && value === false))
      continue;
    settings[setting] = toSetting === undefined ? value : toSetting(value as never, values as never);
  }
  return settings as Settings;
}

/**
 * Runs `work`. If the library rejects a setting that came from an option, the error names the option:
 * `outputFrom[0]: expected ...` becomes `--output-from: expected ...`.
 */
export async function namingOptions<T>(rows: OptionTable, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code !== 'ERR_PMI_OPTION' && code !== 'ERR_PMI_ADDRESS') throw error;
    throw new UsageError(nameOption(rows, message));
  }
}

function nameOption(rows: OptionTable, message: string): string {
  const [name = ''] = /^\w+(\.\w+)*/.exec(message) ?? [];
  // A flag that stands for another value does not have the value that the message shows.
  const named = Object.entries(rows).flatMap(([key, { value, toSetting, setting, checkedAs = setting }]) =>
    (value === undefined && toSetting !== undefined) || checkedAs === undefined
      ? []
      : [[key, checkedAs] as const],
  );
  const found =
    named.find(([, checkedAs]) => name === checkedAs) ??
    named.find(([, checkedAs]) => name.startsWith(`${checkedAs}.`));
  if (found === undefined) return message;
  return message.replace(/^[\w.]+(?:\[\d+\])*/, `--${longName(found[0])}`);
}

/** Reads seconds, with a fraction or without. The result is milliseconds, from `min` to `max`. */
export function seconds(min: number, max = MAX_MILLISECONDS): (text: string) => number {
  return (text) => {
    const value = Math.ceil(Number(text) * 1000);
    if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || value < min || value > max) {
      throw new InvalidValue(
        `expected seconds, ${min === 0 ? 'from 0' : 'more than 0'} to ${Math.floor(max / 1000)}`,
      );
    }
    return value;
  };
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max)
      throw new InvalidValue(`expected a whole number from ${min} to ${max}`);
    return value;
  };
}

/** Splits a command at its blanks. There is no quoting. */
export function words(text: string): string[] {
  const found = text.split(/\s+/).filter((word) => word !== '');
  if (found.length === 0) throw new InvalidValue('expected a command');
  return found;
}

/** Reads `0,4-7`. */
export function idset(text: string): number[] {
  try {
    const ranks = parseIdset(text);
    if (ranks.length > 0) return ranks;
  } catch {
    // The message below fits both cases.
  }
  throw new InvalidValue('expected ranks, such as 0,4-7');
}
