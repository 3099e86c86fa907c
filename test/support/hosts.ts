// Several hosts on this machine, for one test file: reached by ssh, by srun, or as namespaces. Each has a host name of its own.
// They need root.

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { HostLauncher } from '../../lib/launchers';
import { srunPath } from './fake-srun';
import { freePorts } from './free-ports';
import { installed, needs } from './installed';
import { mark } from './processes';
import { wireup } from './run';
import { Slurm } from './slurm';

/** In milliseconds, for a busy machine. */
const startTimeout = 60_000;

/**
 * Several hosts, and how to reach them. They share the processes and files of this machine, so the end of a `Run` finds what is
 * left on them.
 */
export interface Hosts extends AsyncDisposable {
  /** Look-ups resolve them on these hosts, but not on this machine. Pretended hosts have names only. */
  readonly names: readonly string[];
  readonly launcher: HostLauncher;
  /** The same as options of `wireup run`. */
  readonly options: readonly string[];
  /** Variables that the command needs. */
  readonly environment: Readonly<Record<string, string>>;
  /** The command in which `wireup run` reaches them; none by default. */
  readonly inside?: readonly string[];
}

/** Hosts with a network of their own. */
export interface NetworkHosts extends Hosts {
  /** Pulls the cable of a host, or plugs it in again. */
  setConnected(name: string, connected: boolean): void;
}

/** The requirements of each kind of hosts, for `describe.skipIf(...)`. */
export const hostNeeds = {
  ssh: (): ReturnType<typeof needs> => asRoot(needs('ssh', 'sshd', 'unshare')),
  slurm: (): ReturnType<typeof needs> => asRoot(needs('srun', 'munged', 'slurmctld', 'slurmd', 'unshare')),
  namespaces: (): ReturnType<typeof needs> => asRoot(needs('ip', 'nsenter', 'unshare')),
  mounts: (): ReturnType<typeof needs> => asRoot(needs('unshare')),
  pretended: (): ReturnType<typeof needs> => asRoot({ missing: false, note: '' }),
};

/** The variables that the agents of all kinds of hosts get, so that the end of a `Run` finds their processes and files. */
const passedVariables = [mark, 'TMPDIR', 'XDG_RUNTIME_DIR'].join(' ');

/** The command line of `wireup run` with as many ranks on each of the hosts. */
export function wireupOn(hosts: Hosts, ranksPerHost: number, ...args: string[]): string[] {
  const ranks = hosts.names.length * ranksPerHost;
  const places =
    hosts instanceof PretendedHosts
      ? ['--map', `block:${hosts.names.length}`]
      : [...hosts.options, '--hosts', hosts.names.map((name) => `${name}:${ranksPerHost}`).join(',')];
  return [...(hosts.inside ?? []), ...wireup('run', '-n', String(ranks), ...places, ...args)];
}

function asRoot(tools: ReturnType<typeof needs>): ReturnType<typeof needs> {
  return process.getuid?.() === 0 || tools.missing ? tools : { missing: true, note: ' (needs root)' };
}

const optionsOf = ({ kind, words }: HostLauncher): string[] => [
  '--launcher',
  kind,
  '--launcher-exec',
  words.join(' '),
];

/** Processes that last as long as the hosts, and a folder for their files. */
class Daemons {
  readonly folder = mkdtempSync(join(tmpdir(), 'hosts-'));
  /** What the hosts have as /etc/hosts: they know each other's names. */
  readonly hostsFile = join(this.folder, 'hosts');
  readonly #processes: ChildProcess[] = [];

  /** Starts a daemon, and resolves when it has written a line that contains `ready`. Returns its pid. */
  async start(ready: string, ...argv: string[]): Promise<number> {
    const [file, ...args] = argv as [string, ...string[]];
    const daemon = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#processes.push(daemon);
    let said = '';
    const isReady = new Promise<void>((fulfil, reject) => {
      daemon.stderr.setEncoding('utf8').on('data', (text: string) => {
        if ((said += text).includes(ready)) fulfil();
      });
      daemon.once('error', reject);
      daemon.once('exit', () => reject(new Error(`${argv.join(' ')} has ended\n${said}`)));
    });
    const late = delay(startTimeout, undefined, { ref: false }).then(() => {
      throw new Error(`${argv.join(' ')}: not ready after ${startTimeout} ms\n${said}`);
    });
    await Promise.race([isReady, late]);
    return daemon.pid!;
  }

