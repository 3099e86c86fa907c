/** Runs `wireup check`, and reads its report. */
import type { Finding } from '../../lib/conformance/finding';
import { run, wireup, type RunOptions } from './run';

export interface CheckResult {
  code: number | null;
  subject: string;
  findings: Finding[];
  stderr: string;
}

export async function check(words: readonly string[], options: RunOptions = {}): Promise<CheckResult> {
  const [side, ...rest] = words as [string, ...string[]];
  const result = await run(wireup('check', side, '--json', ...rest), { deadline: 110_000, ...options });
  let report: { subject: string; findings: Finding[] };
  try {
    report = JSON.parse(result.stdout) as typeof report;
  } catch {
    throw new Error(`no report\n${result.stdout}\n${result.stderr}`);
  }
  return { code: result.code, stderr: result.stderr, ...report };
}

/** The rules with one of these results, in the order of the table. */
export function rulesWith({ findings }: CheckResult, ...statuses: Finding['status'][]): string[] {
  return findings.filter(({ status }) => statuses.includes(status)).map(({ rule }) => rule);
}

/** A peer of wireup, and the rules that it breaks. Tests expect exactly these, and docs/conformance.md lists them. */
export interface KnownPeer {
  readonly name: string;
  readonly failed: readonly string[];
  readonly notOffered: readonly string[];
}

export const knownServers = {
  wireup: {
    name: 'wireup (fd, tcp, unix)',
    failed: ['P1-ERROR-1'],
    notOffered: ['P1-GET-4'],
  },
  hydra: {
    name: 'Hydra 4.0.2, PMI_FD',
    failed: ['P12-INIT-1', 'P2-JOB-2'],
    notOffered: ['P1-PUT-4', 'P1-PUT-6', 'P1-GET-4', 'P2-FENCE-1'],
  },
  hydraPort: {
    name: 'Hydra 4.0.2, `-pmi-port`',
    failed: ['PORT-REFUSE-1', 'PORT-REFUSE-2', 'P12-INIT-1', 'P2-JOB-2'],
    notOffered: ['P1-PUT-4', 'P1-PUT-6', 'P1-GET-4', 'P2-FENCE-1'],
  },
  slurm: {
    name: 'Slurm 22.05, `srun --mpi=pmi2`',
    failed: ['P1-MESSAGE-3', 'P1-PUT-3', 'P12-INIT-1', 'P2-MESSAGE-3'],
    notOffered: ['P1-MESSAGE-7', 'P1-PUT-4', 'P1-PUT-6', 'P1-GET-4'],
  },
} as const satisfies Record<string, KnownPeer>;

export const knownClients = {
  wireup: { name: '`PmiClient`, `libpmi.so.0`, `libpmi2.so.0`', failed: [], notOffered: [] },
  mpich: { name: 'MPICH 4.0.2, ch4 and ch3', failed: ['C1-READ-5', 'C1-READ-9'], notOffered: [] },
  slurm: { name: "Slurm 22.05's `libpmi2.so.0`", failed: [], notOffered: [] },
} as const satisfies Record<string, KnownPeer>;
