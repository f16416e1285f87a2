import { defineConfig } from 'vitest/config'

// Packages run from source; without the condition their `exports` point at a build that does not exist.
const conditions = ['source']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    projects: [
      // Files share a process and what it has imported, which halves the time: none replaces a module, and a global only for as long as it runs.
      {
        extends: true,
        test: { name: 'unit', include: ['packages/*/src/**/*.test.ts', 'tools/**/*.test.ts'], isolate: false },
      },
      // Everything that needs root, PostgreSQL, NATS or a microVM: one file at a time, deadlines for a busy machine.
      {
        extends: true,
        test: {
          name: 'system',
          include: ['tests/**/*.test.ts'],
          maxWorkers: 1,
          testTimeout: 120_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
})