  /** Starts what holds the namespaces of a host. Its names are those of the hosts file. */
  startHost(ready: string, name: string, network: boolean, ...argv: string[]): Promise<number> {
    const namespaces = ['--uts', '--mount', ...(network ? ['--net'] : [])];
    return this.start(
      ready,
      ...[installed('unshare'), ...namespaces, 'sh', '-c'],
      'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"',
      ...['sh', this.hostsFile, name, ...argv],
    );
  }

  /** Makes the hosts file. */
  writeHosts(names: readonly string[], addressOf: (number: number) => string): void {
    const lines = names.map((name, i) => `${addressOf(i + 1)} ${name}\n`);
    writeFileSync(this.hostsFile, `127.0.0.1 localhost\n${lines.join('')}`);
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#processes.map(async (daemon) => {
        if (daemon.exitCode !== null || daemon.signalCode !== null) return;
        const ended = once(daemon, 'exit');
        killTree(daemon.pid!);
        await ended;
      }),
    );
    rmSync(this.folder, { recursive: true });
  }
}

/** Kills a process that this one has started, after its descendants. */
function killTree(pid: number): void {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    for (const child of children.split(' ').filter((word) => word !== '')) killTree(Number(child));
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function check(...argv: string[]): void {
  const [file, ...args] = argv as [string, ...string[]];
  const { status, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
}

const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);

/**
 * A network for hosts that have network namespaces of their own: a bridge in one more namespace, with a cable to each host.
 * It does not reach this machine. Host N has the address 10.0.0.N.
 */
class Network {
  readonly #ip = installed('ip');

  private constructor(readonly pid: number) {}

  /** The command that enters the namespace of the bridge, which has the address 10.0.0.254. */
  get enter(): string[] {
    return enterNetwork(this.pid);
  }

  static async start(daemons: Daemons): Promise<Network> {
    const network = new Network(await daemons.startHost('ready', 'bridge', true, ...holder));
    network.#run(['link', 'add', 'bridge', 'type', 'bridge']);
    network.#run(['address', 'add', '10.0.0.254/24', 'dev', 'bridge']);
    network.#run(['link', 'set', 'bridge', 'up']);
    return network;
  }

  /** Connects host `number`, whose namespaces that process holds. */
  connect(number: number, name: string, pid: number): void {
    this.#run(['link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(pid)]);
    this.#run(['link', 'set', name, 'master', 'bridge', 'up']);
    for (const words of [
      ['link', 'set', 'lo', 'up'],
      ['address', 'add', `${addressInNetwork(number)}/24`, 'dev', 'eth0'],
      ['link', 'set', 'eth0', 'up'],
    ])
      check(...enterNetwork(pid), this.#ip, ...words);
  }

  /** Pulls the cable of a host, or plugs it in again. */
  setConnected(name: string, connected: boolean): void {
    this.#run(['link', 'set', name, connected ? 'up' : 'down']);
  }

  #run(words: readonly string[]): void {
    check(...this.enter, this.#ip, ...words);
  }
}

const enterNetwork = (pid: number): string[] => [installed('nsenter'), '--target', String(pid), '--net'];

/** The command of a process that only holds a host's namespaces. They end with it. */
const holder = ['sh', '-c', 'echo ready >&2; exec sleep infinity'];

/** The address of a host in a {@link Network}. */
const addressInNetwork = (number: number): string => `10.0.0.${number}`;

/**
 * Hosts n1, n2, ... with an sshd each, which shows a banner. They share the network of this machine, or have a
 * {@link Network}.
 */
export class SshHosts implements NetworkHosts {
  readonly names: readonly string[];
  readonly environment = {};
  /** The home directory of the user on all hosts. It is empty; dotfiles of a login shell can be put there. */
  readonly home: string;
  /** The configuration of ssh, to which a test can add. The first value that it finds for an option counts. */
  readonly configuration: string;
  readonly #daemons = new Daemons();
  #network: Network | undefined;

  private constructor(count: number) {
    this.names = numbered('n', count);
    this.home = this.#at('home');
    this.configuration = this.#at('ssh_config');
  }

  get launcher(): HostLauncher {
    const words = [...(this.#network?.enter ?? []), installed('ssh'), '-F', this.configuration];
    return { kind: 'ssh', words };
  }

  get options(): readonly string[] {
    return optionsOf(this.launcher);
  }

  /** @param options.network each host has a network namespace of its own; needs what {@link NamespaceHosts} needs, too */
  static async start(count: number, { network = false } = {}): Promise<SshHosts> {
    const hosts = new SshHosts(count);
    try {
      hosts.#daemons.writeHosts(hosts.names, network ? addressInNetwork : () => '127.0.0.1');
      if (network) hosts.#network = await Network.start(hosts.#daemons);
      await hosts.#start();
      return hosts;
    } catch (error) {
      await hosts[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** With a network. */
  setConnected(name: string, connected: boolean): void {
    this.#network!.setConnected(name, connected);
  }

  #at(name: string): string {
    return join(this.#daemons.folder, name);
  }

  async #start(): Promise<void> {
    // sshd insists on this folder.
    mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    mkdirSync(this.home);
    writeFileSync(this.#at('banner'), 'For authorized users only.\n');
    for (const key of ['host_key', 'user_key'])
      check('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', this.#at(key));
    writeFileSync(
      this.#at('sshd_config'),
      `HostKey ${this.#at('host_key')}
AuthorizedKeysFile ${this.#at('user_key.pub')}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
# The temporary folder is in one that others can write to.
StrictModes no
UseDNS no
MaxStartups 200
MaxSessions 200
SetEnv HOME=${this.home}
AcceptEnv ${passedVariables}
Banner ${this.#at('banner')}
`,
    );
    const addresses = this.#network
      ? this.names.map((_, i) => ({ address: addressInNetwork(i + 1), port: 22 }))
      : (await freePorts(this.names.length)).map((port) => ({ address: '127.0.0.1', port }));
    const hostKey = readFileSync(this.#at('host_key.pub'), 'utf8').split(' ').slice(0, 2).join(' ');
    writeFileSync(
      this.#at('known_hosts'),
      addresses.map(({ address, port }) => `[${address}]:${port},${address} ${hostKey}\n`).join(''),
    );
    const hostsOfConfiguration = addresses.map(
      ({ address, port }, i) => `Host ${this.names[i]}\n  HostName ${address}\n  Port ${port}\n`,
    );
    writeFileSync(
      this.configuration,
      `${hostsOfConfiguration.join('')}
Host n*
  User root
  IdentityFile ${this.#at('user_key')}
  IdentitiesOnly yes
  UserKnownHostsFile ${this.#at('known_hosts')}
  StrictHostKeyChecking yes
  SendEnv ${passedVariables}
`,
    );
    await Promise.all(
      this.names.map(async (name, i) => {
        const { address, port } = addresses[i]!;
        const pid = await this.#daemons.startHost(
          'Server listening',
          name,
          this.#network !== undefined,
          ...[installed('sshd'), '-D', '-e', '-f', this.#at('sshd_config')],
          // The address of a network is there only after this.
          ...['-o', `ListenAddress=${this.#network ? '0.0.0.0' : address}:${port}`, '-o', 'PidFile=none'],
        );
        this.#network?.connect(i + 1, name, pid);
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemons.stop();
  }
}

/** Hosts n1, n2, ... as nodes of a Slurm cluster. They share the network of this machine. */
export class SlurmHosts implements Hosts {
  readonly names: readonly string[];
  readonly launcher: HostLauncher = { kind: 'slurm', words: [installed('srun')] };
  readonly options = optionsOf(this.launcher);
  readonly environment: Readonly<Record<string, string>>;

  private constructor(
    readonly cluster: Slurm,
    count: number,
    job: string | undefined,
  ) {
    this.names = numbered('n', count);
    this.environment = { ...cluster.environment, ...(job === undefined ? {} : { SLURM_JOB_ID: job }) };
  }

  /**
   * @param options.allocation all nodes are one allocation. Without it, each srun is a job that waits until those before it have
   * left its node
   */
  static async start(count: number, { allocation = false } = {}): Promise<SlurmHosts> {
    const cluster = await Slurm.start(count);
    try {
      return new SlurmHosts(cluster, count, allocation ? cluster.allocate() : undefined);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}

/** Namespaces m1, m2, ... with a {@link Network}, and a command of the form COMMAND HOST PROGRAM that enters them. */
class Namespaces {
  readonly enter: string;
  #network: Network | undefined;

  private constructor(
    readonly daemons: Daemons,
    readonly names: readonly string[],
  ) {
    this.enter = join(daemons.folder, 'enter');
  }

  get network(): Network {
    return this.#network!;
  }

  static async start(count: number): Promise<Namespaces> {
    const namespaces = new Namespaces(new Daemons(), numbered('m', count));
    try {
      await namespaces.#start();
      return namespaces;
    } catch (error) {
      await namespaces.daemons.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    this.daemons.writeHosts(this.names, addressInNetwork);
    this.#network = await Network.start(this.daemons);
    for (const [i, name] of this.names.entries()) {
      const pid = await this.daemons.startHost('ready', name, true, ...holder);
      this.network.connect(i + 1, name, pid);
      writeFileSync(`${this.enter}.${name}`, String(pid));
    }
    writeFileSync(
      this.enter,
      `#!/bin/sh
pid=$(cat "$0.$1") && shift && exec ${installed('nsenter')} --target "$pid" --uts --net --mount "$@"
`,
      { mode: 0o755 },
    );
  }
}

/** Hosts m1, m2, ... as namespaces that a command of the form COMMAND HOST PROGRAM enters. They have a {@link Network}. */
export class NamespaceHosts implements Hosts {
  readonly names: readonly string[];
  readonly launcher: HostLauncher;
  readonly options: readonly string[];
  readonly environment = {};

  private constructor(private readonly namespaces: Namespaces) {
    this.names = namespaces.names;
    this.launcher = { kind: 'exec', words: [namespaces.enter] };
    this.options = optionsOf(this.launcher);
  }

  static async start(count: number): Promise<NamespaceHosts> {
    return new NamespaceHosts(await Namespaces.start(count));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.namespaces.daemons.stop();
  }
}

/** Hosts m1, m2, ... as namespaces that test/support/srun.sh, in place of srun, enters. Their links go over a {@link Network}. */
export class NamespaceSrunHosts implements NetworkHosts {
  readonly names: readonly string[];
  readonly launcher: HostLauncher = { kind: 'slurm', words: [srunPath] };
  readonly options = optionsOf(this.launcher);
  readonly environment: Readonly<Record<string, string>>;

  private constructor(private readonly namespaces: Namespaces) {
    this.names = namespaces.names;
    this.environment = { FAKE_SRUN_FOLDER: namespaces.daemons.folder, FAKE_SRUN_REACH: namespaces.enter };
  }

  get inside(): readonly string[] {
    return this.namespaces.network.enter;
  }

  static async start(count: number): Promise<NamespaceSrunHosts> {
    return new NamespaceSrunHosts(await Namespaces.start(count));
  }

  setConnected(name: string, connected: boolean): void {
    this.namespaces.network.setConnected(name, connected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.namespaces.daemons.stop();
  }
}

/** Hosts node0, node1, ... that `--map` pretends. */
export class PretendedHosts implements Hosts {
  readonly names: readonly string[];
  readonly launcher: HostLauncher = { kind: 'fork', words: [] };
  readonly options = ['--launcher', 'fork'];
  readonly environment = {};

  constructor(count: number) {
    this.names = Array.from({ length: count }, (_, i) => `node${i}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // They end with the job.
  }
}

/** Each kind of hosts, for `describe.each`: its name, its requirements, and how to make them. Slurm's are an allocation. */
export const hostKinds = [
  ['ssh', hostNeeds.ssh(), (count: number): Promise<Hosts> => SshHosts.start(count)],
  [
    'srun',
    hostNeeds.slurm(),
    (count: number): Promise<Hosts> => SlurmHosts.start(count, { allocation: true }),
  ],
  ['namespaces', hostNeeds.namespaces(), (count: number): Promise<Hosts> => NamespaceHosts.start(count)],
  [
    'pretended nodes',
    hostNeeds.pretended(),
    (count: number): Promise<Hosts> => Promise.resolve(new PretendedHosts(count)),
  ],
] as const;
