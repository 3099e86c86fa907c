import type { RuleTheme } from '../rule';

export const environment: RuleTheme = {
  title: 'Environment of a rank',
  binds: 'server',
  rules: [
    {
      id: 'ENV-1',
      level: 'MUST',
      document: 'RFC 13',
      paragraph: 'Environment',
      text: 'A launcher that passes PMI_FD also sets PMI_RANK and PMI_SIZE, and the rank is below the size.',
    },
    {
      id: 'ENV-2',
      level: 'MUST',
      document: 'RFC 13',
      paragraph: 'Environment',
      text: 'PMI_SPAWNED is 1 in a spawned process group, and is not set, or 0, in any other.',
    },
    {
      id: 'ENV-3',
      level: 'MUST',
      document: 'RFC 13',
      paragraph: 'Environment',
      text: 'Each rank of a process group has a number of its own.',
    },
  ],
};
