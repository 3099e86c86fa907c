/** Marks what is wrong in a recording: which side has broken which rule of which document. */
import { isError, type Step } from './messages';

/** A rule that a message breaks. */
export interface Mark {
  /** Which side has broken it. C: the client. S: the server. */
  side: 'C' | 'S';
  /** The document that has the rule. */
  document: string;
  /** What is wrong, for people. */
  text: string;
}

/** The document that defines lines; frames are in pmi-2.0. */
const LINES = 'RFC 13';

/**
 * What is wrong with a message by itself and with what came before it. The rules come from the table of messages.
 *
 * @param step as Conversation.follow() returns it
 */
export function judge(step: Step): Mark[] {
  const { record, message, request } = step;
  const side = record.dir;
  const { spec, command, attributes } = message;
  const version = record.wire === '2' ? 'v2' : 'v1';
  if (record.wire === 'raw')
    return [{ side, document: LINES, text: 'these bytes are neither a line nor a frame of PMI' }];
  if (command === undefined) return [];
  if (spec === undefined) {
    const where = side === 'C' ? 'a command' : 'a reply';
    return [{ side, document: LINES, text: `'${command}' is not ${where} of PMI` }];
  }
  const document = spec.source;
  const marks: Mark[] = [];
  if (side === 'S' && request === undefined && spec.name !== 'identify-set')
    marks.push({ side, document, text: `'${command}' is a reply, but no request waits for it` });
  for (const attribute of spec.attributes) {
    const name = attribute[version];
    const value = name === '' ? undefined : attributes.get(name);
    const needed =
      spec.form !== 'block' &&
      name !== '' &&
      (attribute.presence === 'required' || (attribute.presence === 'on-success' && !isError(step)));
    if (value === undefined) {
      if (needed) marks.push({ side, document, text: `'${command}' has no ${name}` });
    } else if (attribute.limit > 0 && Buffer.byteLength(value) >= attribute.limit) {
      marks.push({
        side,
        document,
        text: `${name} of '${command}' has ${Buffer.byteLength(value)} bytes, the limit is ${attribute.limit - 1}`,
      });
    } else if (attribute.type === 'integer' && !/^[+-]?\d+$/.test(value)) {
      marks.push({ side, document, text: `${name} of '${command}' is no number` });
    }
  }
  return marks;
}
