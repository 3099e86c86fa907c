import type { RuleTheme } from '../rule';

export const port: RuleTheme = {
  title: 'Servers: PMI_PORT',
  binds: 'server',
  rules: [
    {
      id: 'PORT-ENV-1',
      level: 'MUST',
      document: 'PMI_PORT',
      paragraph: 'Environment',
      text: 'A launcher that sets PMI_PORT also sets PMI_ID, and does not set PMI_FD.',
    },
    {
      id: 'PORT-ENV-2',
      level: 'SHOULD',
      document: 'PMI_PORT',
      paragraph: 'Address',
      text: 'A TCP address has the form host:port without a scheme, because MPICH reads only this form.',
    },
    {
      id: 'PORT-ACK-1',
      level: 'MUST',
      document: 'PMI_PORT',
      paragraph: 'PMI-1: initack',
      version: '1.1',
      text: 'The server replies to an initack with the PMI_ID of a rank by an initack without an error.',
    },
    {
      id: 'PORT-ACK-2',
      level: 'MUST',
      document: 'PMI_PORT',
      paragraph: 'PMI-1: initack',
      version: '1.1',
      text: 'After its initack the server sends the size, the rank and the debug flag, each in a line cmd=set, in this order.',
    },
    {
      id: 'PORT-ACK-3',
      level: 'MUST',
      document: 'PMI_PORT',
      paragraph: 'PMI-1: initack',
      version: '1.1',
      text: 'The rank of cmd=set is below its size.',
    },
    {
      id: 'PORT-REFUSE-1',
      level: 'SHOULD',
      document: 'PMI_PORT',
      paragraph: 'PMI-1: initack',
      version: '1.1',
      destructive: true,
      text: 'The server sends no initack to a client that sends another message first.',
    },
    {
      id: 'PORT-REFUSE-2',
      level: 'SHOULD',
      document: 'PMI_PORT',
      paragraph: 'PMI-1: initack',
      version: '1.1',
      destructive: true,
      text: 'The server sends no initack to a second client with the PMI_ID of a rank that is connected.',
    },
  ],
};
