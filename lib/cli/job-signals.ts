/** What `wireup run` does with the signals that it gets. Most are meant for the ranks. */
import { describeStatus, type Job } from '../index';
import { report } from './report';

/** Signals that go to the ranks' POSIX process groups. */
const forwarded = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGWINCH',
  'SIGTSTP',
  'SIGCONT',
] as const;
type Forwarded = (typeof forwarded)[number];

/** Asks where the ranks are. Other programs ignore it by default, so a mistaken process id does no harm. */
export const STATUS_SIGNAL = 'SIGURG';

/** If the job has not ended that long after the first INT, wireup explains what further ones do. */
const WAITS_MS = 300;

/** An INT that follows the last one within this time is meant for the job, not for the ranks. */
const REPEAT_MS = 2000;

/**
 * Ignores these signals, which Node has given their default actions, until the process ends. Then USR1 does not open the port of
 * Node's debugger either. JobSignals handles the signals that are not ignored.
 */
export function ignoreSignals(ignored: readonly NodeJS.Signals[]): void {
  for (const signal of forwarded)
    if (signal === 'SIGUSR1' || ignored.includes(signal)) process.on(signal, () => undefined);
}

/** Handles signals until the process ends. Signals that arrive before the job has started wait for it. */
export class JobSignals {
  /** A repeated INT ended the job. */
  endedJob = false;
  #job: Job | undefined;
  #interrupts = 0;
  #lastInterrupt = -Infinity;
  #explained = false;
  #ranksStarted = false;
  readonly #early: Forwarded[] = [];

  /** @param ignored signals that neither this process nor the ranks get, see {@link ignoreSignals} */
  constructor(ignored: readonly NodeJS.Signals[]) {
    for (const signal of forwarded)
      if (!ignored.includes(signal)) process.on(signal, () => this.#take(signal));
    process.on(STATUS_SIGNAL, () => void this.#report());
  }

  attach(job: Job): void {
    this.#job = job;
    job.started.then(
      () => (this.#ranksStarted = true),
      () => undefined,
    );
    for (const signal of this.#early) this.#take(signal);
  }

  #take(signal: Forwarded): void {
    if (this.#job === undefined) {
      this.#early.push(signal);
    } else if (signal === 'SIGINT') {
      this.#interrupt(this.#job);
    } else {
      this.#job.kill(signal);
      if (signal === 'SIGTSTP') void this.#stop(this.#job);
    }
  }

  #interrupt(job: Job): void {
    const now = performance.now();
    this.#interrupts = this.endedJob || now - this.#lastInterrupt < REPEAT_MS ? this.#interrupts + 1 : 1;
    this.#lastInterrupt = now;
    if (this.#interrupts === 1) {
      job.kill('SIGINT');
      return this.#explain(job);
    }
    this.endedJob = true;
    void (this.#interrupts === 2 ? job.stop() : job.stop({ grace: 0 }));
  }

  /** Explains once. Programs that use ^C, such as interpreters, should not be disturbed each time. */
  #explain(job: Job): void {
    if (this.#explained) return;
    this.#explained = true;
    const timer = setTimeout(() => {
      if (this.#ranksStarted && !this.endedJob)
        report(
          `the ranks got SIGINT and continue; ^C twice within ${REPEAT_MS / 1000} s ends the job, a third ^C kills it`,
        );
    }, WAITS_MS);
    void job.result.then(() => clearTimeout(timer));
  }

  /** Stops this process, so that its shell sees it stopped. A stopped process sends nothing, so the ranks' TSTP goes first. */
  async #stop(job: Job): Promise<void> {
    // The reactor handles requests in order: when it answers this one, it has sent the TSTP.
    await job.status().catch(() => undefined);
    process.kill(process.pid, 'SIGSTOP');
  }

  async #report(): Promise<void> {
    if (this.#job === undefined) return report('the job has not been started yet');
    try {
      const status = await this.#job.status();
      const ranks = (size: number): string => `${size} rank${size === 1 ? '' : 's'}`;
      report(`${ranks(status.size)}: ${describeStatus(status)}`);
      for (const group of status.spawned ?? [])
        report(`spawned group ${group.group}, ${ranks(group.size)}: ${describeStatus(group)}`);
    } catch {
      // The job has just ended, which is reported anyway.
    }
  }
}
