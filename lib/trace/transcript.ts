/** Makes golden transcripts (test/vectors/README.md of the source) of recordings. */
import { isFailure, parseMessage as parseAnswer } from './answers';
import { contentOf, isMessage, type EventRecord, type MessageRecord, type RecordingHeader } from './format';
import type { EventStep, Step } from './messages';
import { eventOf, preputOf, replyOf, withAccepted, type RequestedSpawn } from './transcript-spawn';

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
  /** Spawns without an answer, by rank. */
  spawns: Map<number, RequestedSpawn>;
  /** The transcript has a spawn, which the driver answers. */
  lockstep: boolean;
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
  const names: Readonly<Record<string, string>> = { '\\': '\\\\', '\0': '\\0', '\n': '\\n', '\t': '\\t' };
  return content
    .toString('latin1')
    .replace(
      /[^ -z|}~]|\\/g,
      (byte) => names[byte] ?? `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
}

/** Collects the transcripts: one for each process group. */
export class Transcripts {
  readonly #groups = new Map<number, Group>();
  readonly #sizes: number;
  /** The spawns that have succeeded, in their order, with the kvsname of the process group that has requested them. */
  readonly #spawned: { spawn: RequestedSpawn; by: Group }[] = [];

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
        spawns: new Map(),
        lockstep: false,
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
    if (record.rank !== undefined && record.wire !== 'raw')
      text = this.#followSpawn(group, record, name, text);
    const mark = record.wire === '2' ? '>' : ':';
    group.lines.push(`${record.dir}${number}${mark} ${text}${record.wire === 'raw' ? '\\c' : ''}`);
    if (record.dir === 'C' && name === 'abort') {
      const code = message.attributes.get('exitcode') ?? message.attributes.get('exit_code') ?? '1';
      const why = message.attributes.get('message') ?? message.attributes.get('error_msg') ?? '';
      group.lines.push(`E: aborted rank=${record.rank ?? 0} exit_code=${code} message=${why}`);
    }
  }

  /** Notes spawns, and returns the text of the message, which for the reply to a spawn is that of the driver. */
  #followSpawn(
    group: Group,
    { dir, wire, rank = 0 }: MessageRecord,
    name: string | undefined,
    text: string,
  ): string {
    const known = group.spawns.get(rank);
    const isOpen = known !== undefined && wire === '1' && !known.isWhole;
    if (dir === 'C' && (name === 'spawn' || isOpen)) {
      const spawn: RequestedSpawn = known ?? { wire, rank, texts: [], at: [], event: 0, isWhole: false };
      spawn.texts.push(text);
      spawn.at.push(group.lines.length);
      spawn.event = group.lines.length + 1;
      // The next block of a spawn begins with mcmd=spawn, too.
      spawn.isWhole = wire === '2' || text === 'endcmd';
      group.spawns.set(rank, spawn);
    } else if (dir === 'S' && name === 'spawn-reply' && known !== undefined) {
      group.spawns.delete(rank);
      return this.#endSpawn(group, known, text);
    }
    return text;
  }

  #endSpawn(group: Group, spawn: RequestedSpawn, reply: string): string {
    // The driver was not asked.
    if (group.lines.slice(spawn.event).some((line) => line === `E: protocol_error rank=${spawn.rank}`))
      return reply;
    const isAccepted = !isFailure(parseAnswer(spawn.wire, reply));
    group.lockstep = true;
    group.lines[spawn.event - 1] += `\nE: ${eventOf(spawn, isAccepted)}`;
    if (isAccepted) {
      for (const at of spawn.at) group.lines[at] = withAccepted(group.lines[at]!);
      this.#spawned.push({ spawn, by: group });
    }
    return replyOf(spawn, reply, isAccepted);
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
    const groups = [...this.#groups].sort(([a], [b]) => a - b);
    const children = groups.filter(([number]) => number > 0);
    for (const [number, group] of groups) {
      // Process groups are numbered in the order of the spawns.
      const parent =
        children.length === this.#spawned.length
          ? this.#spawned[children.findIndex(([other]) => other === number)]
          : undefined;
      const options = [
        ...(group.ranks === 1 ? [] : [`size=${group.ranks}`]),
        ...(group.offers ? ['offer=1.2'] : []),
        ...(group.overPort ? ['transport=port'] : []),
        ...(group.lockstep ? ['lockstep'] : []),
        ...(parent === undefined ? [] : ['spawner=kvs_parent']),
      ];
      yield '';
      yield `## Process group ${number}`;
      yield '';
      yield ['```pmi', ...options].join(' ');
      if (parent !== undefined) for (const [key, value] of preputOf(parent.spawn)) yield `P: ${key}=${value}`;
      const names: [string | undefined, string][] = [
        [group.kvsname, '{kvsname}'],
        [parent?.by.kvsname, 'kvs_parent'],
      ];
      for (const line of group.lines)
        yield renumbered(
          names.reduce(
            (text, [name, other]) => (name === undefined ? text : text.replaceAll(name, other)),
            line,
          ),
          group,
        );
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
