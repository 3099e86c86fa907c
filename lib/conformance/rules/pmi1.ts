import type { Rule, RuleTheme } from '../rule';

type Row = Omit<Rule, 'version' | 'document'> & Partial<Pick<Rule, 'document'>>;

/** Rules of PMI-1.1, from RFC 13 unless a row names another document. */
function theme(title: string, rules: readonly Row[]): RuleTheme {
  return {
    title: `Servers, PMI-1.1: ${title}`,
    binds: 'server',
    rules: rules.map((rule) => ({ document: 'RFC 13', version: '1.1', ...rule })),
  };
}

export const framing = theme('messages', [
  {
    id: 'P1-MESSAGE-1',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'Each reply is one line of attributes, the first of which is cmd.',
  },
  {
    id: 'P1-MESSAGE-2',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'The server sends one reply to each request, and nothing else.',
  },
  {
    id: 'P1-MESSAGE-3',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'A request ends at its newline, however many writes it arrives in.',
  },
  {
    id: 'P1-MESSAGE-4',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The server accepts the attributes of a request in any order.',
  },
  {
    id: 'P1-MESSAGE-5',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The server accepts several blanks between the attributes of a request.',
  },
  {
    id: 'P1-MESSAGE-6',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The server ignores attributes that it does not know.',
  },
  {
    id: 'P1-MESSAGE-7',
    level: 'MAY',
    paragraph: 'Wire Protocol',
    text: 'The server answers several requests that arrive together, in their order.',
  },
]);

export const init = theme('init', [
  {
    id: 'P1-INIT-1',
    level: 'MUST',
    paragraph: 'Version Negotiation',
    text: 'The server replies to init with response_to_init, which has both numbers of the version.',
  },
  {
    id: 'P1-INIT-2',
    level: 'MUST',
    paragraph: 'PMI Versions',
    text: 'The version in the reply is not newer than the version for which the client asks.',
  },
]);

export const information = theme('process group', [
  {
    id: 'P1-MAXES-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:maxes',
    text: 'The reply to get_maxes has kvsname_max, keylen_max and vallen_max.',
  },
  {
    id: 'P1-MAXES-2',
    level: 'SHOULD',
    paragraph: 'PMI_KVS_Get_name_length_max',
    text: 'The limits are at least 16 bytes for a kvsname, 32 for a key and 64 for a value.',
  },
  {
    id: 'P1-UNIVERSE-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:universe',
    text: 'The reply to get_universe_size has the size as a whole number, or an error.',
  },
  {
    id: 'P1-APPNUM-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:appnum',
    text: 'The reply to get_appnum has appnum as a whole number, or an error.',
  },
  {
    id: 'P1-KVSNAME-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:kvsname',
    text: 'The reply to get_my_kvsname has a kvsname below the limit.',
  },
  {
    id: 'P1-KVSNAME-2',
    level: 'MUST',
    paragraph: 'PMI_KVS_Get_my_name',
    text: 'All ranks of a process group get the same kvsname.',
  },
  {
    id: 'P1-MAP-1',
    level: 'MUST',
    paragraph: 'Local Process Group Information',
    text: 'The key PMI_process_mapping has a value: a vector of blocks, or the empty string.',
  },
]);

