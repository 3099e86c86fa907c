# The commands wireup and mpiexec.wireup, until the install script has put the starter in this file's place. Without the
# starter, variables whose names a shell does not know and signals that the caller ignores are lost (docs/install.md).
case ${0##*/} in mpiexec*) set -- run "$@" ;; esac
exec node "$(dirname "$(readlink -f "$0")")/cli.js" "$@"
