/** What to do if a host cannot be started, for the frequent cases. */
import { quoteForShells } from './host-command';

/** A host, and how ssh reaches it. */
export interface ReachedHost {
  readonly name: string;
  readonly user?: string;
  /** The words of the program in the place of ssh, with its options. */
  readonly ssh: readonly string[];
}

/** The command line by which a person runs `true` on the host. */
function commandLine({ name, user, ssh }: ReachedHost, ...options: string[]): string {
  const target = user === undefined ? name : `${user}@${name}`;
  return [...ssh, ...options, target, 'true'].map(quoteForShells).join(' ');
}

const cases: readonly (readonly [pattern: RegExp, advice: (host: ReachedHost, on: string) => string])[] = [
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED|host key for \S+ has changed/i,
    (host, on) =>
      `ssh knows another key of the host${on}: if the host has got a new one, remove the old one by ssh-keygen -R, and run '${commandLine(host)}' once`,
  ],
  [
    /host key verification failed/i,
    (host, on) =>
      `ssh does not know the host's key: run '${commandLine(host)}' once${on}, and compare and accept the key`,
  ],
  [
    /permission denied \(|too many authentication failures/i,
    (host, on) =>
      `ssh must reach the host without a password: '${commandLine(host, '-o', 'BatchMode=yes')}' must work${on}, for example after ssh-copy-id`,
  ],
  [
    /could not resolve hostname/i,
    ({ name }, on) => `no name service and no 'Host ${name}' in the configuration of ssh${on} knows the name`,
  ],
  [
    /invalid node name|not in this job|requested node configuration is not available|only allocated \d+ nodes/i,
    // One srun starts several hosts, and does not name the wrong one.
    () => 'the host, or another one of the list, is no node of Slurm or not part of this allocation',
  ],
  [
    /insufficient GRES|generic resource/i,
    () =>
      "Slurm cannot divide the job's GPUs over its hosts: name the number on each host, for example --launcher-exec 'srun --gpus-per-node=4'",
  ],
  [
    // How shells, container runtimes and srun report a file that is there.
    /exec.*: (permission denied|is a directory)(;|\.?$)/i,
    () =>
      'the file is not a program that this user may execute there: correct the path by agentPath (--agent-path), or send the program by stage (--stage)',
  ],
  [
    /exec format error|cannot execute|not in executable format|GLIBC_|: it is a program for|: its C library may|required file not found|error while loading shared/i,
    () =>
      'wireup-agent was built for another type of machine or another libc: install wireup on the host, and name its wireup-agent by agentPath (--agent-path)',
  ],
  [
    /wireup-agent: std(in|out) is neither a pipe nor a socket/,
    () =>
      "the launcher's command must pass its stdin and stdout on to the host, without a terminal: docker, podman and kubectl exec need -i, and no -t",
  ],
  [
    // How shells, container runtimes and srun report a missing program. Other files may be missing too.
    /wireup-agent\b.*(not found|no such file or directory)|unknown command\b.*wireup-agent/i,
    () =>
      'wireup-agent must be on the host under the same path as here; name another path by agentPath (--agent-path), or send the program by stage (--stage)',
  ],
  [
    /cannot be executed: No such file/i,
    () =>
      "the launcher's program is not on this host: install it, or choose another one by launcher (--launcher, --launcher-exec)",
  ],
  [
    /ZeroMQ is missing|has no CURVE/i,
    () =>
      'one srun starts all hosts if they have libzmq with CURVE; treeWidth 0 (--tree-width 0) starts each host by an srun of its own, which needs no libzmq',
  ],
  [
    /no answer from the parent at|the host has no network/i,
    () =>
      'hosts that one srun has started reach one another by TCP: choose an interface by iface (--iface), or let each host have an srun of its own by treeWidth 0 (--tree-width 0)',
  ],
  [
    /another version|other version/i,
    () => 'install the same version of wireup on both hosts, or send the program by stage (--stage)',
  ],
];

/** The host of a tree that has tried to start another one begins the message. */
const tried = /^from (\S+): /;

/**
 * Returns what to do about the messages of a command that could not start the agent of a host; undefined if they are none of
 * the frequent ones.
 */
export function adviceOnStart(host: ReachedHost, message: string): string | undefined {
  const [, parent] = tried.exec(message) ?? [];
  const on = parent === undefined ? '' : ` on ${parent}`;
  return cases.find(([pattern]) => pattern.test(message))?.[1](host, on);
}
