/** A document of trace events, the "Trace Event Format" of Chromium, which Perfetto and chrome://tracing open. */

/** A row of the viewer: a thread in a process. The viewer sorts both by their numbers. */
export interface TraceRow {
  pid: number;
  process: string;
  tid: number;
  thread: string;
}

/** Rows that get a name. */
const MAX_NAMED = 1 << 20;

/** Makes the parts of the JSON document. */
export class TraceEvents {
  readonly #named = new Set<string>();
  #first = true;

  begin(): string {
    return '{"displayTimeUnit":"ms","traceEvents":[\n';
  }

  end(): string {
    return '\n]}\n';
  }

  /** An event in a row. Names the row first if it has none. */
  add({ pid, process, tid, thread }: TraceRow, event: object): string {
    return this.#name(pid, process, tid, thread) + this.#event({ ...event, pid, tid });
  }

  #name(pid: number, process: string, tid: number, thread: string): string {
    const key = `${pid}.${tid}`;
    if (this.#named.has(key) || this.#named.size >= MAX_NAMED) return '';
    const isNew = !this.#named.has(`${pid}`);
    this.#named.add(key).add(`${pid}`);
    return (
      (isNew ? this.#event({ name: 'process_name', ph: 'M', pid, args: { name: process } }) : '') +
      this.#event({ name: 'thread_name', ph: 'M', pid, tid, args: { name: thread } })
    );
  }

  #event(event: object): string {
    const separator = this.#first ? '' : ',\n';
    this.#first = false;
    return separator + JSON.stringify(event);
  }
}
