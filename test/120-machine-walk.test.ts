// The page walk: what stops it, which error code it gives, which bits it sets. The TLB is empty
// before each access. Titles follow the manual (Intel SDM vol. 3, 4.5 to 4.8).

import { describe, expect, test } from 'vitest'
import { TABLE_USER } from '../src/machine/entry.js'
import { LEVEL_P4D, LEVEL_PGD, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD } from '../src/machine/geometry.js'
import { GENERAL_PROTECTION, peekWalk, TRANSLATED } from '../src/machine/mmu.js'
import { ACC, bootMachine, D, G, NX, P, PS, U, W, type TestMachine } from './machine-fixtures.js'

const VA = 0xb17010n
const PFN = 0x90

describe('a walk', () => {
  test('visits four entries and ends in the page', () => {
    const t = bootMachine()
    t.map(VA, PFN)
    expect(t.read(VA)).toBe('pfn 0x90')
    expect(t.mmu.cycles).toBe(1 + 4 * 100)
    expect(t.counts()).toEqual([0, 0, 1, 1, 1, 1, 4])
  })

  test('visits five entries with five levels, two in 32-bit paging, three with 16 KiB granules', () => {
    for (const [geometry, steps] of [['x86-64-la57', 5], ['i386', 2], ['granule-16k', 3]] as const) {
      const t = bootMachine({ geometry })
      t.map(VA, PFN)
      expect(t.read(VA)).toBe('pfn 0x90')
      expect(t.counts()[6]).toBe(steps)
    }
  })

  test('a large leaf ends it early, and the base page inside the large one is found', () => {
    const t = bootMachine()
    t.map(0x40000000n, 0x400, { level: LEVEL_PMD })
    t.map(0x80000000n, 0x40000, { level: LEVEL_PUD })
    expect(t.read(0x40000000n + 0x5678n)).toBe('pfn 0x405')
    expect([t.mmu.pageSizeLevel, t.counts()[6]]).toEqual([LEVEL_PMD, 3])
    expect(t.read(0x80000000n + 0x12345678n)).toBe('pfn 0x52345')
    expect(t.mmu.pageSizeLevel).toBe(LEVEL_PUD)
  })

  const levels = [LEVEL_PGD, LEVEL_PUD, LEVEL_PMD, LEVEL_PTE]
  test.each(levels)('an absent entry at level %i faults with P clear', (level) => {
    const t = bootMachine()
    t.map(VA, PFN)
    const place = t.place(VA, level)
    t.set(place, { lo: t.entry(place).lo & ~P })
    expect(t.read(VA)).toBe('#PF 0x4')
    expect(t.write(VA)).toBe('#PF 0x6')
    expect(t.exec(VA)).toBe('#PF 0x14')
    expect(t.read(VA, { user: false })).toBe('#PF 0x0')
  })

  test('an instruction fetch is reported only with NXE or SMEP', () => {
    for (const [nxe, smep, code] of [[0, 0, 4], [1, 0, 0x14], [0, 1, 0x14]] as const) {
      const t = bootMachine({ controls: { nxe: nxe === 1, smep: smep === 1 } })
      expect(t.exec(VA)).toBe(`#PF 0x${code.toString(16)}`)
    }
  })

  test('a non-canonical address raises #GP before any table is read', () => {
    const t = bootMachine()
    t.map(0n, PFN)
    expect(t.read(0x8000_0000_0000n)).toBe('#GP')
    expect(t.counts()).toEqual([0, 0, 0, 0, 0, 0, 0])
  })
})

describe('accessed and dirty bits', () => {
  const clean = (t: TestMachine): void => {
    t.map(VA, PFN, { flags: { lo: P | W | U }, tables: { lo: P | W | U, hi: 0 } })
  }
  const flags = (t: TestMachine): number[] =>
    [LEVEL_PGD, LEVEL_PUD, LEVEL_PMD, LEVEL_PTE].map((level) => t.entry(t.place(VA, level)).lo & (ACC | D))

  test('a read sets A in every entry used, and D nowhere', () => {
    const t = bootMachine()
    clean(t)
    t.read(VA)
    expect(flags(t)).toEqual([ACC, ACC, ACC, ACC])
    expect(t.mmu.cycles).toBe(1 + 4 * 100 + 4 * 1000)
  })

  test('a write sets D in the leaf only', () => {
    const t = bootMachine()
    clean(t)
    t.write(VA)
    expect(flags(t)).toEqual([ACC, ACC, ACC, ACC | D])
  })

  test('a write after a read walks again to set D, and that walk is not a miss', () => {
    const t = bootMachine()
    clean(t)
    t.read(VA)
    const before = t.counts()
    t.write(VA)
    expect(flags(t)[3]).toBe(ACC | D)
    const [, , lookups, misses, stlbLookups, stlbMisses, steps] = t.counts().map((count, i) => count - before[i]!)
    expect([lookups, misses, stlbLookups, stlbMisses]).toEqual([1, 0, 0, 0])
    expect(steps).toBe(1)
    expect(t.tlb().map((entry) => entry.dirty)).toEqual([true, true])
    expect(t.write(VA)).toBe('pfn 0x90')
    expect(t.mmu.cycles).toBe(1)
  })

  test('software that clears D without invalidating loses later writes', () => {
    const t = bootMachine()
    clean(t)
    t.write(VA)
    const pte = t.place(VA)
    t.set(pte, { lo: t.entry(pte).lo & ~D })
    t.write(VA)
    expect(t.entry(pte).lo & D).toBe(0)
    t.invlpg(VA)
    t.write(VA)
    expect(t.entry(pte).lo & D).toBe(D)
  })

  test('a faulting walk sets nothing', () => {
    const t = bootMachine()
    clean(t)
    t.set(t.place(VA), { lo: P | U })
    expect(t.write(VA)).toBe('#PF 0x7')
    expect(flags(t)).toEqual([0, 0, 0, 0])
  })
})

