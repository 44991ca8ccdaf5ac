// Lines that CPUs fight for, and seeded noise: what they cost, to the cycle, and that without them nothing changes.

import { describe, expect, test } from 'vitest'
import { KernelCpu } from '../src/kernel/cpu.js'
import { Noise } from '../src/kernel/noise.js'
import { SharedLine } from '../src/kernel/smp/cache-line.js'
import { icrWriteCycles } from '../src/kernel/smp/apic.js'
import { runScenario } from '../src/study/reproduce/simulated.js'
import { TEST_COSTS, testConfig } from './support/machines.js'

const k = { costs: { ...TEST_COSTS, lineTransfer: 100, lineTransferRemote: 300 } }

/** Enough of a CPU for a line. */
function cpu(id: number, socket: number, now = 0): KernelCpu {
  return Object.assign(Object.create(KernelCpu.prototype) as KernelCpu, { id, socket, now })
}

describe('a line that several CPUs write', () => {
  test('costs nothing on the CPU that wrote it last, a transfer on another, more across sockets', () => {
    const line = new SharedLine()
    const [a, b, c] = [cpu(0, 0), cpu(1, 0, 1000), cpu(2, 1, 2000)]
    expect([line.write(k, a), line.write(k, a), line.write(k, b), line.write(k, c)]).toEqual([0, 0, 100, 300])
  })

  test('writers in the same cycle queue up', () => {
    const line = new SharedLine()
    line.write(k, cpu(0, 0))
    expect([1, 2, 3].map(id => line.write(k, cpu(id, 0, 50)))).toEqual([100, 200, 300])
  })

  test('readers get copies in parallel, once after each write; the writer pays to take them back', () => {
    const line = new SharedLine()
    const owner = cpu(0, 0)
    line.write(k, owner)
    const readers = [1, 2, 3].map(id => cpu(id, 0, 50))
    expect(readers.map(each => line.read(k, each))).toEqual([100, 100, 100])
    expect(readers.map(each => line.read(k, each))).toEqual([0, 0, 0])
    owner.now = 500
    expect([line.read(k, owner), line.write(k, owner), line.write(k, owner)]).toEqual([0, 100, 0])
  })

  test('without a price nothing is kept', () => {
    const line = new SharedLine()
    const free = { costs: TEST_COSTS }
    line.write(free, cpu(0, 0))
    expect([line.write(free, cpu(1, 0)), line.read(free, cpu(2, 1))]).toEqual([0, 0])
  })
})

describe('the write of an interrupt command', () => {
  test('has the price of its mode', () => {
    const prices = (['native', 'exit', 'virtualized'] as const).flatMap(icr => (
      (['xapic-flat', 'x2apic-physical'] as const).map((apic) => {
        const config = testConfig({ icr, apic })
        return icrWriteCycles({ costs: TEST_COSTS, config })
      })))
    expect(prices).toEqual([60, 60, 800, 700, 300, 200])
  })
})

describe('noise', () => {
  test('has median 1 and the sigma that was asked for', () => {
    const noise = new Noise(7, 0.05, 1)
    const logs = Array.from({ length: 4000 },
      () => Math.log(noise.cycles(0, 1_000_000) / 1_000_000)).sort((a, b) => a - b)
    const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length
    const sigma = Math.sqrt(logs.reduce((sum, value) => sum + (value - mean) ** 2, 0) / logs.length)
    expect(Math.abs(logs[2000]!)).toBeLessThan(0.004)
    expect(sigma).toBeGreaterThan(0.047)
    expect(sigma).toBeLessThan(0.053)
  })

  test('is whole cycles, at least one, and its own on every CPU', () => {
    const draws = (cpuId: number): number[] => {
      const noise = new Noise(7, 0.5, 2)
      return Array.from({ length: 50 }, () => noise.cycles(cpuId, 2))
    }
    expect(draws(0)).toEqual(draws(0))
    expect(draws(0)).not.toEqual(draws(1))
    expect(draws(0).every(value => Number.isInteger(value) && value >= 1)).toBe(true)
  })

  test('changes a run, and the same seed changes it the same way', async () => {
    const end = async (noise: number, seed: number): Promise<number> => {
      const program = [{ mmap: { name: 'a', pages: 4 } }, { write: 'a' }, { munmap: 'a' }]
      const { result } = await runScenario({
        machine: { preset: 'hsw-2s', noise }, cpus: 1, seed, processes: [{ name: 'p', program }],
      })
      return result.cycle
    }
    const plain = await end(0, 1)
    const noisy = await end(5, 1)
    expect(noisy).not.toBe(plain)
    expect(Math.abs(noisy / plain - 1)).toBeLessThan(0.1)
    expect(await end(5, 1)).toBe(noisy)
    expect(await end(5, 2)).not.toBe(noisy)
  })
})
