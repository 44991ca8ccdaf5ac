// Bench: the simulations whose speed engines.ts measures. Each is made of programs as the kernel
// sees them, on a server preset, so that only the engine differs between two rows.

import type { ProgramImage } from '../../src/kernel/abi.js'
import type { SimulationConfig } from '../../src/kernel/config.js'
import { MACHINE_PRESETS } from '../../src/machine/presets.js'
import { testConfig } from '../support/machines.js'
import { area, barrier, image, mmap, munmap, program, repeat, touch } from '../support/programs.js'
import type { Step } from '../support/programs.js'

export interface BenchRun {
  config: SimulationConfig
  image: ProgramImage
}

/** Pages that every thread touches again and again: one for each set of the L1 TLB. */
const HOT_PAGES = 16
/** 5 ms at the preset's frequency: a slice as Linux gives it to a task that is alone. */
const SLICE_CYCLES = 15_000_000
/** Accesses between two events of a thread that mostly touches. */
export const ACCESSES_PER_EVENT = 100_000

export function machine(cpus: number): SimulationConfig {
  return testConfig(
    { ...MACHINE_PRESETS['skl-2s']!, cpus, sockets: 1, memoryBytes: 64 * 2 ** 20 }, { timeSliceCycles: SLICE_CYCLES })
}

/** One process on every CPU, each of which touches pages of its own. */
export function independent(cpus: number, accessesEach: number): BenchRun {
  const processes = Array.from({ length: cpus }, (_, cpu) => ({ threads: [{
    comm: `p${cpu}`, cpus: [cpu], program: program(`p${cpu}`, mmap(0, HOT_PAGES), touch(area(0), 'write'),
      touch(area(0), 'read', { count: accessesEach })),
  }] }))
  return { config: machine(cpus), image: image(processes) }
}

/** Two threads of one process that touch, and every 100,000 accesses take a fault or unmap a page. */
export function mostlyTouching(rounds: number, event: 'fault' | 'munmap'): BenchRun {
  const thread = (index: number) => {
    const own = 1 + index
    const steps: Step[] = Array.from({ length: rounds }, (_, round) => [
      touch(area(0), 'read', { count: ACCESSES_PER_EVENT }),
      event === 'fault' ? touch(area(own, round, 1), 'write', { count: 1 }) : munmap(area(own, round, 1)),
    ]).flat()
    const begin = index === 0 ? [mmap(0, HOT_PAGES), touch(area(0), 'write')] : []
    return { comm: `t${index}`, cpus: [index], program: program(`t${index}`,
      mmap(own, rounds + 1, { populate: event === 'munmap' }), ...begin, barrier(0),
      touch(area(0), 'read', { count: 1000 * (index + 1) }), ...steps) }
  }
  return { config: machine(2), image: image([{ threads: [thread(0), thread(1)] }], { barriers: [2] }) }
}

/** Threads of one process, one on every CPU, that map a page, write to it and unmap it. */
export function storm(cpus: number, rounds: number): BenchRun {
  const threads = Array.from({ length: cpus }, (_, cpu) => ({
    comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, barrier(0),
      repeat(rounds, mmap(cpu, 1), touch(area(cpu), 'write', { count: 1 }), munmap(area(cpu)))),
  }))
  return { config: machine(cpus), image: image([{ threads }], { barriers: [cpus], areas: cpus }) }
}

/** A round of {@link storm}: mmap, a page fault, munmap. */
export const KERNEL_OPERATIONS_PER_ROUND = 3
