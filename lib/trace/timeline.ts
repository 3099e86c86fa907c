/**
 * Trace events for timeline viewers (Perfetto, chrome://tracing): a process for each process group, a thread for each rank, a
 * slice for each request until its reply, and marks for events. The form is the "Trace Event Format" of Chromium.
 */
import { isMessage } from './format';
import { isError, labelOf, type EventStep, type Step } from './messages';

/** Ranks that get a name. */
const MAX_NAMED = 1 << 20;

/** Makes the parts of the JSON document. */
export class Timeline {
  readonly #named = new Set<string>();
  #first = true;

  begin(): string {
    return '{"displayTimeUnit":"ms","traceEvents":[\n';
  }

  end(): string {
    return '\n]}\n';
  }

  /** The events of a record; may be empty. */
  add(step: Step | EventStep): string {
    const { record, at } = step;
    const place = { pid: record.group, tid: record.rank ?? 1_000_000 + (record.conn ?? 0) };
    const names = this.#name(place, labelOf(record));
    if (!isMessage(record)) {
      const { event, reason, count } = record;
      return names + this.#event({ name: event, ph: 'i', s: 't', ts: at, ...place, args: { reason, count } });
    }
    const { request, message } = step as Step;
    if (request === undefined) return names;
    const args = Object.fromEntries(
      [...request.message.attributes, ...message.attributes].filter(([name]) => name !== 'cmd'),
    );
    return (
      names +
      this.#event({
        name: request.message.command,
        cat: isError(step as Step) ? 'error' : 'pmi',
        ph: 'X',
        ts: request.at,
        dur: at - request.at,
        ...place,
        args,
      })
    );
  }

  #name(place: { pid: number; tid: number }, label: string): string {
    if (this.#named.has(label) || this.#named.size >= MAX_NAMED) return '';
    const group = `process group ${place.pid}`;
    const isNew = !this.#named.has(group);
    this.#named.add(label).add(group);
    return (
      (isNew ? this.#event({ name: 'process_name', ph: 'M', pid: place.pid, args: { name: group } }) : '') +
      this.#event({ name: 'thread_name', ph: 'M', ...place, args: { name: `rank ${label}` } })
    );
  }

  #event(event: object): string {
    const separator = this.#first ? '' : ',\n';
    this.#first = false;
    return separator + JSON.stringify(event);
  }
}
