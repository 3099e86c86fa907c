import type { Rule, RuleTheme } from '../rule';

type Row = Omit<Rule, 'version' | 'document'> & Partial<Pick<Rule, 'document'>>;

function theme(title: string, document: Rule['document'], rules: readonly Row[]): RuleTheme {
  return { title, binds: 'client', rules: rules.map((rule) => ({ document, ...rule })) };
}

export const clientRun = theme('Clients: the program', 'RFC 13', [
  {
    id: 'C-RUN-1',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'The program ends successfully with a server that follows the documents.',
  },
]);

export const clientPort = theme('Clients: PMI_PORT', 'PMI_PORT', [
  {
    id: 'C-PORT-1',
    level: 'MUST',
    paragraph: 'PMI-1: initack, PMI-2: fullinit',
    text: 'The client identifies itself by PMI_ID before anything else, except the init of PMI-2.',
  },
]);

export const client1 = theme('Clients, PMI-1: requests', 'RFC 13', [
  {
    id: 'C1-MESSAGE-1',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'Each request is a line of attributes, the first of which is cmd, or a block that begins with mcmd.',
  },
  {
    id: 'C1-MESSAGE-2',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'The client waits for the reply before it sends the next request.',
  },
  {
    id: 'C1-MESSAGE-3',
    level: 'MUST',
    paragraph: 'Protocol Definition',
    text: 'Each command is one of the protocol, with the attributes that it needs.',
  },
  {
    id: 'C1-INIT-1',
    level: 'MUST',
    paragraph: 'Version Negotiation',
    text: 'The first request is init, with both numbers of the version.',
  },
  {
    id: 'C1-KVSNAME-1',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put, PMI_KVS_Get',
    text: 'put and get have the kvsname that the server has given.',
  },
  {
    id: 'C1-PUT-1',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'A key is shorter than keylen_max.',
  },
  {
    id: 'C1-PUT-2',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'A value is shorter than vallen_max.',
  },
  {
    id: 'C1-PUT-3',
    level: 'MUST',
    paragraph: 'Key Value Store',
    text: 'A value has only characters from 33 to 126.',
  },
  {
    id: 'C1-PUT-4',
    level: 'MUST',
    paragraph: 'Key Value Store',
    text: 'A client puts no key that begins with PMI_.',
  },
  {
    id: 'C1-PUT-5',
    level: 'MUST',
    paragraph: 'PMI_KVS_Put',
    text: 'No key is put twice.',
  },
  {
    id: 'C1-FINALIZE-1',
    level: 'SHOULD',
    paragraph: 'PMI_Finalize',
    text: 'A rank that ends successfully has sent finalize.',
  },
  {
    id: 'C1-FINALIZE-2',
    level: 'MUST',
    paragraph: 'PMI_Finalize',
    text: 'Nothing follows finalize.',
  },
]);

export const clientReads1 = theme('Clients, PMI-1: replies', 'RFC 13', [
  {
    id: 'C1-READ-1',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The client accepts the attributes of a reply in any order.',
  },
  {
    id: 'C1-READ-2',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The client ignores attributes that it does not know.',
  },
  {
    id: 'C1-READ-3',
    level: 'SHOULD',
    paragraph: 'Wire Protocol',
    text: 'The client accepts several blanks between the attributes of a reply.',
  },
  {
    id: 'C1-READ-4',
    level: 'MUST',
    paragraph: 'Wire Protocol',
    text: 'A reply ends at its newline, however many reads it arrives in.',
  },
  {
    id: 'C1-READ-5',
    level: 'MUST',
    paragraph: 'Error Handling',
    text: 'A reply without rc is a success.',
  },
  {
    id: 'C1-READ-6',
    level: 'MUST',
    paragraph: 'Error Handling',
    text: 'A reply with rc=0 and msg=success is a success.',
  },
  {
    id: 'C1-READ-7',
    level: 'MAY',
    document: 'pmi-1.1',
    paragraph: 'GET',
    text: 'The client accepts found=TRUE after the value of a get_result, as servers of MPICH 4.1.1 to 4.2 send it.',
  },
  {
    id: 'C1-READ-8',
    level: 'MAY',
    document: 'pmi-1.2',
    paragraph: 'INIT',
    text: 'The client accepts PMI-1.2 in the reply to an init for 1.1, as new servers of MPICH send it.',
  },
  {
    id: 'C1-READ-9',
    level: 'MUST',
    paragraph: 'Local Process Group Information',
    text: 'The client works if the value of PMI_process_mapping is empty.',
  },
  {
    id: 'C1-READ-10',
    level: 'SHOULD',
    paragraph: 'PMI_KVS_Get_name_length_max',
    text: 'The client works with limits of 16 bytes for a kvsname, 32 for a key and 64 for a value.',
  },
  {
    id: 'C1-READ-11',
    level: 'MUST',
    paragraph: 'Error Handling',
    text: 'A client whose put is refused does not end successfully.',
  },
]);

export const client2 = theme('Clients, PMI-2', 'pmi-2.0', [
  {
    id: 'C2-MESSAGE-1',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'Each request is a frame: six characters with its length, and attributes that each end with a semicolon, the first of which is cmd.',
  },
  {
    id: 'C2-MESSAGE-2',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Thread Safety',
    text: 'A client without thrid waits for the reply before it sends the next request.',
  },
  {
    id: 'C2-MESSAGE-3',
    level: 'MUST',
    paragraph: 'all',
    text: 'Each command is one of the protocol, with the attributes that it needs.',
  },
  {
    id: 'C2-FULLINIT-1',
    level: 'MUST',
    paragraph: 'FULLINIT',
    text: 'The first frame is fullinit, with the rank, or with PMI_ID on a connection that the client made.',
  },
  {
    id: 'C2-PUT-1',
    level: 'MUST',
    paragraph: 'KVSPUT',
    text: 'A key is shorter than 64 bytes, and a value is shorter than 1,024.',
  },
  {
    id: 'C2-FINALIZE-1',
    level: 'SHOULD',
    paragraph: 'FINALIZE',
    text: 'A rank that ends successfully has sent finalize, and nothing after it.',
  },
  {
    id: 'C2-READ-1',
    level: 'SHOULD',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'The client accepts the attributes of a reply in any order.',
  },
  {
    id: 'C2-READ-2',
    level: 'SHOULD',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'The client ignores attributes that it does not know.',
  },
  {
    id: 'C2-READ-3',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'The client reads as many bytes of a reply as its length demands, also if they arrive in several parts.',
  },
  {
    id: 'C2-READ-4',
    level: 'SHOULD',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'The client accepts blanks before the length of a frame, as MPICH sends them, and after it, as Slurm does.',
  },
]);
