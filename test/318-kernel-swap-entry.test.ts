// Entries that are neither empty nor present: every value and flag of their encoding, who waits for a
// page that migrates, and what fork, mprotect, munmap and dumps do with such an entry.

import { describe, expect, test } from 'vitest'
import { dumpRanges, dumpTables } from '../src/inspect/dump-tables.js'
import { explainWalk } from '../src/inspect/explain-walk.js'
import { PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { KernelEra } from '../src/kernel/config.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import { fork } from '../src/kernel/sched/fork.js'
import { mprotect, munmap } from '../src/kernel/mm/mmap.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import { isPageLocked, lockPage, trylockPage, unlockPage, waitOnPageLocked } from '../src/kernel/locking/page-lock.js'
import { $slot, findLeaf, setEntry } from '../src/kernel/mm/pgtable.js'
import { migrationStarts } from '../src/kernel/pages/migration-entries.js'
import { pageAddRmap, pageRemoveRmap } from '../src/kernel/pages/rmap.js'
import * as swp from '../src/kernel/reclaim/swap-entry.js'
import { pageTableLock } from '../src/kernel/mm/zap.js'
import { entryPfn, PAGE_PROTNONE, pmdNone, pmdPresent, pteNone, ptePresent } from '../src/machine/entry.js'
import { LEVEL_PTE } from '../src/machine/geometry.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, image, mmap, program, sleep, spin, touch } from './support/programs.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']
const VPN = 0x10000
const TYPES = [swp.SWP_MIGRATION_READ, swp.SWP_MIGRATION_READ_EXCLUSIVE, swp.SWP_MIGRATION_WRITE]
/** Every single bit, no bit and all bits of a frame number of 32 bits. */
const VALUES = [0, ...Array.from({ length: 32 }, (_, bit) => 2 ** bit), 0xffff_ffff]

describe('the encoding', () => {
  test('a slot goes in and comes out whole, with and without its exclusive bit', () => {
    for (const slot of VALUES) for (const exclusive of [false, true]) {
      const { lo, hi } = swp.makeSwapEntry(slot, exclusive)
      expect([swp.isSwapSlotEntry(lo, hi), swp.isMigrationEntry(lo, hi)]).toEqual([true, false])
      expect([swp.swapValue(lo, hi), swp.isSwapExclusive(lo)]).toEqual([slot, exclusive])
      expect(swp.clearSwapExclusive(lo)).toBe(swp.makeSwapEntry(slot, false).lo)
    }
  })

  test('a frame goes in and comes out whole, with its type, A and D, and changes type without losing them', () => {
    const flags = [[false, false], [false, true], [true, false], [true, true]] as const
    for (const pfn of VALUES) for (const type of TYPES) for (const [young, dirty] of flags) {
      const { lo, hi } = swp.makeMigrationEntry(type, pfn, young, dirty)
      expect([swp.isSwapSlotEntry(lo, hi), swp.isMigrationEntry(lo, hi), swp.swapType(lo), swp.swapValue(lo, hi)])
        .toEqual([false, true, type, pfn])
      expect([swp.isMigrationYoung(lo), swp.isMigrationDirty(lo)]).toEqual([young, dirty])
      expect(swp.isWritableMigrationEntry(lo, hi)).toBe(type === swp.SWP_MIGRATION_WRITE)
      for (const other of TYPES) {
        expect(swp.withMigrationType(lo, other)).toBe(swp.makeMigrationEntry(other, pfn, young, dirty).lo)
      }
    }
  })

  test('no such entry looks empty, present, PROT_NONE or huge, at any level', () => {
    const entries = [
      ...VALUES.map(value => swp.makeSwapEntry(value, false)), ...VALUES.map(value => swp.makeSwapEntry(value, true)),
      ...TYPES.flatMap(type => VALUES.map(value => swp.makeMigrationEntry(type, value, true, true))),
    ]
    for (const { lo, hi } of entries) {
      expect([pteNone(lo, hi), pmdNone(lo, hi), ptePresent(lo), pmdPresent(lo), swp.isSwapPte(lo, hi)])
        .toEqual([false, false, false, false, true])
    }
    for (const lo of [0, 1, PAGE_PROTNONE, 1 << 5, 1 << 6]) expect(swp.isSwapPte(lo, 0)).toBe(false)
  })

  test('an entry of 32 bits has room for every slot and frame of 4 GiB and more', () => {
    expect(swp.makeSwapEntry(2 ** 21 - 1, true).hi).toBe(0)
    expect(swp.makeMigrationEntry(swp.SWP_MIGRATION_WRITE, 2 ** 21 - 1, true, true).hi).toBe(0)
    expect(swp.makeSwapEntry(2 ** 21, false).hi).toBe(1)
  })

  test('in words', () => {
    const words = ({ lo, hi }: swp.SwapEntry) => swp.describeSwapEntry(lo, hi)
    expect(words(swp.makeSwapEntry(12, false))).toBe('swap slot 12')
    expect(words(swp.makeSwapEntry(12, true))).toBe('swap slot 12, exclusive')
    expect(words(swp.makeMigrationEntry(swp.SWP_MIGRATION_WRITE, 0x90, true, true)))
      .toBe('migration of pfn 0x00090, writable A D')
    expect(words(swp.makeMigrationEntry(swp.SWP_MIGRATION_READ, 0x90))).toBe('migration of pfn 0x00090, read-only')
  })
})

/** Two threads; the first has written the page at 0x1000_0000, the second touches it when flag 0 is up. */
function twoThreads(era: KernelEra): KernelBench {
  const bench = new KernelBench(testConfig({ cpus: 3 }, { era }), image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main',
      mmap(0, 2, { at: { hi: 0, lo: VPN * 4096 }, fixed: true }), touch(area(0), 'write'), compute(1_000_000)) },
    { comm: 'other', cpus: [1], program: program('other', spin(0), touch(area(0, 0, 1), 'write'), compute(1_000_000)) },
  ] }], { children: [program('child', sleep(0))] }))
  bench.untilRunning(['main', 'other'], 20_000)
  return bench
}

