// What --check does not look at again is what it was: rows of CPUs, what tasks hold, TLBs. In random runs, of every
// policy, everything that the checks read is read after every step and compared with the last look.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Simulation } from '../src/engine/simulation.js'
import { ChangedRows } from '../src/inspect/changed-rows.js'
import { newCounting, noteHolders } from '../src/inspect/check-mm.js'
import { heldEntries } from '../src/inspect/held-entries.js'
import { watch } from '../src/inspect/watch.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import { FRAME_TABLE } from '../src/kernel/pages/frames.js'
import { nextInterruptCycle } from '../src/kernel/smp/ipi.js'
import type { KernelState } from '../src/kernel/state.js'
import { hasBuffered } from '../src/kernel/smp/store-buffer.js'
import { isInMask } from '../src/kernel/tlb/mm-cpumask.js'
import { rootOwnerOf } from '../src/kernel/tlb/pti.js'
import type { PagingCacheEntry, TlbEntry } from '../src/machine/mmu.js'
import { VECTOR_CALL_FUNCTION, VECTOR_CALL_FUNCTION_SINGLE } from '../src/trace/events.js'
import { steppedRun } from './support/checked-run.js'
import { testConfig } from './support/machines.js'
import { area, barrier, image, mmap, modifyLdt, munmap, program, repeat, touch } from './support/programs.js'
import { randomRunOfAnyPolicy } from './support/random-programs.js'

const RUNS = { numRuns: 60, seed: 526, endOnFailure: true }

/** Everything that checkRow and checkInterrupts read of a CPU. */
function rowOf(k: KernelState, cpu: KernelCpu): string {
  const { current: { mm, activeMm }, tlb46, tlb6x, vcpu, ldt } = cpu
  const { rootPfn, pcid } = k.platform.mmu(cpu.id)
  const block = k.config.kernel.pti ? rootPfn & ~1 : rootPfn
  const loaded = cpu.irqsOff > 0 ? undefined : k.policy.loadedRoot(k, cpu)
  const top = cpu.stack.at(-1)
  return [
    // Pids change hands when a thread that is not the leader calls execve().
    k.tasks.indexOf(cpu.current), mm?.ctxId, activeMm?.ctxId, activeMm?.isFreed, cpu.inUserMode,
    mm !== undefined && isInMask(k, cpu, mm),
    cpu.irqsOff, cpu.preemptCount, cpu.inInterrupt, top?.waiting === true,
    rootPfn, pcid, cpu.isOnUserRoot, k.frames.use[rootPfn] === FRAME_TABLE, k.frames.refcount[block]! > 0,
    ldt?.pfn, ldt?.isFreed, mm?.ldt?.pfn, ldt !== mm?.ldt && mm?.ldtLock.isHeld,
    loaded?.mm.ctxId, loaded?.pcid, loaded !== undefined && rootOwnerOf(k, cpu, pcid).isFlushedOnExit,
    tlb46.state, tlb46.activeMm.ctxId, tlb46.activeMm.isFreed, tlb46.activeMm.mmCpumask.has(cpu.id),
    hasBuffered(k, cpu),
    tlb6x.loadedMm?.ctxId, tlb6x.loadedMm?.isFreed, tlb6x.isLazy, vcpu.flushOnEntry, vcpu.isPreempted,
    cpu.nextInterrupt, nextInterruptCycle(cpu), cpu.isPolling && cpu.needResched,
    cpu.mailbox.holds(VECTOR_CALL_FUNCTION_SINGLE), cpu.mailbox.holds(VECTOR_CALL_FUNCTION),
    ...cpu.callQueue.map(({ sender, completion: { remaining, frame } }) => (
      `${sender.id} ${remaining} ${frame === undefined ? 'sending' : String(frame.waiting)}`)),
  ].join()
}

