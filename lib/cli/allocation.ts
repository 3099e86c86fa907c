/** Reads which hosts a resource manager has allocated to the job that this process is part of. */
import { HostListError, parseHostList, type ListedHost } from '../host-list';
import { MAX_HOSTS, MAX_RANKS } from '../limits';
import { shortened, UsageError } from './option';
import { systemWords } from '../system-words';

type Environment = Readonly<Record<string, string | undefined>>;

/** In milliseconds, for `flux hostlist`: an interpreter starts, and asks the broker of this host. */
const FLUX_TIMEOUT = 30_000;

/** What the readers of allocations use, so that tests can replace it. */
export interface AllocationSources {
  readonly environment: Environment;
  /** Reads a file. `variable` names the file in messages. */
  readonly readText: (variable: string, file: string) => string;
  /** The output of a command. */
  readonly output: (command: string, args: readonly string[]) => string;
}

/** A resource manager. */
interface Manager {
  /** One of them is set in a job of this manager. */
  readonly variables: readonly string[];
  /** @throws {@link UsageError} */
  readonly read: (sources: AllocationSources, value: string) => ListedHost[];
  /** The value of --launcher that reaches the hosts of its jobs. */
  readonly launcher: 'ssh' | 'slurm' | 'lsf' | 'sge';
  /** What the user may not expect of the hosts, in one line. */
  readonly note?: (environment: Environment) => string | undefined;
}

function parseList(where: string, list: string): ListedHost[] {
  try {
    return parseHostList(list);
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new UsageError(`${where}: ${error.message}`);
  }
}

/** @throws {@link UsageError} */
function parseSlots(where: string, text: string | undefined): number {
  const slots = /^\d{1,9}$/.test(text ?? '') ? Number(text) : 0;
  if (slots < 1 || slots > MAX_RANKS)
    throw new UsageError(
      `${where}: expected a number of slots after the host, got '${shortened(text ?? '')}'`,
    );
  return slots;
}

/** Adds a host. If the last one has the same name, that one gets the slots. */
function add(hosts: ListedHost[], where: string, name: string, slots: number): void {
  const [host, ...more] = parseList(where, name);
  if (more.length > 0 || host!.name !== name)
    throw new UsageError(`${where}: expected a host, got '${shortened(name)}'`);
  const last = hosts.at(-1);
  if (last?.name === name) hosts[hosts.length - 1] = { name, slots: Math.min(last.slots + slots, MAX_RANKS) };
  else if (hosts.length < MAX_HOSTS) hosts.push({ name, slots });
  else throw new UsageError(`${where}: expected at most ${MAX_HOSTS} hosts`);
}

/** The words of each line that has some, with the place for messages. */
function linesOf({ readText }: AllocationSources, variable: string, file: string): [string, string[]][] {
  return readText(variable, file)
    .split('\n')
    .map((line, i): [string, string[]] => [`${variable} ${file}:${i + 1}`, line.split(/\s+/).filter(Boolean)])
    .filter(([, words]) => words.length > 0);
}

/** Reads `4(x2),3`: 4 tasks on each of the first two hosts, 3 on the third. */
function parseTasks(text: string): number[] {
  const counts: number[] = [];
  for (const part of text.split(',')) {
    const match = /^(\d{1,9})(?:\(x(\d{1,9})\))?$/.exec(part);
    const [tasks, times] = [Number(match?.[1]), Number(match?.[2] ?? 1)];
    if (match === null || tasks < 1 || tasks > MAX_RANKS || counts.length + times > MAX_HOSTS)
      throw new UsageError(`SLURM_TASKS_PER_NODE=${shortened(text)}: expected counts such as 4(x2),3`);
    for (let i = 0; i < times; i++) counts.push(tasks);
  }
  return counts;
}

/**
 * A slot for each task. In a step of fewer hosts, SLURM_TASKS_PER_NODE describes only these; the other hosts have one slot.
 *
 * salloc sets the variables of a heterogeneous job for each component only. A batch script has those of the first one too.
 */
function slurmHosts({ environment }: AllocationSources, list: string): ListedHost[] {
  const tasks = environment.SLURM_TASKS_PER_NODE ?? environment.SLURM_TASKS_PER_NODE_HET_GROUP_0;
  const counts = tasks === undefined || tasks === '' ? [] : parseTasks(tasks);
  return parseList(`SLURM_JOB_NODELIST=${shortened(list)}`, list).map(({ name }, i) => ({
    name,
    slots: counts[i] ?? 1,
  }));
}

/** srun takes the first component too, unless --het-group names others. */
function slurmNote({ SLURM_HET_SIZE: size }: Environment): string | undefined {
  if (!/^\d{1,9}$/.test(size ?? '') || Number(size) < 2) return undefined;
  return `this job of Slurm has ${size} components; wireup uses the hosts of the first one, as srun does`;
}

/** A file with one line for each slot. */
function pbsHosts(sources: AllocationSources, file: string): ListedHost[] {
  const hosts: ListedHost[] = [];
  for (const [where, words] of linesOf(sources, 'PBS_NODEFILE', file)) {
    if (words.length > 1)
      throw new UsageError(`${where}: expected a host alone, got '${shortened(words.join(' '))}'`);
    add(hosts, where, words[0]!, 1);
  }
  return hosts;
}