/** Where the leaf of the first page stands, and what is in it. */
function leaf(bench: KernelBench, mm: Mm) {
  expect(findLeaf(bench.k, mm, VPN)).toBe(LEVEL_PTE)
  const { pfn: table, slot } = $slot
  return { table, slot, lo: bench.k.mem.loadLo(table, slot), hi: bench.k.mem.loadHi(table, slot) }
}

/** Takes the page apart as a migration does; `during` runs while it is locked; then puts it back as it was. */
function migrating(bench: KernelBench, type: number, during: (mm: Mm) => KernelOp) {
  const mm = bench.mmOf('main')
  const at = leaf(bench, mm)
  const pfn = entryPfn(at.lo, at.hi & 0xf_ffff, 12)
  return bench.enter(0, function* (k, cpu) {
    yield* lockPage(k, cpu, pfn)
    const entry = swp.makeMigrationEntry(type, pfn)
    const lock = pageTableLock(mm, at.table)
    yield* lock.acquire(cpu, true)
    migrationStarts(k, mm, VPN, pfn)
    setEntry(k, cpu, mm, at.table, at.slot, entry.lo, entry.hi)
    pageRemoveRmap(k, mm, VPN, pfn)
    yield* k.policy.flushPage(k, cpu, mm, VPN)
    lock.release(cpu, true)
    yield* during(mm)
    yield* lock.acquire(cpu, true)
    k.migration.entries.delete(pfn)
    if (swp.isMigrationEntry(leaf(bench, mm).lo, leaf(bench, mm).hi)) {
      setEntry(k, cpu, mm, at.table, at.slot, at.lo, at.hi)
      pageAddRmap(k, mm, VPN, pfn)
    } else {
      k.frames.put(cpu.id, pfn)
    }
    lock.release(cpu, true)
    unlockPage(k, cpu, pfn)
  })
}

