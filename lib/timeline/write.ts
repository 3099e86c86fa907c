/** Writes timelines: `wireup run --timeline` and `wireup report`. Only these load it. */
import type { TimelineForm } from './form';
import { MAX_MESSAGES, MAX_ROWS, svgDocument } from './draw';
import { drawnMessages } from './messages';
import { modelOf } from './model';
import { htmlPage } from './page';
import { writeTraceEvents } from './trace-events';
import type { JobResult } from '../result';

/**
 * The text of a timeline.
 *
 * @param recording a file with a recording of the job in JSON lines, whose messages are shown too
 * @throws an Error if the recording cannot be read
 */
export async function makeTimeline(
  form: TimelineForm,
  result: JobResult,
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
    recording === undefined || result.ranks.length > MAX_ROWS
      ? undefined
      : await drawnMessages(recording, result.begun, MAX_MESSAGES);
  return form === 'html' ? htmlPage(model, title, messages) : svgDocument(model, title, messages);
}

/** The programs, ranks and hosts of the job. */
function titleOf({ apps, ranks }: JobResult): string {
  const programs = apps.map(({ program }) => program.split('/').at(-1)!);
  const hosts = new Set(ranks.map(({ host }) => host)).size;
  return `${[...new Set(programs)].join(', ')}: ${ranks.length} rank${ranks.length === 1 ? '' : 's'} on ${hosts} host${hosts === 1 ? '' : 's'}`;
}

export { readResult } from './read';
