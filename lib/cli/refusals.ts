/** One line on stderr for who was refused, and at most one a second when there are many. */
import type { PmiEvent } from '../index';
import { say } from './report';

type Rejected = PmiEvent & { type: 'rejected' };

const PAUSE_MS = 1000;

function describe({ peer, reason }: Rejected): string {
  const who = [
    ...(peer.uid === undefined ? [] : [`uid ${peer.uid}`]),
    ...(peer.pid === undefined ? [] : [`pid ${peer.pid}`]),
  ];
  const address = peer.address === 'unix' ? 'a connection' : peer.address;
  return `${address}${who.length === 0 ? '' : ` (${who.join(', ')})`}: ${reason}`;
}

export class RefusalReport {
  #unsaid = 0;
  #last: Rejected | undefined;
  #pause: NodeJS.Timeout | undefined;

  add(event: Rejected): void {
    if (this.#pause === undefined) {
      say(`refused ${describe(event)}`);
      this.#rest();
    } else {
      this.#unsaid++;
      this.#last = event;
    }
  }

  /** Says what has been held back. */
  end(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    if (this.#last === undefined) return;
    say(this.#unsaid === 1 ? `refused ${describe(this.#last)}` : `refused ${this.#unsaid} more, the last ${describe(this.#last)}`);
    this.#unsaid = 0;
    this.#last = undefined;
  }

  #rest(): void {
    this.#pause = setTimeout(() => {
      const more = this.#last !== undefined;
      this.end();
      if (more) this.#rest();
    }, PAUSE_MS);
    // It keeps no tool alive whose work is done.
    this.#pause.unref();
  }
}
