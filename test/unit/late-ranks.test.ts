// The line that names late ranks: equal ones are one entry, and its length is bounded.

import { expect, it } from 'vitest';

import { describeLateRanks } from '../../lib/late-ranks';
import type { ProcessFacts, RankFacts } from '../../lib/inspect';

const facts = (rank: number, host: string, process: Partial<ProcessFacts>): RankFacts => ({
  rank,
  host,
  pid: 100 + rank,
  pmi: 'connected',
  process: { pid: 100 + rank, name: 'a.out', state: 'waiting', processorTime: 0, ...process },
});

it('names a single rank with its host and process', () => {
  expect(describeLateRanks([{ ...facts(17, 'n3', { systemCall: 'nanosleep' }), pmi: 'absent' }])).toBe(
    'rank 17 (n3, pid 117) waits in nanosleep(), no PMI connection',
  );
  const { process: _, ...unseen } = facts(1, 'n1', {});
  expect(describeLateRanks([unseen])).toBe('rank 1 (n1, pid 101) cannot be seen, no PMI init');
});

it('joins ranks that do the same, whatever the number of their pipe, the largest entry first', () => {
  const reads = (rank: number, host: string): RankFacts =>
    facts(rank, host, { systemCall: 'read', file: `pipe:[${rank}]` });
  expect(describeLateRanks([facts(0, 'n1', { state: 'computing' }), reads(1, 'n1'), reads(2, 'n2')])).toBe(
    'each of the ranks 1-2 (n1, n2) waits in read() of a pipe, no PMI init; rank 0 (n1, pid 100) computes, no PMI init',
  );
});

it('has a bounded length', () => {
  const many = Array.from({ length: 1024 }, (_, i) =>
    facts(2 * i, `n${i % 7}`, { systemCall: `call${i % 10}` }),
  );
  const text = describeLateRanks(many);
  expect(text.length).toBeLessThan(1000);
  expect(text).toMatch(
    /^each of 103 ranks \(0,20,40,[\d,]+,\.\.\.; n0, n3, n6 and 4 more\) waits in call0\(\), no PMI init; /,
  );
  expect(text).toMatch(/; 612 more ranks do other things$/);
});
