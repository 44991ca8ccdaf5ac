// What a program says of its next window. No result depends on it (test/600), only who runs what.

import { expect, test } from 'vitest'
import { LookAhead } from '../src/engine/look-ahead.js'
import { allocateSharedState, CORE_POSITION, openSharedState } from '../src/engine/shared-state.js'
import type { Instruction } from '../src/kernel/abi.js'
import { REG_PC } from '../src/kernel/sched/task.js'
import { testConfig } from './support/machines.js'
import { area, compute, giveWay, image, mmap, munmap, program, repeat, spin, store, touch } from './support/programs.js'
import type { Step } from './support/programs.js'

const HIT = 3

/** Looks at a program from instruction `pc` on, of which `done` is done. */
function lookAt(steps: Step[], pc = 0, done = 0): LookAhead {
  const { machine } = testConfig({ cpus: 2 })
  const costs = { ...machine.costs, access: HIT }
  const programs = image([{ threads: [{ comm: 't', cpus: [1], program: program('t', ...steps) }] }])
  const state = openSharedState(machine, programs, allocateSharedState(machine, programs))
  state.layout.view(state.buffer, 'core', 'words', 1)[REG_PC] = pc
  state.layout.view(state.buffer, 'core', 'doubles', 1)[CORE_POSITION] = done
  const ahead = new LookAhead(state, 1, { ...machine, costs }, programs)
  ahead.look()
  return ahead
}

const hits = (count: number): Instruction => touch(area(0), 'read', { count })

test('counts the cycles of hits and of computing up to a system call', () => {
  expect(lookAt([hits(100), compute(50), munmap(area(0))])).toMatchObject({ cycles: 100 * HIT + 50, isSeen: true })
  expect(lookAt([hits(100), compute(50), munmap(area(0))], 0, 90)).toMatchObject({ cycles: 10 * HIT + 50 })
  expect(lookAt([hits(100), compute(50), munmap(area(0))], 1, 20)).toMatchObject({ cycles: 30 })
  expect(lookAt([hits(100), munmap(area(0))], 1)).toMatchObject({ cycles: 0, isSeen: true })
})

test('a store is an event that others see, giving way is none', () => {
  expect(lookAt([compute(50), store(area(0), 1n)])).toMatchObject({ cycles: 50, isSeen: true })
  expect(lookAt([compute(50), giveWay()])).toMatchObject({ cycles: 50, isSeen: false })
})

test('goes round a loop, also from its middle', () => {
  const loop = repeat(9, mmap(0, 1), hits(10), compute(5))
  expect(lookAt([loop])).toMatchObject({ cycles: 0, isSeen: true })
  expect(lookAt([loop], 2)).toMatchObject({ cycles: 10 * HIT + 5, isSeen: true })
})

test('cannot tell the end of a pass over an area, of waiting for a flag, or of a program that goes on and on', () => {
  const unknown = { cycles: Infinity, isSeen: false }
  expect(lookAt([touch(area(0), 'read'), munmap(area(0))])).toMatchObject(unknown)
  expect(lookAt([spin(0), munmap(area(0))])).toMatchObject(unknown)
  expect(lookAt([repeat(1000, compute(5)), munmap(area(0))])).toMatchObject(unknown)
})
