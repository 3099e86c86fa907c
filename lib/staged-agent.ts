/**
 * The command that stores and starts wireup-agent on a host where it is not installed: the agent's program comes first
 * on the command's stdin. native/runtime/host_command.h is the other end.
 */
import { machine as machineType } from 'node:os';

/**
 * The shell code, without the machine type. It is one line and contains no single quote and no exclamation mark, so that
 * single quotes protect it from any login shell, csh too. The agent's `%s` becomes the size of the program.
 *
 * A folder may be mounted noexec. Since the program can be read only once, an empty file shows before whether files in
 * the folder can be executed: sh executes it as an empty script. Without arguments the agent ends with code 2
 * (kExitNoLauncher), if this host's loader and C library can run it. The shell then opens the program and removes the
 * folder, so nothing is left when the agent starts. Some versions of head read ahead. No bytes are lost by that: the
 * other end sends nothing after the program until the agent has sent its greeting.
 */
const code = [
  'n=%s',
  'm=$(uname -m)',
  'refuse() { echo "wireup-agent cannot be executed on this host: $1" >&2; exit 126; }',
  '[ "$m" = MACHINE ] || refuse "it is a program for MACHINE, and the host is $m"',
  'umask 077',
  'd=',
  'trap "rm -rf \\"\\$d\\"" 0',
  // PIPE: a message on stderr has no reader if the other end has been killed.
  'trap "exit 1" HUP INT PIPE TERM',
  'for b in "${TMPDIR:-/tmp}" /tmp "$XDG_RUNTIME_DIR" "$HOME" /var/tmp /dev/shm; do' +
    ' [ -d "$b" ] || continue;' +
    ' d=$(mktemp -d "$b/wireup-XXXXXX" 2>/dev/null) || { d=; continue; };' +
    ' f=$d/agent;' +
    ' { printf "" >"$f" && chmod 700 "$f" && "$f"; } </dev/null >/dev/null 2>&1 && break;' +
    ' rm -rf "$d";' +
    ' d=;' +
    ' done',
  '[ "$d" ] || refuse "no folder lets programs be stored and executed; set TMPDIR or HOME there"',
  'head -c "$n" >"$f"',
  's=$(wc -c <"$f")',
  '[ "$s" -eq "$n" ] || { echo "wireup-agent cannot be stored in $d: only $s of $n bytes" >&2; exit 1; }',
  '"$f" </dev/null >"$d/e" 2>&1',
  '[ $? -eq 2 ] || { read -r e <"$d/e"; refuse "its C library may be older than the launcher has, or another one: $e"; }',
  'exec 9<"$f"',
  'rm -rf "$d"',
  'trap - 0',
  'exec /proc/self/fd/9 link',
].join('; ');

/**
 * The words of a command that reads wireup-agent from stdin into a private folder, removes the folder, and executes the
 * agent as `wireup-agent link`. `%s` in them stands for the size of the program in bytes. The code runs in dash, bash and
 * BusyBox, and needs /proc. If the agent cannot be executed there, it writes one line to stderr and ends with code 126.
 *
 * For a program that joins its words and passes them to a shell (ssh), put the last word in single quotes.
 *
 * @param machine - The machine type for which wireup-agent was built, as `uname -m` prints it. Default: this host's.
 */
export function stagedAgentWords(machine: string = machineType()): string[] {
  return ['/bin/sh', '-c', code.replaceAll('MACHINE', machine)];
}
