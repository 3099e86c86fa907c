/** The progress bar of a benchmark on the terminal. */
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { writeSync } from 'node:fs';
import { SingleBar } from 'cli-progress';

/** A stream to stderr without process.stderr: see report.ts. */
function terminal(): NodeJS.WritableStream {
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      writeSync(2, chunk);
      done();
    },
  });
  // SingleBar reads these two properties.
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

  /** Shows the bar with the benchmark that is measured. */
  at(what: string): void {
    this.#bar?.start(this.#total, this.#done, { what });
  }

  step(): void {
    this.#bar?.update(++this.#done);
  }

  /** Hides the bar before output, and at the end. */
  hide(): void {
    this.#bar?.stop();
  }
}
