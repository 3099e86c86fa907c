import type { Rule, RuleTheme } from '../rule';

type Row = Omit<Rule, 'version' | 'document'> & Partial<Pick<Rule, 'document'>>;

function theme(title: string, rules: readonly Row[]): RuleTheme {
  return {
    title: `Servers, PMI-2: ${title}`,
    binds: 'server',
    rules: rules.map((rule) => ({ document: 'pmi-2.0', version: '2', ...rule })),
  };
}

export const start2 = theme('start', [
  {
    id: 'P2-INIT-1',
    level: 'MAY',
    paragraph: 'INIT',
    text: 'The server speaks PMI-2: it replies to init in one line with pmi_version=2.',
  },
  {
    id: 'P2-MESSAGE-1',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'Each reply is a frame: six characters with its length, and attributes that each end with a semicolon, the first of which is cmd.',
  },
  {
    id: 'P2-MESSAGE-2',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Format of messages',
    text: 'The length of a request decides where it ends, also if the request arrives in several writes.',
  },
  {
    id: 'P2-MESSAGE-3',
    level: 'MUST',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'Thread Safety',
    text: 'For a client that has sent threaded=TRUE, a reply has the thrid of its request.',
  },
  {
    id: 'P2-FULLINIT-1',
    level: 'MUST',
    paragraph: 'FULLINIT',
    text: 'fullinit-response has rank, size and appnum, and the rank is below the size.',
  },
  {
    id: 'P2-FULLINIT-2',
    level: 'MUST',
    paragraph: 'FULLINIT',
    text: 'Rank and size are those of PMI_RANK and PMI_SIZE.',
  },
  {
    id: 'P2-FULLINIT-3',
    level: 'MUST',
    paragraph: 'FULLINIT',
    text: 'spawner-jobid is there only in a spawned process group.',
  },
  {
    id: 'P2-JOBID-1',
    level: 'MUST',
    paragraph: 'KVSNAME',
    text: 'job-getid-response has a jobid, the same for all ranks.',
  },
]);

export const kvs2 = theme('keys and values', [
  {
    id: 'P2-PUT-1',
    level: 'MUST',
    paragraph: 'KVSPUT',
    text: 'The server replies to a valid kvs-put with kvs-put-response and no error.',
  },
  {
    id: 'P2-GET-1',
    level: 'MUST',
    paragraph: 'KVSGET',
    text: 'After a fence kvs-get returns found=TRUE and the value, with every character from 32 to 126 except the semicolon.',
  },
  {
    id: 'P2-GET-2',
    level: 'MUST',
    paragraph: 'KVSGET',
    text: 'A kvs-get of a key that does not exist has found=FALSE, or an rc that is not 0.',
  },
  {
    id: 'P2-FENCE-1',
    level: 'MAY',
    paragraph: 'KVSFENCE',
    text: 'A fence is also a barrier: the server releases no rank before all ranks have sent kvs-fence. (A lazy one waits in kvs-get.)',
  },
  {
    id: 'P2-FENCE-2',
    level: 'MUST',
    paragraph: 'KVSFENCE',
    text: 'After a fence each rank gets the keys that other ranks have put before it.',
  },
  {
    id: 'P2-FENCE-3',
    level: 'MUST',
    paragraph: 'KVSFENCE',
    text: 'Fences work one after another, also without puts between them.',
  },
]);

export const attributes2 = theme('attributes and names', [
  {
    id: 'P2-NODE-1',
    level: 'MUST',
    paragraph: 'PUTNODEATTR, GETNODEATTR',
    text: 'info-getnodeattr returns the value that info-putnodeattr has put on the same node.',
  },
  {
    id: 'P2-NODE-2',
    level: 'MUST',
    paragraph: 'GETNODEATTR',
    text: 'An info-getnodeattr without wait, of a key that does not exist, has found=FALSE, or an rc that is not 0.',
  },
  {
    id: 'P2-JOB-1',
    level: 'MUST',
    paragraph: 'GET',
    text: 'info-getjobattr of PMI_process_mapping returns a vector of blocks, or the empty string.',
  },
  {
    id: 'P2-JOB-2',
    level: 'SHOULD',
    document: 'PMI v2 Wire Protocol',
    paragraph: 'info-getjobattr',
    text: 'info-getjobattr of universeSize returns a whole number.',
  },
  {
    id: 'P2-NAME-1',
    level: 'MAY',
    paragraph: 'PUBLISH',
    text: 'The server offers names: it replies to name-publish without an error.',
  },
  {
    id: 'P2-NAME-2',
    level: 'MUST',
    paragraph: 'LOOKUP',
    text: 'If the server offers names, name-lookup returns the port that was published.',
  },
  {
    id: 'P2-NAME-3',
    level: 'MUST',
    paragraph: 'LOOKUP',
    text: 'If the server offers names, a name-lookup of a name that is not published gets a reply with an error.',
  },
  {
    id: 'P2-FINALIZE-1',
    level: 'MUST',
    paragraph: 'FINALIZE',
    text: 'The server replies to finalize with finalize-response and no error.',
  },
]);
