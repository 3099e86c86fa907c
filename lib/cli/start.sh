#!/bin/sh
# The first lines of the tool, which a shell reads as a script and Node as an expression. (The file is a banner without
# these comments.) What they note in variables is read in cli/start.ts.
#
# Node makes every signal default at its start, so that it could not know of a `nohup` before it: what is ignored is
# noted here.
#
# Node's own start: certificates of a site (NODE_EXTRA_CA_CERTS) can take it as long as all the rest, and the tool speaks
# no TLS; of the four threads that V8 has by default one will do.
":" //; while read -r name value; do if [ "$name" = SigIgn: ]; then export WIREUP_SIGIGN="$value"; break; fi; done </proc/self/status; if [ "${NODE_EXTRA_CA_CERTS+set}" ]; then export WIREUP_NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"; unset NODE_EXTRA_CA_CERTS; else unset WIREUP_NODE_EXTRA_CA_CERTS; fi; exec node --v8-pool-size=1 "$0" "$@"
