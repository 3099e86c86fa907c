/** Maps of pretended nodes: which rank is on which of them. */
import { idset, InvalidValue, UsageError } from './option';

/** Pretended nodes: how many there are, or the node of each rank. */
export type PlacementMap = { kind: 'block' | 'cyclic'; nodes: number } | { kind: 'list'; nodes: number[] };

export function parseMap(text: string): PlacementMap {
  const match = /^(block|cyclic):(\d+)$/.exec(text);
  if (match !== null && Number(match[2]) > 0)
    return { kind: match[1] as 'block' | 'cyclic', nodes: Number(match[2]) };
  if (!/^[\d,-]+$/.test(text))
    throw new InvalidValue('expected block:N, cyclic:N, or the node of each rank, such as 0,0,1,1');
  return { kind: 'list', nodes: text.split(',').flatMap(idset) };
}

/** Returns the node of each rank, and the name of each node. */
export function placeByMap(map: PlacementMap, size: number): { nodes: number[]; hosts: string[] } {
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
  return { nodes, hosts: Array.from({ length: count }, (_, node) => `node${node}`) };
}
