import { RUN } from '../run';
import type { CommandGrammar } from './grammar';

/** A word of a fish script, in quotes. */
const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;

/** `set -g NAME WORD...` */
const setTo = (name: string, words: readonly string[]): string =>
  `set -g __wireup_${name} ${words.join(' ')}`.trim();

/** What fish takes from a command: a candidate, a tab, its description. */
const described = (name: string, help: string): string => `${quoted(name)}\\t${quoted(help)}`;

function caseOfCommand({ path, kind, values, children, options }: CommandGrammar): string {
  const singles = options.flatMap(({ names, help }) =>
    names.filter((name) => /^-[^-]/.test(name)).map((name) => described(name, help)),
  );
  return `    case ${quoted(path)}
      ${setTo('kind', [kind])}
      ${setTo('values', values.map(quoted))}
      ${setTo(
        'children',
        children.map(({ name, help }) => described(name, help)),
      )}
      ${setTo(
        'flags',
        options.map(({ shown, help }) => described(shown, help)),
      )}
      ${setTo('singles', singles)}`;
}

function casesOfOptions({ path, options }: CommandGrammar): string[] {
  return options.flatMap(({ names, takes, kind, values }) => {
    if (takes === undefined) return [];
    return [
      `    case ${names.map((name) => quoted(`${path} ${name}`)).join(' ')}
      ${setTo('takes', [takes])}
      ${setTo('kind', [kind])}
      ${setTo('values', values.map(quoted))}`,
    ];
  });
}

/** @returns a completion script for fish 3.1 and newer */
export function fishScript(commands: readonly CommandGrammar[]): string {
  return `# fish completion for wireup and mpiexec.wireup. "wireup completion fish" prints it.

# Describes the command $argv[1].
function __wireup_command
  set -g __wireup_kind none
  set -g __wireup_values
  set -g __wireup_children
  set -g __wireup_flags
  set -g __wireup_singles
  switch $argv[1]
${commands.map(caseOfCommand).join('\n')}
  end
end

# Describes the option $argv[2] of the command $argv[1].
function __wireup_option
  set -g __wireup_takes
  set -g __wireup_kind none
  set -g __wireup_values
  switch "$argv[1] $argv[2]"
${commands.flatMap(casesOfOptions).join('\n')}
  end
end

# Follows the words $argv[2] and so on of the command $argv[1]. Sets place to the command, program to the number of the word
# with which a program begins, and takes if the next word is the value of an option.
function __wireup_walk
  set -g __wireup_place $argv[1]
  set -g __wireup_program
  set -g __wireup_takes
  set -l words $argv[2..-1]
  set -l at 0
  while test $at -lt (count $words)
    set at (math $at + 1)
    set -l word $words[$at]
    if test -n "$__wireup_program"
      # A lone colon ends the arguments of a program.
      if test "$word" = : -a "$__wireup_place" = ${quoted(RUN)}
        set -g __wireup_program
      end
      continue
    end
    switch $word
      case --
        set -g __wireup_program (math $at + 1)
      case '-*=*'
      case '-?*'
        __wireup_option $__wireup_place $word
        if test "$__wireup_takes" = attached
          set -g __wireup_takes
        end
        if test -n "$__wireup_takes" -a $at -lt (count $words)
          set at (math $at + 1)
          # NAME=VALUE is one word, NAME VALUE are two.
          if test "$__wireup_takes" = one; or string match -q -- '*=*' $words[$at]
            set -g __wireup_takes
          else if test $at -lt (count $words)
            set at (math $at + 1)
            set -g __wireup_takes
          else
            set -g __wireup_kind none
          end
        end
      case :
      case '*'
        switch "$__wireup_place $word"
          case ${commands.map(({ path }) => quoted(path)).join(' ')}
            set -g __wireup_place "$__wireup_place $word"
          case '*'
            __wireup_command $__wireup_place
            if test $__wireup_kind = program
              set -g __wireup_program $at
            end
        end
    end
  end
end

# Prints values of the kind that begin with $argv[2], each after $argv[1].
function __wireup_print_values
  switch $__wireup_kind
    case file
      string replace -r '^' -- "$argv[1]" (__fish_complete_path $argv[2])
    case folder
      string replace -r '^' -- "$argv[1]" (__fish_complete_directories $argv[2])
    case command program
      __fish_complete_command
    case host
      # The last one of a list.
      set -l listed (string match -r '^.*,' -- $argv[2])
      for host in (__fish_print_hostnames)
        echo "$argv[1]$listed$host"
      end
    case none
      for value in $__wireup_values
        echo $argv[1]$value
      end
  end
end

function __wireup_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -l start wireup
  if string match -q 'mpiexec*' -- (path basename -- $words[1])
    set start ${quoted(RUN)}
  end
  __wireup_walk $start $words[2..-1]
  if test -n "$__wireup_program"
    # The words belong to the program.
    set -l own $words[(math $__wireup_program + 1)..-1]
    complete -C "$(string join ' ' -- (string escape -- $own) "$current")"
  else if test -n "$__wireup_takes"
    __wireup_print_values '' "$current"
  else if string match -q -- '-*=*' "$current"
    set -l parts (string split -m 1 = -- $current)
    __wireup_option $__wireup_place $parts[1]
    __wireup_print_values "$parts[1]=" "$parts[2]"
  else
    __wireup_command $__wireup_place
    switch "$current"
      case - '--*'
        printf '%s\\n' $__wireup_flags
      case '-*'
        printf '%s\\n' $__wireup_singles
      case '*'
        if test $__wireup_kind = none
          printf '%s\\n' $__wireup_children $__wireup_values
        else
          __wireup_print_values '' "$current"
        end
    end
  end
end

complete -c wireup -f -a '(__wireup_complete)'
complete -c mpiexec.wireup -f -a '(__wireup_complete)'
`;
}
