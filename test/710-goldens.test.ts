// The traces of all scenarios of the project against their goldens, on every engine, byte for byte.
//
// A change that is meant: npm run golden:update, and say in the commit what changed and why.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { brotliDecompressSync } from 'node:zlib'
import { ENGINES } from '../src/engine/scheduler-loop.js'
import { simulate } from '../src/engine/simulate.js'
import { scenarioFiles } from '../src/cli/scenario-files.js'
import { loadScenario } from '../src/scenario/parse.js'
import { loadTrace } from '../src/scenario/trace-file.js'
import { readGolden } from '../src/study/golden-file.js'
import { loadSchedule } from '../src/study/schedule-scenario.js'
import { formatTextTrace } from '../src/trace/text.js'
import { ROOT, shootdown } from './support/cli.js'

const FILES = scenarioFiles(['scenarios'])

/** The canonical trace of a scenario. */
async function traceOf(file: string, engine: (typeof ENGINES)[number]): Promise<string> {
  const { config, image, name } = await loadScenario(file, { loadSchedule }, loadTrace)
  const { result } = await simulate(config, image, { engine })
  const { machine: { cpus, costs: { frequencyGhz } }, kernel: { era }, seed } = config
  return formatTextTrace(result.trace, { scenario: name, era, cpus, seed, frequencyGhz })
}

describe('every scenario gives its golden trace', () => {
  test('with the facts that it expects, on all engines', async () => {
    for (const engine of ENGINES) {
      const { code, stdout } = await shootdown(['test', '--ci', '--engine', engine])
      expect({ engine, code, stdout: code === 0 ? '' : stdout }).toEqual({ engine, code: 0, stdout: '' })
      expect(stdout.split('\n').at(-2)).toBe(`${FILES.length} passed, 0 failed`)
    }
  }, 180_000)

  test('with the invariants on, which only scenarios with bugs break', async () => {
    const { code, stdout } = await shootdown(['test', '--ci', '--check'])
    expect({ code, stdout: code === 0 ? '' : stdout }).toEqual({ code: 0, stdout: '' })
  }, 180_000)

  // Not through `shootdown test`, which might compare less than it says.
  test.each(FILES.filter(file => /tour|captures/.test(file)))('%s, compared here', async (file) => {
    const golden = readGolden(`${ROOT}${file}`)!
    const bytes = readFileSync(golden.path)
    const text = golden.path.endsWith('.br') ? brotliDecompressSync(bytes).toString() : bytes.toString()
    for (const engine of ENGINES) expect(await traceOf(file, engine) === text, `${file} on ${engine}`).toBe(true)
  })
})
