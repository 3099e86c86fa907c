/**
 * Reads files of hosts in Hydra's grammar.
 *
 *     # comment
 *     n1:4
 *     n[2-9]:8 user=bob
 *
 * The first word of a line is a list of hosts (host-list.ts), of which Hydra knows one host with slots. The others belong to
 * these hosts: `user=NAME`, and `binding=...`, which wireup ignores.
 */
import { HostListError, parseHostList, userPattern, type ListedHost } from '../host-list';
import { MAX_HOSTS } from '../limits';
import { shortened, UsageError } from './option';

/** What a file of hosts contains. */
export interface HostFile {
  hosts: ListedHost[];
  /** What wireup ignores, one line for each place in the file. */
  ignored: string[];
}

/** @param where names the file and the line, for messages */
function parseLine(where: string, line: string): HostFile {
  const [list, ...words] = line.split(/\s+/) as [string, ...string[]];
  const ignored: string[] = [];
  let user: string | undefined;
  for (const word of words) {
    const [, key, value] = /^(\w+)=(.+)$/.exec(word) ?? [];
    if (key === 'binding') ignored.push(`${where}: ${shortened(word)} is ignored; use --bind-to`);
    else if (key === 'slots')
      throw new UsageError(
        `${where}: '${shortened(word)}' belongs to Open MPI; write ${shortened(`${list}:${value}`)}`,
      );
    else if (key !== 'user')
      throw new UsageError(`${where}: expected user=NAME after the host, got '${shortened(word)}'`);
    else if (user !== undefined)
      throw new UsageError(`${where}: expected one user, got '${shortened(word)}' too`);
    else if (!userPattern.test(value!))
      throw new UsageError(`${where}: expected the name of a user, got '${shortened(value!)}'`);
    else user = value;
  }
  try {
    const hosts = parseHostList(list);
    return { hosts: user === undefined ? hosts : hosts.map((host) => ({ ...host, user })), ignored };
  } catch (error) {
    if (!(error instanceof HostListError)) throw error;
    throw new UsageError(`${where}: ${error.message}, got '${shortened(list)}'`);
  }
}

/**
 * @param name names the file, for messages
 * @throws {@link UsageError}
 */
export function parseHostFile(name: string, text: string): HostFile {
  const lines = text
    .split('\n')
    .map((line, i) => ({ where: `${name}:${i + 1}`, text: line.replace(/#.*/, '').trim() }));
  const file: HostFile = { hosts: [], ignored: [] };
  for (const line of lines.filter(({ text: words }) => words !== '')) {
    const { hosts, ignored } = parseLine(line.where, line.text);
    // Checked for each line, because a short line can name as many hosts as a whole file may.
    if (file.hosts.length + hosts.length > MAX_HOSTS)
      throw new UsageError(`${line.where}: expected at most ${MAX_HOSTS} hosts in all`);
    for (const host of hosts) file.hosts.push(host);
    for (const what of ignored) file.ignored.push(what);
  }
  if (file.hosts.length === 0) throw new UsageError(`${name}: expected at least one host`);
  return file;
}
