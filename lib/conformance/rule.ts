/** What a rule of conformance is, and the documents from which rules come. */

/** The levels of RFC 2119. SHALL is MUST. */
export type Level = 'MUST' | 'SHOULD' | 'MAY';

/** Who must keep a rule. */
export type Side = 'server' | 'client';

/** The documents, each with the address of its text. `PMI_PORT` is part of this project. */
export const documents = {
  'RFC 13': 'https://flux-framework.readthedocs.io/projects/flux-rfc/en/latest/spec_13.html',
  'pmi-1.1': 'https://github.com/pmodels/mpich/blob/main/src/pmi/maint/pmi-1.1.txt',
  'pmi-1.2': 'https://github.com/pmodels/mpich/blob/main/src/pmi/maint/pmi-1.2.txt',
  'pmi-2.0': 'https://github.com/pmodels/mpich/blob/main/src/pmi/maint/pmi-2.0.txt',
  'PMI v2 Wire Protocol': 'https://wiki.mpich.org/mpich/index.php/PMI_v2_Wire_Protocol',
  PMI_PORT: 'pmi-port.md',
} as const;

export type DocumentName = keyof typeof documents;

/** The versions of the protocol in which a rule is checked. */
export const versions = ['1.1', '1.2', '2'] as const;
export type PmiVersion = (typeof versions)[number];

export interface Rule {
  /** It never changes, and no other rule gets it after the rule is gone. */
  readonly id: string;
  readonly level: Level;
  readonly document: DocumentName;
  /** The section or message of the document. */
  readonly paragraph: string;
  /** One sentence. */
  readonly text: string;
  /** In which versions it is checked. Without it, in every version. */
  readonly version?: PmiVersion;
  /** The check may end the connection or the whole job, so it runs only by request. */
  readonly destructive?: true;
}

/** The rules of one theme, which bind one side. */
export interface RuleTheme {
  readonly title: string;
  readonly binds: Side;
  readonly rules: readonly Rule[];
}
