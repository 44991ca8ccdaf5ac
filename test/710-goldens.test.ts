// The traces of all scenarios of the project against their goldens, on every engine, byte for byte.
//
// A change that is meant: npm run golden:update, and say in the commit what changed and why.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { brotliDecompressSync } from 'node:zlib'
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
async function traceOf(file: string): Promise<string> {
  const { config, image, name } = await loadScenario(file, { loadSchedule }, loadTrace)
  const { result } = await simulate(config, image, { engine: 'inline' })
  const { machine: { cpus, costs: { frequencyGhz } }, kernel: { era }, seed } = config
  return formatTextTrace(result.trace, { scenario: name, era, cpus, seed, frequencyGhz })
}

describe('every scenario gives its golden trace', () => {
  // The invariants are on for the inline engine: only scenarios with bugs may break them, and must.
  const ways = [['reference'], ['threads', '--jobs', '1'], ['inline', '--check']]

  test.each(ways)('and the facts that it expects: %s %s', async (...way) => {
    const { code, stdout } = await shootdown(['test', '--ci', '--engine', ...way])
    expect({ code, stdout: code === 0 ? '' : stdout }).toEqual({ code: 0, stdout: '' })
    expect(stdout.split('\n').at(-2)).toBe(`${FILES.length} passed, 0 failed`)
  }, 600_000)

  // Not through `shootdown test`, which might compare less than it says.
  test.each(FILES.filter(file => file.includes('/tour/')))('%s, compared here', async (file) => {
    const golden = readGolden(`${ROOT}${file}`)!
    const bytes = readFileSync(golden.path)
    const text = golden.path.endsWith('.br') ? brotliDecompressSync(bytes).toString() : bytes.toString()
    expect(await traceOf(file) === text).toBe(true)
  })
})
