// `copies:` of a thread: a scenario that grows with its machine.

import { describe, expect, test } from 'vitest'
import type { UserError } from '../src/base/errors.js'
import { simulate } from '../src/engine/simulate.js'
import { parseScenario } from '../src/scenario/parse.js'
import { loadTrace } from '../src/scenario/trace-file.js'

const scenario = (worker: string, cpus = 4): string => `cpus: ${cpus}
processes:
  - name: app
    threads:
      - name: main
        cpu: 0
        program:
          - barrier: start
          - signal: done
      - name: worker
        ${worker}
        program:
          - mmap: {name: own, pages: 2}
          - repeat: {times: 2, do: [write: own, read: {area: own, pages: 1}]}
          - barrier: start
          - spin: done
          - munmap: own
`

async function compiled(text: string): ReturnType<typeof parseScenario> {
  return parseScenario(text, 's.yaml', {}, loadTrace)
}

describe('copies of a thread', () => {
  test('go to the CPUs behind the first, each with a name and areas of its own', async () => {
    const { image } = await compiled(scenario('cpu: 1\n        copies: rest'))
    expect(image.processes[0]!.threads.map(({ comm, cpus }) => [comm, cpus])).toEqual([
      ['main', [0]], ['worker-0', [1]], ['worker-1', [2]], ['worker-2', [3]],
    ])
    expect(image.areaNames).toEqual(['own-0', 'own-1', 'own-2'])
    expect(image.barriers).toEqual([{ name: 'start', tasks: 4 }])
  })

  test('are as many as the machine has CPUs, which may be none', async () => {
    const text = scenario('cpu: 1\n        copies: rest', 1).replace('- spin: done', '- compute: 1')
    const { image } = await compiled(text)
    expect(image.processes[0]!.threads.map(({ comm }) => comm)).toEqual(['main'])
  })

  test('run like threads that were written one by one', async () => {
    const { image, config } = await compiled(scenario('cpu: 1\n        copies: 3'))
    const { result } = await simulate(config, image, { engine: 'inline' })
    expect(result.tasks.map(({ comm, outcome }) => `${comm} ${outcome}`))
      .toEqual(['main', 'worker-0', 'worker-1', 'worker-2'].map((comm) => `${comm} exited`))
    expect(result.counters.failedSyscalls).toBe(0)
  })

  test('need a first CPU, and CPUs that exist', async () => {
    const wrong = async (worker: string): Promise<string> => {
      try {
        await compiled(scenario(worker))
      } catch (error) {
        return (error as UserError).format()
      }
      return 'nothing'
    }
    expect(await wrong('copies: 2')).toMatch(/^s.yaml:11:9: copies of a thread need the CPU of the first one/)
    expect(await wrong('cpu: 2\n        copies: 3')).toMatch(/CPU 4 does not exist/)
    expect(await wrong('cpu: 1\n        copies: all')).toMatch(/expected a number of copies, or rest, found "all"/)
  })
})