/** After every step: rows that need no look are those of the last look. Returns how many were not looked at. */
function comparingRows(): { check: (simulation: Simulation) => void; skipped: () => number } {
  const seen: string[] = []
  let changed: ChangedRows | undefined
  let skipped = 0
  const check = ({ kernel, cycle }: Simulation): void => {
    changed ??= new ChangedRows(kernel.cpus.length)
    const areAll = changed.areAll(kernel)
    for (const cpu of kernel.cpus) {
      const row = rowOf(kernel, cpu)
      if (areAll || changed.includes(cpu) || seen[cpu.id] === undefined) {
        changed.noteLook(cpu)
        seen[cpu.id] = row
        continue
      }
      skipped += 1
      if (row !== seen[cpu.id]) expect(row, `cpu${cpu.id} after the step at cycle ${cycle}`).toBe(seen[cpu.id])
    }
  }
  return { check, skipped: () => skipped }
}

test('rows of CPUs that are not looked at have not changed', () => {
  let skipped = 0
  fc.assert(fc.property(randomRunOfAnyPolicy, (run) => {
    const rows = comparingRows()
    const { simulation, finish } = steppedRun(run.config, run.image, rows.check)
    watch(simulation.kernel)
    finish()
    skipped += rows.skipped()
  }), RUNS)
  expect(skipped).toBeGreaterThan(10_000)
})

test('nor have they where threads replace the LDT of each other', () => {
  const threads = [0, 1, 2].map((cpu) => ({
    comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, barrier(0),
      repeat(8, modifyLdt(512 + cpu), mmap(cpu, 2), touch(area(cpu), 'write'), munmap(area(cpu)))),
  }))
  const rows = comparingRows()
  const { simulation, finish } = steppedRun(
    testConfig({ cpus: 4 }), image([{ threads }], { barriers: [3], areas: 3 }), rows.check)
  watch(simulation.kernel)
  finish()
  expect(rows.skipped()).toBeGreaterThan(0)
})

test('what tasks hold has not changed when no row said so', () => {
  let skipped = 0
  fc.assert(fc.property(randomRunOfAnyPolicy, (run) => {
    let counting: ReturnType<typeof newCounting> | undefined
    let seen = ''
    const { finish } = steppedRun(run.config, run.image, ({ kernel: k, cycle }: Simulation) => {
      counting ??= newCounting(k)
      for (const cpu of k.cpus) if (cpu.isRetimed) noteHolders(counting, cpu)
      const held = [...k.tasks, ...k.cpus.map(({ idleTask }) => idleTask)]
        .map(({ mm, activeMm, oldMm }) => `${mm?.ctxId} ${activeMm?.ctxId} ${oldMm?.ctxId}`)
        .concat(k.cpus.map(({ droppedMm }) => `${droppedMm?.ctxId}`)).join()
      if (!counting.isStale && k.tasks.length === counting.tasks) {
        skipped += 1
        if (held !== seen) expect(held, `after the step at cycle ${cycle}`).toBe(seen)
      }
      seen = held
      counting.isStale = false
      counting.tasks = k.tasks.length
    })
    finish()
  }), RUNS)
  expect(skipped).toBeGreaterThan(10_000)
})

test('what TLBs are said to hold is what they hold', () => {
  let kept = 0
  fc.assert(fc.property(randomRunOfAnyPolicy, (run) => {
    const seen: unknown[] = []
    const { finish } = steppedRun(run.config, run.image, (simulation: Simulation) => {
      const { kernel: k } = simulation
      simulation.standStill()
      for (const cpu of k.cpus) {
        const tlb: TlbEntry[] = []
        const upper: PagingCacheEntry[] = []
        k.platform.mmu(cpu.id).forEachTlbEntry((entry) => tlb.push(entry))
        k.platform.mmu(cpu.id).forEachPagingCacheEntry((entry) => upper.push(entry))
        const held = heldEntries(k, cpu)
        if (held === seen[cpu.id]) kept += 1
        seen[cpu.id] = held
        const isSame = JSON.stringify([held.tlb, held.upper]) === JSON.stringify([tlb, upper])
        if (!isSame) expect([held.tlb, held.upper]).toEqual([tlb, upper])
      }
    })
    finish()
  }), { ...RUNS, numRuns: 20 })
  expect(kept).toBeGreaterThan(10_000)
})
