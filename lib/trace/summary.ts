/** The summary of recordings: commands, barriers, missing keys, bytes and events. */
import { isMessage } from './format';
import { Durations } from './histogram';
import type { Mark } from './judge';
import { isError, labelOf, type EventStep, type Step } from './messages';
import { describeMark, durationOf } from './show';
import { bytesOf } from './format';
import { printable } from '../printable';

/** Entries of each list of the summary: a hostile recording could name any number of commands, keys and barriers. */
const MAX_ENTRIES = 65_536;

/** Commands; more than PMI has. */
const MAX_COMMANDS = 256;

/** Letters of a command or key; more than PMI allows. */
const MAX_NAME = 256;

/** Lines of each list that the text shows. */
const MAX_SHOWN = 20;

/** The summary as JSON. Times are in microseconds. */
export interface Summary {
  duration: number;
  ranks: number;
  messages: number;
  /** `toServer`, `toClients`: with newlines and lengths of frames. */
  bytes: { toServer: number; toClients: number };
  commands: {
    command: string;
    count: number;
    errors: number;
    median: number;
    slowest: number;
    slowestRank: string;
  }[];
  barriers: {
    group: number;
    /** Counted from 0 in each process group. */
    barrier: number;
    ranks: number;
    /** The rank that came last. */
    last: string;
    /** How long after the one before it. */
    lateness: number;
    /** From the first rank's entry to the last one's. */
    spread: number;
  }[];
  /** How long ranks were in barriers. */
  barrierTime: { count: number; median: number; longest: number; longestRank: string };
  missingKeys: { key: string; count: number; firstRank: string }[];
  events: Record<string, number>;
  /** Broken rules, with how often each was broken, and the first text. */
  marks: (Mark & { count: number })[];
  /** Records that are missing in the recordings. */
  dropped: number;
}

interface Barrier {
  group: number;
  barrier: number;
  ranks: number;
  first: number;
  before: number;
  lastAt: number;
  last: string;
}

/** Adds to a map that has a limit. Returns undefined if the map is full. */
function entryOf<T>(map: Map<string, T>, text: string, make: () => T, limit = MAX_ENTRIES): T | undefined {
  const key = text.length > MAX_NAME ? `${text.slice(0, MAX_NAME)}...` : text;
  const found = map.get(key);
  if (found !== undefined || map.size >= limit) return found;
  const made = make();
  // A copy: a part of a text keeps the whole text in memory.
  map.set(Buffer.from(key).toString(), made);
  return made;
}

/** Makes the summary of records that come in order. */
export class Summarizer {
  #end = 0;
  #messages = 0;
  #bytes = { toServer: 0, toClients: 0 };
  #dropped = 0;
  readonly #ranks = new Set<string>();
  readonly #commands = new Map<string, { durations: Durations; count: number; errors: number }>();
  readonly #barriers = new Map<string, Barrier>();
  /** How many barriers each rank has entered. */
  readonly #entered = new Map<string, number>();
  readonly #inBarriers = new Durations();
  readonly #missing = new Map<string, { count: number; firstRank: string }>();
  readonly #events = new Map<string, number>();
  readonly #marks = new Map<string, Mark & { count: number }>();