describe.each(ERAS)('%s', era => {
  test('a fault at a page that migrates waits until it is unlocked, and then finds it', () => {
    const bench = twoThreads(era)
    const faults = bench.k.counters.pageFaults
    let end = 0
    migrating(bench, swp.SWP_MIGRATION_WRITE, function* () {
      bench.simulation.platform.raiseFlag(0)
      yield 30_000
      end = bench.cpu(0).now
      expect(bench.cpu(1).waitingFor).toMatch(/^the lock of frame/)
    })
    bench.until(() => bench.k.counters.pageFaults === faults + 1 && bench.cpu(1).inUserMode)
    expect(bench.cpu(1).now).toBeGreaterThan(end)
    expect(bench.k.pageLocks.size).toBe(0)
  })

  test('fork makes a writable migration entry read-only on both sides and counts its page for the child', () => {
    const bench = twoThreads(era)
    let seen: unknown[] = []
    const status = migrating(bench, swp.SWP_MIGRATION_WRITE, function* (mm) {
      yield* fork(bench.k, bench.cpu(0), bench.cpu(0).current, mm, { comm: 'child', program: 0, cpus: [2] })
      const child = bench.mmOf('child')
      seen = [swp.swapType(leaf(bench, mm).lo), swp.swapType(leaf(bench, child).lo), mm.rssPages, child.rssPages]
      expect(leaf(bench, mm).lo).toBe(leaf(bench, child).lo)
      // The parent's side is put back by the helper, the child's is taken away with it.
      yield* child.mmapLock.acquire(bench.cpu(0), true)
      setEntry(bench.k, bench.cpu(0), child, leaf(bench, child).table, leaf(bench, child).slot, 0, 0)
      child.rssPages -= 1
      child.mmapLock.release(bench.cpu(0), true)
    })
    bench.until(() => status.done)
    expect(seen).toEqual([swp.SWP_MIGRATION_READ, swp.SWP_MIGRATION_READ, 2, 2])
  })

  test('mprotect takes write permission from a page that migrates; 4.6 flushes for it, 6.x does not', () => {
    const bench = twoThreads(era)
    let type = 0
    const status = migrating(bench, swp.SWP_MIGRATION_WRITE, function* (mm) {
      bench.mark()
      yield* mprotect(bench.k, bench.cpu(0), mm, VPN, VPN + 1, PROT_READ)
      type = swp.swapType(leaf(bench, mm).lo)
      yield* mprotect(bench.k, bench.cpu(0), mm, VPN, VPN + 1, PROT_READ | PROT_WRITE)
    })
    bench.until(() => status.done)
    const is46 = era === 'linux-4.6'
    expect(type).toBe(is46 ? swp.SWP_MIGRATION_READ : swp.SWP_MIGRATION_READ_EXCLUSIVE)
    expect(bench.eventsSinceMark().filter(event => event.name === 'flush_begin').length).toBe(is46 ? 1 : 0)
  })

  test('munmap drops a migration entry with its page count and without a flush', () => {
    const bench = twoThreads(era)
    let rss = -1
    const status = migrating(bench, swp.SWP_MIGRATION_WRITE, function* (mm) {
      bench.mark()
      yield* munmap(bench.k, bench.cpu(0), mm, VPN, VPN + 1)
      rss = mm.rssPages
    })
    bench.until(() => status.done)
    expect(rss).toBe(1)
    expect(bench.eventsSinceMark().filter(event => event.name === 'flush_begin').length).toBe(0)
  })

  test('dumps say what such an entry stands for', () => {
    const bench = twoThreads(era)
    let texts: string[] = []
    const status = migrating(bench, swp.SWP_MIGRATION_READ, function* (mm) {
      texts = [dumpTables(bench.k, mm), dumpRanges(bench.k, mm), explainWalk(bench.k, mm, 0, VPN * 4096)]
      yield 1
    })
    bench.until(() => status.done)
    expect(texts[0]).toMatch(/pte\[ {2}0\] migration of pfn 0x[0-9a-f]{5}, read-only +va 0x0000000010000000/)
    expect(texts[1]).toMatch(/0x0000000010000000-0x0000000010001000 +4K +pte +migrating\n/)
    expect(texts[2]).toMatch(/stops: the pte entry names migration of pfn 0x[0-9a-f]{5}, read-only; an access raises/)
  })
})

describe('page locks', () => {
  test('one holder; trying fails while it is held or waited for; waiters go on when it is let go', () => {
    const bench = twoThreads('linux-6.x')
    const order: string[] = []
    bench.enter(0, function* (k, cpu) {
      yield* lockPage(k, cpu, 500)
      expect([isPageLocked(k, 500), trylockPage(k, 500), isPageLocked(k, 501)]).toEqual([true, false, false])
      yield 10_000
      order.push('unlock')
      unlockPage(k, cpu, 500)
    })
    const waiting = bench.enter(1, function* (k, cpu) {
      yield 100
      yield* waitOnPageLocked(k, cpu, 500)
      order.push('waited')
      expect(trylockPage(k, 500)).toBe(true)
      unlockPage(k, cpu, 500)
    })
    bench.until(() => waiting.done)
    expect(order).toEqual(['unlock', 'waited'])
    expect(bench.k.pageLocks.size).toBe(0)
  })
})
