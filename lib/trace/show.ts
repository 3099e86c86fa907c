/** Lines for people of a recording. */
import { printable } from '../printable';
import { contentOf, isMessage, type EventRecord, type MessageRecord, type TraceRecord } from './format';
import { labelOf } from './messages';
import type { Mark } from './judge';

/** Microseconds as seconds: `0.001234`. */
export function secondsOf(at: number): string {
  return (at / 1e6).toFixed(6);
}

/** Microseconds for people: `12 µs`, `1.234 ms`, `2.500 s`. */
export function durationOf(us: number): string {
  if (us < 1000) return `${Math.round(us)} µs`;
  return us < 1e6 ? `${(us / 1e3).toFixed(3)} ms` : `${(us / 1e6).toFixed(3)} s`;
}

function messageText(record: MessageRecord): string {
  // Bytes that are not UTF-8 are shown as the server's text form shows them.
  const text =
    record.text ??
    contentOf(record)
      .toString('latin1')
      .replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
  return `${record.dir}${record.wire === 'raw' ? '~' : ':'} ${printable(text)}`;
}

function eventText({ event, count, lost, peer, uid, pid, reason }: EventRecord): string {
  return printable(
    [
      event,
      ...(count === undefined ? [] : [`${count} records`]),
      ...(lost === true ? ['without finalize'] : []),
      ...(peer === undefined ? [] : [peer]),
      ...(uid === undefined ? [] : [`uid ${uid}`]),
      ...(pid === undefined ? [] : [`pid ${pid}`]),
    ].join(' ') + (reason === undefined ? '' : `: ${reason}`),
  );
}

/** `0.001234 3: C: cmd=init ...`, the same line as in a trace on stderr. */
export function showRecord(record: TraceRecord, at: number): string {
  const text = isMessage(record) ? messageText(record) : eventText(record);
  return `${secondsOf(at)} ${labelOf(record)}: ${text}`;
}

/** Characters of a reason that are shown. It may quote the message. */
const MAX_REASON = 1024;

/** A line below the message that it is about. */
export function showMark(mark: Mark): string {
  return `      ${describeMark(mark)}`;
}

/** `rule P1-GET-1 (RFC 13, "Key Value Store"): the server: the reply to get has no value`. */
export function describeMark({ rule, level, side, document, paragraph, text }: Mark): string {
  const weak = level === 'MUST' ? '' : `, a ${level}`;
  const who = side === 'C' ? 'the client' : 'the server';
  const shown = text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}...` : text;
  return `rule ${rule}${weak} (${document}, "${paragraph}"), broken by ${who}: ${printable(shown)}`;
}
