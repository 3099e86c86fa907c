/**
 * The messages of recordings as trace events: a row for each rank, a slice for each request until its reply, and marks for
 * events of connections.
 */
import { isMessage, type RecordBase } from './format';
import { isError, labelOf, type EventStep, type Step } from './messages';
import { TraceEvents, type TraceRow } from './trace-events';

/** The row of a connection that has not identified itself, above those of ranks. */
const FIRST_CONNECTION = 1_000_000;

/** A process for each process group. */
export const rowByGroup = (record: RecordBase): TraceRow => ({
  pid: record.group,
  process: `process group ${record.group}`,
  tid: record.rank ?? FIRST_CONNECTION + (record.conn ?? 0),
  thread: `rank ${labelOf(record)}`,
});

/** Makes the events of records, as parts of the JSON document. */
export class Timeline {
  readonly #events: TraceEvents;
  readonly #rowOf: (record: RecordBase) => TraceRow;

  constructor(events = new TraceEvents(), rowOf = rowByGroup) {
    this.#events = events;
    this.#rowOf = rowOf;
  }

  begin(): string {
    return this.#events.begin();
  }

  end(): string {
    return this.#events.end();
  }

  /**
   * The events of a record; may be empty.
   *
   * @param shift microseconds that are added to the times
   */
  add(step: Step | EventStep, shift = 0): string {
    const { record, at } = step;
    const row = this.#rowOf(record);
    if (!isMessage(record)) {
      const { event, reason, count } = record;
      return this.#events.add(row, {
        name: event,
        ph: 'i',
        s: 't',
        ts: at + shift,
        args: { reason, count },
      });
    }
    const { request, message } = step as Step;
    if (request === undefined) return '';
    const args = Object.fromEntries(
      [...request.message.attributes, ...message.attributes].filter(([name]) => name !== 'cmd'),
    );
    return this.#events.add(row, {
      name: request.message.command,
      cat: isError(step as Step) ? 'error' : 'pmi',
      ph: 'X',
      ts: request.at + shift,
      dur: at - request.at,
      args,
    });
  }
}