describe('permissions', () => {
  /** Outcome of every access to a page with these flags. */
  const outcomes = (t: TestMachine): string => (['read', 'write', 'exec'] as const).flatMap((kind) =>
    [true, false].map((user) => {
      t.mmu.flushGlobal()
      return `${user ? 'user' : 'kernel'} ${kind} ${t[kind](VA, { user }).replace('pfn 0x90', 'ok')}`
    })).join(', ')

  test('a user page under all protections', () => {
    const t = bootMachine()
    t.map(VA, PFN)
    expect(outcomes(t)).toBe('user read ok, kernel read #PF 0x1, user write ok, kernel write #PF 0x3, ' +
      'user exec ok, kernel exec #PF 0x11')
    t.mmu.setAc(true)
    expect(outcomes(t)).toBe('user read ok, kernel read ok, user write ok, kernel write ok, ' +
      'user exec ok, kernel exec #PF 0x11')
  })

  test('a read-only no-execute user page without WP, SMEP, SMAP', () => {
    const t = bootMachine({ controls: { wp: false, smep: false, smap: false } })
    t.map(VA, PFN, { flags: { lo: P | U | ACC, hi: NX } })
    expect(outcomes(t)).toBe('user read ok, kernel read ok, user write #PF 0x7, kernel write ok, ' +
      'user exec #PF 0x15, kernel exec #PF 0x11')
  })

  test('a kernel page is closed to user mode', () => {
    const t = bootMachine()
    t.map(VA, PFN, { flags: { lo: P | ACC } })
    expect(outcomes(t)).toBe('user read #PF 0x5, kernel read ok, user write #PF 0x7, kernel write #PF 0x3, ' +
      'user exec #PF 0x15, kernel exec ok')
  })

  test.each([LEVEL_PGD, LEVEL_PUD, LEVEL_PMD])('W, U and NX of level %i count for everything below', (level) => {
    const upper = (lo: number, hi = 0): TestMachine => {
      const t = bootMachine({ controls: { smap: false, smep: false } })
      t.map(VA, PFN)
      const place = t.place(VA, level)
      t.set(place, { lo: (t.entry(place).lo & ~(W | U)) | lo, hi })
      return t
    }
    expect(upper(U).write(VA)).toBe('#PF 0x7')
    expect(upper(W).read(VA)).toBe('#PF 0x5')
    expect(upper(W | U, NX).exec(VA)).toBe('#PF 0x15')
    expect(upper(W | U, NX).write(VA)).toBe('pfn 0x90')
  })

  test('all 256 combinations of page flags, mode and controls follow the rules', () => {
    for (let bits = 0; bits < 256; bits++) {
      const on = (bit: number): boolean => (bits & (1 << bit)) !== 0
      const [rw, us, nx, wp, smep, smap, ac, user] = [0, 1, 2, 3, 4, 5, 6, 7].map(on)
      const t = bootMachine({ controls: { wp: wp!, smep: smep!, smap: smap! }, memoryBytes: 2 ** 16 })
      t.map(VA, PFN, { flags: { lo: P | ACC | D | (rw ? W : 0) | (us ? U : 0), hi: nx ? NX : 0 } })
      t.mmu.setAc(ac!)
      const data = user ? us! : !(us! && smap! && !ac!)
      const expected = [data, data && (rw! || !(user || wp)), !nx && (user ? us! : !(us! && smep!))]
      const found = (['read', 'write', 'exec'] as const).map((kind) => t[kind](VA, { user: user! }) === 'pfn 0x90')
      expect([bits, ...found]).toEqual([bits, ...expected])
    }
  })
})

