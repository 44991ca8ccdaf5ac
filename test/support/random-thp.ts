// Random steps on memory that can have transparent huge pages: aligned areas of one or two huge
// pages, which are then cut, protected, advised about and partly given up.

import fc from 'fast-check'
import { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from '../../src/kernel/abi.js'
import type { AccessKind, AreaRef } from '../../src/kernel/abi.js'
import { THP_MODES } from '../../src/kernel/config.js'
import { advise, area, dontneed, mmap, mprotect, munmap, store, touch } from './programs.js'
import type { Step } from './programs.js'

/** Pages of a huge page where it has most (4 MiB of i386); twice that of the others. */
const HUGE = 1024
const BASE = 0x4000_0000
const PAGE = 4096

export const thpMode = fc.constantFrom('never' as const, ...THP_MODES)

/** A khugepaged that is busy, or none: on a CPU that is slowed down tenfold a wake-up alone takes 15 000 cycles. */
export const khugepagedConfig = fc.option(fc.record({
  scanSleepCycles: fc.integer({ min: 30_000, max: 150_000 }), pagesToScan: fc.constantFrom(512, 4096),
  maxPtesNone: fc.constantFrom(1023, 500),
}), { nil: undefined })

const part: fc.Arbitrary<(index: number) => AreaRef> = fc.record({
  offset: fc.constantFrom(0, 0, 1, 100, 512, 1000), pages: fc.constantFrom(1, 3, 100, 512, 1024),
}).map(({ offset, pages }) => index => area(index, offset, pages))

const access = fc.constantFrom<AccessKind>('read', 'write', 'write')
const prot = fc.constantFrom(PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC)

/** Area `index` of every second process is one that may have huge pages, from the start. */
export function thpSetup(index: number): fc.Arbitrary<Step[]> {
  const steps = [mmap(index, HUGE, { at: { hi: 0, lo: BASE }, fixed: true, prot: PROT_READ | PROT_WRITE | PROT_EXEC }),
    advise(area(index), 'hugepage'), store(area(index), 1n)]
  return fc.boolean().map(has => has ? steps : [])
}

/** Steps on one of `areas` areas. */
export function thpStep(areas: number): fc.Arbitrary<Step> {
  const index = fc.integer({ min: 0, max: areas - 1 })
  return fc.oneof(
    { weight: 3, arbitrary: fc.tuple(index, fc.integer({ min: 0, max: 2 }), fc.boolean()).map(([i, place, populate]) =>
      mmap(i, HUGE, { at: { hi: 0, lo: BASE + place * HUGE * PAGE }, fixed: true, populate,
        prot: PROT_READ | PROT_WRITE | PROT_EXEC })) },
    { weight: 4, arbitrary: fc.tuple(index, access, fc.constantFrom(1, 64, 512)).map(([i, kind, every]) =>
      touch(area(i), kind, { stride: every * PAGE, count: 40 })) },
    { weight: 1, arbitrary: fc.tuple(index, part).map(([i, of]) => munmap(of(i))) },
    { weight: 1, arbitrary: fc.tuple(index, part).map(([i, of]) => dontneed(of(i))) },
    { weight: 1, arbitrary: fc.tuple(index, part, prot).map(([i, of, to]) => mprotect(of(i), to)) },
    { weight: 1, arbitrary: fc.tuple(index, fc.bigInt(0n, 255n)).map(([i, value]) => store(area(i, 1, 1), value)) },
    { weight: 2, arbitrary: fc.tuple(index, part, fc.constantFrom('hugepage' as const, 'nohugepage' as const))
      .map(([i, of, what]) => advise(of(i), what)) },
    { weight: 2, arbitrary: index.map(i => advise(area(i), 'hugepage')) },
    { weight: 2, arbitrary: index.map(i => advise(area(i), 'collapse')) },
  )
}
