/** What whoever started the tool ignores, as `nohup` does, is meant for the tool and for the ranks. */
import { constants } from 'node:os';

/** Set by the tool's first lines (start.sh): the signals that were ignored then, as /proc shows them. */
const variable = 'WIREUP_SIGIGN';

/** Signals that Node itself ignores, or has a use for. */
const nodesOwn: readonly string[] = ['SIGPIPE', 'SIGXFSZ', 'SIGCHLD'];

/** Empty when the tool was started as `node dist/cli.js`. Takes the variable out of the environment. */
export function takeIgnoredSignals(): NodeJS.Signals[] {
  const mask = process.env[variable] ?? '';
  delete process.env[variable];
  if (!/^[0-9a-f]{1,16}$/.test(mask)) return [];
  const bits = BigInt(`0x${mask}`);
  return Object.entries(constants.signals)
    .filter(([name, number]) => (bits >> BigInt(number - 1)) & 1n && !nodesOwn.includes(name))
    .map(([name]) => name as NodeJS.Signals);
}
