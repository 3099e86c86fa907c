/** Which default options of a user have an effect beside those of a command line. */
import type { Given, Part } from './mpiexec-args';
import { longName, UsageError, type OptionRow } from './option';

/** An option that is not on the command line: its key in the table, its text, and where that is. */
export interface Default {
  key: string;
  text: string;
  from: string;
}

/** The options of both sources (defaults.ts). */
export interface DefaultOptions {
  readonly variable: readonly Given[];
  readonly file: readonly Given[];
}

const isSet = ({ variable }: OptionRow): boolean =>
  variable?.names.some((name) => process.env[name]) ?? false;

/** Whether an option replaces a default of another source. Variables of ranks are set beside each other. */
function replaces(stronger: Given, { key, row }: Given): boolean {
  if (stronger.key === key) return !row.pair;
  return (
    (row.setting !== undefined && row.setting === stronger.row.setting) ||
    [...(row.conflicts ?? []), ...(row.yieldsTo ?? [])].includes(stronger.key) ||
    (stronger.row.conflicts ?? []).includes(key)
  );
}

/** Adds the defaults to the parts of a command line: the variable's below the line's own, and the file's below both. */
export function addDefaults(parts: readonly Part[], { variable, file }: DefaultOptions): Part[] {
  const ofFile = file.filter(({ row }) => !isSet(row));
  return addWeaker(addWeaker(parts, variable), ofFile);
}

/** Puts those defaults before the options of each part that no option replaces, and that do not lack another option. */
function addWeaker(parts: readonly Part[], defaults: readonly Given[]): Part[] {
  const all = parts.flatMap(({ given }) => given);
  const ofJob = all.filter(({ row }) => !row.program);
  const keeps = (given: readonly Given[], one: Given): boolean =>
    !given.some((other) => replaces(other, one));
  // An option of another program does not concern this one, but hosts that the line names are those of all programs.
  const kept = defaults.filter((one) =>
    keeps(one.row.program === undefined || one.key === 'hosts' ? all : ofJob, one),
  );
  const keys = new Set([...kept, ...all].map(({ key }) => key));
  const useful = kept.filter(({ row }) => row.needs === undefined || keys.has(row.needs));
  return parts.map((part, i) => {
    const own = useful.filter((one) => (one.row.program ? keeps(part.given, one) : i === 0));
    return { ...part, given: [...own, ...part.given] };
  });
}

/** The defaults among the options. */
export function defaultsIn(parts: readonly Part[]): Default[] {
  const found = parts
    .flatMap(({ given }) => given)
    .flatMap(({ key, row, text, from }) =>
      from === undefined
        ? []
        : [
            {
              key,
              text:
                text === undefined || row.value === undefined
                  ? `--${longName(key)}`
                  : `--${longName(key)} ${text}`,
              from,
            },
          ],
    );
  // Each program has the defaults of programs.
  return found.filter(
    (one, i) => found.findIndex(({ text, from }) => text === one.text && from === one.from) === i,
  );
}

/** An error that names an option which is a default names its place too. */
export function blameDefault(error: unknown, defaults: readonly Default[]): unknown {
  if (!(error instanceof UsageError)) return error;
  const name = /^--([\w-]+)/.exec(error.message)?.[1];
  const found = defaults.find(({ key }) => longName(key) === name);
  return found === undefined ? error : new UsageError(`${found.from}: ${error.message}`);
}
