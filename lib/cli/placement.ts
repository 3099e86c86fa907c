/** Which rank is on which node: host lists, -ppn, and maps of pretended nodes. */
import { hostname, networkInterfaces } from 'node:os';
import { InvalidArgumentError } from 'commander';
import { UsageError } from './mpiexec-args';
import { idset } from './report';

/** Pretended nodes: so many, or the node of each rank. */
export type PlacementMap = { kind: 'block' | 'cyclic'; nodes: number } | { kind: 'list'; nodes: number[] };

export interface Placement {
  /** The node of each rank. */
  nodes: number[];
  /** The name of each node. */
  hosts: string[];
  /** They are not names of this machine. */
  pretended: boolean;
}

interface Host {
  name: string;
  /** How many ranks it gets before the next host gets some. */
  count: number;
}

export function parseMap(text: string): PlacementMap {
  const match = /^(block|cyclic):(\d+)$/.exec(text);
  if (match !== null && Number(match[2]) > 0)
    return { kind: match[1] as 'block' | 'cyclic', nodes: Number(match[2]) };
  if (!/^[\d,-]+$/.test(text))
    throw new InvalidArgumentError('Expected block:N, cyclic:N, or the node of each rank, such as 0,0,1,1.');
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

/** A host in each line, as Hydra reads it. */
export function hostsOfFile(file: string, text: string): Host[] {
  const items = text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  if (items.length === 0) throw new UsageError(`--hostfile ${file}: there is no host in it`);
  return parseHosts(`--hostfile ${file}:`, items);
}

/** Throws where a name is not this machine's. */
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
      throw new UsageError(
        `host ${name} cannot be looked up; ranks start on this machine only, which is called ${hostname()}`,
      );
    }
    if (!addresses.every(isOwn)) {
      throw new UsageError(
        `host ${name} (${addresses[0]}) is not this machine, ${hostname()}, and ranks start on no other`,
      );
    }
  }
}

/** Block after block over the hosts, from the first again when ranks are left, as Hydra does. */
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
 * @param segments how many ranks each segment has, and its own hosts where it names some
 * @param ppn the block of each host, instead of its own
 */
export function placeOnHosts(
  segments: readonly { ranks: number; hosts: readonly Host[] }[],
  ppn: number | undefined,
): Placement {
  const names: string[] = [];
  const nodeOf = (name: string): number => {
    if (!names.includes(name)) names.push(name);
    return names.indexOf(name);
  };
  const nodes: number[] = [];
  // Segments that share their hosts go on where the last one has stopped.
  const taken = new Map<string, number>();
  for (const { ranks, hosts } of segments) {
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
    if (map.nodes > size) throw new UsageError(`--map: ${map.nodes} nodes are more than the ${size} ranks`);
    nodes = Array.from({ length: size }, (_, rank) =>
      map.kind === 'cyclic' ? rank % map.nodes : Math.floor((rank * map.nodes) / size),
    );
  }
  const count = nodes.reduce((most, node) => Math.max(most, node), 0) + 1;
  if (new Set(nodes).size !== count)
    throw new UsageError(`--map: expected nodes that are numbered from 0 without gaps, up to ${count - 1}`);
  return { nodes, hosts: Array.from({ length: count }, (_, node) => `node${node}`), pretended: true };
}
