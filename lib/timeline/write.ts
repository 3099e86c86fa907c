/** Writes timelines: `wireup run --timeline` and `wireup report`. Only these load it. */
import type { TimelineForm } from './form';
import { MAX_MESSAGES, MAX_ROWS, svgDocument } from './draw';
import { drawnMessages } from './messages';
import { modelOf, sizeOf } from './model';
import { htmlPage } from './page';
import { writeTraceEvents } from './trace-events';
import type { ResultWithGroups } from './spawned';

/**
 * The text of a timeline.
 *
 * @param recording a file with a recording of the job in JSON lines, whose messages are shown too
 * @throws an Error if the recording cannot be read
 */
export async function makeTimeline(
  form: TimelineForm,
  result: ResultWithGroups,
  recording?: string,
): Promise<string> {
  const model = modelOf(result);
  if (form === 'json') {
    const parts: string[] = [];
    await writeTraceEvents(model, recording, (part) => parts.push(part));
    return parts.join('');
  }
  const title = titleOf(result);
  // Bands have no place for messages.
  const messages =
    recording === undefined || sizeOf(result) > MAX_ROWS
      ? undefined
      : await drawnMessages(recording, result.begun, MAX_MESSAGES);
  return form === 'html' ? htmlPage(model, title, messages) : svgDocument(model, title, messages);
}

/** The programs, ranks and hosts of the job. */
function titleOf(result: ResultWithGroups): string {
  const { apps, ranks } = result;
  const spawned = sizeOf(result) - ranks.length;
  const programs = apps.map(({ program }) => program.split('/').at(-1)!);
  const hosts = new Set(ranks.map(({ host }) => host)).size;
  return `${[...new Set(programs)].join(', ')}: ${ranks.length} rank${ranks.length === 1 ? '' : 's'} on ${hosts} host${hosts === 1 ? '' : 's'}${spawned > 0 ? `, and ${spawned} spawned` : ''}`;
}

export { readResult } from './read';
