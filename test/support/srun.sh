#!/bin/bash
# Stands in for srun in tests: starts a program once for each host of -w, all on this machine, with the name of the host in
# SLURMD_NODENAME. Each task gets all of stdin. As srun does, it reports tasks that fail, and ends when all tasks have. For one
# host it executes the program.
#
# FAKE_SRUN_LOG: a file that gets a line for each call. FAKE_SRUN_FOLDER: where it makes FIFOs, which remain if it is
# killed; default: /tmp.
# FAKE_SRUN_MISSING: the name of a host whose program is not found.
# FAKE_SRUN_REACH: a command of the form COMMAND HOST PROGRAM that runs each program.
# FAKE_SRUN_COPY: a file that gets a copy of stdin.
# FAKE_SRUN_WAIT: the name of a host and a file: the program of this host starts when the file is there.
set -u
FAKE_SRUN_WAIT=${FAKE_SRUN_WAIT-}
list=
while [ $# -gt 0 ]; do
  case $1 in
    -w) list=$2; shift 2 ;;
    -N | -n) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
[ -z "${FAKE_SRUN_LOG-}" ] || echo "$$ $list $*" >>"$FAKE_SRUN_LOG"
# n[1-4] is n{1..4} in bash.
names=()
IFS=, read -r -a parts <<<"$list"
for part in "${parts[@]}"; do
  expanded=$(sed -E 's/\[([0-9]+)-([0-9]+)\]/{\1..\2}/' <<<"$part")
  eval "names+=($expanded)"
done
if [ ${#names[@]} -eq 1 ]; then
  export SLURMD_NODENAME=${names[0]}
  exec ${FAKE_SRUN_REACH:+"$FAKE_SRUN_REACH" "${names[0]}"} "$@"
fi

# start_when FILE COMMAND: executes it when the file is there.
start_when() {
  until [ -e "$1" ]; do sleep 0.05; done
  shift
  exec "$@"
}

folder=$(mktemp -d "${FAKE_SRUN_FOLDER:-/tmp}/srun-XXXXXX") || exit 1
pids=()
for i in "${!names[@]}"; do
  mkfifo "$folder/$i"
  program=$1
  [ "${FAKE_SRUN_MISSING-}" != "${names[i]}" ] || program=/nowhere/wireup-agent
  reach=(${FAKE_SRUN_REACH:+"$FAKE_SRUN_REACH" "${names[i]}"})
  start=()
  [ "${FAKE_SRUN_WAIT%% *}" != "${names[i]}" ] || start=(start_when "${FAKE_SRUN_WAIT#* }")
  SLURMD_NODENAME=${names[i]} SLURM_PROCID=$i "${start[@]}" "${reach[@]}" "$program" "${@:2}" <"$folder/$i" &
  pids+=($!)
done
exec 4<&0
tee -p "$folder"/* ${FAKE_SRUN_COPY:+"$FAKE_SRUN_COPY"} <&4 >/dev/null &
copier=$!
trap 'kill -KILL "${pids[@]}" 2>/dev/null' TERM
status=0
while [ ${#pids[@]} -gt 0 ]; do
  ended=
  wait -n -p ended "${pids[@]}" 2>/dev/null
  code=$?
  for i in "${!pids[@]}"; do
    [ "${pids[i]}" = "$ended" ] || continue
    unset "pids[i]"
    [ $code -eq 0 ] || echo "srun: error: ${names[i]}: task $i: Exited with exit code $code" >&2
    [ $code -eq 0 ] || status=$code
  done
done
kill "$copier" 2>/dev/null
rm -r "$folder"
exit $status
