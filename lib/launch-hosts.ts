/** The hosts of a launch: checks the options that name them, and makes what the addon gets. */
import { hostname, userInfo } from 'node:os';
import { adviceOnStart } from './host-advice';
import { hostCommand, launcherVariables, togetherCommand } from './host-command';
import { HostListError, MAX_NAME, parseHostList, userPattern, type ListedHost } from './host-list';
import { placeOnHosts, type HostPlacement } from './host-placement';
import type { JobSettings, Launcher, LaunchHost } from './launch-options';
import { launcherKinds, launcherPrograms, type HostLauncher } from './launchers';
import { MAX_HOSTS, MAX_MILLISECONDS, MAX_RANKS } from './limits';
import { agentPath, native, type NativeHostOptions, type NativeTogether } from './native';
import {
  checkBoolean,
  checkInteger,
  checkIntegers,
  checkOneOf,
  checkOptions,
  checkString,
  checkStrings,
  optionError,
} from './options';
import { findOwnHosts, isLoopback } from './own-host';
import type { SpawnHost } from './spawn-placement';

/** In milliseconds. An ssh of a busy host takes a second or two, and Slurm may need longer than ssh. */
const DEFAULT_START_TIMEOUT = 60_000;

/** HOST_NAME_MAX: a pretended host cannot have a longer name. */
const MAX_HOST_NAME = 64;

/** Where the ranks of a launch are. Each host that has ranks is a node. */
export interface HostPlan {
  /** The node of each rank. */
  nodes: number[];
  native: NativeHostOptions;
  /** The hosts that ranks may be spawned on. The first ones are the nodes. */
  spawnHosts: SpawnHost[];
  /** What to do about the message of a host that could not be started; undefined if that is not known. */
  advise: (host: string, message: string) => string | undefined;
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
function checkLauncher(value: Launcher): HostLauncher {
  if (typeof value !== 'object' || value === null) {
    const kind = checkOneOf('launcher', value, ['ssh', 'slurm', 'fork'] as const);
    return { kind, words: kind === 'fork' ? [] : launcherPrograms[kind] };
  }
  checkOptions('launcher', value, ['ssh', 'slurm', 'exec'] as never[]);
  const given = Object.entries(value as Record<string, unknown>);
  if (given.length !== 1) throw optionError('launcher', 'one of ssh, slurm and exec', value);
  const [kind, words] = given[0]!;
  const checked = checkStrings(`launcher.${kind}`, words);
  if (checked.length === 0) throw optionError(`launcher.${kind}`, 'the words of a command', words);
  return { kind: checkOneOf('launcher', kind, launcherKinds), words: checked };
}

function checkHost(name: string, value: LaunchHost): ListedHost {
  checkOptions(name, value, ['name', 'slots', 'user']);
  const host = checkString(`${name}.name`, value.name);
  if (!/^(?!-)[^\s\p{Cc}]+$/u.test(host))
    throw optionError(
      `${name}.name`,
      "a name that has no blanks and control characters, and does not begin with '-'",
      host,
    );
  if (Buffer.byteLength(host) > MAX_NAME)
    throw optionError(`${name}.name`, `a name of up to ${MAX_NAME} bytes`, host);
  const user = value.user === undefined ? undefined : checkString(`${name}.user`, value.user);
  if (user !== undefined && !userPattern.test(user))
    throw optionError(`${name}.user`, 'the name of a user', user);
  return {
    name: host,
    slots: checkInteger(`${name}.slots`, value.slots ?? 1, 1, MAX_RANKS),
    ...(user === undefined ? {} : { user }),
  };
}

function checkHosts(value: JobSettings['hosts']): ListedHost[] {
  if (!Array.isArray(value) || value.length === 0) throw optionError('hosts', 'an array of hosts', value);
  const hosts: ListedHost[] = [];
  for (const [i, host] of (value as readonly (string | LaunchHost)[]).entries()) {
    const name = `hosts[${i}]`;
    try {
      const listed =
        typeof host === 'string' ? parseHostList(checkString(name, host)) : [checkHost(name, host)];
      for (const one of listed) hosts.push(one);
    } catch (error) {
      throw error instanceof HostListError ? optionError(name, error.expected, host) : error;
    }
    if (hosts.length > MAX_HOSTS) throw optionError('hosts', `at most ${MAX_HOSTS} hosts`, hosts.length);
  }
  return hosts;
}

function checkAgentPath(value: unknown): string {
  const path = checkString('agentPath', value);
  // A command that starts a program elsewhere has no working directory that the caller knows.
  if (!/^\/|^[^/]+$/.test(path))
    throw optionError('agentPath', 'an absolute path, or a name without a slash', path);
  return path;
}

/** The environment of the commands that start agents, as this process has it, byte by byte. */
function commandEnvironment(kind: HostLauncher['kind']): string[] {
  const own = native.ownEnvironment();
  const entries =
    own === undefined
      ? Object.entries(process.env).map(([name, value]) => `${name}=${value}`)
      : native
          .textOfBytes(own)
          .split('\0')
          .filter((entry) => entry !== '');
  const changed = launcherVariables[kind];
  return [
    ...entries.filter((entry) => !(entry.slice(0, entry.indexOf('=')) in changed)),
    ...Object.entries(changed).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])),
  ];
}

