/** The checks of what PMI-1.2 adds. */
import { NotOffered, Violation, type Findings } from '../finding';
import { init } from './probes-1';
import type { Place } from './probes-start';
import type { LineSession } from './session';

/** Barriers wait for other ranks. */
const BARRIER_TIMEOUTS = 20;

export async function probePmi12(
  findings: Findings,
  session: LineSession,
  { rank, size }: Place,
): Promise<void> {
  let version = '';
  await findings.check('P12-INIT-1', [], async () => {
    const [major, minor] = await init(session, 2);
    version = `${major}.${minor}`;
    if (major > 1 || minor > 2) throw new Violation(`asked for 1.2, got ${version}`);
  });
  await findings.check('P12-INIT-2', ['P12-INIT-1'], async () => {
    if (version !== '1.2') throw new NotOffered(`the server speaks PMI-${version}`);
  });
  const barrier = (group: string): Promise<unknown> =>
    session.succeed(`cmd=barrier_in${group}`, 'barrier_out', { timeout: session.timeout * BARRIER_TIMEOUTS });
  // Rank 0 alone: the others are not in it, and some of them wait in the barrier below.
  await findings.check('P12-BARRIER-1', ['P12-INIT-2'], async () => {
    await session.succeed(`cmd=barrier_in group=${rank}`, 'barrier_out');
    if (size > 1) await barrier(` group=${Array.from({ length: size }, (_, i) => i).join(',')}`);
  });
  await findings.check('P12-BARRIER-2', ['P12-INIT-2'], async () => {
    await barrier('');
  });
  await findings.check('P12-FINALIZE-1', ['P12-INIT-1'], async () => {
    await session.succeed('cmd=finalize', 'finalize_ack');
  });
}
