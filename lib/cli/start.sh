#!/bin/sh
# The first lines of the tool, which a shell reads as a script and Node as an expression. Node makes every signal
# default at its start, so that it could not know of a `nohup` before it: what is ignored is noted here, and read in
# cli/ignored-signals.ts. (The file is a banner without these comments.)
":" //; while read -r name value; do if [ "$name" = SigIgn: ]; then export WIREUP_SIGIGN="$value"; fi; done </proc/self/status; exec node "$0" "$@"
