/** Spawns in transcripts: the driver of a transcript can start the program `accepted`, and no other one. */
import type { Wire } from './format';
import { parseMessage } from './answers';

/** A spawn that is being requested, and the lines of the transcript that it has. */
export interface RequestedSpawn {
  wire: Wire;
  rank: number;
  /** Of the request: its lines of PMI-1, or its frame of PMI-2. */
  texts: string[];
  /** Where these stand in the transcript. */
  at: number[];
  /** The line after which the event comes, plus 1. */
  event: number;
  /** No block of PMI-1 is unfinished. */
  isWhole: boolean;
}

const fieldsOf = (text: string): string[] =>
  (text.match(/(?:[^;]|;;)+/g) ?? []).map((field) => field.replaceAll(';;', ';'));

/** The names and values of the request in their order, in the terms of PMI-1. */
function attributesOf({ wire, texts }: RequestedSpawn): [name: string, value: string][] {
  const names: Record<string, string> = { subcmd: 'execname', maxprocs: 'nprocs' };
  return texts
    .flatMap((text) => (wire === '2' ? fieldsOf(text) : [text]))
    .map((field) => {
      const at = field.indexOf('=');
      const name = field
        .slice(0, at)
        .replace(/^argv(?=\d)/, 'arg')
        .replace(/^info(key|val)(?=\d)/, 'info_$1_')
        .replace(/^pp(key|val)(?=\d)/, 'preput_$1_');
      return [names[name] ?? name, field.slice(at + 1)];
    });
}

/** Puts the program that the driver can start in place of the recorded ones. */
export function withAccepted(text: string): string {
  return text.replace(/((?:^|;|: )(?:execname|subcmd)=)(?:[^;]|;;)*/g, '$1accepted');
}

interface Command {
  ranks: string;
  program: string;
  args: string[];
  info: string[];
}

/** The keys that the spawned process group has from its start. Clients may send them in each block. */
export function preputOf(spawn: RequestedSpawn): Map<string, string> {
  const preput = new Map<string, string>();
  let key = '';
  for (const [name, value] of attributesOf(spawn)) {
    if (name.startsWith('preput_key_')) key = value;
    if (name.startsWith('preput_val_')) preput.set(key, value);
  }
  return preput;
}

/** The event of the spawn. */
export function eventOf(spawn: RequestedSpawn, isAccepted: boolean): string {
  const commands: Command[] = [];
  const blank = (): Command => ({ ranks: '', program: '', args: [], info: [] });
  let current = blank();
  let key = '';
  for (const [name, value] of attributesOf(spawn)) {
    const begins = spawn.wire === '2' ? name === 'execname' : name === 'mcmd';
    if (begins) commands.push((current = blank()));
    if (name === 'nprocs') current.ranks = value;
    else if (name === 'execname') current.program = isAccepted ? 'accepted' : value;
    else if (/^arg\d+$/.test(name)) current.args.push(value);
    else if (name.startsWith('info_key_')) key = value;
    else if (name.startsWith('info_val_')) current.info.push(` ${key}=${value}`);
  }
  const shown = commands.map(
    ({ ranks, program, args, info }) =>
      ` [${[ranks, program, ...args].join(' ')}${info.length === 0 ? '' : ` |${info.join('')}`}]`,
  );
  const preput = [...preputOf(spawn)].map(([name, value]) => ` +${name}=${value}`);
  return `spawn rank=${spawn.rank}${shown.join('')}${preput.join('')}`;
}

/** The reply of the driver, which replaces the recorded one. */
export function replyOf({ wire }: RequestedSpawn, recorded: string, isAccepted: boolean): string {
  if (isAccepted) return recorded.replace(/((?:^|;)jobid=)[^;]*/, '$1kvs_child');
  if (wire === '1') return 'cmd=spawn_result rc=1 msg=no_such_program';
  const thrid = parseMessage('2', recorded).attributes.get('thrid');
  return `cmd=spawn-response;${thrid === undefined ? '' : `thrid=${thrid};`}rc=1;errmsg=no_such_program;`;
}
