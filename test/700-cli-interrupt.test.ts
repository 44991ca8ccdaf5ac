// Runs that are ended from outside: Ctrl-C, an AbortSignal, a worker that dies. Each is over at once
// (within a second on a host that is not busy), says so, and leaves no file and no thread.

import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { EngineError } from '../src/base/errors.js'
import { ENGINES } from '../src/engine/scheduler-loop.js'
import { simulate, type SimulateOptions } from '../src/engine/simulate.js'
import { parseScenario } from '../src/scenario/parse.js'
import { shootdown, temporaryFolder } from './support/cli.js'

/** Hours of long windows on every CPU. */
const LONG = [
  'cpus: 3',
  'processes:',
  '  - name: app',
  '    threads:',
  '      - {name: one, cpu: 0, program: [{mmap: {name: buf, pages: 600}}, {write: buf}, {signal: go}, '
    + '{touch: {area: buf, count: 2000000000, pattern: random}}]}',
  '      - {name: two, cpu: 1, program: [{spin: go}, {touch: {area: buf, count: 2000000000, pattern: random}}]}',
  '      - {name: three, cpu: 2, program: [{spin: go}, {repeat: {times: 2000000000, do: [{compute: 100000}, yield]}}]}',
].join('\n')
/** Far less than the run would take, far more than ending it takes on a busy host. */
const PATIENCE_MS = 10_000

describe('Ctrl-C', () => {
  for (const engine of ENGINES) {
    test(`ends a run on the ${engine} engine at once`, async () => {
      const folder = temporaryFolder({ 'long.yaml': LONG, 'short.yaml': 'processes: [{name: app, program: [exit]}]' })
      const signal = engine === 'inline' ? 'SIGTERM' : 'SIGINT'
      // The summary of the short run says that the long one is next.
      const ended = await shootdown(['run', 'short.yaml', 'long.yaml', '--json', '--engine', engine], {
        cwd: folder, interruptAfterMs: 500, signal,
      })
      expect(ended.stderr).toBe(`\ninterrupted by ${signal} while running long.yaml: it has no result\n`)
      expect(ended.code).toBe(signal === 'SIGINT' ? 130 : 143)
      expect(JSON.parse(ended.stdout)).toMatchObject({ file: 'short.yaml', ok: true })
      expect(ended.msAfterSignal).toBeLessThan(PATIENCE_MS)
      expect(readdirSync(folder)).toEqual(['long.yaml', 'short.yaml'])
    })
  }
})

describe('simulate()', () => {
  for (const engine of ENGINES) {
    test(`rejects with EngineError when its signal aborts (${engine})`, async () => {
      const controller = new AbortController()
      let abortedMs = 0
      const error = await run({
        engine, signal: controller.signal, onProgress: () => {
          abortedMs ||= performance.now()
          controller.abort()
        },
      })
      expect(error).toBeInstanceOf(EngineError)
      expect(error?.message).toBe('the run was interrupted')
      expect(performance.now() - abortedMs).toBeLessThan(PATIENCE_MS)
    })
  }

  test('rejects with EngineError when the thread of a CPU dies, and takes the other threads down', async () => {
    await run({ engine: 'threads', dieAtWindow: 1, shortestWorkerWindow: 0 })
    const threads = hostThreads()
    const startMs = performance.now()
    const error = await run({ engine: 'threads', dieAtWindow: 3, shortestWorkerWindow: 0 })
    expect(error).toBeInstanceOf(EngineError)
    expect(error?.message).toBe('the thread of cpu0 died (exit code 1)')
    expect(performance.now() - startMs).toBeLessThan(PATIENCE_MS)
    expect(hostThreads()).toBeLessThanOrEqual(threads)
  })
})

/** What the run rejected with. */
async function run(options: SimulateOptions): Promise<Error | undefined> {
  const { config, image } = await parseScenario(LONG, 'long.yaml', {}, () => {
    throw new Error('no trace here')
  })
  return simulate(config, image, options).then(() => undefined, (error: Error) => error)
}

/** Threads of this process; 0 where the host does not tell. */
function hostThreads(): number {
  try {
    return readdirSync('/proc/self/task').length
  } catch {
    return 0
  }
}
