// Several pretended nodes on this machine, and several programs in one job, as real MPI sees them.

import { hostname } from 'node:os';

import { describe, expect, it, vi } from 'vitest';

import { lines, needs, program, run, transports, wireup } from './helpers';

vi.setConfig({ testTimeout: 150_000 });

interface Line {
  rank: number;
  app: number;
  node: number;
  local: number;
  localSize: number;
  host: string;
}

function parse(stdout: string): Line[] {
  const pattern = /^rank (\d+) of \d+ app (-?\d+) node of (\d+): (\d+) of (\d+) on (\S+)$/;
  return lines(stdout)
    .map((line) => {
      const [rank, app, node, local, localSize, host] = pattern.exec(line)?.slice(1) ?? [];
      expect(rank, line).toBeDefined();
      return { rank: Number(rank), app: Number(app), node: Number(node), local: Number(local), localSize: Number(localSize), host: host! };
    })
    .sort((x, y) => x.rank - y.rank);
}

/** What `nodes`, the node of each rank, must look like from inside. */
function expected(nodes: number[], nameOf: (node: number) => string): Omit<Line, 'app'>[] {
  return nodes.map((node, rank) => ({
    rank,
    node: nodes.indexOf(node),
    local: nodes.slice(0, rank).filter((other) => other === node).length,
    localSize: nodes.filter((other) => other === node).length,
    host: nameOf(node),
  }));
}

const mpicc = needs('mpicc');
const isRoot = process.getuid!() === 0;

describe.skipIf(mpicc.missing)(`layouts${mpicc.note}`, () => {
  // Only root may give a pretended node a name of its own; elsewhere all bear this machine's.
  const nameOf = (node: number): string => (isRoot ? `node${node}` : hostname());

  it.each([
    ['block:2', 4, [0, 0, 1, 1]],
    ['cyclic:2', 4, [0, 1, 0, 1]],
    ['block:3', 8, [0, 0, 0, 1, 1, 1, 2, 2]],
    ['cyclic:3', 8, [0, 1, 2, 0, 1, 2, 0, 1]],
    ['0,1,1,0,2', 5, [0, 1, 1, 0, 2]],
  ])('--map %s with %i ranks', async (map, ranks, nodes) => {
    for (const pmi of map === 'block:2' ? transports : ['fd']) {
      const { code, stdout, stderr } = await run(wireup('run', '-n', String(ranks), '--map', map, '--pmi', pmi, program('nodes')));
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const found = parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', ''));
      expect(found.map(({ app: _, ...line }) => line)).toEqual(expected(nodes, nameOf));
    }
  });

  it('a mapping that is too long for a value: MPI finds the nodes by their names', async () => {
    // Without a pattern that repeats. Every node has a rank among the first ones.
    let state = 1;
    const random = (): number => (state = (state * 48_271) % 2_147_483_647) % 28;
    const nodes = Array.from({ length: 140 }, (_, rank) => (rank < 28 ? 27 - rank : random()));
    const script = `[ $PMI_RANK -gt 0 ] || exec ${program('raw_mapping')}; exec ${program('raw_mapping')} >/dev/null`;
    const mapping = await run(wireup('run', '-n', '140', '--map', nodes.join(','), 'sh', '-c', script));
    expect(mapping.stdout).toBe('rank 0 of 140 mapping none\n');
    const { code, stdout, stderr } = await run(wireup('run', '-n', '140', '--map', nodes.join(','), program('nodes')), { deadline: 120_000 });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const seen = parse(stdout).map(({ app: _, ...line }) => line);
    expect(seen).toEqual(expected(isRoot ? nodes : nodes.map(() => 0), nameOf));
  });

  it('a mapping that MPI reads as it was said, whatever its pattern', async () => {
    const nodes = [0, 1, 1, 2, 0, 2, 2, 1, 0, 0, 1, 2];
    const { code, stdout } = await run(wireup('run', '-n', '12', '--map', nodes.join(','), program('nodes')));
    expect(code).toBe(0);
    expect(parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(({ app: _, ...line }) => line)).toEqual(expected(nodes, nameOf));
  });

  it('MPMD: appnums, one world, the environment of each', async () => {
    for (const pmi of transports) {
      const { code, stdout, stderr } = await run(
        wireup('run', '--pmi', pmi, '-n', '1', program('nodes'), ':', '-n', '3', program('nodes'), ':', '-n', '2', '-env', 'A', 'b', program('nodes')),
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(parse(stdout).map(({ app, localSize }) => [app, localSize])).toEqual([[0, 6], [1, 6], [1, 6], [1, 6], [2, 6], [2, 6]]);
    }
  });

  it('MPMD over pretended nodes', async () => {
    const { code, stdout } = await run(wireup('run', '-n', '2', '--map', 'cyclic:2', program('nodes'), ':', '-n', '2', program('nodes')));
    expect(code).toBe(0);
    expect(parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(({ app, node }) => [app, node])).toEqual([[0, 0], [0, 1], [1, 0], [1, 1]]);
  });
});
