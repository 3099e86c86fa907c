/** Shows how far the ranks are while the job runs: one line on the terminal, or lines. */
import type { Job, PmiStatus } from '../index';
import { describeAwaited } from '../status';
import { idset } from './option';
import { report, statusLineShown } from './report';

/** A job that ends earlier shows nothing. */
const DELAY_MS = 500;
/** Between two requests for the status of the job. */
const PERIOD_MS = 200;

const countOf = (ranks: string): number => (ranks === '' ? 0 : idset(ranks).length);

/** The line should fit into a row of the terminal. */
const SHOWN_HOSTS = 3;

/**
 * `64 ranks: 2 not connected, 10 in init, 51 of 64 in barrier 3, 1 finalized, 0 exited`, without the parts that are zero. Hosts
 * that have not answered follow.
 */
export function describeProgress(status: PmiStatus, exited: number): string {
  const { size, ranks, barrier } = status;
  const parts: [number, string][] = [
    [countOf(ranks.absent), 'not connected'],
    [countOf(ranks.connected), 'connected'],
    [countOf(ranks.initialized), 'in PMI'],
    [countOf(barrier.inside), `of ${size} in barrier ${barrier.number}`],
    [countOf(ranks.finalized), 'finalized'],
    [exited, 'exited'],
  ];
  const shown = parts.flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`]));
  const awaited = describeAwaited(status, SHOWN_HOSTS);
  const where = shown.join(', ') || 'starting';
  return `${size} rank${size === 1 ? '' : 's'}: ${where}${awaited === undefined ? '' : `; ${awaited}`}`;
}

export class Progress {
  readonly #job: Job;
  readonly #lines: boolean;
  readonly #exited = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #last = '';

  /** @param how `line` shows only the last state, `plain` writes a line for each new one */
  constructor(job: Job, how: 'line' | 'plain') {
    this.#job = job;
    this.#lines = how === 'plain';
    void this.#listen();
    this.#timer = setTimeout(() => void this.#look(), DELAY_MS);
    this.#timer.unref();
  }

  /** Shows nothing any more. The agent has removed the line when the job has ended. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    statusLineShown(false);
  }

  async #listen(): Promise<void> {
    for await (const event of this.#job.events({ types: ['exited', 'printed'] })) {
      if (event.type === 'exited' && event.group === undefined) this.#exited.add(event.rank);
      if (event.type === 'printed' && !this.#lines) return this.end();
    }
    this.end();
  }

  async #look(): Promise<void> {
    let text: string;
    try {
      text = describeProgress(await this.#job.status(), this.#exited.size);
    } catch {
      return this.end();
    }
    if (this.#timer === undefined) return;
    if (text !== this.#last) {
      this.#last = text;
      if (this.#lines) {
        report(text);
      } else {
        statusLineShown(true);
        this.#job.showStatus(`wireup: ${text}`);
      }
    }
    this.#timer = setTimeout(() => void this.#look(), this.#lines ? 5 * PERIOD_MS : PERIOD_MS);
    this.#timer.unref();
  }
}
