import { defineConfig } from 'vitest/config';

/**
 * Test files that run one at a time, after all others: each keeps both processors busy, or its subject is a limit of time
 * that it must meet undisturbed. All other files mostly wait for processes, and run in parallel.
 */
const serial = [
  'test/endings/killed.test.ts',
  'test/endings/left-behind.test.ts',
  'test/endings/soak.test.ts',
  'test/endings/tool-killed.test.ts',
  'test/fault/flood.test.ts',
  'test/fault/output.test.ts',
  'test/fault/many-jobs.test.ts',
  'test/integration/launch.test.ts',
  'test/integration/many-hosts.test.ts',
  'test/integration/tree-memory.test.ts',
  'test/interop/hosts.test.ts',
  'test/interop/matrix.test.ts',
];

export default defineConfig({
  test: {
    // A deadline for a test that hangs; no test is timed.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
    // No default options of the user who runs the tests.
    env: { XDG_CONFIG_HOME: '/dev/null/none', WIREUP_OPTIONS: '' },
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'parallel',
          include: ['test/**/*.test.ts'],
          exclude: serial,
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'serial', include: serial, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
