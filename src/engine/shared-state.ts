// Every word that threads share: who writes it, who reads it, and under which ordering. One shared
// memory, which WebAssembly sees as well; threads agree on its map by building the same layout. Physical
// memory is at its beginning, so that the rest starts at byte `memoryBytes` of the machine.
//
//   region    one row per   written by                        read by             ordering
//   core      CPU           whoever runs the CPU's window     the same            hand-over by doorbell/arrivals
//   mailbox   CPU           scheduler                         the CPU's core      atomic counts, hand-over
//   marks     CPU           whoever runs the CPU's window     scheduler           as core
//   window    worker        scheduler (request), worker       both                doorbell, answered
//   areas     address space scheduler                         cores of that mm    cores stand still (windows.ts)
//   plan      the machine   main, before the run              all                 start of the threads
//   records   CPU           whoever runs the CPU's window     the same            as core
//   flags     flag          scheduler                         polling cores       atomic
//   run       the run       scheduler, main (abort)           main, workers       atomic
//
// A core row is written by its worker during a window and by the scheduler otherwise, never by
// both: the doorbell hands it over, the answer hands it back (docs/memory-order.md).
// A core row is exactly what a CPU must get back when it is put back to an earlier cycle.

import { defineLayout, float64, int32 } from '../base/shared-layout.js'
import type { SharedLayout } from '../base/shared-layout.js'
import { allocateMachineMemory } from '../machine/access-runs/access-runs.js'
import type { MachineMemory, WasmMemory } from '../machine/access-runs/access-runs.js'
import { writePlan } from '../machine/access-runs/plan.js'
import {
  PLAN_WORDS, RUN_ACCESSES, RUN_CLOCK, RUN_LAST_START, RUN_POSITION,
} from '../machine/access-runs/plan-layout.js'
import type { MachineConfig } from '../machine/config.js'
import { mmuCounters, mmuWords } from '../machine/mmu.js'
import type { ProgramImage } from '../kernel/abi.js'
import { MM_SLOTS } from '../kernel/config.js'
import { MAILBOX_COUNTS, mailboxCapacity } from '../kernel/smp/mailbox.js'
import { REG_WORDS } from '../kernel/sched/task.js'
import { RECORD_FIELDS } from './records-at-hand.js'

// Doubles of a core. The first ones are those that runs of accesses bring forward.
/** The CPU's virtual time in user mode, cycles. */
export const CORE_CLOCK = RUN_CLOCK
/** Progress inside the current instruction. */
export const CORE_POSITION = RUN_POSITION
/** Cycle at which the last completed action started; -1 when the core has just entered user mode. */
export const CORE_LAST_START = RUN_LAST_START
export const CORE_ACCESSES = RUN_ACCESSES
export const CORE_FAILED_LOADS = 4
export const CORE_DOUBLES = 5

// Words of a core: its task's registers, then
export const CORE_AREA_SLOT = REG_WORDS
export const CORE_WORDS = REG_WORDS + 1

/** Marks of a window that are kept (checkpoint.ts), and versions of its TLBs and paging caches. */
export const MARKS = 64
export const MMU_VERSIONS = 16

/** Doubles of an area row entry: first page and length in base pages. */
export const AREA_DOUBLES = 2

