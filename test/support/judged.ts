/** Judges recordings that tests make. */
import { isMessage, payloadOf, type EventRecord, type TraceRecord } from '../../lib/trace/format';
import { RecordingJudge, type Mark } from '../../lib/trace/judge';
import { Conversation } from '../../lib/trace/messages';
import { expand, type Transcript } from './transcript';

/** The broken rules, each with the text of the message. */
export function marksOf(records: readonly TraceRecord[]): (Mark & { message: string })[] {
  const conversation = new Conversation();
  const judge = new RecordingJudge();
  return records.flatMap((record, at) =>
    judge
      .follow(conversation.follow({ record, at, source: 0 }))
      .map((mark) => ({ ...mark, message: isMessage(record) ? (record.text ?? '') : '' })),
  );
}

/** The recording of a transcript. */
export function recordingOf({ lines, transport, size }: Transcript): TraceRecord[] {
  const records: TraceRecord[] = [];
  const ranks = new Map<number, number>();
  const claims = new Map<number, number>();
  const place = (connection: number): { t: number; group: number; rank?: number; conn?: number } => {
    const rank = ranks.get(connection);
    return { t: records.length, group: 0, ...(rank === undefined ? { conn: connection } : { rank }) };
  };
  const identify = (connection: number, rank: number): void => {
    const event: EventRecord = { ...place(connection), rank, event: 'connected' };
    ranks.set(connection, rank);
    records.push(event);
  };
  if (transport === 'fd') for (let rank = 0; rank < size; ++rank) identify(rank, rank);
  for (const line of lines) {
    if (line.kind === 'event') continue;
    const { connection } = line;
    if (line.kind !== 'send' && line.kind !== 'receive') {
      records.push({ ...place(connection), event: 'closed' });
      continue;
    }
    const dir = line.kind === 'send' ? 'C' : 'S';
    const claim = /\{pmi_id:(\d+)\}/.exec(line.text)?.[1];
    if (claim !== undefined) claims.set(connection, Number(claim));
    const isIdentified = /^cmd=(initack( rc=0)?$|fullinit-response;.*rc=0)/.test(line.text);
    if (dir === 'S' && isIdentified && !ranks.has(connection)) identify(connection, claims.get(connection)!);
    const { content, unfinished } = expand(line.text, 'kvs', String);
    // Slurm's form of a frame, which transcripts write as bytes.
    const [, length, frame] = /^(\d+ *)(?<=^.{6})(.*)$/s.exec(content) ?? [];
    const isFrame = unfinished && Number(length) === frame?.length;
    records.push({
      ...place(connection),
      dir,
      ...(isFrame ? { length: length! } : {}),
      wire: line.framed || isFrame ? '2' : unfinished ? 'raw' : '1',
      ...payloadOf(Buffer.from(isFrame ? frame : content, 'latin1')),
    });
  }
  return records;
}
