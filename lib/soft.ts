/**
 * Evaluates MPI_Info's `soft`: counts, and triplets `first:last:stride`, separated by commas, such as `2`,
 * `1:4` or `1:8:2`.
 *
 * @returns the largest allowed count up to `most`; 0 if none is allowed; undefined if `soft` is malformed
 */
export function softCount(soft: string, most: number): number | undefined {
  const triplets = soft.split(',').map((text) => /^(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text));
  const allowed = (count: number): boolean =>
    triplets.some((match) => {
      const [first, last, stride] = [
        Number(match![1]),
        Number(match![2] ?? match![1]),
        Number(match![3] ?? 1),
      ];
      return count >= first && count <= last && (count - first) % stride === 0;
    });
  if (triplets.some((match) => match === null || Number(match[3] ?? 1) === 0)) return undefined;
  let count = most;
  while (count > 0 && !allowed(count)) count--;
  return count;
}
