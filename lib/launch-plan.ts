/** Converts the options of launch() to those of the addon. */
import { hostname } from 'node:os';
import { resolveUnixAddress, toListenOptions } from './address';
import { makeGroupOptions } from './identity';
import {
  applyJobRules,
  jobRuleNames,
  type JobSettings,
  type LaunchApp,
  type LaunchOptions,
  type OutputTarget,
  type RankEnvironment,
  type SingletonOptions,
} from './launch-options';
import { MAX_BARRIER_TIMES, MAX_RANKS } from './limits';
import {
  agentPath,
  native,
  type NativeEnvironment,
  type NativeGroupOptions,
  type NativeHostOptions,
  type NativeLaunchOptions,
  type NativeOutputPlan,
  type NativeProgram,
} from './native';
import {
  checkBoolean,
  checkBytes,
  checkBytesList,
  checkInteger,
  checkIntegers,
  checkOneOf,
  checkOptions,
  checkSignal,
  checkString,
  optionError,
} from './options';
import type { JobApp } from './result';
import { checkSpawnLimit } from './spawn';
import type { SpawnHost } from './spawn-placement';
import { checkTrace, type TracePlan } from './trace/writer';
import { transportNames, transports } from './transports';

const appNames = ['program', 'args', 'ranks', 'cwd', 'env', 'inheritEnv', 'setEnv', 'path'] as const;

/** Settings that planLaunch() checks together. jobRules has the others; the compiler reports a setting that is in neither. */
const jointSettings: Record<Exclude<keyof JobSettings, (typeof jobRuleNames)[number]>, true> = {
  pmi: true,
  ports: true,
  execShim: true,
  stdout: true,
  stderr: true,
  universeSize: true,
  maxSpawn: true,
  nameServer: true,
  ranksPerNode: true,
  nodes: true,
  hosts: true,
  launcher: true,
  agentPath: true,
  stage: true,
  startTimeout: true,
  treeWidth: true,
  iface: true,
  insecureLinks: true,
  allowedUids: true,
  pmiId: true,
  reconnect: true,
  singleton: true,
  kvsLimit: true,
  pmiSubversion: true,
  trace: true,
  barrierTimes: true,
  strict: true,
  listed: true,
  signal: true,
};
/** Those that lib/launch-hosts.ts checks. It is loaded only if one of them is given. */
const hostOptions = [
  'hosts',
  'launcher',
  'agentPath',
  'stage',
  'startTimeout',
  'treeWidth',
  'iface',
  'insecureLinks',
] as const;

/** The hosts of a launch without `hosts`. */
const thisHostAlone: NativeHostOptions = {
  hosts: [],
  hostEnvironment: [],
  treeWidth: 0,
  nodeHosts: [],
  nodeNames: [],
  pretendHosts: false,
};

const settingNames: readonly (keyof JobSettings)[] = [
  ...jobRuleNames,
  ...(Object.keys(jointSettings) as (keyof JobSettings)[]),
];

/** Characters of the pattern of a file name: PATH_MAX. */
const MAX_PATTERN = 4096;

/** A checked launch. Only the pipes are missing, which launch() opens. */
export interface LaunchPlan {
  size: number;
  apps: JobApp[];
  signal: AbortSignal | undefined;
  listed: boolean;
  trace: TracePlan | undefined;
  stdout: OutputTarget;
  stderr: OutputTarget;
  maxSpawn: number;
  /** The name of this host: as it is listed, unless every host has that name for itself. */
  hostName: string;
  /** The hosts that ranks may be spawned on; none: this host only. */
  spawnHosts: readonly SpawnHost[];
  /** What to do about the message of a host that could not be started; undefined if that is not known. */
  advise: (host: string, message: string) => string | undefined;
  /** The options of a process group of that size, except its programs and their places. */
  makeGroup(size: number): Omit<NativeGroupOptions, 'programs' | 'nodeHosts' | 'nodeNames' | 'nodeNumbers'>;
  singleton: SingletonOptions | undefined;
  native: Omit<
    NativeLaunchOptions,
    'begin' | 'singletonPort' | 'singletonPid' | 'stdoutFd' | 'stderrFd' | 'rankStdoutFds' | 'rankStderrFds'
  >;
}

