/** Gives the messages that a connection has sent before its rank was known to that rank. */
import { readRecording, type RecordingHeader, type TraceRecord } from './format';
import { lettersOf } from './held';

/** Records of connections that have not identified themselves. A client identifies itself by its first messages. */
const MAX_HELD = 4096;
const MAX_HELD_LETTERS = 32 << 20;

/** Reads a recording. The messages of a connection without a rank follow when its rank is known. Until then they are held back. */
export async function* readIdentified(file: string): AsyncGenerator<RecordingHeader | TraceRecord> {
  const held = new Map<string, TraceRecord[]>();
  let count = 0;
  let letters = 0;
  for await (const record of readRecording(file)) {
    if ('wireupTrace' in record || record.conn === undefined) {
      yield record;
      continue;
    }
    const connection = `${record.group}/${record.host ?? ''}/${record.conn}`;
    const before = held.get(connection) ?? [];
    if (record.rank !== undefined || 'event' in record) {
      held.delete(connection);
      count -= before.length;
      letters -= before.reduce((sum, early) => sum + lettersOf(early), 0);
      const { rank } = record;
      if (rank !== undefined) for (const early of before) yield { ...early, rank };
      yield record;
    } else if (count < MAX_HELD && letters + lettersOf(record) <= MAX_HELD_LETTERS) {
      before.push(record);
      count++;
      letters += lettersOf(record);
      held.set(connection, before);
    }
  }
}
