/** A bar on the terminal while it runs. */
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { writeSync } from 'node:fs';
import { SingleBar } from 'cli-progress';

/** stderr, not by process.stderr: see report.ts. */
function terminal(): NodeJS.WritableStream {
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      writeSync(2, chunk);
      done();
    },
  });
  // What the bar looks at.
  return Object.assign(stream, { isTTY: true, columns: 80 });
}

export class BenchProgress {
  readonly #bar: SingleBar | undefined;
  readonly #total: number;
  #done = 0;

  constructor(total: number) {
    this.#total = total;
    if (!isatty(2)) return;
    this.#bar = new SingleBar({
      format: 'wireup: {what} [{bar}] {value} of {total} runs, {eta_formatted} left',
      stream: terminal(),
      clearOnComplete: true,
      hideCursor: true,
    });
  }

  /** Shows it, with what is being measured. */
  at(what: string): void {
    this.#bar?.start(this.#total, this.#done, { what });
  }

  step(): void {
    this.#bar?.update(++this.#done);
  }

  /** Before something is printed, and at the end. */
  hide(): void {
    this.#bar?.stop();
  }
}
