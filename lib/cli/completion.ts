/** `wireup completion bash`: a completion script, made of the same tables as the help of the commands. */
import type { Command, Option } from 'commander';
import { Argument } from 'commander';
import { print } from './report';
import { RUN } from './run';
import { makeRunCommand } from './run-help';

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes the command lines of wireup in a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash']))
    .addHelpText(
      'after',
      `
Example, for the file ~/.bashrc:
  source <(wireup completion bash)`,
    )
    .action(() => print(bashCompletion(program)));
}

/** A command with all its options, under its name: `wireup run`. */
function commandsOf(command: Command, path: string): [path: string, command: Command][] {
  const own: [string, Command] = [path, path === RUN ? makeRunCommand(RUN) : command];
  return [own, ...command.commands.flatMap((child) => commandsOf(child, `${path} ${child.name()}`))];
}

/** The names of an option on the command line. Those of `wireup run` may have one dash. */
function namesOf({ long, short }: Option, path: string): string[] {
  const names = [long, short].filter((name) => name !== undefined);
  return path === RUN && long !== undefined ? [...names, long.slice(1)] : names;
}

const takesValue = ({ required, optional }: Option): boolean => required || optional;

/** Exported for tests. */
export function bashCompletion(program: Command): string {
  const commands = commandsOf(program, program.name());
  const words = commands.map(([path, command]) => {
    const options = command.options.flatMap(({ long, short }) => long ?? short ?? []);
    const children = command.commands.map((child) => child.name());
    const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
    return `    '${path}') words='${[...children, ...choices, ...options, '--help'].join(' ')}' ;;`;
  });
  const values = commands.flatMap(([path, command]) =>
    command.options.filter(takesValue).map((option) => {
      const pattern = namesOf(option, path)
        .map((name) => `'${path} ${name}'`)
        .join('|');
      return `    ${pattern}) takes=1 values='${option.argChoices?.join(' ') ?? ''}' ;;`;
    }),
  );
  const known = commands.slice(1).map(([path]) => `'${path}'`);
  return `# bash completion for wireup and mpiexec.wireup. "wireup completion bash" prints it.

# Sets takes to 1 if the option $2 of the command $1 takes a value, and values to those that it accepts.
_wireup_option() {
  takes= values=
  case "$1 $2" in
${values.join('\n')}
  esac
}

_wireup() {
  local current=\${COMP_WORDS[COMP_CWORD]} path=wireup words= takes= values= i program=
  [[ \${COMP_WORDS[0]##*/} == mpiexec* ]] && path='${RUN}'
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in
      -*)
        _wireup_option "$path" "\${COMP_WORDS[i]}"
        # The value is the next word, or follows "=", which bash makes a word of its own.
        [[ $takes && \${COMP_WORDS[i + 1]} == = ]] && ((i++))
        [[ $takes ]] && ((i++))
        ;;
      :) ;;
      *)
        if [[ $path == '${RUN}' ]]; then
          program=$i
          while ((i < COMP_CWORD)) && [[ \${COMP_WORDS[i]} != : ]]; do ((i++)); done
          ((i < COMP_CWORD)) && program=
        else
          case "$path \${COMP_WORDS[i]}" in
            ${known.join('|')}) path="$path \${COMP_WORDS[i]}" ;;
          esac
        fi
        takes=
        ;;
    esac
  done
  COMPREPLY=()
  if [[ $program ]]; then
    # The words belong to the program: bash-completion, if it is loaded, completes them.
    if declare -F _command_offset > /dev/null; then _command_offset "$program"; fi
    return
  fi
  [[ $current == = ]] && current=
  # The loop has skipped the value of the last option only if that value is the current word.
  if ((i > COMP_CWORD)); then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
    return
  fi
  case "$path" in
${words.join('\n')}
  esac
  if [[ $path == '${RUN}' && $current != -* ]]; then
    COMPREPLY=($(compgen -c -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}

complete -o bashdefault -o default -F _wireup wireup mpiexec.wireup
`;
}
