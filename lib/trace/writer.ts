/**
 * Where a recording goes: the option `trace` of launch() and PmiServer.listen(), and the writer of the lines that the addon
 * makes. Nothing waits for a slow disk or a slow reader: a bounded queue is in between, and what is dropped is counted.
 */
import { closeSync, constants, createWriteStream, openSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Writable } from 'node:stream';
import { version } from '../../package.json';
import { moment } from '../clock';
import { PmiError } from '../errors';
import { formatIdset } from '../idset';
import { MAX_RANKS } from '../limits';
import type { NativeTracePlan } from '../native';
import type { NativeTraceLines } from '../native-notices';
import { checkBoolean, checkIntegers, checkOneOf, checkOptions, checkString, optionError } from '../options';
import { deferred } from '../wait';
import { RECORDING_VERSION, recordingLine } from './format';
import { systemWords } from '../system-words';

/** A recording of the PMI messages of ranks. */
export interface TraceOptions {
  /** Where it goes: the path of a file, which is replaced, or a stream, which stays open. */
  to: string | Writable;
  /**
   * `json`: JSON lines, which `wireup trace` reads. `text`: lines for people. Default: `text` for files whose names do not end
   * in `.json` or `.jsonl`; otherwise `json`.
   */
  form?: 'json' | 'text';
  /** The ranks, in every process group, whose messages are recorded. Default: all. */
  ranks?: readonly number[];
  /** Whether PMI_IDs are recorded too. Default: false, `***` stands in their place. */
  secrets?: boolean;
  /** What stands in the header as the program that has recorded. Default: `wireup`. */
  by?: string;
}

/** How a recording has ended. */
export interface TraceSummary {
  /** How many records were passed to the file or stream. */
  records: number;
  /** How many records are missing, because the file or stream was slow or has failed. Each gap is marked. */
  dropped: number;
  /** The error of the file or stream, after which nothing was written. */
  error?: Error;
}

/** Options about recordings. */
export interface TraceSetting {
  /**
   * Records each PMI message with its time, and the life of each connection. No rank waits for the file or stream: if it is
   * slow, records are dropped, and the gap is marked with their number. Default: nothing is recorded.
   */
  trace?: TraceOptions;
}

/** Checked options. */
export interface TracePlan {
  native: NativeTracePlan;
  /** When the recording has started, in microseconds since 1970. */
  start: number;
  to: string | Writable;
  by: string;
  size: number;
}

/** Bytes that wait for the file or stream. */
const MAX_WAITING = 4 << 20;

function isWritable(value: unknown): value is Writable {
  return typeof (value as Partial<Writable> | null)?.write === 'function';
}

/** `[[0, 3], [7, 7]]`. */
function rangesOf(ranks: readonly number[]): [number, number][] {
  const sorted = [...new Set(ranks)].sort((a, b) => a - b);
  if (sorted.length === 0) return [];
  return formatIdset(sorted)
    .split(',')
    .map((part) => {
      const [first, last = first] = part.split('-').map(Number);
      return [first!, last!];
    });
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
export function checkTrace(value: TraceOptions | undefined, size: number): TracePlan | undefined {
  if (value === undefined) return undefined;
  checkOptions('trace', value, ['to', 'form', 'ranks', 'secrets', 'by']);
  if (typeof value.to !== 'string' && !isWritable(value.to))
    throw optionError('trace.to', 'the path of a file, or a stream', value.to);
  const to = typeof value.to === 'string' ? checkString('trace.to', value.to) : value.to;
  const form = typeof to === 'string' && !/\.jsonl?$/.test(to) ? 'text' : 'json';
  const ranks = checkIntegers('trace.ranks', value.ranks ?? [], 0, MAX_RANKS - 1);
  const start = moment();
  if (value.ranks?.length === 0) throw optionError('trace.ranks', 'at least one rank', value.ranks);
  return {
    native: {
      json: checkOneOf('trace.form', value.form ?? form, ['json', 'text'] as const) === 'json',
      secrets: checkBoolean('trace.secrets', value.secrets ?? false),
      start: start.monotonic,
      ranks: rangesOf(ranks),
    },
    to,
    start: Math.round(start.since1970 * 1000),
    by: checkString('trace.by', value.by ?? 'wireup'),
    size,
  };
}

/** Writes a recording. */
export class TraceWriter {
  /** Resolves when everything has been written, or nothing more can be. */
  readonly finished: Promise<TraceSummary>;
  readonly #plan: TracePlan;
  readonly #stream: Writable;
  readonly #end = deferred<TraceSummary>();
  #summary: TraceSummary = { records: 0, dropped: 0 };
  /** Dropped since the last record. */
  #missing = 0;

  /** @throws {@link PmiError} `ERR_PMI_OPTION` if the file cannot be written */
  constructor(plan: TracePlan) {
    this.#plan = plan;
    this.finished = this.#end.promise;
    this.#stream = typeof plan.to === 'string' ? openFile(plan.to) : plan.to;
    this.#stream.on('error', this.#fail);
    if (!plan.native.json) return;
    const { by, size, start } = plan;
    this.#stream.write(
      recordingLine({
        wireupTrace: RECORDING_VERSION,
        start,
        by,
        version,
        host: hostname(),
        size,
      }),
    );
  }

  /** Takes lines of the addon. */
  push({ lines, records, dropped }: Pick<NativeTraceLines, 'lines' | 'records' | 'dropped'>): void {
    this.#summary.dropped += dropped;
    // The addon has marked the gap, unless it has dropped whole lines.
    if (lines.length === 0) return void (this.#missing += dropped);
    if (this.#summary.error !== undefined || this.#stream.writableLength > MAX_WAITING) {
      this.#summary.dropped += records;
      this.#missing += records + dropped;
      return;
    }
    this.#mark();
    this.#summary.records += records;
    this.#stream.write(lines);
  }

  /** No lines follow. */
  end(): void {
    if (this.#summary.error !== undefined) return;
    this.#mark();
    const finish = (): void => {
      this.#stream.off('error', this.#fail);
      this.#end.resolve(this.#summary);
    };
    if (typeof this.#plan.to === 'string') this.#stream.end(finish);
    else this.#stream.write('', finish);
  }

  /** Marks the gap where records are missing. */
  #mark(): void {
    if (this.#missing === 0) return;
    const { start, json } = this.#plan.native;
    const t = Math.max(0, Math.round((performance.timeOrigin + performance.now()) * 1000) - start);
    const count = this.#missing;
    this.#missing = 0;
    this.#stream.write(
      json
        ? recordingLine({ t, group: 0, event: 'dropped', count })
        : `${(t / 1e6).toFixed(6)} ?: dropped ${count} records\n`,
    );
  }

  readonly #fail = (error: Error): void => {
    this.#summary = { ...this.#summary, error };
    this.#end.resolve(this.#summary);
  };
}

function openFile(path: string): Writable {
  try {
    return createWriteStream(path, { fd: openWithReader(path) });
  } catch (cause) {
    const { errno, syscall } = cause as NodeJS.ErrnoException;
    throw new PmiError('ERR_PMI_OPTION', `trace.to: ${path}: ${systemWords(cause)}`, {
      errno,
      syscall,
      cause,
    });
  }
}

/** Replaces a file. Throws ENXIO for a FIFO without a reader, for which open() would stop this thread, perhaps for ever. */
function openWithReader(path: string): number {
  if (statSync(path, { throwIfNoEntry: false })?.isFIFO() !== true) return openSync(path, 'w');
  const probe = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    // Without O_NONBLOCK, with which writes would fail where they should wait.
    return openSync(path, 'w');
  } finally {
    closeSync(probe);
  }
}
