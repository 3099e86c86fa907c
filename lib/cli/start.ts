/** What the tool's first lines (start.sh) have noted in its environment, of which ranks are to see nothing. */
import { constants } from 'node:os';

/** The signals that were ignored then, as /proc shows them. */
const ignored = 'WIREUP_SIGIGN';

/** What start.sh has kept from Node. */
const certificates = { noted: 'WIREUP_NODE_EXTRA_CA_CERTS', meant: 'NODE_EXTRA_CA_CERTS' };

/** Signals that Node itself ignores, or has a use for. */
const nodesOwn: readonly string[] = ['SIGPIPE', 'SIGXFSZ', 'SIGCHLD'];

/**
 * What whoever started the tool ignores, as `nohup` does: it is meant for the tool and for the ranks. Empty when the tool
 * was started as `node dist/cli.js`. Takes the variable out of the environment.
 */
export function takeIgnoredSignals(): NodeJS.Signals[] {
  const mask = process.env[ignored] ?? '';
  delete process.env[ignored];
  if (!/^[0-9a-f]{1,16}$/.test(mask)) return [];
  const bits = BigInt(`0x${mask}`);
  return Object.entries(constants.signals)
    .filter(([name, number]) => (bits >> BigInt(number - 1)) & 1n && !nodesOwn.includes(name))
    .map(([name]) => name as NodeJS.Signals);
}

/** Makes the environment what it was before start.sh: ranks may be Node's programs, and speak TLS. */
export function restoreEnvironment(): void {
  const value = process.env[certificates.noted];
  if (value === undefined) return;
  delete process.env[certificates.noted];
  process.env[certificates.meant] = value;
}