/** The name of this process's user; undefined if it has none. */
function userName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}

/**
 * Those of the hosts that need no command.
 *
 * @param used how many of the hosts have ranks. The names of others are not looked up: a file of many hosts would take long
 */
async function ownHosts(
  kind: HostLauncher['kind'],
  hosts: readonly ListedHost[],
  used: number,
): Promise<Set<string>> {
  // A host on which ranks run as another user needs its launcher, also if it is this one.
  const user = hosts.some((host) => host.user !== undefined) ? userName() : undefined;
  // Other launchers have names of their own for hosts: of nodes, of containers. They need not be those of DNS.
  const names = kind === 'slurm' ? [process.env.SLURMD_NODENAME ?? 'localhost'] : [];
  const candidates = (list: readonly ListedHost[]): string[] =>
    list.filter((host) => host.user === undefined || host.user === user).map(({ name }) => name);
  return findOwnHosts(candidates(hosts.slice(0, used)), {
    names,
    more: candidates(hosts.slice(used)),
    byAddress: kind === 'ssh',
  });
}

function checkNodes(value: readonly number[], size: number, hosts: readonly ListedHost[]): number[] {
  const nodes = checkIntegers('nodes', value, 0, hosts.length - 1);
  if (nodes.length !== size)
    throw optionError('nodes', `the index of a host for each of ${size} ranks`, nodes);
  if (new Set(hosts.map(({ name }) => name)).size !== hosts.length)
    throw optionError(
      'hosts',
      'hosts that differ, beside nodes',
      hosts.map(({ name }) => name),
    );
  return nodes;
}

/** Checks nodes that are given by index, and puts hosts without ranks behind the others. */
function placeByNodes(nodes: readonly number[], hosts: readonly ListedHost[]): HostPlacement {
  const used = new Set(nodes);
  const order = [...hosts.keys()].sort((x, y) => Number(used.has(y)) - Number(used.has(x)) || x - y);
  const index = new Map(order.map((node, i) => [node, i]));
  return { nodes: nodes.map((node) => index.get(node)!), hosts: order.map((node) => hosts[node]!) };
}

/** Places a rank that runs on this host already, which need not be one of the hosts: it then takes none of their slots. */
async function placeHere(kind: HostLauncher['kind'], listed: readonly ListedHost[]): Promise<HostPlacement> {
  const { hosts } = placeOnHosts([{ ranks: 0, hosts: listed }]);
  const own = await ownHosts(kind, hosts, 0);
  const here = hosts.find(({ name }) => own.has(name)) ?? { name: hostname(), slots: 0 };
  return { nodes: [0], hosts: [here, ...hosts.filter((host) => host !== here)] };
}

function checkInterface(value: unknown): string {
  const iface = checkString('iface', value);
  // IFNAMSIZ is 16, and the longest network has 43 characters.
  if (!/^[^\s\p{Cc}]{1,64}$/u.test(iface))
    throw optionError('iface', 'the name of a network interface, or a network such as 10.0.0.0/8', value);
  return iface;
}

/** How the agents of other hosts are started. */
interface StartPlan {
  launcher: HostLauncher;
  agent: string;
  stage: boolean;
  timeoutMs: number;
  /** Undefined: it depends on how many hosts there are. */
  treeWidth: number | undefined;
  iface: string;
  insecureLinks: boolean;
}

/** @throws {@link PmiError} `ERR_PMI_OPTION` */
function checkStart(options: JobSettings): StartPlan {
  const launcher = checkLauncher(options.launcher ?? 'ssh');
  const stage = checkBoolean('stage', options.stage ?? false);
  if (stage && options.agentPath !== undefined)
    throw optionError('agentPath', 'nothing beside stage', options.agentPath);
  if (stage && launcher.kind === 'fork')
    throw optionError('stage', 'false, because the launcher fork needs this host only', stage);
  return {
    launcher,
    agent: options.agentPath === undefined ? agentPath : checkAgentPath(options.agentPath),
    stage,
    timeoutMs: checkInteger(
      'startTimeout',
      options.startTimeout ?? DEFAULT_START_TIMEOUT,
      1,
      MAX_MILLISECONDS,
    ),
    treeWidth:
      options.treeWidth === undefined
        ? undefined
        : checkInteger('treeWidth', options.treeWidth, 0, MAX_HOSTS),
    iface: options.iface === undefined ? '' : checkInterface(options.iface),
    insecureLinks: checkBoolean('insecureLinks', options.insecureLinks ?? false),
  };
}

/** So many hosts are started from this one. Then the hosts are a tree. */
const MAX_FLAT = 64;

