// Sleeping and waking: a wake-up is never lost and never counted twice.

import { expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { Step } from './support/programs.js'
import { compute, image, program, sleep } from './support/programs.js'
import { testConfig } from './support/machines.js'

const wake = (comm: string): Step => ({ op: 'wake', source: { line: 1, column: 1 }, comm })

async function endOf(sleeper: Step[], waker: Step[]): Promise<{ end: string; cycle: number; stall: string[] }> {
  const { result } = await simulateHere(testConfig(), image([{ threads: [
    { comm: 'sleeper', cpus: [0], program: program('sleeper', ...sleeper) },
    { comm: 'waker', cpus: [1], program: program('waker', ...waker) },
  ] }]), { check: true })
  return result
}

test('a wake-up that comes before the sleep is remembered: the sleep returns at once', async () => {
  const { end, cycle } = await endOf([compute(50_000), sleep(10_000_000)], [wake('sleeper')])
  expect(end).toBe('finished')
  expect(cycle).toBeLessThan(100_000)
})

test('a sleep that never began leaves no timer that could wake a later one', async () => {
  const { end, stall } = await endOf([compute(50_000), sleep(100_000), sleep(0)], [wake('sleeper')])
  expect(end).toBe('stalled')
  expect(stall).toEqual(['sleeper-1 sleeps, waiting for a wake-up'])
})

test('a sleep that is cut short by a wake-up leaves no timer either', async () => {
  const { end, stall } = await endOf([sleep(200_000), sleep(0)], [compute(50_000), wake('sleeper')])
  expect(end).toBe('stalled')
  expect(stall).toEqual(['sleeper-1 sleeps, waiting for a wake-up'])
})

test('a timer wakes its task at its cycle, neither earlier nor much later', async () => {
  const { end, cycle } = await endOf([sleep(200_000)], [])
  expect(end).toBe('finished')
  expect(cycle).toBeGreaterThan(200_000)
  expect(cycle).toBeLessThan(205_000)
})
