/** Records that are held in memory until a later one is known. Their number and their size are bounded. */
import { isMessage, type TraceRecord } from './format';

const MAX_RECORDS = 65_536;

/** More than four of the longest lines of a recording. */
const MAX_LETTERS = 32 << 20;

/** The letters of the texts of a record, which are most of what it takes in memory. */
export function lettersOf(record: TraceRecord): number {
  const text = isMessage(record) ? (record.text ?? record.base64) : record.reason;
  const peer = isMessage(record) ? undefined : record.peer;
  return (text ?? '').length + (peer ?? '').length + (record.host ?? '').length;
}

/** A queue of records. */
export class HeldRecords<Item extends TraceRecord> {
  #records: Item[] = [];
  #letters = 0;

  get length(): number {
    return this.#records.length;
  }

  at(index: number): Item | undefined {
    return this.#records[index];
  }

  /** Returns false if the limit is reached, and does not add it then. */
  add(record: Item): boolean {
    const letters = this.#letters + lettersOf(record);
    if (this.#records.length >= MAX_RECORDS || letters > MAX_LETTERS) return false;
    this.#records.push(record);
    this.#letters = letters;
    return true;
  }

  take(): Item | undefined {
    const record = this.#records.shift();
    if (record !== undefined) this.#letters -= lettersOf(record);
    return record;
  }

  takeAll(): Item[] {
    const records = this.#records;
    this.#records = [];
    this.#letters = 0;
    return records;
  }
}
