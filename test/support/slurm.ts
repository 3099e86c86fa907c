// A Slurm of pretended nodes n1, n2, ... on this machine, for one test file: munged, slurmctld and a slurmd a node, on ports
// of their own and with all their files in one folder. It needs root, as each slurmd runs under a host name of its own.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { installed } from './installed';

/** Of a machine that is busy. */
const patience = 60_000;

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

export class Slurm implements AsyncDisposable {
  /** For srun, which finds the rest by it. */
  readonly environment: Record<string, string>;
  readonly #folder = mkdtempSync(join(tmpdir(), 'slurm-'));
  readonly #daemons: ChildProcess[] = [];

  private constructor() {
    this.environment = { SLURM_CONF: join(this.#folder, 'slurm.conf') };
  }

  static async start(nodes: number): Promise<Slurm> {
    const slurm = new Slurm();
    try {
      await slurm.#start(nodes);
      return slurm;
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #start(nodes: number): Promise<void> {
    const at = (name: string): string => join(this.#folder, name);
    for (const name of ['state', 'spool']) mkdirSync(at(name));
    // munged refuses a folder that others could have written to, and clients of any user go through it.
    chmodSync(this.#folder, 0o755);
    writeFileSync(at('munge.key'), Buffer.alloc(1024, 'of a test, on one machine'), { mode: 0o400 });
    const [control, ...ports] = await freePorts(1 + nodes);
    const names = ports.map((_, i) => `n${i + 1}`);
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
        // Nothing of the machine's that others use: no cgroups, no affinity.
        ProctrackType: 'proctrack/linuxproc',
        TaskPlugin: 'task/none',
        JobAcctGatherType: 'jobacct_gather/none',
        SlurmdParameters: 'config_overrides',
        MpiDefault: 'none',
      })
        .map(([name, value]) => `${name}=${value}`)
        .join('\n')}
${names.map((name, i) => `NodeName=${name} NodeHostname=localhost NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=8`).join('\n')}
PartitionName=all Nodes=ALL Default=YES
`,
    );
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
        'sh',
        '-c',
        'hostname "$1"; exec "$2" -D -N "$1"',
        'sh',
        name,
        installed('slurmd'),
      );
    }
    await this.#until('all nodes are idle', () => {
      const { stdout } = spawnSync('sinfo', ['-h', '-t', 'idle', '-o', '%D'], {
        encoding: 'utf8',
        env: { ...process.env, ...this.environment },
        timeout: 10_000,
      });
      return stdout.trim() === String(nodes);
    });
  }

  #daemon(command: string, ...args: string[]): void {
    this.#daemons.push(
      spawn(command, args, { stdio: 'ignore', env: { ...process.env, ...this.environment } }),
    );
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    for (const end = Date.now() + patience; !condition(); await delay(100)) {
      if (Date.now() < end) continue;
      const log = spawnSync('sh', ['-c', 'tail -n 20 *.log'], { cwd: this.#folder, encoding: 'utf8' }).stdout;
      throw new Error(`Slurm: not within ${patience} ms: ${what}\n${log}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons.reverse()) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = once(daemon, 'exit');
      daemon.kill('SIGTERM');
      const patient = setTimeout(() => daemon.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(patient);
    }
    rmSync(this.#folder, { recursive: true });
  }
}
