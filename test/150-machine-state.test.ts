// What an access leaves behind: nothing at all when it did not complete and was not allowed to
// write; and all that an MMU knows is in its two views, so copying them moves a CPU.

import { describe, expect, test } from 'vitest'
import { createRandom } from '../src/base/prng.js'
import { LEVEL_PMD } from '../src/machine/geometry.js'
import { Mmu, TRANSLATED } from '../src/machine/mmu.js'
import { ACC, bootMachine, D, P, U, W, type TestMachine } from './machine-fixtures.js'

const VA = 0x1000n
const LATER = { mayWrite: false }

/** Runs the access and expects the whole state to be as before. */
function expectUntouched(t: TestMachine, outcome: string, run: () => string): void {
  const before = t.snapshot()
  expect(run()).toBe(outcome)
  expect(t.snapshot()).toEqual(before)
}

describe('an access that may not write', () => {
  test('needs write when an accessed bit is clear anywhere on its way', () => {
    const t = bootMachine()
    t.map(VA, 1, { tables: { lo: P | W | U, hi: 0 } })
    expectUntouched(t, 'needs write', () => t.read(VA, LATER))
    t.read(VA)
    t.mmu.flushGlobal()
    expect(t.read(VA, LATER)).toBe('pfn 0x1')
  })

  test('needs write when D is clear: on a walk, on a first-level hit, on a second-level hit', () => {
    const t = bootMachine()
    t.map(VA, 1, { flags: { lo: P | W | U | ACC } })
    expectUntouched(t, 'needs write', () => t.write(VA, LATER))
    t.exec(VA)
    expectUntouched(t, 'needs write', () => t.write(VA, LATER))
    t.read(VA)
    expectUntouched(t, 'needs write', () => t.write(VA, LATER))
    expect(t.write(VA)).toBe('pfn 0x1')
    expect(t.write(VA, LATER)).toBe('pfn 0x1')
  })

  test('completes when another CPU has set D meanwhile', () => {
    const t = bootMachine()
    const pte = t.map(VA, 1, { flags: { lo: P | W | U | ACC } })
    t.read(VA)
    t.set(pte, { lo: t.entry(pte).lo | D })
    expect(t.write(VA, LATER)).toBe('pfn 0x1')
    expect(t.tlb('l1d')[0]!.dirty).toBe(true)
  })

  test('faults without dropping anything, whether it hits or walks', () => {
    const t = bootMachine()
    t.map(VA, 1, { flags: { lo: P | U | ACC } })
    expectUntouched(t, '#PF 0x7', () => t.write(VA, LATER))
    t.read(VA)
    expectUntouched(t, '#PF 0x7', () => t.write(VA, LATER))
    expectUntouched(t, '#PF 0x4', () => t.read(0x5000n, LATER))
    expectUntouched(t, '#GP', () => t.read(0x800000000000n, LATER))
  })

  test('does not refresh an entry it was denied', () => {
    const t = bootMachine()
    t.map(VA, 1, { flags: { lo: P | U | ACC } })
    t.map(VA + 0x10000n, 2)
    t.read(VA)
    t.read(VA + 0x10000n)
    expectUntouched(t, '#PF 0x7', () => t.write(VA, LATER))
  })

  test('tells the price and the code of a fault', () => {
    const t = bootMachine()
    expect(t.read(VA, LATER)).toBe('#PF 0x4')
    expect([t.mmu.cycles, t.mmu.errorCode]).toEqual([1 + 100, 4])
  })

  test('random accesses: either they complete as if they might write, or nothing has happened', () => {
    const { nextInt } = createRandom(3, 'accesses')
    const t = bootMachine()
    for (let page = 0; page < 64; page++) {
      const flags = { lo: P | (nextInt(2) * W) | U | (nextInt(2) * ACC) | (nextInt(2) * D) }
      if (nextInt(8) > 0) t.map(BigInt(page) << 12n, page, { flags })
    }
    t.map(0x40000000n, 0x400, { level: LEVEL_PMD, flags: { lo: P | W | U | ACC } })
    for (let i = 0; i < 2_000; i++) {
      const va = nextInt(10) === 0 ? 0x40000000n + BigInt(nextInt(512) << 12) : BigInt(nextInt(66) << 12)
      const kind = ([0, 1, 2] as const)[nextInt(3)]!
      const before = t.snapshot()
      const first = t.access(va, kind, LATER)
      if (first.startsWith('pfn')) continue
      expect(t.snapshot()).toEqual(before)
      const second = t.access(va, kind)
      if (first === 'needs write') expect(second).toMatch(/^pfn/)
      else expect(second).toBe(first)
      if (nextInt(50) === 0) t.invlpg(va)
    }
  })
})

