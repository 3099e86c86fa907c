/** Decides which rank is on which node, by host lists, -ppn, and maps of pretended nodes. */
import { hostname, networkInterfaces } from 'node:os';
import { idset, InvalidValue, UsageError } from './option';

/** Pretended nodes: how many there are, or the node of each rank. */
export type PlacementMap = { kind: 'block' | 'cyclic'; nodes: number } | { kind: 'list'; nodes: number[] };

export interface Placement {
  /** The node of each rank. */
  nodes: number[];
  /** The name of each node. */
  hosts: string[];
  /** The hosts are not names of this machine. */
  pretended: boolean;
}

interface Host {
  name: string;
  /** How many ranks the host gets before the next host gets some. */
  count: number;
}

export function parseMap(text: string): PlacementMap {
  const match = /^(block|cyclic):(\d+)$/.exec(text);
  if (match !== null && Number(match[2]) > 0)
    return { kind: match[1] as 'block' | 'cyclic', nodes: Number(match[2]) };
  if (!/^[\d,-]+$/.test(text))
    throw new InvalidValue('expected block:N, cyclic:N, or the node of each rank, such as 0,0,1,1');
  return { kind: 'list', nodes: text.split(',').flatMap(idset) };
}

function parseHosts(option: string, items: readonly string[]): Host[] {
  return items.map((item) => {
    const match = /^([^\s:]+)(?::(\d+))?$/.exec(item);
    if (match === null || match[2] === '0')
      throw new UsageError(`${option} ${item}: expected the name of a host, or name:count`);
    return { name: match[1]!, count: Number(match[2] ?? 1) };
  });
}

export function hostsOfList(option: string, list: string): Host[] {
  return parseHosts(
    option,
    list.split(',').filter((item) => item !== ''),
  );
}

/** One host in each line, as Hydra reads it. */
export function hostsOfFile(file: string, text: string): Host[] {
  const items = text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  if (items.length === 0) throw new UsageError(`--hostfile ${file}: expected at least one host`);
  return parseHosts(`--hostfile ${file}:`, items);
}

/** @throws {@link UsageError} if a name does not belong to this machine */
export async function checkLocal(hosts: readonly Host[]): Promise<void> {
  const others = new Set(
    hosts.map(({ name }) => name).filter((name) => name !== 'localhost' && name !== hostname()),
  );
  if (others.size === 0) return;
  const { lookup } = await import('node:dns/promises');
  const own = new Set(
    Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address) ?? []),
  );
  const isOwn = (address: string): boolean => own.has(address) || address.startsWith('127.');
  for (const name of others) {
    let addresses: string[];
    try {
      addresses = (await lookup(name, { all: true })).map(({ address }) => address);
    } catch {
      throw new UsageError(`cannot look up host ${name}; ranks start only on this machine, ${hostname()}`);
    }
    if (!addresses.every(isOwn)) {
      throw new UsageError(
        `host ${name} (${addresses[0]}) is not this machine, ${hostname()}; ranks start only here`,
      );
    }
  }
}

/** Gives each host a block of ranks, and begins again at the first host if ranks remain, as Hydra does. */
function overHosts(count: number, hosts: readonly Host[], nodeOf: (name: string) => number): number[] {
  const nodes: number[] = [];
  while (nodes.length < count) {
    for (const { name, count: block } of hosts) {
      for (let i = 0; i < block && nodes.length < count; i++) nodes.push(nodeOf(name));
    }
  }
  return nodes;
}

/**
 * @param programs how many ranks each program has, and its hosts
 * @param ppn how many ranks each host gets at a time, instead of its own count
 */
export function placeOnHosts(
  programs: readonly { ranks: number; hosts: readonly Host[] }[],
  ppn: number | undefined,
): Placement {
  const names: string[] = [];
  const nodeOf = (name: string): number => {
    if (!names.includes(name)) names.push(name);
    return names.indexOf(name);
  };
  const nodes: number[] = [];
  // A program with the same hosts as an earlier one continues where that one has stopped.
  const taken = new Map<string, number>();
  for (const { ranks, hosts } of programs) {
    const blocks = hosts.map(({ name, count }) => ({ name, count: ppn ?? count }));
    const key = JSON.stringify(blocks);
    const begin = taken.get(key) ?? 0;
    nodes.push(...overHosts(begin + ranks, blocks, nodeOf).slice(begin));
    taken.set(key, begin + ranks);
  }
  return { nodes, hosts: names, pretended: false };
}

export function placeByMap(map: PlacementMap, size: number): Placement {
  let nodes: number[];
  if (map.kind === 'list') {
    nodes = map.nodes;
    if (nodes.length !== size)
      throw new UsageError(`--map: expected the node of each of ${size} ranks, got ${nodes.length}`);
  } else {
    if (map.nodes > size)
      throw new UsageError(`--map: expected at most as many nodes as ranks (${size}), got ${map.nodes}`);
    nodes = Array.from({ length: size }, (_, rank) =>
      map.kind === 'cyclic' ? rank % map.nodes : Math.floor((rank * map.nodes) / size),
    );
  }
  const count = nodes.reduce((most, node) => Math.max(most, node), 0) + 1;
  if (new Set(nodes).size !== count)
    throw new UsageError(`--map: expected node numbers from 0 to ${count - 1}, without gaps`);
  return { nodes, hosts: Array.from({ length: count }, (_, node) => `node${node}`), pretended: true };
}
