// hardware-coherent, the ideal lower bound: its requests overlap while entries vanish.

import { expect, test } from 'vitest'
import { simulate } from '../src/engine/simulate.js'
import { eventsOf } from '../src/trace/recorder.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, image, mmap, program, repeat, signal, spin, touch } from './support/programs.js'
import type { Step } from './support/programs.js'

test('requests that overlap have generations of their own, and nobody is interrupted', async () => {
  const give = (index: number): Step =>
    repeat(20, touch(area(index), 'write'), compute(7 + 12 * index), dontneed(area(index)))
  const plain = testConfig({ cpus: 3 }, { policy: 'hardware-coherent' })
  // A slow transfer, so that requests overlap for certain.
  const costs = { ...plain.machine.costs, ackTransfer: 3000 }
  const config = { ...plain, machine: { ...plain.machine, costs } }
  const { result } = await simulate(config, image([{ threads: [
    { comm: 'one', cpus: [0], program: program('one', mmap(0, 2), mmap(1, 2), signal(0), give(0)) },
    { comm: 'two', cpus: [1], program: program('two', spin(0), give(1)) },
  ] }]), { engine: 'inline', check: true })
  const events = [...eventsOf(result.trace)]
  const generations = events.flatMap(event => event.name === 'flush_begin' ? [event.fields.newTlbGen] : [])
  expect(new Set(generations).size).toBe(generations.length)
  expect(generations.length).toBeGreaterThanOrEqual(40)
  let open = 0
  const overlaps = events.filter((event) => {
    if (event.name === 'flush_begin') open += 1
    if (event.name === 'flush_done') open -= 1
    return open > 1
  })
  expect(overlaps.length).toBeGreaterThan(0)
  expect(result.counters.callFunctionIpis).toBe(0)
})
