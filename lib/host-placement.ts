/** Decides which rank is on which host. */
import type { ListedHost } from './host-list';

/** Ranks and the hosts that they are spread over. */
export interface PlacedProgram {
  readonly ranks: number;
  readonly hosts: readonly ListedHost[];
}

/** Which host each rank is on. */
export interface HostPlacement {
  /** For each rank the index of its host in `hosts`. */
  nodes: number[];
  /** The hosts that have ranks, each once, in the order of their first ranks. */
  hosts: ListedHost[];
}

/** Gives out the slots of a list of hosts in their order, and begins again at the first host after the last one. */
class Slots {
  readonly #hosts: readonly ListedHost[];
  #host = 0;
  #taken = 0;

  constructor(hosts: readonly ListedHost[]) {
    this.#hosts = hosts;
  }

  next(): ListedHost {
    const host = this.#hosts[this.#host]!;
    if (++this.#taken === host.slots) {
      this.#taken = 0;
      this.#host = (this.#host + 1) % this.#hosts.length;
    }
    return host;
  }
}

/**
 * Fills the slots of the hosts in their order. If ranks remain, it begins again at the first host: hosts are then
 * oversubscribed evenly, as under Hydra. A program with the same hosts as an earlier one continues where that one has stopped.
 * A host that is listed twice is the same host. Hosts without ranks are left out.
 *
 * @param ppn how many ranks each host gets at a time, instead of its own slots
 */
export function placeOnHosts(programs: readonly PlacedProgram[], ppn?: number): HostPlacement {
  const hosts: ListedHost[] = [];
  const indexOf = new Map<string, number>();
  const nodes: number[] = [];
  const lists = new Map<string, Slots>();
  for (const program of programs) {
    const own = program.hosts.map((host) => ({ ...host, slots: ppn ?? host.slots }));
    const key = JSON.stringify(own);
    const slots = lists.get(key) ?? new Slots(own);
    lists.set(key, slots);
    for (let i = 0; i < program.ranks; i++) {
      const host = slots.next();
      let index = indexOf.get(host.name);
      if (index === undefined) {
        index = hosts.push(host) - 1;
        indexOf.set(host.name, index);
      }
      nodes.push(index);
    }
  }
  return { nodes, hosts };
}

/** How many ranks a program has if it does not say it: one for each slot. */
export function countSlots(hosts: readonly ListedHost[], ppn?: number): number {
  return hosts.reduce((sum, { slots }) => sum + (ppn ?? slots), 0);
}

/** The name of a host that is listed with several users; undefined if there is none. */
export function findUserConflict(hosts: readonly ListedHost[]): string | undefined {
  const users = new Map<string, string | undefined>();
  return hosts.find(({ name, user }) => {
    if (users.has(name)) return users.get(name) !== user;
    users.set(name, user);
    return false;
  })?.name;
}
