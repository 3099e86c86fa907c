/** The timelines of `wireup run --timeline` and `wireup report`. What draws them is loaded only if it is needed. */
import { formOf, timelineForms } from '../timeline/form';
import type { Job } from '../job';
import type { ResultWithGroups, SpawnedGroup } from '../timeline/spawned';
import { InvalidValue } from './option';
import { writeWhole } from './whole-file';

const load = (): typeof import('../timeline/write.js') =>
  require('../timeline/write') as typeof import('../timeline/write.js');

/** Collects what ranks spawn until the job has ended, for its result and timeline. */
export async function followSpawns(job: Job): Promise<{ groups?: SpawnedGroup[] }> {
  const { SpawnedGroups } = require('../timeline/spawned') as typeof import('../timeline/spawned.js');
  const spawned = new SpawnedGroups();
  await spawned.follow(job);
  return spawned.groups.length === 0 ? {} : { groups: spawned.groups };
}

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
  result: ResultWithGroups,
  recording?: string,
): Promise<string | undefined> {
  try {
    return writeWhole(file, await load().makeTimeline(formOf(file)!, result, recording));
  } catch (error) {
    return (error as Error).message;
  }
}

/** @throws an Error that names the file */
export const readResult = (file: string): ResultWithGroups => load().readResult(file);
