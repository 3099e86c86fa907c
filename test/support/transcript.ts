/** Reads the golden transcripts of test/vectors (format: test/vectors/README.md). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = join(__dirname, '../vectors');

/** A line of a transcript. */
export type Line =
  | { kind: 'send'; connection: number; text: string; framed: boolean }
  | { kind: 'receive'; connection: number; text: string; framed: boolean }
  | { kind: 'eof' | 'close'; connection: number }
  | { kind: 'event'; text: string };

export interface Transcript {
  file: string;
  title: string;
  size: number;
  perNode: number | undefined;
  offer: boolean;
  lockstep: boolean;
  /** The answers are those of another server, so some differences are allowed. */
  ofOther: boolean;
  transport: 'fd' | 'port';
  spawner: string | undefined;
  preput: Record<string, string>;
  /** The rules of the level MUST that it breaks. */
  breaks: string[];
  lines: Line[];
}

function parseLine(line: string): Line {
  const match = /^([CSE])(\d*)([:>]) ?(.*)$/.exec(line);
  if (match === null) throw new Error(`not a line of a transcript: ${line}`);
  const [, side, digits, mark, text] = match as unknown as [string, string, string, string, string];
  const connection = Number(digits);
  const framed = mark === '>';
  if (side === 'E') return { kind: 'event', text };
  if (side === 'C')
    return text === '[eof]' ? { kind: 'eof', connection } : { kind: 'send', connection, text, framed };
  return text === '[close]' ? { kind: 'close', connection } : { kind: 'receive', connection, text, framed };
}

/** The transcripts of one page. */
export function parseTranscripts(file: string, page: string): Transcript[] {
  const transcripts: Transcript[] = [];
  let title = '';
  let current: Transcript | undefined;
  for (const line of page.split('\n')) {
    if (current === undefined) {
      if (line.startsWith('#')) title = line.replace(/^#+ /, '');
      if (!/^```pmi\b/.test(line)) continue;
      const option = (name: string): string | undefined => new RegExp(`\\b${name}=(\\S+)`).exec(line)?.[1];
      current = {
        file,
        title,
        size: Number(option('size') ?? 1),
        perNode: option('per_node') === undefined ? undefined : Number(option('per_node')),
        offer: option('offer') === '1.2',
        lockstep: /\blockstep\b/.test(line),
        ofOther: option('server') === 'other',
        transport: option('transport') === 'port' ? 'port' : 'fd',
        spawner: option('spawner'),
        preput: {},
        breaks: [],
        lines: [],
      };
    } else if (line === '```') {
      transcripts.push(current);
      current = undefined;
    } else if (line.startsWith('# breaks: ')) {
      current.breaks.push(...line.slice('# breaks: '.length).split(' '));
    } else if (line.startsWith('P: ')) {
      const at = line.indexOf('=');
      current.preput[line.slice('P: '.length, at)] = line.slice(at + 1);
    } else if (line !== '' && !line.startsWith('#')) {
      current.lines.push(parseLine(line));
    }
  }
  return transcripts;
}

export function readTranscripts(): Transcript[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.md') && file !== 'README.md')
    .sort()
    .flatMap((file) => parseTranscripts(file, readFileSync(join(folder, file), 'utf8')));
}

/** What a text stands for, a character for each byte, and whether a newline or the length of a frame belongs to it. */
export function expand(
  text: string,
  kvsname: string,
  pmiId: (rank: number) => string,
): { content: string; unfinished: boolean } {
  const expanded = Buffer.from(text)
    .toString('latin1')
    .replaceAll('{kvsname}', kvsname)
    .replace(/\{pmi_id:(\d+)\}/g, (_, rank: string) => pmiId(Number(rank)))
    .replace(/\{repeat:(\d+):(.)\}/g, (_, count: string, byte: string) => byte.repeat(Number(count)));
  const unfinished = expanded.endsWith('\\c');
  const escapes: Record<string, string> = { '0': '\0', n: '\n', t: '\t', '\\': '\\' };
  const content = (unfinished ? expanded.slice(0, -2) : expanded).replace(
    /\\(?:x([\da-f]{2})|(.))/g,
    (_, code: string | undefined, letter: string) =>
      code === undefined ? escapes[letter]! : String.fromCharCode(parseInt(code, 16)),
  );
  return { content, unfinished };
}