/**
 * What Hydra sets for its ranks: gfortran then prints into a pipe without delay. (The agent sets another such variable,
 * MPIR_CVAR_CH3_INTERFACE_HOSTNAME, unless an interface is named.)
 */
const hydraEnvironment = ['GFORTRAN_UNBUFFERED_PRECONNECTED=y'];

function appsOf(options: LaunchOptions): { where: string; app: LaunchApp }[] {
  if (typeof options !== 'object' || options === null) throw optionError('options', 'an object', options);
  if (!('apps' in options)) {
    checkOptions('options', options, [...appNames, ...settingNames]);
    return [{ where: '', app: options }];
  }
  checkOptions('options', options, ['apps', ...settingNames]);
  if (!Array.isArray(options.apps) || options.apps.length === 0)
    throw optionError('apps', 'an array of applications', options.apps);
  return Array.from(options.apps, (app: LaunchApp, i) => ({
    where: `apps[${i}].`,
    app: checkOptions(`apps[${i}]`, app, appNames),
  }));
}

/**
 * What makes MPICH's ranks use the interface, as under Hydra. A network has no such variable. The name of a host, which
 * another launcher may have set, must not be beside it.
 */
function interfaceEnvironment(value: string | undefined): [string, string | undefined][] {
  if (value === undefined) return [];
  const iface = checkString('iface', value);
  // Loaded only if it is used: it takes some milliseconds.
  const { isIP } = process.getBuiltinModule('node:net');
  if (isIP(iface.split('/')[0]!) !== 0) return [];
  return [
    ['MPIR_CVAR_NEMESIS_TCP_NETWORK_IFACE', iface],
    ['MPIR_CVAR_CH3_INTERFACE_HOSTNAME', undefined],
  ];
}

function toProgram(where: string, app: LaunchApp, execShim: boolean, iface?: string): NativeProgram {
  return {
    directory: checkBytes(`${where}cwd`, app.cwd ?? ''),
    path: checkBytes(`${where}path`, app.path ?? ''),
    execShim,
    args: [checkProgram(`${where}program`, app.program), ...checkBytesList(`${where}args`, app.args ?? [])],
    environment: toEnvironment(where, app, iface),
  };
}

function checkProgram(name: string, value: unknown): string {
  const program = checkBytes(name, value);
  if (program === '') throw optionError(name, 'the name of a program', value);
  return program;
}

function toEnvironment(where: string, app: LaunchApp, iface: string | undefined): NativeEnvironment {
  const given = app.env === undefined ? undefined : checkEnvironment(`${where}env`, app.env);
  const names =
    app.inheritEnv === undefined ? undefined : checkBytesList(`${where}inheritEnv`, app.inheritEnv);
  if (given !== undefined && names !== undefined)
    throw optionError(`${where}inheritEnv`, 'nothing beside env', app.inheritEnv);
  const inherited = given === undefined ? native.ownEnvironment(names) : new Uint8Array();
  // A worker has variables of its own, which the addon does not know.
  const copied = Object.entries(inherited === undefined ? process.env : {}).filter(
    ([name]) => names?.includes(name) ?? true,
  );
  const variables = new Map([
    ...copied,
    ...interfaceEnvironment(iface),
    ...(given ?? []),
    ...checkEnvironment(`${where}setEnv`, app.setEnv ?? {}),
  ]);
  const set = [...variables].filter(
    ([name, value]) => value !== undefined && !native.isStalePmiVariable(name),
  );
  return {
    defaults: hydraEnvironment,
    inherited: inherited ?? new Uint8Array(),
    set: set.map(([name, value]) => `${name}=${value}`),
    unset: [...variables.keys()].filter((name) => variables.get(name) === undefined),
  };
}

