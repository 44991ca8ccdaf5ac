// The ground floor: named random streams and the map of shared memory.

import { expect, test } from 'vitest'
import { AssertionError } from '../src/base/assert.js'
import { createRandom, hash32 } from '../src/base/prng.js'
import { CACHE_LINE_BYTES, defineLayout, float64, int32 } from '../src/base/shared-layout.js'

test('a seed and a name decide the whole stream', () => {
  const draw = (seed: number, name: string): number[] => {
    const random = createRandom(seed, name)
    return Array.from({ length: 4 }, () => random.nextU32())
  }
  expect(draw(7, 'placement')).toEqual(draw(7, 'placement'))
  expect(draw(7, 'placement')).toMatchInlineSnapshot(`
    [
      2910631344,
      2162797006,
      3530367154,
      1417211894,
    ]
  `)
  const streams = [draw(7, 'placement'), draw(8, 'placement'), draw(7, 'workload'), draw(7 + 2 ** 32, 'placement')]
  expect(new Set(streams.map((numbers) => numbers[0])).size).toBe(4)
})

test('integers below n are all drawn about equally often, floats stay below 1', () => {
  const random = createRandom(1, 'counts')
  const counts = new Int32Array(7)
  for (let i = 0; i < 70_000; i++) counts[random.nextInt(7)]!++
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
  for (let i = 0; i < 1000; i++) expect(random.nextInt(1)).toBe(0)
  let sum = 0
  for (let i = 0; i < 10_000; i++) {
    const value = random.nextFloat()
    expect(value >= 0 && value < 1).toBe(true)
    sum += value
  }
  expect(Math.abs(sum / 10_000 - 0.5)).toBeLessThan(0.02)
  expect(() => random.nextInt(0)).toThrow(AssertionError)
  expect(() => createRandom(0.5, 'a')).toThrow(AssertionError)
})

test('the stateless mixer changes about half of its bits when one bit of the input changes', () => {
  expect(hash32(1, 2)).toBe(hash32(1, 2))
  expect(hash32(1, 2)).not.toBe(hash32(2, 1))
  let flipped = 0
  for (let bit = 0; bit < 32; bit++) {
    for (const other of [hash32(1 << bit, 99), hash32(0, 99 ^ (1 << bit))]) {
      for (let diff = hash32(0, 99) ^ other; diff !== 0; diff &= diff - 1) flipped++
    }
  }
  expect(Math.abs(flipped / 64 - 16)).toBeLessThan(1.5)
})

const layout = defineLayout({
  control: { doc: 'Written by the scheduler.', fields: { stop: int32(), horizon: float64() } },
  core: { doc: 'Row c is written by CPU c.', rows: 3, fields: { state: int32(), clock: float64(), loops: int32(20) } },
})

test('rows of different writers never share a cache line', () => {
  for (let row = 0; row < 3; row++) expect(layout.offsetOf('core', 'state', row) % CACHE_LINE_BYTES).toBe(0)
  expect(layout.strideOf('core')).toBe(128)
  expect(layout.byteLength).toBe(64 + 3 * 128)
})

test('fields are aligned, do not overlap and stay inside their row', () => {
  const buffer = layout.allocate()
  const cores = [0, 1, 2].map((row) => layout.row(buffer, 'core', row))
  cores.forEach((core, row) => {
    core.state[0] = row + 1
    core.clock[0] = row + 0.5
    core.loops.fill(100 + row)
  })
  layout.view(buffer, 'control', 'horizon')[0] = 1e15
  cores.forEach((core, row) => {
    const { state, clock, loops } = core
    expect([state[0], clock[0], loops[0], loops[19]]).toEqual([row + 1, row + 0.5, 100 + row, 100 + row])
  })
  expect(layout.view(buffer, 'control', 'stop')[0]).toBe(0)
  expect(layout.words(buffer, 'core')).toHaveLength((3 * 128) / 4)
  expect(layout.words(buffer, 'core')[128 / 4]).toBe(2)
})

test('a name or a row that does not exist is a mistake of the program', () => {
  const buffer = layout.allocate()
  expect(() => layout.offsetOf('core', 'state', 3)).toThrow('region core has no row 3')
  expect(() => layout.offsetOf('core', 'colour' as 'state')).toThrow('region core has no field colour')
  expect(() => layout.view(new SharedArrayBuffer(8), 'core', 'state')).toThrow('buffer of 8 bytes')
  expect(layout.row(buffer, 'control').stop).toHaveLength(1)
})

test('the map prints itself', () => {
  expect(layout.describe()).toMatchInlineSnapshot(`
    "448 bytes in 2 regions

    0x00000000  control: 1 x 64 bytes. Written by the scheduler.
      +     0  int32   stop
      +     8  float64 horizon

    0x00000040  core: 3 x 128 bytes. Row c is written by CPU c.
      +     0  int32   state
      +     8  float64 clock
      +    16  int32   loops[20]
    "
  `)
})