function regionsFor(machine: MachineConfig, areas: number, flags: number, traces: number) {
  return {
    plan: {
      doc: 'what WebAssembly must know of the machine',
      fields: { words: int32(PLAN_WORDS) },
    },
    core: {
      doc: 'private state of a CPU: clock, registers, TLBs, paging caches, counters',
      rows: machine.cpus,
      fields: {
        doubles: float64(CORE_DOUBLES),
        counters: float64(mmuCounters()),
        words: int32(CORE_WORDS),
        mmu: int32(mmuWords(machine)),
      },
    },
    undo: {
      doc: 'TLBs and paging caches of a CPU as they were at its checkpoint, once a window has changed them',
      rows: machine.cpus,
      fields: { mmu: int32(mmuWords(machine)) },
    },
    marks: {
      doc: 'places inside a CPU\'s window to which it can be put back',
      rows: machine.cpus,
      fields: {
        state: int32(3),
        versions: int32(MARKS),
        rows: float64(MARKS * (CORE_DOUBLES + mmuCounters() + Math.ceil(CORE_WORDS / 2))),
        mmus: int32(MMU_VERSIONS * mmuWords(machine)),
      },
    },
    records: {
      doc: 'records of the trace that a CPU replays: which trace, from which record on',
      rows: traces === 0 ? 0 : machine.cpus,
      fields: RECORD_FIELDS,
    },
    mailbox: {
      doc: 'interrupts on their way to a CPU',
      rows: machine.cpus,
      fields: {
        /** When the core has to stop: next arrival, sleep timer or end of slice. */
        nextInterrupt: float64(),
        arrivals: float64(mailboxCapacity(machine.cpus)),
        vectors: int32(mailboxCapacity(machine.cpus)),
        senders: int32(mailboxCapacity(machine.cpus)),
        counts: int32(MAILBOX_COUNTS),
      },
    },
    window: {
      doc: 'a worker\'s window: what is asked for, how far it is, how it ended',
      rows: machine.cpus,
      fields: {
        limit: float64(),
        cpu: int32(),
        /** Cycles between two marks. */
        grain: int32(),
        doorbell: int32(),
        /** Cycles after its beginning at which the window is over / from which on somebody waits for it. */
        stopAfter: int32(),
        callAfter: int32(),
        /** Written by the worker: it serves; cycles since the beginning; END_*; the doorbell that is answered. */
        isReady: int32(),
        progress: int32(),
        end: int32(),
        answered: int32(),
      },
    },
    areas: {
      doc: 'named areas of each address space',
      rows: MM_SLOTS,
      fields: { table: float64(Math.max(1, areas) * AREA_DOUBLES) },
    },
    flags: { doc: 'flags that programs spin on', fields: { raised: int32(Math.max(1, flags)) } },
    run: {
      doc: 'the run as a whole: calls of workers, abort request, progress',
      fields: { calls: int32(), asks: int32(), abort: int32(), progressCycle: float64(), progressEvents: float64() },
    },
  } as const
}

export type StateLayout = SharedLayout<ReturnType<typeof regionsFor>>

/** The layout for a machine and an image; the same arguments give the same offsets in every thread. */
export function stateLayout(machine: MachineConfig, image: ProgramImage): StateLayout {
  const { areaNames, flagNames, traces } = image
  return defineLayout(regionsFor(machine, areaNames.length, flagNames.length, traces.length), machine.memoryBytes)
}

/** Views that a thread needs often. */
export interface SharedState {
  readonly layout: StateLayout
  readonly buffer: SharedArrayBuffer
  /** The same memory for WebAssembly, where the host has that. */
  readonly wasm: WasmMemory | undefined
  /** Physical memory. */
  readonly memory: Int32Array
  readonly areas: readonly Float64Array[]
  readonly flags: Int32Array
  readonly calls: Int32Array
  readonly asks: Int32Array
  readonly abort: Int32Array
  readonly progress: Float64Array
}

/** Memory for a run. */
export function allocateSharedState(machine: MachineConfig, image: ProgramImage): MachineMemory {
  const layout = stateLayout(machine, image)
  const memory = allocateMachineMemory(layout.byteLength)
  writePlan(layout.view(memory.buffer, 'plan', 'words'), machine, { memoryBytes: machine.memoryBytes })
  return memory
}

export function openSharedState(machine: MachineConfig, image: ProgramImage, memory: MachineMemory): SharedState {
  const layout = stateLayout(machine, image)
  const { buffer, wasm } = memory
  return {
    layout,
    buffer,
    wasm,
    memory: new Int32Array(buffer, 0, machine.memoryBytes / Int32Array.BYTES_PER_ELEMENT),
    areas: Array.from({ length: layout.rowsOf('areas') }, (_, row) => layout.view(buffer, 'areas', 'table', row)),
    flags: layout.view(buffer, 'flags', 'raised'),
    calls: layout.view(buffer, 'run', 'calls'),
    asks: layout.view(buffer, 'run', 'asks'),
    abort: layout.view(buffer, 'run', 'abort'),
    progress: layout.view(buffer, 'run', 'progressCycle'),
  }
}
