// Ctrl-C and SIGTERM: the work is asked to stop through an AbortSignal, a message says so, and the
// process ends within a second whatever happens, with the exit code that shells give to the signal.

import { abortOpenFiles } from '../base/atomic-file.js'

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const
/** Time for threads to be taken down in order, milliseconds. */
const GRACE_MS = 700

export interface InterruptScope {
  readonly signal: AbortSignal
}

/**
 * Runs `work` with a signal that Ctrl-C aborts. When it was interrupted, whatever `work` then rejects with has been
 * reported already and is swallowed. `describe` completes "interrupted by SIGINT ...".
 */
export async function interruptible(
  describe: () => string, work: (scope: InterruptScope) => Promise<void>,
): Promise<void> {
  const controller = new AbortController()
  const onSignal = (name: keyof typeof EXIT_CODES): void => {
    process.exitCode = EXIT_CODES[name]
    abortOpenFiles()
    // The second time somebody is impatient.
    if (controller.signal.aborted) process.exit()
    process.stderr.write(`\ninterrupted by ${name} ${describe()}\n`)
    controller.abort()
    setTimeout(() => process.exit(), GRACE_MS).unref()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    await work({ signal: controller.signal })
  } catch (error) {
    if (!controller.signal.aborted) throw error
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}
