/**
 * What the completion scripts for bash and zsh share. Both shells understand these functions. The variables that they set belong
 * to the function that calls them:
 *
 * - of a command: `children`, `flags` (options with two dashes), `singles` (options with one), `kind`, `values`
 * - of an option: `takes`, `kind`, `values`
 */
import { RUN } from '../run';
import type { CommandGrammar } from './grammar';

/** Writes a candidate as one word of the script. */
export type Candidate = (name: string, help: string) => string;

/** A word of a shell script, in quotes. */
export const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const listOf = (words: readonly string[]): string => `(${words.join(' ')})`;

function caseOfCommand(command: CommandGrammar, candidate: Candidate): string {
  const flags = command.options.map(({ shown, help }) => candidate(shown, help));
  const singles = command.options.flatMap(({ names, help }) =>
    names.filter((name) => /^-[^-]/.test(name)).map((name) => candidate(name, help)),
  );
  const children = command.children.map(({ name, help }) => candidate(name, help));
  return `    ${quoted(command.path)})
      kind=${command.kind} values=${listOf(command.values.map(quoted))} children=${listOf(children)}
      flags=${listOf(flags)}
      singles=${listOf(singles)} ;;`;
}

function casesOfOptions({ path, options }: CommandGrammar): string[] {
  return options.flatMap(({ names, takes, kind, values }) => {
    if (takes === undefined) return [];
    const pattern = names.map((name) => quoted(`${path} ${name}`)).join('|');
    return [`    ${pattern}) takes=${takes} kind=${kind} values=${listOf(values.map(quoted))} ;;`];
  });
}

export function sharedFunctions(commands: readonly CommandGrammar[], candidate: Candidate): string {
  const known = commands.map(({ path }) => quoted(path)).join('|');
  return `# Describes the command $1.
_wireup_command() {
  kind=none values=() children=() flags=() singles=()
  case $1 in
${commands.map((command) => caseOfCommand(command, candidate)).join('\n')}
  esac
}

# Describes the option $2 of the command $1.
_wireup_option() {
  takes= kind=none values=()
  case "$1 $2" in
${commands.flatMap(casesOfOptions).join('\n')}
  esac
}

_wireup_is_command() {
  case $1 in
    ${known}) return 0 ;;
  esac
  return 1
}

# Follows the words $2 and so on of the command $1 up to the last one, which is to be completed. Sets place to the command,
# program to the number of the word with which a program begins, and takes if the last word is the value of an option.
_wireup_walk() {
  place=$1 program= takes=
  shift
  local word at=0
  while [ $# -gt 1 ]; do
    word=$1 at=$((at + 1))
    shift
    if [ -n "$program" ]; then
      # A lone colon ends the arguments of a program.
      if [ "$word" = : ] && [ "$place" = ${quoted(RUN)} ]; then program=; fi
      continue
    fi
    case $word in
      --) program=$((at + 1)) ;;
      -*=*) ;;
      -?*)
        _wireup_option "$place" "$word"
        if [ "$takes" = attached ]; then takes=; fi
        if [ -n "$takes" ] && [ $# -gt 1 ]; then
          # NAME=VALUE is one word, NAME VALUE are two.
          case $takes$1 in
            one*|*=*) takes= ;;
            *) takes=one kind=none values=() ;;
          esac
          at=$((at + 1))
          shift
          if [ -n "$takes" ] && [ $# -gt 1 ]; then
            takes= at=$((at + 1))
            shift
          fi
        fi
        ;;
      :) ;;
      *)
        if _wireup_is_command "$place $word"; then
          place="$place $word"
        else
          _wireup_command "$place"
          if [ "$kind" = program ]; then program=$at; fi
        fi
        ;;
    esac
  done
}`;
}
