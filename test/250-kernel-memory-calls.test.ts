// What mmap, munmap and mprotect refuse, and what they leave behind.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import type { ErrnoName, Instruction } from '../src/kernel/abi.js'
import { PROT_READ } from '../src/kernel/abi.js'
import { testConfig } from './support/machines.js'
import { area, fork, image, load, mmap, mprotect, munmap, program, store, touch, wait } from './support/programs.js'
import type { Step } from './support/programs.js'

const at = (lo: number, pages: number) => ({ area: -1, address: { hi: 0, lo }, offset: 0, bytes: pages * 4096 })
const expecting = (step: Instruction, expectError: ErrnoName): Instruction => ({ ...step, expectError })

async function failuresOf(...steps: Step[]): Promise<string[]> {
  const programs = image([{ threads: [{ comm: 'a', program: program('a', ...steps) }] }])
  const { result } = await simulateHere(testConfig({ cpus: 1 }), programs, { check: true })
  return result.failures.map(failure => failure.text)
}

describe('unaligned addresses', () => {
  test('are EINVAL for munmap, mprotect and fixed mmap', async () => {
    expect(await failuresOf(
      mmap(0, 4, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }),
      expecting(munmap(at(0x1000_0001, 1)), 'EINVAL'),
      expecting(mprotect(at(0x1000_0800, 1), PROT_READ), 'EINVAL'),
      expecting(mmap(1, 1, { at: { hi: 0, lo: 0x1001 }, fixed: true }), 'EINVAL'),
    )).toEqual([])
  })
})

describe('huge areas', () => {
  const huge = mmap(0, 1024, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true, huge: true })

  test('cannot be cut inside a huge page by munmap, mprotect or a fixed mapping', async () => {
    expect(await failuresOf(
      huge, store(area(0), 7n),
      expecting(munmap(at(0x1000_1000, 1)), 'EINVAL'),
      expecting(mprotect(at(0x1000_1000, 1), PROT_READ), 'EINVAL'),
      expecting(mmap(1, 1, { at: { hi: 0, lo: 0x1000_1000 }, fixed: true }), 'EINVAL'),
      load(area(0), 7n),
    )).toEqual([])
  })

  test('can be replaced in whole huge pages', async () => {
    expect(await failuresOf(
      huge, store(area(0), 7n), store(area(0, 512), 8n),
      mmap(1, 512, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }),
      load(area(1), 0n), load(area(0, 512), 8n),
    )).toEqual([])
  })
})

describe('copy-on-write', () => {
  for (const geometry of ['x86-64', 'x86-64-la57', 'i386', 'i386-pae', 'granule-16k'] as const) {
    test(`${geometry}: parent and child keep their own values after a fork`, async () => {
      const programs = image(
        [{ threads: [{ comm: 'parent', program: program('parent', mmap(0, 4), touch(area(0), 'write'),
          store(area(0), 1n), fork(0, 'child', [1]), store(area(0), 2n), wait(), load(area(0), 2n)) }] }],
        { children: [program('child', load(area(0), 1n), store(area(0), 3n), load(area(0), 3n))] })
      const config = testConfig({ geometry, memoryBytes: 96 * 2 ** 20 }, { pcid: geometry.startsWith('x86-64') })
      const { result } = await simulateHere(config, programs, { check: true })
      expect(result.failures).toEqual([])
      expect(result.tasks.map(task => task.outcome)).toEqual(['exited', 'exited'])
      expect(result.counters.cowCopies).toBeGreaterThan(0)
    })
  }
})