function checkEnvironment(name: string, value: RankEnvironment): [string, string | undefined][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map)
    throw optionError(name, 'an object of strings', value);
  return Object.entries(value).map(([variable, text]) => {
    if (variable === '' || variable.includes('='))
      throw optionError(name, "names that are not empty and have no '='", variable);
    return [
      checkString(name, variable),
      text === undefined ? undefined : checkBytes(`${name}.${variable}`, text),
    ];
  });
}

function checkTarget(name: string, value: OutputTarget): OutputTarget {
  if (typeof value !== 'object' || value === null)
    return checkOneOf(name, value, ['inherit', 'pipe', 'pipe-per-rank', 'ignore'] as const);
  checkOptions(name, value, ['file']);
  const file = checkBytes(`${name}.file`, value.file);
  if (file === '' || file.length > MAX_PATTERN)
    throw optionError(`${name}.file`, `the name of a file, up to ${MAX_PATTERN} letters`, file);
  return { file };
}

function toOutputPlan(target: OutputTarget, joins: boolean): NativeOutputPlan {
  if (typeof target === 'object') return { mode: 'file', file: target.file as string };
  if (target === 'ignore' || target === 'pipe-per-rank') return { mode: 'discard', file: '' };
  // The output of a single rank needs no joining.
  return { mode: joins ? 'merge' : 'inherit', file: '' };
}

/** The nodes of a job on this host alone. */
function nodesOf(options: JobSettings, size: number): number[] {
  if (options.nodes === undefined) return [];
  const nodes = checkIntegers('nodes', options.nodes, 0, size - 1);
  if (nodes.length !== size) throw optionError('nodes', `one node for each of ${size} ranks`, nodes);
  if (options.ranksPerNode !== undefined)
    throw optionError('ranksPerNode', 'nothing beside nodes', options.ranksPerNode);
  const count = nodes.reduce((most, node) => Math.max(most, node), 0) + 1;
  if (new Set(nodes).size !== count)
    throw optionError('nodes', 'nodes that are numbered from 0 without gaps', nodes);
  return nodes;
}

/** The node of each rank if nodes are filled in the order of ranks, for jobs of several applications. */
function nodesInOrder(size: number, ranksPerNode: number | undefined): number[] {
  const each = checkInteger('ranksPerNode', ranksPerNode ?? size, 1, MAX_RANKS);
  return Array.from({ length: size }, (_, rank) => Math.floor(rank / each));
}

function singletonOf(options: JobSettings, size: number): LaunchPlan['singleton'] {
  const value = options.singleton;
  if (value === undefined) return undefined;
  if (options.debugger !== undefined)
    throw optionError('debugger', 'nothing beside singleton', options.debugger);
  checkOptions('singleton', value, ['port', 'pid']);
  if (size !== 1) throw optionError('ranks', '1 beside singleton', size);
  return {
    port: checkInteger('singleton.port', value.port, 1, 65_535),
    pid: checkInteger('singleton.pid', value.pid, 1, 2 ** 31 - 1),
  };
}

function checkPorts(value: unknown): [number, number] {
  if (!Array.isArray(value) || value.length !== 2)
    throw optionError('ports', 'the first and the last port', value);
  const first = checkInteger('ports[0]', value[0], 1, 65_535);
  return [first, checkInteger('ports[1]', value[1], first, 65_535)];
}

