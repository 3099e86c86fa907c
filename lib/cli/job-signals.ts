/** What the tool does with the signals that it gets: most are meant for the ranks. */
import { describeStatus, type Job } from '../index';
import { say } from './report';

/** Passed on to the ranks' process groups. */
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

/** Asks where the ranks are. It is ignored by default, so it harms nobody that it reaches by mistake. */
export const STATUS_SIGNAL = 'SIGURG';

/** How long a job is given to end by its first INT, before its user is told what others do. */
const WAITS_MS = 300;

/** An INT that comes as soon after the last is meant for the job, not for the ranks. */
const REPEAT_MS = 2000;

/** Takes signals from its making to the end of the process; what comes before there is a job waits for it. */
export class JobSignals {
  /** A repeated INT ended the job. */
  endedJob = false;
  #job: Job | undefined;
  #interrupts = 0;
  #lastInterrupt = -Infinity;
  #explained = false;
  readonly #early: Forwarded[] = [];

  /** @param ignored what is neither for us nor for the ranks */
  constructor(ignored: readonly NodeJS.Signals[]) {
    for (const signal of forwarded) {
      process.on(signal, ignored.includes(signal) ? () => undefined : () => this.#take(signal));
    }
    process.on(STATUS_SIGNAL, () => void this.#report());
  }

  attach(job: Job): void {
    this.#job = job;
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

  /** Once: programs that live on ^C, as interpreters do, are not to be interrupted by us at each. */
  #explain(job: Job): void {
    if (this.#explained) return;
    this.#explained = true;
    const timer = setTimeout(() => {
      if (!this.endedJob)
        say(
          `the ranks were interrupted and go on; ^C twice within ${REPEAT_MS / 1000} s ends the job, once more kills it`,
        );
    }, WAITS_MS);
    void job.result.then(() => clearTimeout(timer));
  }

  /** The shell is to see us stopped, once the ranks' TSTP has left: a stopped process sends nothing. */
  async #stop(job: Job): Promise<void> {
    // What is asked is answered in order.
    await job.status().catch(() => undefined);
    process.kill(process.pid, 'SIGSTOP');
  }

  async #report(): Promise<void> {
    if (this.#job === undefined) return say('the job has not been started yet');
    try {
      const status = await this.#job.status();
      const ranks = (size: number): string => `${size} rank${size === 1 ? '' : 's'}`;
      say(`${ranks(status.size)}: ${describeStatus(status)}`);
      for (const group of status.spawned ?? [])
        say(`spawned group ${group.group}, ${ranks(group.size)}: ${describeStatus(group)}`);
    } catch {
      // It has just ended, which is said anyway.
    }
  }
}
