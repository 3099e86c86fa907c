/** Makes golden transcripts (test/vectors/README.md of the source) of recordings. */
import { contentOf, isMessage, type EventRecord, type RecordingHeader } from './format';
import type { EventStep, Step } from './messages';

/** Lines of one transcript. A longer recording is no test that a person reads. */
const MAX_LINES = 100_000;

/** Numbers of connections that are not the first of a rank begin here, until the number of ranks is known. */
const FURTHER = 1_000_000;

interface Group {
  lines: string[];
  ranks: number;
  overPort: boolean;
  offers: boolean;
  kvsname: string | undefined;
  spawns: boolean;
  /** The number of a connection in the transcript, by rank or number of the connection. */
  connections: Map<string, number>;
  /** Numbers for connections that are not the first of their rank. */
  next: number;
  closed: Set<number>;
  /** Numbers of connections whose rank became known later, and what stands in their place. */
  aliases: Map<number, number>;
}

/** The bytes as a transcript writes them. */
function escaped(content: Buffer): string {
  return content
    .toString('utf8')
    .replaceAll('\\', '\\\\')
    .replaceAll('\0', '\\0')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t');
}

/** Collects the transcripts: one for each process group. */
export class Transcripts {
  readonly #groups = new Map<number, Group>();
  readonly #sizes: number;

  constructor(headers: readonly RecordingHeader[]) {
    this.#sizes = headers.reduce((most, { size = 0 }) => Math.max(most, size), 0);
  }

  add(step: Step | EventStep): void {
    const group = this.#group(step.record.group);
    if (group.lines.length >= MAX_LINES) return;
    if (isMessage(step.record)) this.#addMessage(group, step as Step);
    else this.#addEvent(group, step.record);
  }

  #group(number: number): Group {
    let group = this.#groups.get(number);
    if (group === undefined) {
      group = {
        lines: [],
        ranks: number === 0 ? this.#sizes : 0,
        overPort: false,
        offers: false,
        kvsname: undefined,
        spawns: false,
        connections: new Map(),
        next: 0,
        closed: new Set(),
        aliases: new Map(),
      };
      this.#groups.set(number, group);
    }
    return group;
  }

  #connection(group: Group, { rank, conn }: { rank?: number; conn?: number }): number {
    if (rank !== undefined) group.ranks = Math.max(group.ranks, rank + 1);
    const name = rank === undefined ? `?${conn}` : `${rank}`;
    let number = group.connections.get(name);
    if (number === undefined || group.closed.has(number)) {
      // The first connection of a rank has the rank's number, as inherited channels must.
      number = number === undefined && rank !== undefined ? rank : FURTHER + group.next++;
      group.connections.set(name, number);
    }
    return number;
  }

  #addMessage(group: Group, { record, message, request }: Step): void {
    const number = this.#connection(group, record);
    const name = message.spec?.name;
    if (name === 'identify' && record.wire === '1') group.overPort = true;
    if (message.spec?.form === 'block') group.spawns = true;
    const kvsname =
      name === 'kvsname-reply'
        ? message.attributes.get(record.wire === '2' ? 'jobid' : 'kvsname')
        : undefined;
    group.kvsname ??= kvsname === '' ? undefined : kvsname;
    if (name === 'init-reply' && message.attributes.get('pmi_version') === '1') {
      const [asked, got] = [request, { message }].map((one) => one?.message.attributes.get('pmi_subversion'));
      if (asked === '1' && got === '2') group.offers = true;
    }
    let text = escaped(contentOf(record));
    if (record.masked === true) text = text.replace('***', `{pmi_id:${record.rank ?? 0}}`);
    const mark = record.wire === '2' ? '>' : ':';
    group.lines.push(`${record.dir}${number}${mark} ${text}${record.wire === 'raw' ? '\\c' : ''}`);
    if (record.dir === 'C' && name === 'abort') {
      const code = message.attributes.get('exitcode') ?? message.attributes.get('exit_code') ?? '1';
      const why = message.attributes.get('message') ?? message.attributes.get('error_msg') ?? '';
      group.lines.push(`E: aborted rank=${record.rank ?? 0} exit_code=${code} message=${why}`);
    }
  }

  #addEvent(group: Group, record: EventRecord): void {
    switch (record.event) {
      case 'refused':
        group.lines.push('E: rejected');
        break;
      case 'protocol-error':
        group.lines.push(`E: protocol_error${record.rank === undefined ? '' : ` rank=${record.rank}`}`);
        break;
      case 'closed': {
        const number = this.#connection(group, record);
        group.closed.add(number);
        group.lines.push(record.reason === undefined ? `C${number}: [eof]` : `S${number}: [close]`);
        if (record.lost === true) group.lines.push(`E: lost rank=${record.rank}`);
        break;
      }
      case 'dropped':
        group.lines.push(`# ${record.count ?? 0} records are missing here`);
        break;
      case 'connected':
        if (record.peer !== undefined && record.peer !== 'fd') group.overPort = true;
        this.#identify(group, record);
        break;
    }
  }

  /** The rank of a connection has become known. */
  #identify(group: Group, { rank, conn }: EventRecord): void {
    const before = `?${conn}`;
    const number = group.connections.get(before);
    if (conn === undefined || rank === undefined || number === undefined) return;
    group.connections.delete(before);
    group.aliases.set(number, this.#connection(group, { rank }));
  }

  /** The lines of a Markdown page. */
  *page(): Generator<string> {
    yield '# A recording';
    for (const [number, group] of [...this.#groups].sort(([a], [b]) => a - b)) {
      const options = [
        ...(group.ranks === 1 ? [] : [`size=${group.ranks}`]),
        ...(group.offers ? ['offer=1.2'] : []),
        ...(group.overPort ? ['transport=port'] : []),
      ];
      yield '';
      yield `## Process group ${number}`;
      yield '';
      if (group.spawns) {
        yield 'This recording has a spawn, whose answer the driver of a transcript does not know.';
        yield '';
      }
      yield ['```pmi', ...options].join(' ');
      const { kvsname } = group;
      for (const line of group.lines)
        yield renumbered(kvsname === undefined ? line : line.replaceAll(kvsname, '{kvsname}'), group);
      yield '```';
    }
  }
}

/** Gives further connections of ranks the numbers after those of the ranks. */
function renumbered(line: string, { ranks, aliases }: Group): string {
  return line.replace(/^([CS])(\d{7})([:>])/, (_, side: string, digits: string, mark: string) => {
    const number = aliases.get(Number(digits)) ?? Number(digits);
    return `${side}${number < FURTHER ? number : ranks + number - FURTHER}${mark}`;
  });
}
