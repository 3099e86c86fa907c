// A Slurm cluster of pretended nodes n1, n2, ... on this machine, for one test file: munged, slurmctld and one slurmd a
// node, on ports of their own and with all their files in one folder. It needs root, because each slurmd runs with a
// host name of its own.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { freePorts } from './free-ports';
import { installed } from './installed';

/** In milliseconds, for a busy machine. */
const startTimeout = 60_000;

export class Slurm implements AsyncDisposable {
  /** The environment for srun, which reads the rest from the file that it names. */
  readonly environment: Record<string, string>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'slurm-'));
  readonly #daemons: ChildProcess[] = [];
  #isUp = false;
  #nodes = 0;

  private constructor() {
    this.environment = { SLURM_CONF: join(this.#folder, 'slurm.conf') };
  }

  /** @param options.gpus each node has so many */
  static async start(nodes: number, { gpus = 0 } = {}): Promise<Slurm> {
    const slurm = new Slurm();
    try {
      await slurm.#start(nodes, gpus);
      return slurm;
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(nodes: number, gpus: number): Promise<void> {
    this.#nodes = nodes;
    const gres = gpus > 0 ? `gpu:${gpus}` : '(null)';
    const at = (name: string): string => join(this.#folder, name);
    for (const name of ['state', 'spool']) mkdirSync(at(name));
    // munged refuses a folder that other users can write to, but its clients of any user must be able to pass through it.
    chmodSync(this.#folder, 0o755);
    writeFileSync(at('munge.key'), Buffer.alloc(1024, 'of a test, on one machine'), { mode: 0o400 });
    const [control, ...ports] = await freePorts(1 + nodes);
    const names = ports.map((_, i) => `n${i + 1}`);
    if (gpus > 0) {
      // Slurm only looks whether the files are devices.
      for (let i = 0; i < gpus; i++) symlinkSync('/dev/null', at(`gpu${i}`));
      writeFileSync(at('gres.conf'), `NodeName=n[1-${nodes}] Name=gpu File=${at(`gpu[0-${gpus - 1}]`)}\n`);
    }
    writeFileSync(
      at('slurm.conf'),
      `${Object.entries({
        ClusterName: 'wireup',
        SlurmctldHost: 'localhost(127.0.0.1)',
        SlurmctldPort: control,
        AuthInfo: `socket=${at('munge.sock')}`,
        SlurmUser: 'root',
        StateSaveLocation: at('state'),
        SlurmdSpoolDir: at('spool/%n'),
        SlurmctldPidFile: at('slurmctld.pid'),
        SlurmdPidFile: at('%n.pid'),
        SlurmctldLogFile: at('slurmctld.log'),
        SlurmdLogFile: at('%n.log'),
        // No cgroups, because the machine shares these with others.
        ProctrackType: 'proctrack/linuxproc',
        // With task/none, srun reports that it cannot bind even if it shall not.
        TaskPlugin: 'task/affinity',
        JobAcctGatherType: 'jobacct_gather/none',
        SlurmdParameters: 'config_overrides',
        MpiDefault: 'none',
        // Only the backfill scheduler, which runs each 30 seconds by default, starts jobs of several components.
        SchedulerParameters: 'bf_interval=1',
        ...(gpus > 0
          ? { GresTypes: 'gpu', SelectType: 'select/cons_tres', SelectTypeParameters: 'CR_Core' }
          : {}),
      })
        .map(([name, value]) => `${name}=${value}`)
        .join('\n')}
${names.map((name, i) => `NodeName=${name} NodeHostname=localhost NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=8 Gres=${gres}`).join('\n')}
PartitionName=all Nodes=ALL Default=YES
`,
    );
    // The nodes know each other's names.
    writeFileSync(at('hosts'), ['localhost', ...names].map((name) => `127.0.0.1 ${name}\n`).join(''));
    this.#daemon(
      installed('munged'),
      '-F',
      '--force',
      ...['key', 'seed', 'log', 'pid'].map((kind) => `--${kind}-file=${at(`munge.${kind}`)}`),
      `--socket=${at('munge.sock')}`,
    );
    await this.#until(
      'munged listens',
      () => spawnSync('munge', ['-n', '-S', at('munge.sock')]).status === 0,
    );
    this.#daemon(installed('slurmctld'), '-D', '-c');
    for (const name of names) {
      mkdirSync(at(`spool/${name}`));
      this.#daemon(
        installed('unshare'),
        '--uts',
        '--mount',
        'sh',
        '-c',
        'mount --bind "$3" /etc/hosts; hostname "$1"; exec "$2" -D -N "$1"',
        'sh',
        name,
        installed('slurmd'),
        at('hosts'),
      );
    }
    await this.#until('all nodes are idle', () => {
      const { stdout } = this.#command('sinfo', '-h', '-t', 'idle', '-o', '%D');
      return stdout.trim() === String(nodes);
    });
    this.#isUp = true;
  }

  /** Allocates all nodes, until the cluster ends. Returns the number of the job, for SLURM_JOB_ID. */
  allocate(): string {
    const { stderr } = this.#command('salloc', '--no-shell', '--nodes', String(this.#nodes));
    const job = /Granted job allocation (\d+)/.exec(stderr)?.[1];
    if (job === undefined) throw new Error(`Slurm: no allocation\n${stderr}`);
    return job;
  }

  #command(name: string, ...args: string[]): { stdout: string; stderr: string } {
    const env = { ...process.env, ...this.environment };
    return spawnSync(name, args, { encoding: 'utf8', env, timeout: 30_000 });
  }

  #daemon(command: string, ...args: string[]): void {
    this.#daemons.push(
      spawn(command, args, { stdio: 'ignore', env: { ...process.env, ...this.environment } }),
    );
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    for (const end = Date.now() + startTimeout; !condition(); await delay(100)) {
      if (Date.now() < end) continue;
      const log = spawnSync('sh', ['-c', 'tail -n 20 *.log'], { cwd: this.#folder, encoding: 'utf8' }).stdout;
      throw new Error(`Slurm: not within ${startTimeout} ms: ${what}\n${log}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isUp) {
      // A step that outlives the daemons tries to report to them for ever.
      this.#command('scancel', '--user', String(process.getuid!()));
      await this.#until('no job is left', () => this.#command('squeue', '-h').stdout === '');
    }
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      const killTimer = setTimeout(() => daemon.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(killTimer);
    }
    rmSync(this.#folder, { recursive: true });
  }
}
