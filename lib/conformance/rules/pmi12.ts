import type { RuleTheme } from '../rule';

export const pmi12: RuleTheme = {
  title: 'Servers, PMI-1.2',
  binds: 'server',
  rules: [
    {
      id: 'P12-INIT-1',
      level: 'MUST',
      document: 'RFC 13',
      paragraph: 'Version Negotiation',
      version: '1.2',
      text: 'The server replies to an init for a newer version with the version that it speaks.',
    },
    {
      id: 'P12-INIT-2',
      level: 'MAY',
      document: 'pmi-1.2',
      paragraph: 'INIT',
      version: '1.2',
      text: 'The server speaks PMI-1.2 with a client that asks for it.',
    },
    {
      id: 'P12-BARRIER-1',
      level: 'MUST',
      document: 'pmi-1.2',
      paragraph: 'BARRIER',
      version: '1.2',
      text: 'If the server speaks PMI-1.2, a barrier of a group ends when the ranks of the group have entered it.',
    },
    {
      id: 'P12-BARRIER-2',
      level: 'MUST',
      document: 'pmi-1.2',
      paragraph: 'BARRIER',
      version: '1.2',
      text: 'If the server speaks PMI-1.2, a barrier without a group is a barrier of all ranks.',
    },
    {
      id: 'P12-FINALIZE-1',
      level: 'MUST',
      document: 'pmi-1.2',
      paragraph: 'FINALIZE',
      version: '1.2',
      text: 'The server replies to finalize with finalize_ack and no error.',
    },
  ],
};
