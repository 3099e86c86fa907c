/** Options as commander has them, for the help, the completion, and the commands other than `wireup run`. */
import { Help, Option, type Command, type HelpConfiguration } from 'commander';
import { defaultOf, flagsOf, listOf, readValue, type OptionRow, type OptionTable } from './option';
import { report } from './report';

/** Adds the options of the table to the command, under their headings. */
export function addOptions(command: Command, rows: OptionTable): Command {
  for (const [key, row] of Object.entries(rows)) {
    const flags = flagsOf(key, row);
    // The parser expects a blank before the name of an optional value.
    const option = new Option(flags.replace('[=', ' ['), row.help).default(
      row.value === undefined ? false : row.default,
    );
    option.flags = flags;
    if (row.choices !== undefined) option.choices(row.choices);
    if (row.optional !== undefined) option.preset(row.optional);
    if (row.value !== undefined)
      option.argParser((text, before) =>
        readValue(option.long!, row, text, before === row.default ? undefined : before),
      );
    if (row.conflicts !== undefined) option.conflicts([...row.conflicts]);
    if (row.required) option.makeOptionMandatory();
    if (row.group !== undefined) command.optionsGroup(row.group);
    helpTexts.set(option, helpOf(row));
    command.addOption(option);
  }
  return command;
}

/** `how many ranks (also -np, -c; default: 1)`. */
function helpOf(row: OptionRow): string {
  const defaults = defaultOf(row);
  const notes = [
    ...(row.choices === undefined ? [] : [listOf(row.choices)]),
    ...(row.also === undefined ? [] : [`also ${row.also.map((name) => `-${name}`).join(', ')}`]),
    ...(defaults === '' ? [] : [`default: ${defaults}`]),
  ];
  return notes.length === 0 ? row.help : `${row.help} (${notes.join('; ')})`;
}

const helpTexts = new WeakMap<Option, string>();

const plainHelp = new Help();

/** Shows the notes of a table's option in wireup's form, no default for a flag, and no value that an optional value has by default. */
export const helpStyle: HelpConfiguration = {
  optionDescription: (option) =>
    helpTexts.get(option) ??
    plainHelp.optionDescription(option).replace(/ ?\((default: false|preset: .*)\)$/, ''),
};

/**
 * An option with a value that is not in a table.
 *
 * @param read converts the value; throws InvalidValue
 */
export function valueOption(flags: string, help: string, read: (text: string) => unknown): Option {
  const option = new Option(flags, help);
  return option.argParser((text) => readValue(option.long!, { help, read }, text, undefined));
}

/** The keys of the options that the command line gives. */
export function givenTo(command: Command): Set<string> {
  return new Set(Object.keys(command.opts()).filter((key) => command.getOptionValueSource(key) === 'cli'));
}

/** Commander's messages begin with "error: ", end with a newline, and suggest an option in a line of its own. */
export function usageError(message: string): void {
  report(
    `${message
      .replace(/^error: /, '')
      .trimEnd()
      .replaceAll('\n', ' ')} (see --help)`,
  );
}