describe('reserved bits', () => {
  const corrupt = (level: number, bits: { lo?: number; hi?: number }, options = {}): string => {
    const t = bootMachine(options)
    t.map(VA, PFN)
    const place = t.place(VA, level)
    const { lo, hi } = t.entry(place)
    t.set(place, { lo: lo | (bits.lo ?? 0), hi: hi | (bits.hi ?? 0) })
    return t.read(VA)
  }

  const levels = [LEVEL_PGD, LEVEL_PUD, LEVEL_PMD, LEVEL_PTE]
  test.each(levels)('bits 51:40 are reserved at level %i, 62:52 are not', (level) => {
    for (let bit = 8; bit < 32; bit++) {
      const expected = bit < 20 ? '#PF 0xd' : 'pfn 0x90'
      expect([bit, corrupt(level, { hi: 1 << bit })]).toEqual([bit, expected])
    }
  })

  test('NX is reserved while EFER.NXE is clear', () => {
    expect(corrupt(LEVEL_PMD, { hi: NX }, { controls: { nxe: false } })).toBe('#PF 0xd')
    expect(corrupt(LEVEL_PMD, { hi: NX })).toBe('pfn 0x90')
  })

  test('PS must be 0 in the two top levels', () => {
    expect(corrupt(LEVEL_PGD, { lo: PS })).toBe('#PF 0xd')
    expect(corrupt(LEVEL_P4D, { lo: PS }, { geometry: 'x86-64-la57' })).toBe('#PF 0xd')
  })

  test('low address bits of a large leaf are reserved, its PAT bit 12 is not', () => {
    for (const [level, first, last] of [[LEVEL_PMD, 13, 20], [LEVEL_PUD, 13, 29]] as const) {
      for (let bit = 12; bit <= last; bit++) {
        const t = bootMachine()
        const place = t.map(0x40000000n, 0, { level })
        t.set(place, { lo: t.entry(place).lo | (1 << bit) })
        expect([bit, t.read(0x40000000n)]).toEqual([bit, bit < first ? 'pfn 0x0' : '#PF 0xd'])
      }
    }
  })

  test('an absent entry may hold anything', () => {
    const t = bootMachine()
    t.map(VA, PFN)
    t.set(t.place(VA, LEVEL_PMD), { lo: 0xfffffffe | 0, hi: -1 })
    expect(t.read(VA)).toBe('#PF 0x4')
  })

  test('bit 8 of a top-level entry is ignored by Intel and reserved by AMD, below it both ignore it', () => {
    expect(corrupt(LEVEL_PGD, { lo: G })).toBe('pfn 0x90')
    expect(corrupt(LEVEL_PGD, { lo: G }, { vendor: 'amd' })).toBe('#PF 0xd')
    expect(corrupt(LEVEL_P4D, { lo: G }, { vendor: 'amd', geometry: 'x86-64-la57' })).toBe('#PF 0xd')
    expect(corrupt(LEVEL_PUD, { lo: G }, { vendor: 'amd' })).toBe('pfn 0x90')
    expect(corrupt(LEVEL_PMD, { lo: G }, { vendor: 'amd' })).toBe('pfn 0x90')
  })
})

describe('32-bit paging', () => {
  test('4 MiB pages need CR4.PSE; without it the bit is ignored', () => {
    const large = bootMachine({ geometry: 'i386' })
    large.map(0xc0000000n, 0x400, { level: LEVEL_PGD })
    expect(large.read(0xc0101234n)).toBe('pfn 0x501')
    expect(large.mmu.pageSizeLevel).toBe(LEVEL_PGD)
    const small = bootMachine({ geometry: 'i386', controls: { pse: false } })
    small.map(VA, PFN)
    const directory = small.place(VA, LEVEL_PGD)
    small.set(directory, { lo: small.entry(directory).lo | PS })
    expect(small.read(VA)).toBe('pfn 0x90')
  })

  test('PSE-36 takes physical bits 39:32 from bits 20:13, and reserves what exceeds MAXPHYADDR', () => {
    const t = bootMachine({ geometry: 'i386' })
    const place = t.map(0n, 0, { level: LEVEL_PGD })
    t.set(place, { lo: t.entry(place).lo | (0xff << 13) | (3 << 22) })
    expect(t.read(0n)).toBe('pfn 0xff00c00')
    t.mmu.flushGlobal()
    t.set(place, { lo: t.entry(place).lo | (1 << 21) })
    expect(t.read(0n)).toBe('#PF 0xd')
    const narrow = bootMachine({ geometry: 'i386', maxPhysAddrBits: 36 })
    const leaf = narrow.map(0n, 0, { level: LEVEL_PGD })
    const { lo } = narrow.entry(leaf)
    narrow.set(leaf, { lo: lo | (1 << 16) })
    expect(narrow.read(0n)).toBe('pfn 0x800000')
    narrow.mmu.flushGlobal()
    narrow.set(leaf, { lo: lo | (1 << 17) })
    expect(narrow.read(0n)).toBe('#PF 0xd')
  })

  test('there is no NX, so a fetch is reported only with SMEP', () => {
    const t = bootMachine({ geometry: 'i386', controls: { smep: false } })
    expect(t.exec(VA)).toBe('#PF 0x4')
  })
})

