/**
 * Reads lists of hosts.
 *
 *     list  = host *("," host)
 *     host  = [user "@"] name [":" slots]
 *     name  = letters, digits, "." "_" "-" "+" "/" "%", and sets of numbers
 *     set   = "[" range *("," range) "]"
 *     range = number ["-" number]
 *
 * `rack[1-2]n[1-8]:4` names 16 hosts with 4 slots each. The numbers of `[08-12]` have two digits, as in Slurm's lists. Empty
 * entries of the list are skipped, as Hydra skips them.
 */
import { MAX_HOSTS, MAX_RANKS } from './limits';

/** A host as a list or file of hosts names it. */
export interface ListedHost {
  readonly name: string;
  /** How many ranks the host gets before the next host gets some. */
  readonly slots: number;
  /** The user on the host, if it is not the one here. */
  readonly user?: string;
}

/** The name of a user on a host, in lists, files and options alike. */
const USER = '[A-Za-z0-9_][A-Za-z0-9_.-]*';

/** Matches the name of a user. */
export const userPattern = new RegExp(`^${USER}$`);

/** A list of hosts is wrong. The message begins with "expected" and names the position. */
export class HostListError extends Error {
  /** @param expected what was expected, and where */
  constructor(readonly expected: string) {
    super(`expected ${expected}`);
  }
}

/** In bytes: longer than every name in DNS (253), and than every name that a kernel accepts (64). */
export const MAX_NAME = 255;

/** The beginning of an IPv6 address, whose colons a list has another meaning for. */
const ipv6 = /\[?(?=[\da-f:]*::|(?:[\da-f]+:){7})/iy;

/** As many digits as the largest number that a list may contain needs. */
const MAX_DIGITS = 9;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  list(): ListedHost[] {
    const hosts: ListedHost[] = [];
    while (this.#at < this.#text.length) {
      if (this.#take(/,/y) !== undefined) continue;
      for (const host of this.#host(MAX_HOSTS - hosts.length)) hosts.push(host);
      if (this.#at < this.#text.length && this.#text[this.#at] !== ',') this.#fail("a comma or ':slots'");
    }
    if (hosts.length === 0) this.#fail('a host');
    return hosts;
  }

  #host(room: number): ListedHost[] {
    const user = this.#take(new RegExp(`${USER}@`, 'y'))?.slice(0, -1);
    const begin = this.#at;
    if (this.#take(ipv6) !== undefined)
      this.#failAt(begin, 'a name for the IPv6 address, such as that of a Host in ~/.ssh/config,');
    // The names are made when their number and lengths are known to be small.
    const parts: string[][] = [];
    let count = 1;
    let longest = 0;
    for (let part = this.#part(room); part !== undefined; part = this.#part(room)) {
      parts.push(part);
      count *= part.length;
      if (count > room) this.#failAt(part.length > 1 ? this.#at : begin, `at most ${MAX_HOSTS} hosts in all`);
      // A command would take it for an option.
      if (parts[0]![0]!.startsWith('-'))
        this.#failAt(begin, "the name of a host that does not begin with '-',");
      longest += part.reduce((most, text) => Math.max(most, Buffer.byteLength(text)), 0);
      if (longest > MAX_NAME) this.#failAt(begin, `the name of a host, up to ${MAX_NAME} bytes`);
    }
    if (parts.length === 0) this.#fail('the name of a host');
    const slots = this.#take(/:/y) === undefined ? 1 : this.#slots();
    const names = parts.reduce((heads, part) => heads.flatMap((head) => part.map((text) => head + text)));
    return names.map((name) => ({ name, slots, ...(user === undefined ? {} : { user }) }));
  }

  /** The next part of a name: a text, or each number of a set. */
  #part(room: number): string[] | undefined {
    const literal = this.#take(/[\p{L}\p{N}._+/%-]+/uy);
    if (literal !== undefined) return [literal];
    return this.#take(/\[/y) === undefined ? undefined : this.#numbers(room);
  }

  /** The numbers of a set, after its bracket. */
  #numbers(room: number): string[] {
    const numbers: string[] = [];
    do {
      const begin = this.#at;
      const first = this.#number();
      const last = this.#take(/-/y) === undefined ? first : this.#number();
      const count = Number(last) - Number(first) + 1;
      if (count < 1) this.#failAt(begin, 'a range that does not run backwards');
      if (numbers.length + count > room) this.#failAt(begin, `at most ${MAX_HOSTS} hosts in all`);
      const width = first.startsWith('0') ? first.length : 0;
      for (let i = 0; i < count; i++) numbers.push(String(Number(first) + i).padStart(width, '0'));
    } while (this.#take(/,/y) !== undefined);
    if (this.#take(/\]/y) === undefined) this.#fail("',' or ']'");
    return numbers;
  }

  #number(): string {
    const digits = this.#take(/\d+/y);
    if (digits === undefined) this.#fail('a number');
    if (digits.length > MAX_DIGITS)
      this.#failAt(this.#at - digits.length, `a number of up to ${MAX_DIGITS} digits`);
    return digits;
  }

  #slots(): number {
    const begin = this.#at;
    const slots = Number(this.#number());
    if (slots < 1 || slots > MAX_RANKS) this.#failAt(begin, `a number of slots from 1 to ${MAX_RANKS}`);
    return slots;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #fail(expected: string): never {
    return this.#failAt(this.#at, expected);
  }

  #failAt(at: number, expected: string): never {
    throw new HostListError(`${expected} at character ${at + 1}`);
  }
}

/**
 * Reads a list of 1 to MAX_HOSTS hosts. The names need not differ.
 *
 * @throws {@link HostListError}
 */
export function parseHostList(text: string): ListedHost[] {
  return new Reader(text).list();
}
