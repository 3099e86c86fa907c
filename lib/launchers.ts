/** The launchers. host-command.ts makes the commands by which they start agents. */

/** How hosts are reached: the kind, and the words of the program that does it. */
export interface HostLauncher {
  readonly kind: 'ssh' | 'slurm' | 'fork' | 'exec';
  /**
   * `ssh` and `slurm`: the program in the place of ssh and srun, with further options. `exec`: the command; `{host}` in its
   * words stands for the name of the host, which otherwise follows as its last word. `fork`: empty.
   */
  readonly words: readonly string[];
}

export const launcherKinds = ['ssh', 'slurm', 'fork', 'exec'] as const satisfies HostLauncher['kind'][];

/** The programs of the launchers that have one. */
export const launcherPrograms = { ssh: ['ssh'], slurm: ['srun'] } as const;
