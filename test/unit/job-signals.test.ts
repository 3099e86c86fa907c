/** The effect of ^C, which depends on the time since the last one. The test controls the clock. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { JobSignals } from '../../lib/cli/job-signals';
import type { Job } from '../../lib/job';

const handlers = new Map<string | symbol, () => void>();
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  // The test process keeps its own signal handlers.
  vi.spyOn(process, 'on').mockImplementation((signal, handler) => {
    handlers.set(signal, handler as () => void);
    return process;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function job(): { job: Job; calls: string[] } {
  const calls: string[] = [];
  const fake = {
    started: Promise.resolve([]),
    result: new Promise(() => undefined),
    kill: (signal: string) => void calls.push(signal),
    stop: async (options?: { grace?: number }) =>
      void calls.push(options === undefined ? 'stop' : `stop ${options.grace}`),
  };
  return { job: fake as unknown as Job, calls };
}

const interrupt = (milliseconds: number): void => {
  vi.advanceTimersByTime(milliseconds);
  handlers.get('SIGINT')!();
};

test('a second ^C within two seconds ends the job, and a third kills it', () => {
  const signals = new JobSignals([]);
  const { job: running, calls } = job();
  signals.attach(running);
  interrupt(0);
  expect(signals.endedJob).toBe(false);
  interrupt(1999);
  expect(signals.endedJob).toBe(true);
  // The job is being ended, so a third ^C kills it, no matter when.
  interrupt(60_000);
  expect(calls).toEqual(['SIGINT', 'stop', 'stop 0']);
});

test('every ^C more than two seconds after the last is only passed on to the ranks', () => {
  const signals = new JobSignals([]);
  const { job: running, calls } = job();
  signals.attach(running);
  for (let i = 0; i < 5; i++) interrupt(2000);
  expect(calls).toEqual(Array(5).fill('SIGINT'));
  expect(signals.endedJob).toBe(false);
  interrupt(1000);
  expect(calls.at(-1)).toBe('stop');
});

test('the job gets the signals that came before it existed, except the ignored ones', () => {
  const signals = new JobSignals(['SIGHUP']);
  interrupt(0);
  handlers.get('SIGUSR1')!();
  handlers.get('SIGHUP')!();
  const { job: running, calls } = job();
  signals.attach(running);
  expect(calls).toEqual(['SIGINT', 'SIGUSR1']);
});