/** How many hosts each host starts by default: a tree of two levels has a thousand hosts. */
const TREE_WIDTH = 32;

/** Commands of other launchers, for example those that enter containers, need not be there on other hosts. */
function defaultTreeWidth({ kind }: HostLauncher, others: number, together: boolean): number {
  if (together) return TREE_WIDTH;
  return others > MAX_FLAT && (kind === 'ssh' || kind === 'slurm') ? TREE_WIDTH : 0;
}

/**
 * The command that starts all agents, if one can: it is srun, and the agent's program is on the hosts.
 *
 * @param names of the other hosts that have ranks. One alone has a command of its own
 */
function planTogether(names: readonly string[], start: StartPlan): NativeTogether | undefined {
  const { launcher, agent, stage, treeWidth, iface, insecureLinks } = start;
  if (launcher.kind !== 'slurm' || stage || treeWidth === 0 || names.length < 2) return undefined;
  return { command: togetherCommand(names, launcher, agent), iface, insecure: insecureLinks };
}

/** @throws rejects with {@link PmiError} `ERR_PMI_OPTION` */
async function place(
  options: JobSettings,
  sizes: readonly number[],
  kind: HostLauncher['kind'],
): Promise<HostPlacement> {
  if (options.ranksPerNode !== undefined)
    throw optionError('ranksPerNode', 'nothing beside hosts', options.ranksPerNode);
  const listed = checkHosts(options.hosts);
  const withUser = kind === 'ssh' ? undefined : listed.find(({ user }) => user !== undefined);
  if (withUser !== undefined)
    throw optionError('hosts', `no user, because the launcher ${kind} cannot change it`, withUser.user);
  if (kind === 'fork' && listed.some(({ name }) => Buffer.byteLength(name) > MAX_HOST_NAME))
    throw optionError('hosts', `names of up to ${MAX_HOST_NAME} bytes`, options.hosts);
  if (options.singleton !== undefined && options.nodes !== undefined)
    throw optionError('nodes', 'nothing beside singleton', options.nodes);
  if (options.nodes !== undefined) {
    const size = sizes.reduce((sum, ranks) => sum + ranks);
    return placeByNodes(checkNodes(options.nodes, size, listed), listed);
  }
  try {
    if (options.singleton !== undefined) return await placeHere(kind, listed);
    return placeOnHosts(sizes.map((ranks) => ({ ranks, hosts: listed })));
  } catch (error) {
    throw error instanceof HostListError ? optionError('hosts', error.expected, options.hosts) : error;
  }
}

/**
 * @param sizes how many ranks each application has
 * @returns undefined if there is no option `hosts`
 * @throws rejects with {@link PmiError} `ERR_PMI_OPTION`
 */
export async function planHosts(
  options: JobSettings,
  sizes: readonly number[],
): Promise<HostPlan | undefined> {
  const start = checkStart(options);
  const { timeoutMs, treeWidth } = start;
  const { kind } = start.launcher;
  if (options.hosts === undefined) return undefined;
  const { nodes, hosts } = await place(options, sizes, kind);
  const used = new Set(nodes).size;
  const own = await ownHosts(kind, hosts, used);
  const others = hosts.filter(({ name }) => !own.has(name));
  const usedNames = hosts.slice(0, used).map(({ name }) => name);
  const together = planTogether(
    usedNames.filter((name) => !own.has(name)),
    start,
  );
  const numbers = new Map(others.map(({ name }, i) => [name, i + 1]));
  // A name that every host has for itself is not exported to ranks, whose peers are on other hosts.
  const ownName = hosts.find(({ name }) => own.has(name) && !isLoopback(name))?.name ?? '';
  return {
    nodes,
    advise: (name, message) => {
      const user = hosts.find((host) => host.name === name)?.user;
      const ssh = kind === 'ssh' ? start.launcher.words : launcherPrograms.ssh;
      return adviceOnStart({ name, ssh, ...(user === undefined ? {} : { user }) }, message);
    },
    spawnHosts: hosts.map((host) => ({ ...host, number: numbers.get(host.name) ?? 0 })),
    native: {
      nodeHosts: usedNames.map((name) => numbers.get(name) ?? 0),
      // Beside others this host has one name. Alone it is called as listed, as under Hydra.
      nodeNames: usedNames.map((name) => (own.has(name) && others.length > 0 ? ownName : name)),
      hosts: [
        { name: ownName, command: [], stage: '', timeoutMs: 0, sameHost: true },
        ...others.map((host) => ({
          name: host.name,
          command: hostCommand(host, start),
          stage: start.stage ? agentPath : '',
          timeoutMs,
          sameHost: kind === 'fork',
        })),
      ],
      treeWidth: treeWidth ?? defaultTreeWidth(start.launcher, others.length, together !== undefined),
      ...(together === undefined ? {} : { together }),
      hostEnvironment: others.length === 0 ? [] : commandEnvironment(kind),
      pretendHosts: kind === 'fork',
    },
  };
}
