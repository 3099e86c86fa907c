// Several pretended nodes on this machine, and several programs in one job, as MPI reports them.

import { hostname } from 'node:os';

import { describe, expect, it, vi } from 'vitest';

import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, run, transports, wireup } from '../support/run';

vi.setConfig({ testTimeout: 150_000 });

interface RankReport {
  rank: number;
  app: number;
  node: number;
  local: number;
  localSize: number;
  host: string;
}

function parse(stdout: string): RankReport[] {
  const pattern = /^rank (\d+) of \d+ app (-?\d+) node of (\d+): (\d+) of (\d+) on (\S+)$/;
  return lines(stdout)
    .map((line) => {
      const [rank, app, node, local, localSize, host] = pattern.exec(line)?.slice(1) ?? [];
      expect(rank, line).toBeDefined();
      return {
        rank: Number(rank),
        app: Number(app),
        node: Number(node),
        local: Number(local),
        localSize: Number(localSize),
        host: host!,
      };
    })
    .sort((x, y) => x.rank - y.rank);
}

/** What the ranks must report if `nodes` has the node of each rank. */
function expected(nodes: number[], nameOf: (node: number) => string): Omit<RankReport, 'app'>[] {
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

describe.skipIf(mpicc.missing)(`MPI${mpicc.note}`, () => {
  // Only root may give a pretended node a name of its own. For other users all have the name of this machine.
  const nameOf = (node: number): string => (isRoot ? `node${node}` : hostname());

  it.each([
    ['block:2', 4, [0, 0, 1, 1]],
    ['cyclic:2', 4, [0, 1, 0, 1]],
    ['block:3', 8, [0, 0, 0, 1, 1, 1, 2, 2]],
    ['cyclic:3', 8, [0, 1, 2, 0, 1, 2, 0, 1]],
    ['0,1,1,0,2', 5, [0, 1, 1, 0, 2]],
  ])('finds the nodes of --map %s with %i ranks', async (map, ranks, nodes) => {
    for (const pmi of map === 'block:2' ? transports : ['fd']) {
      const { code, stdout, stderr } = await run(
        wireup('run', '-n', String(ranks), '--map', map, '--pmi', pmi, program('nodes')),
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const found = parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', ''));
      expect(found.map(({ app: _, ...line }) => line)).toEqual(expected(nodes, nameOf));
    }
  });

  describe('with a process mapping of many blocks', () => {
    const valueOf = async (nodes: number[]): Promise<string> => {
      const script = `[ $PMI_RANK = 0 ] || exec >/dev/null; exec ${program('raw_mapping')}`;
      const { stdout } = await run(
        wireup('run', '-n', String(nodes.length), '--map', nodes.join(','), 'sh', '-c', script),
      );
      return stdout.replace(/^rank 0 of \d+ mapping (.*)\n$/, '$1');
    };
    /** In the long form only: 84 ranks of MPICH keep two processors busy for ten seconds. */
    const checkByMpi = async (nodes: number[]): Promise<void> => {
      if (!long) return;
      const { code, stdout, stderr } = await run(
        wireup('run', '-n', String(nodes.length), '--map', nodes.join(','), program('nodes')),
        { deadline: 120_000 },
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const seen = parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(
        ({ app: _, ...line }) => line,
      );
      expect(seen).toEqual(expected(nodes, nameOf));
    };

    it('gets the longest mapping that MPICH accepts', async () => {
      const nodes = Array.from({ length: 83 }, (_, rank) => 2 - (rank % 3));
      const value = await valueOf(nodes);
      expect(value.length).toBe(672);
      expect(value).toMatch(/^\(vector(,\([210],1,1\)){83}\)$/);
      await checkByMpi(nodes);
    });

    it('gets a repeated pattern only once if the mapping would be too long', async () => {
      const nodes = Array.from({ length: 84 }, (_, rank) => 2 - (rank % 3));
      expect(await valueOf(nodes)).toBe('(vector,(2,1,1),(1,1,1),(0,1,1),(2,1,1),(1,1,1))');
      await checkByMpi(nodes);
    });

    it.skipIf(!isRoot)(
      'gets no mapping if it would make MPICH abort, and finds the nodes by their names',
      async () => {
        let state = 1;
        const random = (): number => (state = (state * 48_271) % 2_147_483_647) % 28;
        // Every node has one of the first ranks.
        const nodes = Array.from({ length: 84 }, (_, rank) => (rank < 28 ? 27 - rank : random()));
        expect(await valueOf(nodes)).toBe('none');
        await checkByMpi(nodes);
      },
    );
  });

  // MPICH misread the first two, as nodes of 1 and 3 ranks, and of 1, 1 and 4, when their repeated pattern was sent once.
  it('finds the nodes of mappings with repetitions', async () => {
    let state = 7;
    const below = (limit: number): number => (state = (state * 48_271) % 2_147_483_647) % limit;
    const placements = [
      [1, 0, 1, 0],
      [2, 1, 0, 2, 1, 0],
    ];
    while (placements.length < 8) {
      const period = Array.from({ length: 2 + below(2) }, () => below(3));
      const nodes = Array.from({ length: 6 }, (_, rank) =>
        rank < below(3) ? below(3) : period[rank % period.length]!,
      );
      const used = [...new Set(nodes)].sort();
      placements.push(nodes.map((node) => used.indexOf(node)));
    }
    for (const nodes of placements) {
      const { code, stdout } = await run(
        wireup('run', '-n', String(nodes.length), '--map', nodes.join(','), program('nodes')),
      );
      expect(code, nodes.join()).toBe(0);
      const found = parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(
        ({ app: _, ...line }) => line,
      );
      expect(found, nodes.join()).toEqual(expected(nodes, nameOf));
    }
  });

  it('finds the nodes of an irregular mapping', async () => {
    const nodes = [0, 1, 1, 2, 0, 2, 2, 1, 0, 0, 1, 2];
    const { code, stdout } = await run(wireup('run', '-n', '12', '--map', nodes.join(','), program('nodes')));
    expect(code).toBe(0);
    expect(
      parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(({ app: _, ...line }) => line),
    ).toEqual(expected(nodes, nameOf));
  });

  it('has one world for several programs, each with its appnum and its environment', async () => {
    for (const pmi of transports) {
      const { code, stdout, stderr } = await run(
        wireup(
          'run',
          '--pmi',
          pmi,
          '-n',
          '1',
          program('nodes'),
          ':',
          '-n',
          '3',
          program('nodes'),
          ':',
          '-n',
          '2',
          '-env',
          'A',
          'b',
          program('nodes'),
        ),
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      expect(parse(stdout).map(({ app, localSize }) => [app, localSize])).toEqual([
        [0, 6],
        [1, 6],
        [1, 6],
        [1, 6],
        [2, 6],
        [2, 6],
      ]);
    }
  });

  it('has one world for several programs on pretended nodes', async () => {
    const { code, stdout } = await run(
      wireup('run', '-n', '2', '--map', 'cyclic:2', program('nodes'), ':', '-n', '2', program('nodes')),
    );
    expect(code).toBe(0);
    expect(
      parse(isRoot ? stdout : stdout.replaceAll(' DISAGREE', '')).map(({ app, node }) => [app, node]),
    ).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
  });
});
