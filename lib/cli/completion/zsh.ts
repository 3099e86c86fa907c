import { RUN } from '../run';
import type { CommandGrammar } from './grammar';
import { quoted, sharedFunctions } from './posix';

/** As _describe of zsh takes it. */
const described = (name: string, help: string): string => quoted(`${name.replaceAll(':', '\\:')}:${help}`);

/** @returns a completion script for zsh, to be sourced after compinit, or to be a file `_wireup` in a folder of fpath */
export function zshScript(commands: readonly CommandGrammar[]): string {
  return `#compdef wireup mpiexec.wireup
# zsh completion for wireup and mpiexec.wireup. "wireup completion zsh" prints it.

${sharedFunctions(commands, described)}

# Offers values of the kind $1.
_wireup_values() {
  local expl
  case $1 in
    file) _files ;;
    folder) _files -/ ;;
    command | program) _command_names -e ;;
    host) _sequence _hosts ;;
    none) (( $#values )) && _wanted values expl value compadd -a values ;;
  esac
}

_wireup() {
  local place program takes kind start=wireup
  local -a children flags singles values
  if [[ \${words[1]:t} == mpiexec* ]]; then start=${quoted(RUN)}; fi
  _wireup_walk $start "\${(@Q)words[2,CURRENT-1]}" "$PREFIX"
  if [[ -n $program ]]; then
    # The words belong to the program.
    words=("\${(@)words[program + 1,-1]}")
    ((CURRENT -= program))
    _normal
  elif [[ -n $takes ]]; then
    _wireup_values $kind
  elif [[ $PREFIX == -*=* ]]; then
    _wireup_option "$place" "\${PREFIX%%=*}"
    compset -P 1 '*='
    _wireup_values $kind
  else
    _wireup_command "$place"
    case $PREFIX in
      - | --*) _describe -o option flags ;;
      -*) _describe -o option singles ;;
      *)
        if [[ $kind != none ]]; then
          _wireup_values $kind
        else
          _describe command children || _wireup_values none
        fi
        ;;
    esac
  fi
}

# A file of fpath is the body of the function at its first call.
if [[ $funcstack[1] == _wireup ]]; then
  _wireup "$@"
else
  compdef _wireup wireup mpiexec.wireup
fi
`;
}
