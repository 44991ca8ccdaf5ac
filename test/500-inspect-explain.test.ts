// Explaining an address: the indices of every geometry against the vectors of kernel-behaviour.md
// 1.2 and 1.3, the drawing itself, and the walk of a live kernel with the TLBs that hold it.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { explainAddress } from '../src/inspect/explain.js'
import { explainWalk } from '../src/inspect/explain-walk.js'
import { PROT_NONE } from '../src/kernel/abi.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import type { KernelState } from '../src/kernel/state.js'
import type { GeometryName } from '../src/machine/config.js'
import { geometryOf } from '../src/machine/geometry.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, mmap, mprotect, program, signal, spin, touch, u64 } from './support/programs.js'

interface Vector {
  geometry: GeometryName
  address: bigint
  /** From the top table down, without folded names. */
  slots: number[]
  offset: number
}

const VECTORS: readonly Vector[] = [
  { geometry: 'x86-64', address: 0x0000000000b17010n, slots: [0, 0, 5, 279], offset: 0x010 },
  { geometry: 'x86-64', address: 0x00007fffffffefffn, slots: [255, 511, 511, 510], offset: 0xfff },
  { geometry: 'x86-64', address: 0xffff880000000000n, slots: [272, 0, 0, 0], offset: 0 },
  { geometry: 'x86-64', address: 0xffff888000000000n, slots: [273, 0, 0, 0], offset: 0 },
  { geometry: 'x86-64', address: 0xffffc90000000000n, slots: [402, 0, 0, 0], offset: 0 },
  { geometry: 'x86-64', address: 0xffffea0000000000n, slots: [468, 0, 0, 0], offset: 0 },
  { geometry: 'x86-64', address: 0xffffffff81000000n, slots: [511, 510, 8, 0], offset: 0 },
  { geometry: 'x86-64-la57', address: 0xff11000000000000n, slots: [273, 0, 0, 0, 0], offset: 0 },
  { geometry: 'x86-64-la57', address: 0xffffffff81000000n, slots: [511, 511, 510, 8, 0], offset: 0 },
  { geometry: 'i386', address: 0xc0101234n, slots: [768, 257], offset: 0x234 },
  { geometry: 'i386-pae', address: 0xc0101234n, slots: [3, 0, 257], offset: 0x234 },
  { geometry: 'granule-16k', address: 0x123456789abcn, slots: [291, 555, 482], offset: 0x1abc },
]

const explain = (name: GeometryName, address: bigint): string => {
  const { hi, lo } = u64(address)
  return explainAddress(geometryOf(name), hi, lo)
}

