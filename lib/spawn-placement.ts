/** Decides on which hosts the ranks of a spawn run. */
import { hostname } from 'node:os';
import { HostListError, parseHostList, type ListedHost } from './host-list';
import { placeOnHosts, type HostPlacement } from './host-placement';

/** A host that ranks may be spawned on. */
export interface SpawnHost {
  readonly name: string;
  readonly user?: string;
  /** How many ranks it gets before another host gets more than its slots. 0: it gets ranks only by its name. */
  readonly slots: number;
  /** Its number in the launch; 0 is this host. */
  readonly number: number;
}

/** A spawn is refused: with one word for the rank, and a sentence for people. */
export class Refusal extends Error {
  constructor(
    readonly word: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Places ranks on free slots, in the order of the hosts. If no slot is free, each host gets as many ranks more as it has slots,
 * and so on: hosts are then oversubscribed evenly, as under Hydra.
 *
 * @param hosts at least one of them has slots
 * @param running how many ranks run on each host; the new ranks are added
 * @returns for each rank the index of its host
 */
export function placeOnFreeSlots(
  ranks: number,
  hosts: readonly Pick<SpawnHost, 'slots'>[],
  running: number[],
): number[] {
  const places: number[] = [];
  for (let times = 1; places.length < ranks; times++) {
    for (const [host, { slots }] of hosts.entries()) {
      while (places.length < ranks && running[host]! < slots * times) {
        places.push(host);
        running[host]!++;
      }
    }
  }
  return places;
}

/** The hosts of a job, as spawns see them. A host is known by its index, which is the number of its node in labels. */
export class SpawnHosts {
  readonly #hosts: readonly SpawnHost[];
  /** The names that the hosts themselves have, by the number of the host. */
  readonly #ownNames = new Map<number, string>();
  /** The numbers of the hosts that are lost. */
  readonly #lost = new Set<number>();

  /** @param hosts none: the job has this host only */
  constructor(hosts: readonly SpawnHost[]) {
    this.#hosts = hosts;
  }

  get(index: number): SpawnHost | undefined {
    return this.#hosts[index];
  }

  get length(): number {
    return this.#hosts.length;
  }

  /** A host has answered, and has this name by itself: what MPI_Get_processor_name returns there. */
  started(number: number, ownName: string): void {
    this.#ownNames.set(number, ownName);
  }

  lose(number: number): void {
    this.#lost.add(number);
  }

  /**
   * Places ranks on the hosts that the rank names, else on free slots, else (the job has this host only) on its node.
   *
   * @param named MPI_Info's `host`
   * @param running how many ranks run on each host; the new ranks are added
   * @param parent the node of the rank that spawns
   * @throws {@link Refusal}
   */
  place(ranks: number, named: string | undefined, running: number[], parent: number): number[] {
    if (named === undefined) {
      if (this.#hosts.length === 0) return Array<number>(ranks).fill(parent);
      const hosts = this.#hosts.map((host) => (this.#isLost(host) ? { slots: 0 } : host));
      if (hosts.every(({ slots }) => slots === 0)) throw new Refusal('unknown_host', 'no host is left');
      return placeOnFreeSlots(ranks, hosts, running);
    }
    const { nodes, hosts } = placeOnList(ranks, named);
    const indices = hosts.map((host) => this.#find(host));
    const places = nodes.map((node) => indices[node]!);
    for (const index of places) running[index] = (running[index] ?? 0) + 1;
    return places;
  }

  #isLost({ number }: SpawnHost): boolean {
    return this.#lost.has(number);
  }

  #find({ name, user }: ListedHost): number {
    const isThisHost = name === 'localhost' || name === hostname();
    if (this.#hosts.length === 0 && isThisHost) return 0;
    let index = this.#hosts.findIndex((host) => host.name === name);
    if (index < 0 && isThisHost) index = this.#hosts.findIndex(({ number }) => number === 0);
    if (index < 0) index = this.#findByOwnName(name);
    const host = this.#hosts[index];
    if (host === undefined || (user !== undefined && user !== host.user)) {
      const names = this.#hosts.length === 0 ? [hostname()] : this.#hosts.map((known) => known.name);
      throw new Refusal(
        'unknown_host',
        `host=${user === undefined ? '' : `${user}@`}${name} is not a host of this job (${names.join(', ')})`,
      );
    }
    if (this.#isLost(host)) throw new Refusal('unknown_host', `host=${name} is lost`);
    return index;
  }

  /** Pretended hosts share their name, so it identifies none of them. */
  #findByOwnName(name: string): number {
    const numbers = [...this.#ownNames].flatMap(([number, own]) => (own === name ? [number] : []));
    return numbers.length === 1 ? this.#hosts.findIndex(({ number }) => number === numbers[0]) : -1;
  }
}

/** @throws {@link Refusal} */
function placeOnList(ranks: number, list: string): HostPlacement {
  try {
    return placeOnHosts([{ ranks, hosts: parseHostList(list) }]);
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new Refusal('malformed_host', `host=${list}: ${error.message}`);
  }
}
