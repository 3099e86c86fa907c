import { RUN } from '../run';
import type { CommandGrammar } from './grammar';
import { quoted, sharedFunctions } from './posix';

/** @returns a completion script for bash 4.3 and newer. It needs no other program, and uses bash-completion if it is loaded */
export function bashScript(commands: readonly CommandGrammar[]): string {
  return `# bash completion for wireup and mpiexec.wireup. "wireup completion bash" prints it.

${sharedFunctions(commands, quoted)}

# Adds those of the words $2 and so on to COMPREPLY that begin with $1.
_wireup_offer() {
  local start=$1 word
  shift
  for word in "$@"; do
    if [[ $word == "$start"* ]]; then COMPREPLY+=("$word"); fi
  done
}

# Offers values of the kind $1 that begin with $2, and writes $3 before each.
_wireup_values() {
  local start=$2 before=$3
  case $1 in
    file) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$start") ;;
    folder) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$start") ;;
    command | program) mapfile -t COMPREPLY < <(compgen -c -- "$start") ;;
    host)
      # The last one of a list.
      if [[ $start == *,* ]]; then before+=\${start%,*}, start=\${start##*,}; fi
      if declare -F _known_hosts_real > /dev/null; then
        _known_hosts_real -- "$start"
      else
        mapfile -t COMPREPLY < <(compgen -A hostname -- "$start")
      fi
      ;;
    none)
      # No files in the place of a number.
      compopt +o bashdefault +o default
      _wireup_offer "$start" "\${values[@]}"
      ;;
  esac
  COMPREPLY=("\${COMPREPLY[@]/#/$before}")
}

_wireup() {
  local place program takes kind children flags singles values
  local typed=() first=() rest=\${COMP_LINE:0:COMP_POINT} piece i
  # Bash also cuts at the characters of COMP_WORDBREAKS, such as "=" and ":". This joins what no blank separates.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    piece=\${COMP_WORDS[i]}
    if [[ $i == 0 || $rest == [[:blank:]]* ]]; then
      typed+=('') first+=("$i")
      rest=\${rest#"\${rest%%[![:blank:]]*}"}
    fi
    if ((i == COMP_CWORD)); then piece=$rest; fi
    typed[-1]+=$piece
    rest=\${rest#"$piece"}
  done
  local current=\${typed[-1]} start=wireup
  if [[ \${typed[0]##*/} == mpiexec* ]]; then start=${quoted(RUN)}; fi
  _wireup_walk "$start" "\${typed[@]:1}"
  COMPREPLY=()
  if [[ $program && $program -lt $((\${#typed[@]} - 1)) ]]; then
    # bash-completion, if it is loaded, completes the words of the program.
    if declare -F _command_offset > /dev/null; then _command_offset "\${first[program]}"; fi
    return
  fi
  if [[ $program ]]; then
    _wireup_values program "$current" ''
  elif [[ $takes ]]; then
    _wireup_values "$kind" "$current" ''
  elif [[ $current == -*=* ]]; then
    _wireup_option "$place" "\${current%%=*}"
    _wireup_values "$kind" "\${current#*=}" "\${current%%=*}="
  else
    _wireup_command "$place"
    case $current in
      - | --*) _wireup_offer "$current" "\${flags[@]}" ;;
      -*) _wireup_offer "$current" "\${singles[@]}" ;;
      *)
        if [[ $kind == none ]]; then
          _wireup_offer "$current" "\${children[@]}" "\${values[@]}"
        else
          _wireup_values "$kind" "$current" ''
        fi
        ;;
    esac
  fi
  # Bash replaces only the last piece of the word.
  local kept=\${current%"$piece"}
  if [[ $piece == [=:] ]]; then kept=$current; fi
  COMPREPLY=("\${COMPREPLY[@]#"$kept"}")
}

complete -o bashdefault -o default -F _wireup wireup mpiexec.wireup
`;
}
