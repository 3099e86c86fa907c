import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A deadline for a hang, not a measure: nothing here is timed.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
    // One file at a time: MPI jobs keep every core busy, and what must happen within two seconds must not wait for them.
    fileParallelism: false,
    pool: 'forks',
  },
});
