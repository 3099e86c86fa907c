/** Reports on stderr what peers do wrong: of each kind one line at once, and then at most one line per second. */
import type { JobEvent, PmiEvent } from '../index';
import { report } from './report';

const PAUSE_MS = 1000;

type Kind = 'rejected' | 'protocol-error' | 'disconnected' | 'spawn-refused';

/** The events that the report is made of. */
export const troubleTypes = [
  'rejected',
  'protocol-error',
  'disconnected',
  'spawn-refused',
] as const satisfies readonly Kind[];
type Trouble = Extract<JobEvent | PmiEvent, { type: Kind }>;

/** The line for several events of a kind. */
const summary: Record<Kind, (count: number) => string> = {
  rejected: (count) => `refused ${count} more`,
  'protocol-error': (count) => `${count} more invalid PMI requests`,
  disconnected: (count) => `${count} more ranks were cut off from PMI`,
  'spawn-refused': (count) => `${count} more spawns were refused`,
};

/** The rank for messages, with its process group if that was spawned. */
export const rankOf = ({ rank, group }: { rank?: number; group?: number }): string =>
  `rank ${rank}${group === undefined || group === 0 ? '' : ` of spawned group ${group}`}`;

/** Undefined if the event needs no report. */
function describe(event: Trouble): string | undefined {
  switch (event.type) {
    case 'protocol-error':
      return `${rankOf(event)} sent an invalid PMI request: ${event.message}`;
    case 'spawn-refused':
      return `${rankOf(event.by)} could not spawn: ${event.reason}`;
    case 'disconnected':
      // A lost rank is the failure of the job, which is reported with its reason.
      return event.reason === undefined || event.lost
        ? undefined
        : `${rankOf(event)} was cut off from PMI: ${event.reason}`;
    case 'rejected': {
      const { peer, reason } = event;
      const owner = [
        ...(peer.uid === undefined ? [] : [`uid ${peer.uid}`]),
        ...(peer.pid === undefined ? [] : [`pid ${peer.pid}`]),
      ];
      const address = peer.address === 'unix' ? 'a connection' : peer.address;
      return `refused ${address}${owner.length === 0 ? '' : ` (${owner.join(', ')})`}: ${reason}`;
    }
  }
}

/** Lines of one kind. */
class PacedLines {
  readonly #kind: Kind;
  #held = 0;
  #last: string | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(kind: Kind) {
    this.#kind = kind;
  }

  add(line: string): void {
    if (this.#pause === undefined) {
      report(line);
      this.#wait();
    } else {
      this.#held++;
      this.#last = line;
    }
  }

  miss(count: number): void {
    this.#held += count;
    if (this.#pause === undefined) this.#wait();
  }

  /** Prints what is held back. */
  end(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    if (this.#held === 0) return;
    if (this.#held === 1 && this.#last !== undefined) report(this.#last);
    else
      report(
        `${summary[this.#kind](this.#held)}${this.#last === undefined ? '' : `, the last: ${this.#last}`}`,
      );
    this.#held = 0;
    this.#last = undefined;
  }

  #wait(): void {
    this.#pause = setTimeout(() => {
      const more = this.#held > 0;
      this.end();
      if (more) this.#wait();
    }, PAUSE_MS);
    // It does not keep the process alive.
    this.#pause.unref();
  }
}

export class TroubleReport {
  readonly #all: boolean;
  readonly #lines = new Map<string, PacedLines>(troubleTypes.map((kind) => [kind, new PacedLines(kind)]));

  /** @param all report every event that is not missed, without pauses */
  constructor(all = false) {
    this.#all = all;
  }

  /** Ignores events that are not in `troubleTypes`. */
  add(event: JobEvent | PmiEvent): void {
    if (event.type === 'missed') return this.#lines.get(event.of)?.miss(event.count);
    const lines = this.#lines.get(event.type);
    const line = lines && describe(event as Trouble);
    if (line === undefined) return;
    if (this.#all) report(line);
    else lines!.add(line);
  }

  /** Prints what is held back. */
  end(): void {
    for (const lines of this.#lines.values()) lines.end();
  }
}
