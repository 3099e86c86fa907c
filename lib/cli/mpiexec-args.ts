/**
 * The grammar of mpiexec's command line, made into what commander reads.
 *
 *     mpiexec [option...] program [arg...] [: [option...] program [arg...]]...
 *
 * An option has one dash or two, its value behind a blank or `=`. Options end at the program; a lone `:` ends its
 * arguments, as MPI has it.
 */
import type { Command, Option } from 'commander';
import { parseArgsStringToArgv } from 'string-argv';
import { isWellFormed } from '../options';

/** One program with its options, as commander reads them. */
export interface Segment {
  options: string[];
  program: string | undefined;
  args: string[];
}

/** The long names of options whose values are of a kind. */
export interface OptionKinds {
  /** A name and a value. */
  pairs: ReadonlySet<string>;
  /** What need not be UTF-8. */
  bytes: ReadonlySet<string>;
}

/** Wrong use, told in one line. */
export class UsageError extends Error {}

/** Other names that mpiexecs have for an option of ours. */
const aliases: Readonly<Record<string, string>> = {
  h: 'help',
  np: 'n',
  perhost: 'ppn',
  'prepend-rank': 'l',
  host: 'hosts',
  H: 'hosts',
  c: 'n',
  machinefile: 'hostfile',
  outfile: 'outfile-pattern',
  errfile: 'errfile-pattern',
  bootstrap: 'launcher',
  binding: 'bind-to',
  version: 'info',
};

/** Options of other mpiexecs that this one does not have, and why. */
const unsupported: Readonly<Record<string, string>> = {
  arch: 'all ranks run on this machine, so there is nothing to choose',
  'map-by': 'use --map to place ranks on pretended nodes, --bind-to to bind them',
  membind: "memory is bound by the kernel's first touch; bind ranks with --bind-to",
  rmk: 'there is no resource manager here: ranks start on this machine',
  iface:
    'the PMI server is on this machine; MPI chooses its own interface (for MPICH: MPIR_CVAR_CH3_NETWORK_IFACE, UCX_NET_DEVICES)',
  'launcher-exec': "ranks are started by wireup-agent, not by a launcher's program",
  'bootstrap-exec': "ranks are started by wireup-agent, not by a launcher's program",
  'disable-auto-cleanup': 'say --on-failure wait',
  'enable-auto-cleanup': 'it is the default: --on-failure kill',
  'disable-hostname-propagation': "the host's name is not looked up by the ranks",
  'enable-hostname-propagation': "the host's name is not looked up by the ranks",
  localhost: 'the ranks reach their server at 127.0.0.1, whatever the host is called',
  nameserver:
    "its host and port are another launcher's; start `wireup names serve` and say --name-server with its address",
  'gpus-per-proc': 'GPUs are not assigned; set CUDA_VISIBLE_DEVICES from MPI_LOCALRANKID in a wrapper',
  'gpu-subdevs-per-proc': 'GPUs are not assigned; set CUDA_VISIBLE_DEVICES from MPI_LOCALRANKID in a wrapper',
  'order-nodes': 'nodes come in the order in which they are named',
  rankmap: 'use --map with the node of each rank',
  'skip-launch-node': 'all ranks run on this machine',
  topolib: "the machine's topology is read from /sys",
  demux: 'output is waited for by epoll',
  dbg: 'say --debugger',
  'ckpoint-interval': 'there is no checkpointing here; see --reconnect',
  'ckpoint-prefix': 'there is no checkpointing here; see --reconnect',
  ckpointlib: 'there is no checkpointing here; see --reconnect',
  profile: 'see --result',
  x: 'ranks inherit all variables; set one with --genv NAME VALUE',
  N: 'say --ppn N with --hosts',
  npernode: 'say --ppn N with --hosts',
  oversubscribe: 'there are no slots: as many ranks start as -n says',
  'use-hwthread-cpus': 'there are no slots: as many ranks start as -n says',
  'allow-run-as-root': 'root needs no permission here',
  mca: "it is Open MPI's, which finds its processes by PMIx; this launcher speaks PMI-1 and PMI-2",
  'tag-output': 'say -l',
  'enable-x': "X forwarding is ssh's, and ranks start on this machine",
  'disable-x': "X forwarding is ssh's, and ranks start on this machine",
  'memory-alloc-kinds': 'no MPI of today is told of it by its launcher',
};

