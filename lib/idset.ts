/**
 * Ranks as an idset, e.g. `0-3,7` (Flux RFC 22's form without brackets); the empty string for none.
 *
 * @param ids whole numbers in ascending order, each once
 */
export function formatIdset(ids: readonly number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < ids.length; ) {
    let last = i;
    while (last + 1 < ids.length && ids[last + 1] === ids[last]! + 1) last++;
    parts.push(last === i ? `${ids[i]}` : `${ids[i]}-${ids[last]}`);
    i = last + 1;
  }
  return parts.join(',');
}
