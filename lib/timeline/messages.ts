/** The PMI messages of a job's recording, on the time axis of its timeline. */
import { isMessage } from '../trace/format';
import { mergeRecordings } from '../trace/merge';
import { Conversation, isError, type EventStep, type Step } from '../trace/messages';

/** A request that has a reply. */
export interface DrawnMessage {
  /** Milliseconds from the launch to the request. */
  at: number;
  /** Its command. */
  name: string;
  /** The reply reports an error. */
  error: boolean;
}

/** The messages of process group 0. */
export interface Messages {
  /** How many there are. */
  count: number;
  of(rank: number): readonly DrawnMessage[];
}

/**
 * Calls `take` with each record of a recording. `shift`: what must be added to `at` for microseconds since the launch.
 *
 * @param begun when the launch began, in milliseconds since 1970
 */
export async function readMessages(
  file: string,
  begun: number,
  take: (step: Step | EventStep, shift: number) => void,
): Promise<void> {
  const merged = await mergeRecordings([file], (error) => {
    throw error;
  });
  const conversation = new Conversation();
  const shift = merged.start - begun * 1000;
  for await (const record of merged.records) take(conversation.follow(record), shift);
}

/** Reads the messages for a drawing, and keeps at most `most` of them. */
export async function drawnMessages(file: string, begun: number, most: number): Promise<Messages> {
  const byRank = new Map<number, DrawnMessage[]>();
  let count = 0;
  await readMessages(file, begun, (step, shift) => {
    const { record } = step;
    if (record.group !== 0 || record.rank === undefined || !isMessage(record)) return;
    const { request } = step as Step;
    if (request === undefined || ++count > most) return;
    const list = byRank.get(record.rank) ?? [];
    const at = (request.at + shift) / 1000;
    list.push({ at, name: request.message.command ?? '?', error: isError(step as Step) });
    byRank.set(record.rank, list);
  });
  return { count, of: (rank) => byRank.get(rank) ?? [] };
}