describe('the state of an MMU', () => {
  test('copied into other views, it continues there as if nothing had happened', () => {
    const t = bootMachine({ controls: { pcide: true } })
    for (let page = 0; page < 200; page++) t.map(BigInt(page) << 12n, page)
    const words = new Int32Array(t.words.length)
    const counters = new Float64Array(t.counters.length)
    const twin = new Mmu(t.config, t.mem, words, counters)
    t.mmu.loadCr3(t.root, 3, false)
    t.mmu.setAc(true)
    for (let i = 0; i < 300; i++) t.read(BigInt((i * 37) % 200) << 12n)
    words.set(t.words)
    counters.set(t.counters)
    for (let i = 0; i < 300; i++) {
      const lo = ((i * 53) % 200) << 12
      expect(twin.translate(0, lo, 0, i % 2 === 0, true)).toBe(TRANSLATED)
      expect(t.mmu.translate(0, lo, 0, i % 2 === 0, true)).toBe(TRANSLATED)
      expect([twin.pfn, twin.cycles]).toEqual([t.mmu.pfn, t.mmu.cycles])
    }
    expect(words).toEqual(t.words)
    expect(counters).toEqual(t.counters)
    expect([twin.rootPfn, twin.pcid]).toEqual([t.root, 3])
  })

  test('power-on empties everything', () => {
    const t = bootMachine()
    t.map(VA, 1)
    t.read(VA)
    t.mmu.reset({ wp: true, nxe: true, smep: true, smap: true, pge: true, pse: true, pcide: false })
    expect([t.tlb(), t.pagingCache(), t.mmu.rootPfn, t.counts()]).toEqual([[], [], 0, [0, 0, 0, 0, 0, 0, 0]])
  })
})

describe('physical memory', () => {
  test('beyond what is installed reads as zero and forgets stores', () => {
    const t = bootMachine({ memoryBytes: 2 ** 16 })
    t.mem.store(16, 3, -1, -1)
    t.mem.storeWord(0xffffffff, 8, 1)
    expect([t.mem.loadLo(16, 3), t.mem.loadHi(0xffffffff, 1), t.mem.frames]).toEqual([0, 0, 16])
  })

  test('an entry is two words, the low one first; frames are zeroed and copied whole', () => {
    const t = bootMachine({ memoryBytes: 2 ** 16 })
    t.mem.store(4, 2, 0x11, 0x22)
    expect([t.mem.loadWord(4, 16), t.mem.loadWord(4, 20)]).toEqual([0x11, 0x22])
    t.mem.copyFrame(6, 4, 2)
    expect(t.mem.loadHi(6, 2)).toBe(0x22)
    t.mem.zeroFrame(4)
    expect([t.mem.loadLo(4, 2), t.mem.loadLo(6, 2)]).toEqual([0, 0x11])
  })

  test('entries of 32-bit paging are one word', () => {
    const t = bootMachine({ geometry: 'i386' })
    t.mem.store(4, 2, 0x11, 0x22)
    expect([t.mem.loadWord(4, 8), t.mem.loadWord(4, 12), t.mem.loadHi(4, 2)]).toEqual([0x11, 0, 0])
  })
})
