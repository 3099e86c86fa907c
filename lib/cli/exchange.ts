import { hostname } from 'node:os';
import type { Command } from 'commander';
import { PmiClient, PmiError, type Waiting } from '../index';

export function addExchange(program: Command): void {
  program
    .command('exchange')
    .description(
      'the built-in PMI program: each rank puts a business card, waits in a barrier, and gets the cards of all ranks',
    )
    .addHelpText(
      'after',
      `
It runs under any PMI-1 launcher. Each rank prints one line; rank 0 also prints how long the exchange took. If a rank gets
a wrong card, the job fails. \`wireup pmi exchange\` does the same and has options.

Examples:
  wireup run -n 8 wireup exchange
  mpiexec -n 8 wireup exchange`,
    )
    .action(async () => {
      await using pmi = await PmiClient.fromEnv();
      for (const line of exchangeLines(pmi, await exchange(pmi, () => ({})))) console.log(line);
    });
}

const keyOf = (rank: number): string => `card-${rank}`;

/** Returns how many milliseconds the exchange took. If a rank gets a wrong card, it ends the job. */
export async function exchange(pmi: PmiClient, waiting: () => Waiting): Promise<number> {
  // Without blanks, because Hydra cuts a value at its first blank.
  const card = `${pmi.rank}/${process.pid}@${hostname()}`;
  const begin = performance.now();
  await pmi.put(keyOf(pmi.rank), card, waiting());
  await pmi.barrier(waiting());
  const cards = await pmi.getMany(
    Array.from({ length: pmi.size }, (_, rank) => keyOf(rank)),
    waiting(),
  );
  for (const [rank, theirs] of cards.entries()) {
    if (theirs.startsWith(`${rank}/`)) continue;
    const message = `rank ${pmi.rank} got '${theirs}' as the card of rank ${rank}`;
    await pmi.abort(1, message);
    throw new PmiError('ERR_PMI_PROTOCOL', message, { rank: pmi.rank });
  }
  await pmi.barrier(waiting());
  return performance.now() - begin;
}

export function exchangeLines(pmi: PmiClient, milliseconds: number): string[] {
  const own = `rank ${pmi.rank} of ${pmi.size}, pid ${process.pid} on ${hostname()}: has the cards of all ranks`;
  const all = `${pmi.size} ranks exchanged their cards in ${milliseconds.toFixed(1)} ms`;
  return pmi.rank === 0 ? [own, all] : [own];
}
