// How the tests run: TypeScript sources directly, one forked process per file (several tests
// start worker threads and signal handlers), the closing line last.

import { defineConfig } from 'vitest/config'
import { LongestFirst } from './test/longest-first.js'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Anchored, so that a folder of the same name further down is not left out by accident.
    exclude: ['node_modules/**', 'dist/**'],
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './test/closing-line-reporter.ts'],
  },
})