  add(step: Step | EventStep, marks: readonly Mark[]): void {
    this.#end = Math.max(this.#end, step.at);
    const { record } = step;
    if (record.rank !== undefined && this.#ranks.size < 1 << 20) this.#ranks.add(labelOf(record));
    if (!isMessage(record)) {
      this.#events.set(record.event, (this.#events.get(record.event) ?? 0) + 1);
      if (record.event === 'dropped') this.#dropped += record.count ?? 0;
      return;
    }
    this.#addMessage(step as Step, marks);
  }

  #addMessage(step: Step, marks: readonly Mark[]): void {
    const { record, message, request, at } = step;
    this.#messages++;
    this.#bytes[record.dir === 'C' ? 'toServer' : 'toClients'] += bytesOf(record).length;
    for (const mark of marks) entryOf(this.#marks, mark.rule, () => ({ ...mark, count: 0 }))!.count++;
    const rank = labelOf(record);
    if (record.dir === 'C') {
      if (message.command === undefined) return;
      const entry = this.#command(message.command);
      if (entry !== undefined) entry.count++;
      if (message.spec?.name === 'barrier' && isOfAll(step)) this.#enter(step, rank);
      return;
    }
    if (request === undefined) return;
    const command = this.#command(request.message.command!);
    command?.durations.add(at - request.at, rank);
    if (isError(step) && command !== undefined) command.errors++;
    const name = request.message.spec?.name;
    if (name === 'barrier') this.#inBarriers.add(at - request.at, rank);
    const found = message.attributes.get('found')?.toLowerCase() !== 'false';
    if (
      (name === 'get' || name === 'get-job-attribute' || name === 'get-node-attribute') &&
      (isError(step) || !found)
    ) {
      const key = request.message.attributes.get('key') ?? '';
      const entry = entryOf(this.#missing, key, () => ({ count: 0, firstRank: rank }));
      if (entry !== undefined) entry.count++;
    }
  }

  #command(name: string): { durations: Durations; count: number; errors: number } | undefined {
    return entryOf(
      this.#commands,
      name,
      () => ({ durations: new Durations(), count: 0, errors: 0 }),
      MAX_COMMANDS,
    );
  }

  #enter({ at, record }: Step, rank: string): void {
    const barrier = this.#entered.get(rank) ?? 0;
    if (barrier === 0 && this.#entered.size >= 1 << 20) return;
    this.#entered.set(rank, barrier + 1);
    const entry = entryOf(this.#barriers, `${record.group} ${barrier}`, () => ({
      group: record.group,
      barrier,
      ranks: 0,
      first: at,
      before: at,
      lastAt: at,
      last: rank,
    }));
    if (entry === undefined) return;
    entry.ranks++;
    entry.before = entry.lastAt;
    entry.lastAt = at;
    entry.last = rank;
  }

  get summary(): Summary {
    return {
      duration: this.#end,
      ranks: this.#ranks.size,
      messages: this.#messages,
      bytes: this.#bytes,
      commands: [...this.#commands]
        .map(([command, { durations, count, errors }]) => ({
          command,
          count,
          errors,
          median: durations.median,
          slowest: durations.slowest,
          slowestRank: durations.slowestRank,
        }))
        .sort((a, b) => b.count - a.count),
      barriers: [...this.#barriers.values()].map(
        ({ group, barrier, ranks, first, before, lastAt, last }) => ({
          group,
          barrier,
          ranks,
          last,
          lateness: lastAt - before,
          spread: lastAt - first,
        }),
      ),
      barrierTime: {
        count: this.#inBarriers.count,
        median: this.#inBarriers.median,
        longest: this.#inBarriers.slowest,
        longestRank: this.#inBarriers.slowestRank,
      },
      missingKeys: [...this.#missing]
        .map(([key, entry]) => ({ key, ...entry }))
        .sort((a, b) => b.count - a.count),
      events: Object.fromEntries(this.#events),
      marks: [...this.#marks.values()].sort((a, b) => b.count - a.count),
      dropped: this.#dropped,
    };
  }
}

/** Whether a barrier is one of all ranks, not one of a barrier group. */
function isOfAll({ message }: Step): boolean {
  const group = message.attributes.get('group');
  return group === undefined || group.startsWith('WORLD');
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
}

/** The first of a list, and how many more there are. */
function shown<T>(entries: readonly T[], show: (entry: T) => string): string[] {
  const more = entries.length - MAX_SHOWN;
  return [
    ...entries.slice(0, MAX_SHOWN).map((entry) => `  ${show(entry)}`),
    ...(more > 0 ? [`  ... and ${more} more`] : []),
  ];
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines];
}

/** The summary for people, one line each. */
export function describeSummary(summary: Summary): string[] {
  const { bytes, barrierTime, events } = summary;
  const rankText = (rank: string): string => `rank ${rank}`;
  const commands = summary.commands.map(({ command, count, errors, median, slowest, slowestRank }) => [
    `  ${printable(command)}`,
    String(count),
    errors === 0 ? '' : String(errors),
    durationOf(median),
    durationOf(slowest),
    slowestRank,
  ]);
  const lateness = [...summary.barriers].sort((a, b) => b.lateness - a.lateness);
  const happened = Object.entries(events).map(([event, count]) => `${count} ${event}`);
  return [
    `${summary.ranks} ranks, ${summary.messages} messages in ${durationOf(summary.duration)}; ${bytes.toServer} bytes to the server, ${bytes.toClients} bytes to clients`,
    ...(happened.length === 0 ? [] : [`events: ${happened.join(', ')}`]),
    ...(summary.dropped === 0 ? [] : [`${summary.dropped} records are missing in the recordings`]),
    ...section(
      'commands:',
      commands.length === 0
        ? []
        : table([['  command', 'count', 'errors', 'median', 'slowest', 'rank'], ...commands.slice(0, 100)]),
    ),
    ...section(
      barrierTime.count === 0
        ? 'barriers:'
        : `barriers: a rank waits ${durationOf(barrierTime.median)} (median), at most ${durationOf(barrierTime.longest)} (${rankText(barrierTime.longestRank)})`,
      shown(
        lateness,
        ({ group, barrier, ranks, last, lateness: by, spread }) =>
          `${group === 0 ? '' : `group ${group}, `}barrier ${barrier}: rank ${last} came last of ${ranks}, ${durationOf(by)} after the one before it and ${durationOf(spread)} after the first`,
      ),
    ),
    ...section(
      'keys that were missing:',
      shown(
        summary.missingKeys,
        ({ key, count, firstRank }) =>
          `${printable(key)}: asked for ${count} ${count === 1 ? 'time' : 'times'}, first by rank ${firstRank}`,
      ),
    ),
    ...section(
      'broken rules:',
      shown(
        summary.marks,
        (mark) => `${describeMark(mark)}; ${mark.count} ${mark.count === 1 ? 'time' : 'times'}`,
      ),
    ),
  ];
}
