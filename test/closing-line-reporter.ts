// The last line of every test run, for people and scripts that look at nothing else:
// `shootdown: 123 passed, 0 failed`. A file that does not load and an error outside of any test
// count as one failure each. Skipped tests are not counted; the default reporter shows them.

import { writeSync } from 'node:fs'
import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node'

export default class ClosingLineReporter implements Reporter {
  #watching = false

  onInit(vitest: Vitest): void {
    this.#watching = vitest.config.watch
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    let passed = 0
    let failed = errors.length
    for (const module of modules) {
      failed += module.errors().length
      for (const suite of module.children.allSuites()) failed += suite.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'passed') passed++
        if (state === 'failed') failed++
      }
    }
    const line = `shootdown: ${passed} passed, ${failed} failed\n`
    // Watching goes on after a run; a single run ends the process, and nothing is printed after this.
    if (this.#watching) process.stdout.write(line)
    else process.once('exit', () => writeSync(1, line))
  }
}