function findOption(options: readonly Option[], name: string): Option | undefined {
  return options.find(({ long, short }) => long === `--${name}` || short === `-${name}`);
}

class Reader {
  readonly #words: string[];
  #at = 0;
  /** Where the words of a -file end. */
  #fileEnd = 0;

  constructor(
    argv: readonly string[],
    private readonly options: readonly Option[],
    private readonly kinds: OptionKinds,
    private readonly wordsOf: (file: string) => string[],
  ) {
    this.#words = [...argv];
  }

  segments(): Segment[] {
    const found = [this.#segment()];
    while (this.#words[this.#at] === ':') {
      this.#at++;
      found.push(this.#segment());
    }
    return found;
  }

  #segment(): Segment {
    const segment: Segment = { options: [], program: undefined, args: [] };
    while (this.#at < this.#words.length && this.#words[this.#at] !== ':') {
      const word = this.#words[this.#at]!;
      if (word === '--') {
        this.#at++;
        break;
      }
      if (!word.startsWith('-') || word === '-') break;
      this.#at++;
      this.#option(word, segment);
    }
    if (this.#at < this.#words.length && this.#words[this.#at] !== ':')
      segment.program = this.#words[this.#at++];
    // Only a lone `:` ends arguments.
    const colon = this.#words.indexOf(':', this.#at);
    const end = colon < 0 ? this.#words.length : colon;
    segment.args = this.#words.slice(this.#at, end);
    this.#at = end;
    return segment;
  }

  #option(word: string, segment: Segment): void {
    const match = /^--?([A-Za-z][\w-]*)(?:=([^]*))?$/.exec(word);
    if (match === null) throw new UsageError(`unknown option '${word}'`);
    const [, said, value] = match as unknown as [string, string, string | undefined];
    const name = aliases[said] ?? said;
    const why = unsupported[name];
    if (why !== undefined) throw new UsageError(`option '${word}' is not supported: ${why}`);
    const option = findOption(this.options, name);
    const long = option?.long ?? `--${name}`;
    if (option !== undefined && !option.required) {
      if (value !== undefined) throw new UsageError(`option '${word}' takes no value`);
      segment.options.push(long);
      return;
    }
    let given = value ?? (option === undefined ? undefined : this.#words[this.#at++]);
    // `-env NAME VALUE`, which may also be NAME=VALUE.
    if (given !== undefined && this.kinds.pairs.has(long) && !given.includes('=')) {
      if (this.#at >= this.#words.length)
        throw new UsageError(`option '${word}': expected a name and a value`);
      given = `${given}=${this.#words[this.#at++]}`;
    }
    if (given !== undefined && !isWellFormed(given) && !this.kinds.bytes.has(long))
      throw new UsageError(`option '${word}': expected UTF-8`);
    if (long === '--file' && given !== undefined) return this.#insert(given);
    // Without a value commander says what is missing; an unknown option it compares with those that there are.
    segment.options.push(given === undefined ? long : `${long}=${given}`);
  }

  #insert(file: string): void {
    if (this.#at <= this.#fileEnd && this.#fileEnd > 0)
      throw new UsageError(`--file ${file}: a file of options cannot name another`);
    const words = this.wordsOf(file);
    if (words.includes(':'))
      throw new UsageError(`--file ${file}: it has the options of one program; expected no ':'`);
    this.#words.splice(this.#at, 0, ...words);
    this.#fileEnd = this.#at + words.length;
  }
}

/**
 * @param command whose options there are
 * @param wordsOf reads a -file, whose words stand in its place
 * @throws {@link UsageError}
 */
export function readCommandLine(
  argv: readonly string[],
  command: Command,
  kinds: OptionKinds,
  wordsOf: (file: string) => string[],
): Segment[] {
  return new Reader(argv, command.options, kinds, wordsOf).segments();
}

function linesOf(text: string): string[] {
  return text
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line));
}

/**
 * The lines of a -configfile, each a segment of a command line, as MPI has it: a line that begins with `#` is a comment, `\`
 * at the end of one goes on with the next. Words may be quoted.
 */
export function readConfigFile(text: string): string[] {
  return linesOf(text).flatMap((line, i) => [...(i === 0 ? [] : [':']), ...parseArgsStringToArgv(line)]);
}

/** The words of a -file, in lines of the same kind. */
export function readOptionsFile(text: string): string[] {
  return linesOf(text).flatMap((line) => parseArgsStringToArgv(line));
}
