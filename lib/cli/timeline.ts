/** The timelines of `wireup run --timeline` and `wireup report`. What draws them is loaded only if it is needed. */
import type { JobResult } from '../result';
import { formOf, timelineForms } from '../timeline/form';
import { InvalidValue } from './option';
import { writeWhole } from './whole-file';

const load = (): typeof import('../timeline/write.js') =>
  require('../timeline/write') as typeof import('../timeline/write.js');

/** Checks the name of a file. Its end decides the form. */
export function timelineFile(file: string): string {
  if (formOf(file) !== undefined) return file;
  const ends = timelineForms.map((form) => `.${form}`);
  throw new InvalidValue(`expected a name that ends with ${ends.slice(0, -1).join(', ')} or ${ends.at(-1)}`);
}

/**
 * Writes a timeline. The result is the reason if that fails.
 *
 * @param file a name that timelineFile() has accepted
 * @param recording the recording of the job in JSON lines
 */
export async function writeTimeline(
  file: string,
  result: JobResult,
  recording?: string,
): Promise<string | undefined> {
  try {
    return writeWhole(file, await load().makeTimeline(formOf(file)!, result, recording));
  } catch (error) {
    return (error as Error).message;
  }
}

/** @throws an Error that names the file */
export const readResult = (file: string): JobResult => load().readResult(file);
