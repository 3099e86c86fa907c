/** What a ^C means depends on how soon it comes after the last; the clock is the test's. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { JobSignals } from '../../lib/cli/job-signals';
import type { Job } from '../../lib/job';

const handlers = new Map<string | symbol, () => void>();
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  // The signals of this process stay what they are.
  vi.spyOn(process, 'on').mockImplementation((signal, handler) => {
    handlers.set(signal, handler as () => void);
    return process;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

function job(): { job: Job; done: string[] } {
  const done: string[] = [];
  const fake = {
    result: new Promise(() => undefined),
    kill: (signal: string) => void done.push(signal),
    stop: async (options?: { grace?: number }) =>
      void done.push(options === undefined ? 'stop' : `stop ${options.grace}`),
  };
  return { job: fake as unknown as Job, done };
}

const interrupt = (after: number): void => {
  vi.advanceTimersByTime(after);
  handlers.get('SIGINT')!();
};

test('a second ^C within two seconds ends the job, a third kills it', () => {
  const signals = new JobSignals([]);
  const { job: running, done } = job();
  signals.attach(running);
  interrupt(0);
  expect(signals.endedJob).toBe(false);
  interrupt(1999);
  expect(signals.endedJob).toBe(true);
  // However late: the job is being ended.
  interrupt(60_000);
  expect(done).toEqual(['SIGINT', 'stop', 'stop 0']);
});

test('one that comes later is only passed on, however many there are', () => {
  const signals = new JobSignals([]);
  const { job: running, done } = job();
  signals.attach(running);
  for (let i = 0; i < 5; i++) interrupt(2000);
  expect(done).toEqual(Array(5).fill('SIGINT'));
  expect(signals.endedJob).toBe(false);
  interrupt(1000);
  expect(done.at(-1)).toBe('stop');
});

test('what comes before there is a job waits for it', () => {
  const signals = new JobSignals(['SIGHUP']);
  interrupt(0);
  handlers.get('SIGUSR1')!();
  handlers.get('SIGHUP')!();
  const { job: running, done } = job();
  signals.attach(running);
  expect(done).toEqual(['SIGINT', 'SIGUSR1']);
});
