/**
 * Reads messages of both versions of PMI for the checks. It shares no code with the client and the server that it judges.
 * All texts are latin1: one character for each byte.
 */

export interface Message {
  /** Without its newline, or its length. */
  readonly text: string;
  readonly command: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** A request of a client. */
export interface Request extends Message {
  readonly version: 1 | 2;
  /** The lines of an mcmd block, in their order. */
  readonly block?: readonly string[];
}

/** A message that is not of the form that all messages have. */
export class Malformed extends Error {}

/** Attributes whose value may have blanks: the words without `=` that follow belong to it. Hydra has others after a port. */
const texts = ['msg', 'info', 'port'];

/** Attributes that take the rest of the line: of put and get, and of abort. */
const rests = ['value', 'message', 'error_msg'];

/** Reads a line of PMI-1. @throws {@link Malformed} */
export function parseLine(text: string): Message {
  const attributes = new Map<string, string>();
  let last = '';
  for (let at = 0; at < text.length;) {
    if (text[at] === ' ') {
      ++at;
      continue;
    }
    const end = text.indexOf(' ', at) === -1 ? text.length : text.indexOf(' ', at);
    const token = text.slice(at, end);
    const equals = token.indexOf('=');
    if (equals <= 0) {
      if (!texts.includes(last)) throw new Malformed(`'${token}' is not of the form name=value`);
      attributes.set(last, `${attributes.get(last)} ${token}`);
      at = end;
      continue;
    }
    last = token.slice(0, equals);
    if (attributes.size === 0 && last !== 'cmd' && last !== 'mcmd')
      throw new Malformed(`the first attribute is ${last}, not cmd`);
    if (rests.includes(last)) {
      attributes.set(last, text.slice(at + equals + 1));
      break;
    }
    attributes.set(last, token.slice(equals + 1));
    at = end;
  }
  const command = attributes.get('cmd') ?? attributes.get('mcmd');
  if (command === undefined) throw new Malformed('it has no cmd');
  return { text, command, attributes };
}

/** Reads the content of a frame of PMI-2, in which `;;` stands for a semicolon of a value. @throws {@link Malformed} */
export function parseFrame(text: string): Message {
  const attributes = new Map<string, string>();
  const fields = /((?:[^;]|;;)*);/y;
  while (fields.lastIndex < text.length) {
    const field = fields.exec(text)?.[1];
    if (field === undefined) throw new Malformed('it does not end with a semicolon');
    const equals = field.indexOf('=');
    if (equals <= 0) throw new Malformed(`'${field}' is not of the form name=value`);
    if (attributes.size === 0 && !field.startsWith('cmd='))
      throw new Malformed(`the first attribute is ${field.slice(0, equals)}, not cmd`);
    attributes.set(field.slice(0, equals), field.slice(equals + 1).replaceAll(';;', ';'));
  }
  if (attributes.size === 0) throw new Malformed('it has no cmd');
  return { text, command: attributes.get('cmd')!, attributes };
}

/** The most characters of a message of either version, with the length of a frame. No peer needs more. */
export const MAX_MESSAGE = 1 << 20;

/** The characters of a frame's length. */
export const FRAME_LENGTH = 6;

/** A frame of PMI-2. */
export function frameOf(content: string): string {
  return String(content.length).padStart(FRAME_LENGTH) + content;
}

/** The length that stands before a frame, or undefined if it is none. Slurm fills it on the right, MPICH on the left. */
export function readFrameLength(text: string): number | undefined {
  return /^ *\d+ *$/.test(text) ? Number(text) : undefined;
}

/** Whether the text is a whole number with an optional sign. */
export function isInteger(text: string | undefined): text is string {
  return text !== undefined && /^[+-]?\d+$/.test(text);
}

/** Whether the text is a number of RFC 13's rule `uint`. */
export function isUnsigned(text: string | undefined): text is string {
  return text !== undefined && /^\d+$/.test(text);
}

/** RFC 13's grammar of the value of PMI_process_mapping, or the empty string. */
export function isProcessMapping(text: string): boolean {
  return text === '' || /^\(vector,\(\d+,\d+,\d+\)(,\(\d+,\d+,\d+\))*\)$/.test(text);
}