/** @throws {@link PmiError} `ERR_PMI_OPTION`; rejects with `ERR_PMI_ADDRESS` */
export async function planLaunch(options: LaunchOptions): Promise<LaunchPlan> {
  const given = appsOf(options);
  const sizes = given.map(({ where, app }) => checkInteger(`${where}ranks`, app.ranks, 1, MAX_RANKS));
  const size = checkInteger(
    'ranks',
    sizes.reduce((sum, ranks) => sum + ranks),
    1,
    MAX_RANKS,
  );
  const pmi = checkOneOf('pmi', options.pmi ?? 'fd', transportNames);
  const transport = transports[pmi];
  const universe = options.universeSize;
  if (universe !== undefined) checkInteger('universeSize', universe, size, 2 ** 31 - 1);
  const shim = checkBoolean('execShim', options.execShim ?? true) && transport.shim;
  // An agent that was sent has no wireup-exec beside it.
  if (shim && options.stage === true)
    throw optionError(
      'stage',
      `execShim: false (--no-exec-shim) or another pmi beside it, because pmi '${pmi}' needs wireup-exec, which is not sent`,
      true,
    );
  const programs = given.map(({ where, app }) => toProgram(where, app, shim, options.iface));
  const ruled = applyJobRules(options, size);
  const trace = checkTrace(options.trace, size);
  const stdout = checkTarget('stdout', options.stdout ?? 'inherit');
  const stderr = checkTarget('stderr', options.stderr ?? 'inherit');
  const singleton = singletonOf(options, size);
  const placed = hostOptions.some((name) => options[name] !== undefined)
    ? await (await import('./launch-hosts.js')).planHosts(options, sizes)
    : undefined;
  const hosts = placed?.native ?? thisHostAlone;
  // A rank on another host has no stdout of this process to write to.
  const joins = size > 1 || ruled.label !== '' || (hosts.nodeHosts[0] ?? 0) !== 0;
  const nodes = placed?.nodes ?? nodesOf(options, size);
  const listen = {
    ...(transport.inherited ? {} : await toListenOptions(pmi)),
    ...(options.ports === undefined ? {} : { ports: checkPorts(options.ports) }),
  };
  // The agents take an empty list as the default.
  if (options.allowedUids?.length === 0)
    throw optionError('allowedUids', 'at least one uid', options.allowedUids);
  const reportedEntries = checkBoolean('barrierTimes', options.barrierTimes ?? false) ? MAX_BARRIER_TIMES : 0;
  const makeGroup: LaunchPlan['makeGroup'] = (ranks) => ({
    ...makeGroupOptions(ranks, universe, options.ranksPerNode, options),
    ...listen,
    reportedEntries,
    pmi: transport.inherited ? 'fd' : 'port',
    pretendHosts: hosts.pretendHosts,
    // Without the shim, what connects may not descend from the rank's process: a container's runtime may detach it.
    descendantsOnly: shim,
  });
  return {
    size,
    apps: programs.map(({ args }, i) => ({ program: args[0]!, ranks: sizes[i]! })),
    signal: checkSignal(options.signal),
    listed: checkBoolean('listed', options.listed ?? false),
    trace,
    stdout,
    stderr,
    singleton,
    maxSpawn: checkSpawnLimit(options.maxSpawn, universe, size),
    hostName: hosts.hosts[0]?.name || hostname(),
    spawnHosts: placed?.spawnHosts ?? [],
    advise: (host, message) => placed?.advise(host, message),
    makeGroup,
    native: {
      ...makeGroup(size),
      ...(trace === undefined ? {} : { trace: trace.native }),
      nodes: nodes.length === 0 && sizes.length > 1 ? nodesInOrder(size, options.ranksPerNode) : nodes,
      appSizes: sizes,
      ...(options.nameServer === undefined
        ? {}
        : { nameServer: await resolveUnixAddress('nameServer', options.nameServer) }),
      agent: agentPath,
      programs,
      hosts: hosts.hosts,
      hostEnvironment: hosts.hostEnvironment,
      treeWidth: hosts.treeWidth,
      ...(hosts.together === undefined ? {} : { together: hosts.together }),
      nodeHosts: hosts.nodeHosts,
      nodeNames: hosts.nodeNames,
      nodeNumbers: [],
      stdout: toOutputPlan(stdout, joins),
      stderr: toOutputPlan(stderr, joins),
      ...ruled,
    },
  };
}