export const kvs = theme('keys and values', [
  {
    id: 'P1-PUT-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:put',
    text: 'The server replies to a valid put with put_result and no error.',
  },
  {
    id: 'P1-PUT-2',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'The server stores a key that is one byte shorter than keylen_max.',
  },
  {
    id: 'P1-PUT-3',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'The server stores a value that is one byte shorter than vallen_max.',
  },
  {
    id: 'P1-PUT-4',
    level: 'MAY',
    paragraph: 'Protocol Definition, C:put',
    text: 'A value may have blanks.',
  },
  {
    id: 'P1-PUT-5',
    level: 'SHOULD',
    document: 'pmi-1.1',
    paragraph: 'PUT, GET',
    text: 'put and get without a kvsname concern the key-value space of the process group.',
  },
  {
    id: 'P1-PUT-6',
    level: 'MAY',
    paragraph: 'Key Value Store',
    text: 'The server refuses a put of a key that begins with PMI_.',
  },
  {
    id: 'P1-GET-1',
    level: 'MUST',
    paragraph: 'Key Value Store',
    text: 'A get returns the value that was put, with every character from 33 to 126.',
  },
  {
    id: 'P1-GET-2',
    level: 'MUST',
    paragraph: 'Key Value Store',
    text: 'A value may be empty.',
  },
  {
    id: 'P1-GET-3',
    level: 'MUST',
    paragraph: 'Error Handling',
    text: 'A get of a key that does not exist has an rc that is not 0.',
  },
  {
    id: 'P1-GET-4',
    level: 'MAY',
    paragraph: 'PMI_KVS_Get',
    text: 'The server itself answers a get of a missing key that begins with PMI_ by the empty string, as the function PMI_KVS_Get does.',
  },
  {
    id: 'P1-GET-5',
    level: 'SHOULD',
    paragraph: 'Protocol Definition, S:get',
    text: 'Nothing follows the value in a get_result.',
  },
  {
    id: 'P1-GET-6',
    level: 'MUST',
    paragraph: 'PMI_KVS_Get',
    text: 'A key is found by its whole name, and not by a beginning of it.',
  },
]);

export const barrier = theme('barriers', [
  {
    id: 'P1-BARRIER-1',
    level: 'MUST',
    paragraph: 'PMI_Barrier',
    text: 'The server sends barrier_out to no rank before all ranks have sent barrier_in.',
  },
  {
    id: 'P1-BARRIER-2',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'After a barrier each rank gets the keys that other ranks have put before it.',
  },
  {
    id: 'P1-BARRIER-3',
    level: 'MUST',
    paragraph: 'PMI_Barrier',
    text: 'Barriers work one after another, also without puts between them.',
  },
]);

export const names = theme('names', [
  {
    id: 'P1-NAME-1',
    level: 'MAY',
    paragraph: 'PMI_Publish_name',
    text: 'The server offers names: it replies to publish_name with publish_result and no error.',
  },
  {
    id: 'P1-NAME-2',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:lookup',
    text: 'If the server offers names, a lookup_name returns the port that was published.',
  },
  {
    id: 'P1-NAME-3',
    level: 'MUST',
    paragraph: 'Error Handling',
    text: 'If the server offers names, the reply to a lookup_name of a service that is not published has an rc that is not 0.',
  },
  {
    id: 'P1-NAME-4',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:unpublish',
    text: 'If the server offers names, a service is no longer found after unpublish_name.',
  },
]);

export const spawn = theme('spawn', [
  {
    id: 'P1-SPAWN-1',
    level: 'MAY',
    paragraph: 'PMI_Spawn_multiple',
    destructive: true,
    text: 'The server offers spawn: it replies to a spawn of a program with spawn_result and no error.',
  },
  {
    id: 'P1-SPAWN-2',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:spawn',
    destructive: true,
    text: 'If the server offers spawn, errcodes, if it is there, has one whole number for each process.',
  },
]);

export const end = theme('end', [
  {
    id: 'P1-FINALIZE-1',
    level: 'MUST',
    paragraph: 'Protocol Definition, S:finalize',
    text: 'The server replies to finalize with finalize_ack and no error.',
  },
  {
    id: 'P1-ABORT-1',
    level: 'MUST',
    paragraph: 'PMI_Abort',
    destructive: true,
    text: 'abort ends the job, and the launcher reports a failure.',
  },
  {
    id: 'P1-ERROR-1',
    level: 'MUST',
    paragraph: 'Error Handling',
    destructive: true,
    text: 'After an unknown command the server closes the connection.',
  },
  {
    id: 'P1-ERROR-2',
    level: 'MUST',
    paragraph: 'Protocol Definition',
    destructive: true,
    text: 'A command is known by its whole name: getfoo is not answered as get.',
  },
]);
