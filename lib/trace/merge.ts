/** Merges recordings by time, in bounded memory. */
import { readRecording, type RecordingHeader, type TraceRecord } from './format';
import { lettersOf } from './held';

/** A record with its absolute time. */
export interface MergedRecord {
  record: TraceRecord;
  /** Microseconds since the earliest start of the recordings. */
  at: number;
  /** The number of the recording. */
  source: number;
}

/**
 * How many records, and how many letters of messages, are held back to put them in order. Records of one recording are out
 * of order if they come from several hosts, by a few milliseconds.
 */
const MAX_HELD = 16_384;
const MAX_HELD_LETTERS = 16 << 20;

/** Records by time; those of the same time in the order in which they were added. */
class Heap {
  #items: { merged: MergedRecord; order: number }[] = [];
  #added = 0;
  letters = 0;

  get size(): number {
    return this.#items.length;
  }

  add(merged: MergedRecord): void {
    this.letters += lettersOf(merged.record);
    const items = this.#items;
    items.push({ merged, order: this.#added++ });
    for (let i = items.length - 1; i > 0;) {
      const parent = (i - 1) >> 1;
      if (!this.#before(i, parent)) break;
      this.#swap(i, parent);
      i = parent;
    }
  }

  take(): MergedRecord {
    const items = this.#items;
    const { merged } = items[0]!;
    const last = items.pop()!;
    if (items.length > 0) {
      items[0] = last;
      for (let i = 0; ;) {
        const left = 2 * i + 1;
        if (left >= items.length) break;
        const child = left + 1 < items.length && this.#before(left + 1, left) ? left + 1 : left;
        if (!this.#before(child, i)) break;
        this.#swap(i, child);
        i = child;
      }
    }
    this.letters -= lettersOf(merged.record);
    return merged;
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#items[a]!, this.#items[b]!];
    return one.merged.at === other.merged.at ? one.order < other.order : one.merged.at < other.merged.at;
  }

  #swap(a: number, b: number): void {
    [this.#items[a], this.#items[b]] = [this.#items[b]!, this.#items[a]!];
  }
}

interface Source {
  number: number;
  header: RecordingHeader;
  records: AsyncIterator<RecordingHeader | TraceRecord>;
  /** The time of the record that was read last. */
  at: number;
}

/** Recordings that are merged. */
export interface Merged {
  /** Of the recordings that have one, in the order of the files. */
  headers: RecordingHeader[];
  /** The earliest start, in microseconds since 1970. */
  start: number;
  records: AsyncGenerator<MergedRecord, void, undefined>;
}

/**
 * @param onFault gets the error of a recording that is invalid or cannot be read. Its records before the fault are merged
 */
export async function mergeRecordings(
  files: readonly string[],
  onFault: (error: Error) => void,
): Promise<Merged> {
  const sources: Source[] = [];
  for (const [number, file] of files.entries()) {
    const records = readRecording(file);
    try {
      const first = await records.next();
      // readRecording() yields the header first.
      const header = first.value as RecordingHeader;
      sources.push({ number, header, records, at: header.start });
    } catch (error) {
      onFault(error as Error);
    }
  }
  const headers = sources.map(({ header }) => header);
  const start = headers.reduce((least, header) => Math.min(least, header.start), Infinity);
  return { headers, start: Number.isFinite(start) ? start : 0, records: merge(sources, start, onFault) };
}

async function* merge(
  sources: Source[],
  start: number,
  onFault: (error: Error) => void,
): AsyncGenerator<MergedRecord, void, undefined> {
  const heap = new Heap();
  const open = new Set(sources);
  while (open.size > 0) {
    const source = [...open].reduce((least, other) => (other.at < least.at ? other : least));
    try {
      const next = await source.records.next();
      if (next.done) {
        open.delete(source);
        continue;
      }
      const record = next.value as TraceRecord;
      source.at = source.header.start + record.t;
      heap.add({ record, at: source.at - start, source: source.number });
    } catch (error) {
      open.delete(source);
      onFault(error as Error);
    }
    while (heap.size > MAX_HELD || heap.letters > MAX_HELD_LETTERS) yield heap.take();
  }
  while (heap.size > 0) yield heap.take();
}
