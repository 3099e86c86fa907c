/** What ranks do that a job has waited for in vain, in one line for people. */
import { formatIdset } from './idset';
import { describeProcess, type RankFacts } from './inspect';

/** Kinds of ranks that a line names. */
const MAX_ENTRIES = 4;
/** Hosts that an entry names. */
const MAX_HOSTS = 3;
/** Characters of the ranks of an entry. */
const MAX_IDSET = 80;

const inPmi: Readonly<Record<RankFacts['pmi'], string>> = {
  absent: 'no PMI connection',
  connected: 'no PMI init',
  initialized: 'past PMI init',
  finalized: 'past PMI finalize',
  disconnected: 'PMI connection ended',
};

/** The number of a pipe or socket differs between ranks that do the same. */
const withoutNumber = (file: string): string => file.replace(/^(pipe|socket):\[\d+\]$/, 'a $1');

function whatItDoes({ process: seen, pmi }: RankFacts): string {
  const does =
    seen === undefined
      ? 'cannot be seen'
      : describeProcess({ ...seen, ...(seen.file === undefined ? {} : { file: withoutNumber(seen.file) }) });
  return `${does}, ${inPmi[pmi]}`;
}

function describeEntry(what: string, ranks: readonly RankFacts[]): string {
  const [first] = ranks;
  if (ranks.length === 1) return `rank ${first!.rank} (${first!.host}, pid ${first!.pid}) ${what}`;
  const hosts = [...new Set(ranks.map(({ host }) => host))];
  const more = hosts.length > MAX_HOSTS ? ` and ${hosts.length - MAX_HOSTS} more` : '';
  const idset = formatIdset(ranks.map(({ rank }) => rank));
  const which =
    idset.length > MAX_IDSET
      ? `${ranks.length} ranks (${idset.slice(0, idset.lastIndexOf(',', MAX_IDSET))},...; `
      : `the ranks ${idset} (`;
  return `each of ${which}${hosts.slice(0, MAX_HOSTS).join(', ')}${more}) ${what}`;
}

/**
 * `each of the ranks 20-22 (n4) computes, no PMI init; rank 17 (n3, pid 4711) waits in clock_nanosleep(), no PMI connection`.
 * Ranks that do the same are one entry, and the largest entries are listed.
 *
 * @param ranks in ascending order, not empty
 */
export function describeLateRanks(ranks: readonly RankFacts[]): string {
  const kinds = new Map<string, RankFacts[]>();
  for (const facts of ranks) {
    const what = whatItDoes(facts);
    const kind = kinds.get(what);
    if (kind === undefined) kinds.set(what, [facts]);
    else kind.push(facts);
  }
  const entries = [...kinds].sort(([, a], [, b]) => b.length - a.length);
  const rest = entries.slice(MAX_ENTRIES).reduce((sum, [, kind]) => sum + kind.length, 0);
  return [
    ...entries.slice(0, MAX_ENTRIES).map(([what, kind]) => describeEntry(what, kind)),
    ...(rest === 0 ? [] : [`${rest} more ranks do other things`]),
  ].join('; ');
}
