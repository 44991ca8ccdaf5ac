// Where the kernel lives in each era, and the arithmetic between its kinds of addresses.

import { describe, expect, test } from 'vitest'
import { kernelLayout, pa, pageToPfn, pfnToPage, pxdPage, va, virtToPage } from '../src/kernel/mm/layout.js'
import { makeEntryHi, makeEntryLo, PAGE_PRESENT, PAGE_PSE } from '../src/machine/entry.js'
import { geometryOf, LEVEL_PMD, LEVEL_PTE } from '../src/machine/geometry.js'
import { peekWalk } from '../src/machine/mmu.js'
import { simulateHere } from '../src/engine/simulate.js'
import { testConfig } from './support/machines.js'
import { image, program } from './support/programs.js'

const la48 = geometryOf('x86-64')
const eraA = kernelLayout('linux-4.6', la48)
const eraB = kernelLayout('linux-6.x', la48)

describe('addresses', () => {
  test('__pa of a direct-map address subtracts the base of the era', () => {
    expect(pa(eraA, 0, 0xffff_8800_0000_1000n)).toBe(0x1000n)
    expect(pa(eraB, 0x300_0000, 0xffff_8881_2345_6789n)).toBe(0x1_2345_6789n)
  })

  test('__pa of a kernel image address adds phys_base', () => {
    expect(pa(eraA, 0, 0xffff_ffff_8100_0000n)).toBe(0x100_0000n)
    expect(pa(eraB, 0x300_0000, 0xffff_ffff_8100_0000n)).toBe(0x400_0000n)
  })

  test('__va of __pa of an image address gives the direct-map alias', () => {
    expect(va(eraB, pa(eraB, 0, 0xffff_ffff_8100_0000n))).toBe(0xffff_8880_0100_0000n)
  })

  test('page descriptors are 64 bytes apart, and pfns come back from them', () => {
    expect(pfnToPage(eraB, 3)).toBe(0xffff_ea00_0000_00c0n)
    expect(pageToPfn(eraB, pfnToPage(eraB, 0x12345))).toBe(0x12345)
    expect(virtToPage(eraB, 0, la48, 0xffff_8880_0000_2fffn)).toBe(pfnToPage(eraB, 2))
  })

  test('pXd_page names what an entry points to; in a large leaf bit 12 is no address bit', () => {
    const pte = [makeEntryLo(0x90, PAGE_PRESENT, 12), makeEntryHi(0x90, 0, 12)] as const
    expect(pxdPage(eraB, la48, LEVEL_PTE, ...pte)).toBe(pfnToPage(eraB, 0x90))
    const pmd = [makeEntryLo(0x400, PAGE_PRESENT | PAGE_PSE, 12) | 0x1000, 0] as const
    expect(pxdPage(eraB, la48, LEVEL_PMD, ...pmd)).toBe(pfnToPage(eraB, 0x400))
  })

  test('the direct map starts at root slot 272 in 4.6 and 273 in 6.x, with five levels too', () => {
    const slot = (address: bigint, shift: bigint): bigint => (address >> shift) & 511n
    expect(slot(eraA.pageOffset, 39n)).toBe(272n)
    expect(slot(eraB.pageOffset, 39n)).toBe(273n)
    expect(slot(kernelLayout('linux-6.x', geometryOf('x86-64-la57')).pageOffset, 48n)).toBe(273n)
  })
})

describe('the swapper directory', () => {
  for (const geometry of ['x86-64', 'x86-64-la57', 'i386', 'i386-pae', 'granule-16k'] as const) {
    test(`${geometry}: the direct map reaches every frame, and a new mm shares it`, async () => {
      const config = testConfig({ geometry, memoryBytes: 96 * 2 ** 20 }, { pcid: geometry.startsWith('x86-64') })
      const { simulation } = await simulateHere(config, image([{ threads: [{ comm: 'a', program: program('a') }] }]))
      const { kernel } = simulation
      const g = geometryOf(geometry)
      const roots = [kernel.initMm, ...kernel.mms.values()].map(mm => mm.pgdPfn)
      for (const root of roots) {
        for (const pfn of [0, 1, 777, kernel.frames.count - 1]) {
          const address = va(kernel.layout, BigInt(pfn) << BigInt(g.pageShift))
          const hi = Number(BigInt.asIntN(32, address >> 32n))
          const lo = Number(BigInt.asIntN(32, address))
          const walk = peekWalk(g, kernel.mem, root, hi, lo)
          expect(['ok', 'huge']).toContain(walk.reason)
          expect([walk.pfn, walk.user, walk.writable]).toEqual([pfn, false, true])
        }
      }
    })
  }

  test('a machine too small for the kernel image is refused with the size it needs', async () => {
    const config = testConfig({ memoryBytes: 16 * 2 ** 20 })
    await expect(simulateHere(config, image([]))).rejects.toThrow('memory is too small for the kernel image')
  })
})