/** `n1 4 n2 8`. */
function lsfHosts(_: AllocationSources, text: string): ListedHost[] {
  const hosts: ListedHost[] = [];
  const words = text.split(/\s+/).filter(Boolean);
  const where = `LSB_MCPU_HOSTS=${shortened(text)}`;
  for (let i = 0; i < words.length; i += 2) add(hosts, where, words[i]!, parseSlots(where, words[i + 1]));
  return hosts;
}

/** A file with lines of a host, its slots, a queue, and processors. */
function gridEngineHosts(sources: AllocationSources, file: string): ListedHost[] {
  const hosts: ListedHost[] = [];
  for (const [where, [name, slots]] of linesOf(sources, 'PE_HOSTFILE', file))
    add(hosts, where, name!, parseSlots(where, slots));
  return hosts;
}

function fluxHosts({ output }: AllocationSources): ListedHost[] {
  const list = output('flux', ['hostlist', 'local']).trim();
  return parseList(`flux hostlist: '${shortened(list)}'`, list).map(({ name }) => ({ name, slots: 1 }));
}

type ManagerName = 'flux' | 'slurm' | 'pbs' | 'lsf' | 'sge';

/** By their names in Hydra's -rmk. The first one whose variable is set counts: Flux runs in jobs of the others. */
const managers: Readonly<Record<ManagerName, Manager>> = {
  flux: { variables: ['FLUX_URI'], read: fluxHosts, launcher: 'ssh' },
  slurm: {
    variables: ['SLURM_JOB_NODELIST', 'SLURM_JOB_NODELIST_HET_GROUP_0'],
    read: slurmHosts,
    launcher: 'slurm',
    note: slurmNote,
  },
  pbs: { variables: ['PBS_NODEFILE'], read: pbsHosts, launcher: 'ssh' },
  lsf: { variables: ['LSB_MCPU_HOSTS'], read: lsfHosts, launcher: 'lsf' },
  sge: { variables: ['PE_HOSTFILE'], read: gridEngineHosts, launcher: 'sge' },
};

/** The values of --rmk. `user`: no manager is asked. */
export const managerNames = [...(Object.keys(managers) as ManagerName[]), 'user'] as const;

/** The variable that the manager has set; undefined if this process is in no job of it. */
function variableOf({ variables }: Manager, environment: Environment): string | undefined {
  return variables.find((name) => environment[name]);
}

/**
 * HYDRA_RMK. It often stands in a profile, so it may name a manager that has not started this process, or that wireup does not
 * know: then there is no allocation.
 */
export const managerVariable = {
  names: ['HYDRA_RMK'],
  read: (text: string): (typeof managerNames)[number] => {
    const name = managerNames.find((known) => known === text);
    return name !== undefined && name !== 'user' && variableOf(managers[name], process.env) ? name : 'user';
  },
  late: true,
} as const;

/** An allocation. Its hosts are not read before they are needed. */
export interface Allocation {
  readonly launcher: Manager['launcher'];
  /** What the user may not expect of the hosts, in one line. */
  readonly note: string | undefined;
  /** @throws {@link UsageError} if what the manager has set is malformed */
  readonly hosts: () => ListedHost[];
}

function outputOf(command: string, args: readonly string[]): string {
  // Loaded only if it is used: it takes as long to load as a rank takes to start.
  const { spawnSync } = process.getBuiltinModule('node:child_process');
  const { error, status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: FLUX_TIMEOUT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const what = [command, ...args].join(' ');
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    throw new UsageError(`${what}: ${command} is not in PATH`);
  if (error !== undefined) throw new UsageError(`${what}: ${systemWords(error)}`);
  if (status !== 0) throw new UsageError(`${what}: ended with code ${status}: ${shortened(stderr.trim())}`);
  return stdout;
}

/**
 * Finds the allocation that this process is part of.
 *
 * @param manager the value of --rmk; undefined: any
 * @throws {@link UsageError} if this process is in no job of the manager that is named
 */
export function findAllocation(
  manager: (typeof managerNames)[number] | undefined,
  sources: Omit<AllocationSources, 'output'> & Partial<AllocationSources>,
): Allocation | undefined {
  if (manager === 'user') return undefined;
  const { environment } = sources;
  const name =
    manager ??
    (Object.keys(managers) as ManagerName[]).find((each) => variableOf(managers[each], environment));
  if (name === undefined) return undefined;
  const { variables, read, launcher, note } = managers[name];
  const variable = variableOf(managers[name], environment);
  if (variable === undefined)
    throw new UsageError(
      `--rmk ${name}: expected the variable ${variables[0]}, which this manager sets in its jobs`,
    );
  const value = environment[variable]!;
  return {
    launcher,
    note: note?.(environment),
    hosts: () => {
      try {
        const hosts = read({ output: outputOf, ...sources }, value);
        if (hosts.length === 0)
          throw new UsageError(`${variable}=${shortened(value)}: expected at least one host`);
        return hosts;
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        // The user has not written the list, and may not know that there is one.
        throw new UsageError(`${error.message}; name the hosts by --hosts, or use -rmk user`);
      }
    },
  };
}
