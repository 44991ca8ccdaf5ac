// The leak check: what a run that has ended may still hold. Everything that programs were given must
// be back with the allocator; what stays is what boot took, pages of files in the page cache, kernel
// buffers that nobody has freed, and the roots and LDTs of address spaces that idle CPUs still borrow
// (mm_count without mm_users), as in Linux.

import { expect } from 'vitest'
import { simulateHere } from '../../src/engine/simulate.js'
import type { SimulateOptions } from '../../src/engine/simulate.js'
import type { RunResult } from '../../src/engine/result.js'
import type { ProgramImage } from '../../src/kernel/abi.js'
import type { SimulationConfig } from '../../src/kernel/config.js'
import type { KernelState } from '../../src/kernel/state.js'
import type { TraceEvent } from '../../src/trace/events.js'
import { eventsOf } from '../../src/trace/recorder.js'
import { image } from './programs.js'
import { steppedRun } from './checked-run.js'

export interface LeakFreeRun extends RunResult {
  kernel: KernelState
  events: TraceEvent[]
}

/** Runs to the end with invariants on, and checks that nothing has leaked. */
export async function runWithoutLeaks(
  config: SimulationConfig, programs: ProgramImage, options: SimulateOptions = {},
): Promise<LeakFreeRun> {
  const { simulation, result } = await simulateHere(config, programs, { check: true, ...options })
  expect(result.stall).toEqual([])
  expect(result.end).toBe('finished')
  expectNoLeaks(simulation.kernel)
  return { ...result, kernel: simulation.kernel, events: [...eventsOf(result.trace)] }
}

/** Nothing runs any more in `k`: what it still holds must be accounted for. */
export function expectNoLeaks(k: KernelState): void {
  const borrowed = [...k.mms.values()].filter(mm => mm !== k.initMm)
  for (const mm of borrowed) {
    const held = { mm: mm.ctxId, users: mm.mmUsers, rss: mm.rssPages, areas: mm.vmas.areas.length }
    expect(held).toEqual({ mm: mm.ctxId, users: 0, rss: 0, areas: 0 })
    expect(mm.mmCount).toBeGreaterThan(0)
    expect(mm.mmapLock.isHeld).toBe(false)
    expect(mm.gathersPending).toBe(0)
  }
  const zombies = k.tasks.filter(task => task.group.isZombie && task.group.leader === task)
  expect(zombies.map(task => task.comm)).toEqual([])
  const waiting = k.tasks.filter(task => task.state !== 'Z')
  expect(k.threads).toBe(waiting.length)
  for (const cpu of k.cpus) expect([cpu.id, cpu.callQueue.length, cpu.irqsOff]).toEqual([cpu.id, 0, 0])
  const held = borrowed.reduce((sum, { tablePages, ldt }) =>
    sum + tablePages + (ldt === undefined ? 0 : 1 << k.frames.order[ldt.pfn]!), 0)
  expect(inUse(k) - held).toBe(inUse(steppedRun(k.config, image([])).simulation.kernel))
}

/** Frames that are neither free, nor in the page cache, nor kernel buffers or tables of the kernel's address space. */
function inUse(k: KernelState): number {
  const buffers = k.vmalloc.areas.reduce((sum, { state, frames }) => sum + (state === 'used' ? frames.length : 0), 0)
  return k.frames.count - k.frames.freeFrames - k.pageCache.places.size - k.initMm.tablePages - buffers
}