describe('PAE', () => {
  test('a walk starts at the latched top entry: two steps', () => {
    const t = bootMachine({ geometry: 'i386-pae' })
    t.map(0xc0101234n, PFN)
    expect(t.read(0xc0101234n)).toBe('#PF 0x4')
    t.mmu.flushNonGlobal()
    expect(t.read(0xc0101234n)).toBe('pfn 0x90')
    expect(t.counts()[6]).toBe(2)
  })

  test('INVLPG does not refresh the latched entries, a CR3 load does', () => {
    const t = bootMachine({ geometry: 'i386-pae' })
    t.map(0xc0101000n, PFN)
    t.mmu.flushNonGlobal()
    t.read(0xc0101000n)
    t.mem.store(t.root, 3, 0, 0)
    t.invlpg(0xc0101000n)
    expect(t.read(0xc0101000n)).toBe('pfn 0x90')
    t.mmu.loadCr3(t.root, 0, false)
    expect(t.read(0xc0101000n)).toBe('#PF 0x4')
  })

  test('W, U and NX do not exist in top entries: one with such a bit cannot be loaded', () => {
    const t = bootMachine({ geometry: 'i386-pae' })
    t.map(0n, PFN)
    expect(t.mmu.loadCr3(t.root, 0, false)).toBe(TRANSLATED)
    const top = { pfn: t.root, slot: 0 }
    const { lo } = t.entry(top)
    const flags = [W, U, ACC, D, PS, G].map((flag) => ({ lo: lo | flag, hi: 0 }))
    for (const bits of [...flags, { lo, hi: NX }]) {
      t.mem.store(t.root, 0, bits.lo, bits.hi)
      expect(t.mmu.loadCr3(t.newFrame(), 0, false)).toBe(TRANSLATED)
      const before = t.mmu.rootPfn
      expect(t.mmu.loadCr3(t.root, 0, false)).toBe(GENERAL_PROTECTION)
      expect(t.mmu.rootPfn).toBe(before)
    }
    t.mem.store(t.root, 0, lo | 0xe18, 0)
    expect(t.mmu.loadCr3(t.root, 0, false)).toBe(TRANSLATED)
  })

  test('bits 62:52 are reserved below the top, where long mode gives them to software', () => {
    const t = bootMachine({ geometry: 'i386-pae' })
    const pte = t.map(0n, PFN)
    t.mmu.flushNonGlobal()
    t.set(pte, { hi: 1 << 25 })
    expect(t.read(0n)).toBe('#PF 0xd')
    t.set(pte, { hi: NX })
    expect(t.read(0n)).toBe('pfn 0x90')
  })
})

describe('a walk by software', () => {
  test('says which test stopped it, and changes nothing', () => {
    const t = bootMachine()
    const reason = (): string => {
      const found = peekWalk(t.g, t.mem, t.root, 0, Number(VA))
      return `${found.reason} at ${t.g.levels[found.leafLevel]!.name}, ${found.steps.length} steps`
    }
    expect(reason()).toBe('none at pgd, 1 steps')
    const pte = t.map(VA, PFN, { flags: { lo: P | U } })
    const before = t.snapshot()
    expect(reason()).toBe('ok at pte, 4 steps')
    expect(peekWalk(t.g, t.mem, t.root, 0, Number(VA)))
      .toMatchObject({ pfn: PFN, writable: false, user: true, nx: false })
    expect(t.snapshot()).toEqual(before)
    t.set(pte, { lo: PFN * 4096 + 0x120 })
    expect(reason()).toBe('notpresent at pte, 4 steps')
    t.set(t.place(VA, LEVEL_PMD), { lo: TABLE_USER.lo & ~W })
    expect(reason()).toBe('bad at pmd, 3 steps')
  })

  test('ends at a large leaf with its translation', () => {
    const t = bootMachine()
    t.map(0x40000000n, 0x400, { level: LEVEL_PMD, flags: { hi: NX } })
    expect(peekWalk(t.g, t.mem, t.root, 0, 0x40005678))
      .toMatchObject({ reason: 'huge', leafLevel: LEVEL_PMD, pfn: 0x405, nx: true })
  })
})
