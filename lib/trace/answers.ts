/**
 * Compares the answers of two PMI servers to the same requests. Two correct servers, or two jobs of one server, answer with
 * other names, limits and texts; what a client relies on must be the same.
 */
import type { Wire } from './format';

/** A message of PMI-1 or PMI-2, split into its attributes. */
export interface ParsedMessage {
  /** Empty if the message has none. */
  readonly command: string;
  /** By name, in the order of the message. Of duplicates the first one counts. */
  readonly attributes: ReadonlyMap<string, string>;
}

/** Attributes whose values extend to the end of a line of PMI-1. */
const toEndOfLine = ['value', 'port', 'message', 'error_msg'];

/** The attribute that names the command. */
const commandNames = ['cmd', 'mcmd'];

/** Splits a message. It accepts any text. */
export function parseMessage(wire: Wire, text: string): ParsedMessage {
  const attributes = new Map<string, string>();
  for (const [name, value] of wire === '2' ? frameFields(text) : lineFields(text))
    if (!attributes.has(name)) attributes.set(name, value);
  const command = commandNames.map((name) => attributes.get(name)).find((value) => value !== undefined);
  for (const name of commandNames) attributes.delete(name);
  return { command: command ?? '', attributes };
}

function* frameFields(text: string): Generator<[string, string]> {
  // A semicolon in a value is doubled.
  for (const field of text.split(/(?<!;);(?!;)/)) if (field !== '') yield splitField(field);
}

function* lineFields(text: string): Generator<[string, string]> {
  let rest = text;
  for (;;) {
    rest = rest.replace(/^[ \t]+/, '');
    if (rest === '') return;
    const [name] = splitField(rest);
    // A text of several words, such as msg=no such key, ends where the next attribute begins.
    const [field] = toEndOfLine.includes(name)
      ? [rest]
      : /^[^ \t]+(?:[ \t]+[^ \t=]+(?=[ \t]|$))*/.exec(rest)!;
    yield splitField(field);
    rest = rest.slice(field.length);
  }
}

function splitField(field: string): [string, string] {
  const at = field.indexOf('=');
  return at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)];
}

/** same: nothing differs. allowed: only what may differ between two jobs or servers. */
export type Comparison = 'same' | 'allowed' | 'differs';

/** Attributes that describe a server or a job, or that are texts for people. */
const ownAttributes = new Set([
  'kvsname',
  'jobid',
  'msg',
  'errmsg',
  'kvsname_max',
  'keylen_max',
  'vallen_max',
  'debug',
  // Slurm's server has none: -1.
  'appnum',
  'debugged',
  'pmiverbose',
  'spawner-jobid',
  // Answers are matched by it.
  'thrid',
]);

/** Replies whose values describe the server: how many processes could run, what its job has. */
const ownReplies = new Set(['universe_size', 'info-getjobattr-response', 'info-getnodeattr-response']);

/** The keys that servers set themselves: such as PMI_process_mapping. */
const isKeyOfServer = (key: string | undefined): boolean => key?.startsWith('PMI_') === true;

/**
 * Compares the answers to one request.
 *
 * @param request undefined: it is not known
 */
export function compareAnswers(
  request: ParsedMessage | undefined,
  recorded: ParsedMessage,
  received: ParsedMessage,
): Comparison {
  if (recorded.command !== received.command) return 'differs';
  const isOfServer = ownReplies.has(recorded.command) || isKeyOfServer(request?.attributes.get('key'));
  const names = new Set([...recorded.attributes.keys(), ...received.attributes.keys()]);
  let result: Comparison = 'same';
  for (const name of names) {
    const [before, now] = [valueOf(recorded, name), valueOf(received, name)];
    if (before === now) continue;
    if (!isOfServer && !ownAttributes.has(name)) return 'differs';
    result = 'allowed';
  }
  return result;
}

/** Whether the answer reports a failure. Without rc it is a success. */
export function isFailure({ attributes }: ParsedMessage): boolean {
  return Number(attributes.get('rc') ?? 0) !== 0;
}

/**
 * rc counts as success or failure, because servers number their failures differently. Some servers leave out the error codes
 * of a spawn if all of them are 0; Hydra sends their number in PMI-2.
 */
function valueOf(message: ParsedMessage, name: string): string | undefined {
  const value = message.attributes.get(name);
  if (name === 'rc') return isFailure(message) ? 'failure' : 'success';
  if (name === 'errcodes' || name === 'nerrs')
    return value === undefined || /^[0,]*$/.test(value) ? 'success' : value;
  return value;
}

/** Replaces the values of these attributes, and leaves all other bytes as they are. */
export function replaceValues(
  wire: Wire,
  text: string,
  newValueOf: (name: string, value: string) => string | undefined,
): string {
  const separator = wire === '2' ? ';' : ' \\t';
  return text.replace(
    new RegExp(`(^|[${separator}])([^=${separator}]+)=([^${separator}]*)`, 'g'),
    (all, before: string, name: string, value: string) => {
      const replaced = newValueOf(name, value);
      return replaced === undefined ? all : `${before}${name}=${replaced}`;
    },
  );
}
