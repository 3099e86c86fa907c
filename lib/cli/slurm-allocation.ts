/** Reads which hosts Slurm has allocated to the job that this process is part of. */
import { HostListError, parseHostList, type ListedHost } from '../host-list';
import { MAX_HOSTS, MAX_RANKS } from '../limits';
import { UsageError } from './option';

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether this process is part of a job of Slurm. */
export function isAllocated(environment: Environment): boolean {
  return Boolean(environment.SLURM_JOB_NODELIST);
}

/** Reads `4(x2),3`: 4 tasks on each of the first two hosts, 3 on the third. */
function parseTasks(text: string): number[] {
  const counts: number[] = [];
  for (const part of text.split(',')) {
    const match = /^(\d{1,9})(?:\(x(\d{1,9})\))?$/.exec(part);
    const [tasks, times] = [Number(match?.[1]), Number(match?.[2] ?? 1)];
    if (match === null || tasks < 1 || tasks > MAX_RANKS || counts.length + times > MAX_HOSTS)
      throw new UsageError(`SLURM_TASKS_PER_NODE=${text}: expected counts such as 4(x2),3`);
    for (let i = 0; i < times; i++) counts.push(tasks);
  }
  return counts;
}

/**
 * Returns the hosts of the allocation, with a slot for each task; undefined outside of one. In a step of fewer hosts,
 * SLURM_TASKS_PER_NODE describes only these; the other hosts have one slot.
 *
 * @throws {@link UsageError} if a variable is malformed
 */
export function slurmAllocation(environment: Environment): ListedHost[] | undefined {
  if (!isAllocated(environment)) return undefined;
  const list = environment.SLURM_JOB_NODELIST!;
  const tasks = environment.SLURM_TASKS_PER_NODE;
  const counts = tasks === undefined || tasks === '' ? [] : parseTasks(tasks);
  try {
    return parseHostList(list).map(({ name }, i) => ({ name, slots: counts[i] ?? 1 }));
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new UsageError(`SLURM_JOB_NODELIST=${list}: ${error.message}`);
  }
}
