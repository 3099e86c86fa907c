import { MAX_RANKS } from './limits';
import { checkString, optionError } from './options';

/**
 * Formats ranks as an idset (Flux RFC 22, without brackets): `0-3,7`; an empty string if there are none.
 *
 * @param ids whole numbers in ascending order, each once
 */
export function formatIdset(ids: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < ids.length;) {
    let last = i;
    while (last + 1 < ids.length && ids[last + 1] === ids[last]! + 1) last++;
    parts.push(last === i ? `${ids[i]}` : `${ids[i]}-${ids[last]}`);
    i = last + 1;
  }
  return parts.join(',');
}

/**
 * Parses an idset. Numbers and ranges may come in any order, and RFC 22's brackets are optional.
 *
 * @returns the ranks in ascending order, each once; none for an empty string
 * @throws {@link PmiError} `ERR_PMI_OPTION` if the text is not an idset or has a number over 1,048,575
 */
export function parseIdset(text: string): number[] {
  const fail = (): never => {
    throw optionError('idset', "ranks such as '0-3,7'", text);
  };
  const inner = /^\[(.*)\]$/.exec(checkString('idset', text))?.[1] ?? text;
  if (inner === '') return [];
  const ids = new Set<number>();
  for (const part of inner.split(',')) {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? fail();
    const to = Number(last);
    if (Number(first) > to || to >= MAX_RANKS) fail();
    for (let id = Number(first); id <= to; id++) ids.add(id);
  }
  return [...ids].sort((a, b) => a - b);
}
