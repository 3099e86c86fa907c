/** The phases of a job that `wireup run -v` reports. */
import { expect, test } from 'vitest';
import { describePhases } from '../../lib/cli/run-report';
import type { JobResult, RankTimes } from '../../lib/index';

const result = (duration: number, barriers: number[], ...times: RankTimes[]): JobResult =>
  ({
    duration,
    barriers: { count: barriers.length, times: barriers },
    ranks: times.map((of) => ({ times: of })),
  }) as unknown as JobResult;

test('each phase ends with its last rank, and the phases add up to the time of the job', () => {
  expect(
    describePhases(
      result(
        2000,
        [60, 90],
        { started: 5, connected: 20, initialized: 40, exited: 1500 },
        { started: 10, connected: 15, initialized: 50, exited: 1900 },
      ),
    ),
  ).toBe('phases: spawn 10 ms, connect 10 ms, init 30 ms, first barrier 10 ms, run 1.84 s, end 100 ms');
});

test('a phase that no rank has completed is left out', () => {
  expect(describePhases(result(30, [], { started: 10, exited: 25 }))).toBe(
    'phases: spawn 10 ms, run 15 ms, end 5 ms',
  );
  expect(describePhases(result(3, []))).toBe('phases: end 3 ms');
});

test('a phase that has ended before the one before it takes no time', () => {
  // A rank was started late, and the others have exited by then.
  expect(describePhases(result(50, [], { started: 40, initialized: 20, exited: 45 }))).toBe(
    'phases: spawn 40 ms, init 0 ms, run 5 ms, end 5 ms',
  );
});
