/** Decides which rank is on which host. */
import { HostListError, type ListedHost } from './host-list';

/** Ranks and the hosts that they are spread over. */
export interface PlacedProgram {
  readonly ranks: number;
  readonly hosts: readonly ListedHost[];
}

/** Which host each rank is on. */
export interface HostPlacement {
  /** For each rank the index of its host in `hosts`. */
  nodes: number[];
  /**
   * The hosts, each once: those that have ranks in the order of their first ranks, then the others. A host that is listed twice
   * has the slots of both entries.
   */
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
 * A host that is listed twice is the same host.
 *
 * @param ppn how many ranks each host gets at a time, instead of its own slots
 * @throws {@link HostListError} if a host is listed with several users
 */
export function placeOnHosts(programs: readonly PlacedProgram[], ppn?: number): HostPlacement {
  const lists = programs.map(({ hosts }) => hosts.map((host) => ({ ...host, slots: ppn ?? host.slots })));
  const slots = countOfEach(lists);
  const hosts: ListedHost[] = [];
  const indexOf = new Map<string, number>();
  const add = (host: ListedHost): number => {
    let index = indexOf.get(host.name);
    if (index === undefined) {
      index = hosts.push({ ...host, slots: slots.get(host.name)! }) - 1;
      indexOf.set(host.name, index);
    } else if (hosts[index]!.user !== host.user) {
      throw new HostListError(`one user in all places that name the host ${host.name}`);
    }
    return index;
  };
  const nodes: number[] = [];
  const used = new Map<string, Slots>();
  for (const [i, { ranks }] of programs.entries()) {
    const key = JSON.stringify(lists[i]);
    const free = used.get(key) ?? new Slots(lists[i]!);
    used.set(key, free);
    for (let rank = 0; rank < ranks; rank++) nodes.push(add(free.next()));
  }
  for (const host of lists.flat()) add(host);
  return { nodes, hosts };
}

/** The slots of each host by its name: those of the list that gives it most. Programs may have lists of their own. */
function countOfEach(lists: readonly (readonly ListedHost[])[]): Map<string, number> {
  const most = new Map<string, number>();
  for (const list of lists) {
    const own = new Map<string, number>();
    for (const { name, slots } of list) own.set(name, (own.get(name) ?? 0) + slots);
    for (const [name, slots] of own) most.set(name, Math.max(slots, most.get(name) ?? 0));
  }
  return most;
}

/** How many ranks a program has by default: one for each slot. */
export function countSlots(hosts: readonly ListedHost[], ppn?: number): number {
  return hosts.reduce((sum, { slots }) => sum + (ppn ?? slots), 0);
}
