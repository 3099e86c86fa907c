/** Makes golden transcripts (test/vectors/README.md of the source) of recordings. */
import { isFailure, parseMessage as parseAnswer } from './answers';
import { contentOf, isMessage, type EventRecord, type MessageRecord, type RecordingHeader } from './format';
import type { EventStep, Step } from './messages';
import { eventOf, preputOf, replyOf, withAccepted, type RequestedSpawn } from './transcript-spawn';

/** Lines of a page, and their letters. A longer recording is no test that a person reads. */
const MAX_LINES = 100_000;
const MAX_LETTERS = 32 << 20;

/** Process groups of a page. */
const MAX_GROUPS = 1024;

/** What has recorded in wireup's own servers, as the headers name it. */
const OWN_SERVERS = ['wireup run', 'wireup serve'];

/** No server gives it to a rank. */
const WRONG_PMI_ID = '0';

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
  /** Ranks between init and finalize. */
  active: Set<number>;
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
  /** The answers may be those of another server. */
  readonly #ofOther: boolean;
  #lines = 0;
  #letters = 0;
  #isCut = false;

  constructor(headers: readonly RecordingHeader[]) {
    this.#sizes = headers.reduce((most, { size = 0 }) => Math.max(most, size), 0);
    this.#ofOther = headers.some(({ by }) => !OWN_SERVERS.includes(by));
    // Ranks that never speak need not be in the recording.
    if (this.#sizes > 0) this.#group(0);
  }

  /** Whether the page has only the beginning of the recording, because of its size. */
  get isCut(): boolean {
    return this.#isCut;
  }

  add(step: Step | EventStep): void {
    const group = this.#isCut ? undefined : this.#group(step.record.group);
    if (group === undefined || this.#lines >= MAX_LINES || this.#letters > MAX_LETTERS) {
      this.#isCut = true;
      return;
    }
    if (isMessage(step.record)) this.#addMessage(group, step as Step);
    else this.#addEvent(group, step.record);
  }

  #add(group: Group, line: string): void {
    group.lines.push(line);
    this.#lines++;
    this.#letters += line.length;
  }

  #group(number: number): Group | undefined {
    let group = this.#groups.get(number);
    if (group === undefined) {
      if (this.#groups.size >= MAX_GROUPS) return undefined;
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
        active: new Set(),
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
    if (record.masked === true)
      text = text.replace('***', record.rank === undefined ? WRONG_PMI_ID : `{pmi_id:${record.rank}}`);
    if (record.rank !== undefined && record.wire !== 'raw')
      text = this.#followSpawn(group, record, name, text);
    const mark = record.wire === '2' ? '>' : ':';
    this.#add(group, `${record.dir}${number}${mark} ${text}${record.wire === 'raw' ? '\\c' : ''}`);
    if (record.rank !== undefined && name === 'init-reply') group.active.add(record.rank);
    if (record.dir !== 'C') return;
    if (record.rank !== undefined && name === 'finalize') group.active.delete(record.rank);
    if (name === 'abort') {
      const code = message.attributes.get('exitcode') ?? message.attributes.get('exit_code') ?? '1';
      const why = message.attributes.get('message') ?? message.attributes.get('error_msg') ?? '';
      this.#add(
        group,
        `E: aborted rank=${record.rank ?? 0} exit_code=${code} message=${escaped(Buffer.from(why))}`,
      );
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
    const last = spawn.event - 1;
    group.lines[last] = `${group.lines[last]}\nE: ${eventOf(spawn, isAccepted)}`;
    if (isAccepted) {
      for (const at of spawn.at) group.lines[at] = withAccepted(group.lines[at]!);
      this.#spawned.push({ spawn, by: group });
    }
    return replyOf(spawn, reply, isAccepted);
  }

  #addEvent(group: Group, record: EventRecord): void {
    switch (record.event) {
      case 'refused':
        if (!this.#ofOther) this.#add(group, 'E: rejected');
        break;
      case 'protocol-error':
        this.#add(group, `E: protocol_error${record.rank === undefined ? '' : ` rank=${record.rank}`}`);
        break;
      case 'closed':
        this.#close(group, record);
        break;
      case 'dropped':
        this.#add(group, `# ${record.count ?? 0} records are missing here`);
        break;
      case 'connected':
        if (record.peer !== undefined && record.peer !== 'fd') group.overPort = true;
        this.#identify(group, record);
        break;
    }
  }

  #close(group: Group, record: EventRecord): void {
    const number = this.#connection(group, record);
    group.closed.add(number);
    // Why another server has closed the connection is not known, and PmiServer may not do so.
    this.#add(
      group,
      record.reason === undefined || this.#ofOther ? `C${number}: [eof]` : `S${number}: [close]`,
    );
    const { rank } = record;
    if (rank === undefined) return;
    const isLost = this.#ofOther ? group.active.has(rank) : record.lost === true;
    if (isLost) this.#add(group, `E: lost rank=${rank}`);
    group.active.delete(rank);
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
        ...(this.#ofOther ? ['server=other'] : []),
        ...(parent === undefined ? [] : ['spawner=kvs_parent']),
      ];
      yield '';
      yield `## Process group ${number}`;
      yield '';
      yield ['```pmi', ...options].join(' ');
      if (parent !== undefined) for (const [key, value] of preputOf(parent.spawn)) yield `P: ${key}=${value}`;
      for (const line of group.lines)
        yield renumbered(
          named(named(line, group.kvsname, '{kvsname}'), parent?.by.kvsname, 'kvs_parent'),
          group,
        );
      yield '```';
    }
  }
}

/** The line with another name of a process group. The name may be a word that stands elsewhere, too. */
function named(line: string, name: string | undefined, other: string): string {
  if (name === undefined) return line;
  return line.replace(/(?<=[ ;](?:kvsname|jobid|spawner-jobid)=)[^ ;]*/g, (value) =>
    value === escaped(Buffer.from(name)) ? other : value,
  );
}

/** Gives further connections of ranks the numbers after those of the ranks. */
function renumbered(line: string, { ranks, aliases }: Group): string {
  return line.replace(/^([CS])(\d{7})([:>])/, (_, side: string, digits: string, mark: string) => {
    const number = aliases.get(Number(digits)) ?? Number(digits);
    return `${side}${number < FURTHER ? number : ranks + number - FURTHER}${mark}`;
  });
}
