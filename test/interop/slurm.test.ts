// The clients of wireup as ranks of Slurm's PMI server (`srun --mpi=pmi2`), which supports PMI-1 and PMI-2: four ranks,
// alternately on two nodes.

import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

import { needsRoot } from '../support/hostile-clients';
import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { root } from '../support/root';
import { lines, run, wireup } from '../support/run';
import { Slurm } from '../support/slurm';

vi.setConfig({ testTimeout: 60_000 });

const peers = needs('cc', 'libpmi2', 'munged', 'slurmctld', 'slurmd', 'srun', 'unshare');
const asRoot = needsRoot();

describe.skipIf(peers.missing || asRoot.missing)(`under srun${peers.note}${asRoot.note}`, () => {
  let slurm: Slurm;
  beforeAll(async () => {
    slurm = await Slurm.start(2);
  });
  afterAll(() => slurm[Symbol.asyncDispose]());

  /** The sorted output lines of the four ranks. */
  async function srun(...argv: string[]): Promise<string[]> {
    const options = ['--quiet', '--mpi=pmi2', '--nodes=2', '--ntasks=4', '--distribution=cyclic'];
    const result = await run([installed('srun'), ...options, ...argv], { environment: slurm.environment });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return lines(result.stdout).sort();
  }

  const ranks = [0, 1, 2, 3];
  const neighbours = (rank: number): number[] => ranks.filter((other) => other % 2 === rank % 2);

  it('wireup exchange uses PMI-1', async () => {
    const output = await srun(...wireup('exchange'));
    for (const rank of ranks)
      expect(output.join('\n')).toMatch(new RegExp(`^rank ${rank} of 4.* has the cards of all ranks$`, 'm'));
  });

  it('wireup pmi uses PMI-1', async () => {
    expect(await srun(...wireup('pmi', 'barrier', '--json'))).toHaveLength(4);
    const infos = (await srun(...wireup('pmi', 'info', '--json'))).map((line) => JSON.parse(line) as object);
    for (const rank of ranks)
      expect(infos).toContainEqual(
        expect.objectContaining({ rank, size: 4, version: '1.1', clique: neighbours(rank) }),
      );
  });

  it('libpmi.so.0 uses PMI-1', async () => {
    const library = join(root, 'build/Release/libpmi.so.0');
    // This program expects all ranks on one node.
    expect(await srun('--nodes=1', program('libpmi_exchange'), library)).toHaveLength(4);
    const cliques = (await srun(program('libpmi_calls'), library, 'clique')).filter((line) => line !== 'ok');
    expect(cliques).toEqual([
      'size 0 2 ranks 0 0 2',
      'size 0 2 ranks 0 0 2',
      'size 0 2 ranks 0 1 3',
      'size 0 2 ranks 0 1 3',
    ]);
  });

  it.each([
    ['libpmi2.so.0', () => join(root, 'build/Release/libpmi2.so.0'), 2],
    // Slurm's PMI2_Info_GetSize returns the number of ranks.
    ["Slurm's own library", () => installed('libpmi2'), 4],
  ])('%s uses PMI-2', async (_, library, count) => {
    expect(await srun(program('pmi2_calls'), library(), 'exchange')).toEqual(
      ranks.map((rank) => `rank ${rank} of 4, ${count} on its node`),
    );
  });

  it('PmiClient uses PMI-1 and PMI-2', async () => {
    const script = `
      const { PmiClient } = require(${JSON.stringify(join(root, 'dist/index.js'))});
      (async () => {
        const pmi = await PmiClient.fromEnv({ version: Number(process.env.VERSION) });
        await pmi.put('card-' + pmi.rank, 'of-' + pmi.rank);
        await pmi.barrier();
        const businessCards = await pmi.getMany(Array.from({ length: pmi.size }, (_, rank) => 'card-' + rank));
        console.log(JSON.stringify({ rank: pmi.rank, version: pmi.version, businessCards, clique: await pmi.cliqueRanks() }));
        await pmi.finalize();
      })();`;
    for (const [version, expected] of [
      ['1', '1.1'],
      ['2', '2.0'],
    ] as const) {
      const found = (await srun('env', `VERSION=${version}`, process.execPath, '-e', script)).map(
        (line) => JSON.parse(line) as object,
      );
      const businessCards = ranks.map((rank) => `of-${rank}`);
      expect(found).toEqual(
        ranks.map((rank) => ({ rank, version: expected, businessCards, clique: neighbours(rank) })),
      );
    }
  });
});
