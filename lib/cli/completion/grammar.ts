/** What a command line of wireup may contain, for the completion scripts. Made of the commands and of the tables of options. */
import type { Command, Option } from 'commander';
import { longName, type OptionRow } from '../option';
import { RUN } from '../run';
import { runOptions } from '../run-options';

/** What a shell offers for a value or an argument. `program`: the words from there on belong to a program. */
export type Kind = 'none' | 'file' | 'folder' | 'command' | 'host' | 'program';

/**
 * How an option takes its value: `one`, the next word or after "="; `pair`, NAME=VALUE or two words; `attached`, only after "=".
 */
export type Takes = 'one' | 'pair' | 'attached';

export interface OptionGrammar {
  /** All its spellings, with their dashes. */
  readonly names: readonly string[];
  /** The spelling that is offered, with two dashes if there is one. */
  readonly shown: string;
  readonly help: string;
  /** Undefined for a flag. */
  readonly takes?: Takes;
  readonly kind: Kind;
  readonly values: readonly string[];
}

export interface CommandGrammar {
  /** `wireup names list`. */
  readonly path: string;
  readonly children: readonly { readonly name: string; readonly help: string }[];
  readonly options: readonly OptionGrammar[];
  /** What its arguments are. */
  readonly kind: Kind;
  readonly values: readonly string[];
}

/** By the name of a value in the help, without brackets and dots. */
const kinds: Readonly<Record<string, Kind>> = {
  file: 'file',
  files: 'file',
  path: 'file',
  folder: 'folder',
  folders: 'folder',
  command: 'command',
  host: 'host',
  hosts: 'host',
  program: 'program',
  launcher: 'program',
};

const kindOf = (name: string): Kind => kinds[name.replace(/[^a-z]/g, '')] ?? 'none';

/** The first clause: a shell shows one line for each candidate. */
const brief = (help: string): string => /^[^]*?(?=[.;:] | \(|$)/.exec(help)![0];

/** @param key its key in the table of `wireup run`, where an option has one dash or two */
function ofRow([key, row]: [string, OptionRow]): OptionGrammar {
  const words = [longName(key), ...(row.also ?? [])];
  const names = words.flatMap((word) => [`--${word}`, `-${word}`]);
  return {
    names: row.short === undefined ? names : [...names, `-${row.short}`, `--${row.short}`],
    shown: names[0]!,
    help: brief(row.help),
    ...(row.value === undefined
      ? {}
      : { takes: row.pair ? 'pair' : row.optional === undefined ? 'one' : 'attached' }),
    kind: row.value === undefined ? 'none' : kindOf(row.value),
    values: row.choices ?? row.suggested ?? [],
  };
}

function ofOption(option: Option): OptionGrammar {
  const { long, short, flags, required, optional, description, argChoices } = option;
  const names = [long, short].filter((name) => name !== undefined);
  return {
    names,
    shown: names[0]!,
    help: brief(description),
    ...(required ? { takes: 'one' } : optional ? { takes: 'attached' } : {}),
    kind: kindOf(/[<[]=?(.*)[>\]]$/.exec(flags)?.[1] ?? ''),
    values: argChoices ?? [],
  };
}

const help: OptionGrammar = {
  names: ['--help', '-h'],
  shown: '--help',
  help: 'print the help',
  kind: 'none',
  values: [],
};

function ofCommand(command: Command, path: string): CommandGrammar {
  const shown = command.createHelp();
  const options =
    path === RUN
      ? [...Object.entries(runOptions).map(ofRow), help]
      : shown.visibleOptions(command).map(ofOption);
  const [argument] = command.registeredArguments;
  return {
    path,
    children: shown
      .visibleCommands(command)
      .map((child) => ({ name: child.name(), help: brief(child.description()) })),
    options,
    kind: argument === undefined ? 'none' : kindOf(argument.name()),
    values: argument?.argChoices ?? [],
  };
}

/** The command and all commands below it. */
export function grammarOf(command: Command, path = command.name()): CommandGrammar[] {
  const own = ofCommand(command, path);
  const below = command.commands.flatMap((child) => grammarOf(child, `${path} ${child.name()}`));
  // Commander adds this command itself, and does not list it.
  if (command.commands.length === 0) return [own];
  const values = command.commands.map((child) => child.name());
  return [own, ...below, { path: `${path} help`, children: [], options: [], kind: 'none', values }];
}