describe('how an address splits', () => {
  for (const { geometry, address, slots, offset } of VECTORS) {
    test(`${geometry} splits 0x${address.toString(16)} into ${slots.join(', ')} and offset ${offset}`, () => {
      const text = explain(geometry, address)
      expect([...text.matchAll(/ slot +(\d+) of/g)].map(([, slot]) => Number(slot))).toEqual(slots)
      expect(Number(/^offset .* (0x[0-9a-f]+), byte/m.exec(text)![1])).toBe(offset)
    })

    test(`the drawn bits of 0x${address.toString(16)} on ${geometry} are the address`, () => {
      const drawn = explain(geometry, address).split('\n').find((line) => /^\| *[01]+ /.test(line))!
      expect(BigInt(`0b${drawn.replace(/[^01]/g, '')}`)).toBe(address)
    })
  }

  test('the seed example is drawn with its bit numbers, five names and the offset', () => {
    expect(explain('x86-64', 0xb17010n)).toMatchInlineSnapshot(`
      "0x0000000000b17010  x86-64: 4 levels, 48 of 64 address bits are translated, 4K pages, 8-byte entries
      canonical: bits 63..47 are all 0, so it lies in the lower half

        63            48   47     39   38     30   29     21   20     12   11         0
      +------------------+-----------+-----------+-----------+-----------+--------------+
      | 0000000000000000 | 000000000 | 000000000 | 000000101 | 100010111 | 000000010000 |
      +------------------+-----------+-----------+-----------+-----------+--------------+
              sign            pgd         pud         pmd         pte         offset

      pgd     bits 47..39  slot    0 of 512, each covers 512G; tested as p4d
      p4d     folded: it shares the table and the slot of pgd
      pud     bits 38..30  slot    0 of 512, each covers 1G, may map a page of that size
      pmd     bits 29..21  slot    5 of 512, each covers 2M, may map a page of that size
      pte     bits 20..12  slot  279 of 512, each covers 4K
      offset  bits 11..0   0x010, byte 16 of the page
      "
    `)
  })

  test('i386 has a directory and tables; three names are folded into the directory', () => {
    expect(explain('i386', 0xc0101234n)).toMatchInlineSnapshot(`
      "0x00000000c0101234  i386: 2 levels, 32-bit addresses, 4K pages, 4-byte entries
      every 32-bit address is valid

        31      22   21      12   11         0
      +------------+------------+--------------+
      | 1100000000 | 0100000001 | 001000110100 |
      +------------+------------+--------------+
           pgd          pte          offset

      pgd     bits 31..22  slot  768 of 1024, each covers 4M, may map a page of that size; tested as pmd
      p4d     folded: it shares the table and the slot of pgd
      pud     folded: it shares the table and the slot of pgd
      pmd     folded: it shares the table and the slot of pgd
      pte     bits 21..12  slot  257 of 1024, each covers 4K
      offset  bits 11..0   0x234, byte 564 of the page
      "
    `)
  })

  test('canonical means that the untranslated bits repeat the highest translated one', () => {
    const verdict = (name: GeometryName, address: bigint): string => explain(name, address).split('\n')[1]!
    expect(verdict('x86-64', 0x7fff_ffff_ffffn)).toContain('lower half')
    expect(verdict('x86-64', 0x8000_0000_0000n)).toMatch(/^not canonical: bits 63..47 differ.*#GP/)
    expect(verdict('x86-64-la57', 0x8000_0000_0000n)).toContain('lower half')
    expect(verdict('x86-64', 0xffff_8000_0000_0000n)).toContain('upper half')
    expect(verdict('x86-64', 0xff11_0000_0000_0000n)).toContain('not canonical')
    expect(verdict('x86-64-la57', 0xff11_0000_0000_0000n)).toContain('upper half')
    expect(verdict('granule-16k', 0x4000_0000_0000n)).toContain('not canonical: bits 63..46')
    expect(verdict('i386', 0x1_0000_0000n)).toContain('do not exist')
  })
})

describe('how an address walks in a live kernel', () => {
  const AT = 0x1000_0000n
  const HUGE = 0x4000_0000n

  /** CPU 0 has written page 0, made page 1 inaccessible and never touched page 2; CPU 1 has read page 0. */
  async function stopped(): Promise<{ k: KernelState; mm: Mm }> {
    const { simulation } = await simulateHere(testConfig(), image([{ threads: [
      { comm: 'writer', cpus: [0], program: program('writer',
        mmap(0, 3, { at: u64(AT), fixed: true }), touch(area(0, 0, 2), 'write'), mprotect(area(0, 1, 1), PROT_NONE),
        mmap(1, 512, { at: u64(HUGE), fixed: true, huge: true }), touch(area(1, 5, 1), 'write'), signal(0),
        compute(1_000_000)) },
      { comm: 'reader', cpus: [1], program: program('reader',
        spin(0), touch(area(0, 0, 1), 'read'), compute(1_000_000)) },
    ] }]), { untilCycle: 500_000, check: true })
    const k = simulation.kernel
    return { k, mm: k.tasks[0]!.mm! }
  }

  const walk = ({ k, mm }: { k: KernelState; mm: Mm }, address: bigint): string => {
    const { hi, lo } = u64(address)
    return explainWalk(k, mm, hi, lo)
  }

  test('a mapped page: every entry with its flags, the physical address, and who has it cached', async () => {
    expect(walk(await stopped(), AT + 0x123n)).toMatchInlineSnapshot(`
      "mm 2 "writer" "reader"  cr3 pfn 0x00106  pcid 2  4 levels
      pgd[0]        at 0x000106000  pfn 0x00107  P W U A D
      . pud[0]      at 0x000107000  pfn 0x00108  P W U A D
      . . pmd[128]  at 0x000108400  pfn 0x00109  P W U A D
      . . . pte[0]  at 0x000109000  pfn 0x0010a  P W U A D NX
      physical 0x00010a123, a 4K page: user and kernel, read, write
      in area 0x0000000010000000-0x0000000010001000: read, write, private anonymous

      cached by
        cpu0  l1d        pfn 0x0010a    W U D NX  pcid 2  ok
        cpu0  stlb       pfn 0x0010a    W U D NX  pcid 2  ok
        cpu0  pgd cache  table 0x00107            pcid 2  ok
        cpu1  l1d        pfn 0x0010a    W U D NX  pcid 2  ok
        cpu1  stlb       pfn 0x0010a    W U D NX  pcid 2  ok
        cpu1  pgd cache  table 0x00107            pcid 2  ok
        cpu1  pud cache  table 0x00108            pcid 2  ok
        cpu1  pmd cache  table 0x00109            pcid 2  ok
      "
    `)
  })

  test('a page that was never touched stops at its empty entry', async () => {
    expect(walk(await stopped(), AT + 0x2000n)).toContain('stops: the pte entry is empty')
  })

  test('an inaccessible page keeps its frame, is not present, and no TLB has it', async () => {
    const text = walk(await stopped(), AT + 0x1000n)
    expect(text).toMatch(/pte\[1\] .* PROTNONE/)
    expect(text).toMatch(/stops: the pte entry keeps frame 0x[0-9a-f]{5} but is not present/)
    expect(text).toMatch(/: no access, private anonymous/)
    expect(text).not.toMatch(/l1d|stlb/)
  })

  test('a huge page ends the walk at the pmd', async () => {
    const text = walk(await stopped(), HUGE + 0x5010n)
    expect(text).toMatch(/pmd\[0\] .* PS/)
    expect(text).toMatch(/a 2M page: user and kernel, read, write; base page 5 of it/)
    expect(text).not.toContain('pte[')
  })

  test('an address outside every area says so', async () => {
    expect(walk(await stopped(), 0x2000_0000n)).toContain('in no area')
  })

  test('the kernel half is mapped, for the kernel only', async () => {
    expect(walk(await stopped(), 0xffff_8880_0000_1000n)).toMatch(/physical 0x000001000, a 2M page: kernel only/)
  })

  test('a non-canonical address reads no table', async () => {
    expect(walk(await stopped(), 0x8000_0000_0000n)).toContain('not canonical: #GP')
  })
})
