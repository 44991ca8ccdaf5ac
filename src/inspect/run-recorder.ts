// What a report shows and a trace does not say: in which mode every CPU is and what it has loaded,
// every write of a page-table entry, and what all TLBs hold, looked at on the way.
//
//   mode, task, loaded mm    after every step, when they changed                    exact
//   entries of tables        every write, A and D of the walkers included           exact
//   TLBs and paging caches   after steps that recorded events: every one at first;  as of the look
//                            when the looks become too many, every second is
//                            dropped and from then on only every second taken
//
// Simplified: what TLBs hold between two looks is not known, and of a very long run the looks are far apart;
// of the writes only the first LIMITS.writes are kept. A page says as of when its TLBs and tables are.
//
// Looking changes nothing: cores are made to stand at the present cycle, which is what checks do at
// every step, and everything is read. So a recorded run gives the same bytes as any other, and every
// engine gives the same recording (test/850).

import { geometryOf } from '../machine/geometry.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { SimulationConfig } from '../kernel/config.js'
import { firstKernelSlot } from '../kernel/mm/pgtable.js'
import { userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'
import {
  LANE_COLUMNS, MODE_AWAY, MODE_IDLE, MODE_INTERRUPT, MODE_KERNEL, MODE_USER, MODE_WAITING,
} from '../trace/observations.js'
import type { LaneColumn, WriteColumn } from '../trace/observations.js'
import type { TraceRecorder } from '../trace/recorder.js'
import { GrowingRows, rowBuffers } from './growing-rows.js'
import type { Rows } from './growing-rows.js'
import { RecordedMemory } from './recorded-memory.js'
import type { Present } from './recorded-memory.js'
import { TlbLooks } from './tlb-looks.js'
import type { LooksOfRun } from './tlb-looks.js'
import { describeMm } from './violation.js'

/** An address space that was seen. */
export interface RecordedMm {
  ctxId: number
  /** Frame of its root, and of the root of user mode, which is the same without page-table isolation. */
  root: number
  userRoot: number
  /** Cycle at which it was there first. */
  cycle: number
  /** Whose it was at first: comms in quotes, or `init_mm`. */
  name: string
}

/** Plain data, so that the scheduler thread can send it. */
export interface Recording {
  /** A row whenever something of a CPU's row changed. */
  lanes: Rows<LaneColumn>
  writes: Rows<WriteColumn>
  /** From this cycle on writes were not remembered; Infinity: all were. */
  writesEnd: number
  mms: RecordedMm[]
  /** First slot of a root table that belongs to the kernel. */
  firstKernelSlot: number
  looks: LooksOfRun
}

/** What the recorder needs of a simulation. */
export interface RecordedSimulation {
  readonly kernel: KernelState
  readonly cycle: number
  readonly trace: TraceRecorder
  standStill(): void
}

export interface RecordLimits {
  /** Entry writes that are remembered, the first ones. */
  writes: number
  /** Looks at the TLBs that are kept, evenly spaced, and how many entries they may hold together. */
  looks: number
  lookEntries: number
}

/** Keep a report of a million events below 10 MB. */
const LIMITS: RecordLimits = { writes: 600_000, looks: 512, lookEntries: 300_000 }

/** As describeMm() says it. */
const NO_USERS = 'no users'

export class RunRecorder {
  readonly #present: Present = { cycle: 0, cpu: 0 }
  readonly #limits: RecordLimits
  readonly #lanes = new GrowingRows<LaneColumn>(LANE_COLUMNS)
  readonly #looks: TlbLooks
  readonly #mms = new Map<number, RecordedMm>()
  #memory: RecordedMemory | undefined
  /** Last row by CPU: mode, pid, mm, lazy. */
  readonly #last: Int32Array
  #nextCtxId = -1
  /** An mm was seen before its first task (fork, execve). */
  #isSomeUnused = false
  #events = 0

  constructor(cpus: number, limits: RecordLimits = LIMITS) {
    this.#limits = limits
    this.#looks = new TlbLooks(limits.looks, limits.lookEntries)
    this.#last = new Int32Array(cpus * 4).fill(-1)
  }

  /** The memory that the run is to use. */
  memoryFor(words: Int32Array, { machine }: SimulationConfig): RecordedMemory {
    this.#memory = new RecordedMemory(words, geometryOf(machine.geometry), this.#present, this.#limits.writes)
    return this.#memory
  }

  /** The step of `cpu` at `cycle` comes next. */
  beforeStep(cycle: number, cpu: number): void {
    this.#present.cycle = cycle
    this.#present.cpu = cpu
  }

  /** The step of `cpu` is done. */
  afterStep(simulation: RecordedSimulation, cpu: KernelCpu): void {
    const { kernel, trace } = simulation
    if (kernel.nextCtxId !== this.#nextCtxId || this.#isSomeUnused) this.#noteMms(kernel)
    if (trace.length === this.#events) {
      this.#noteLane(kernel, cpu)
      return
    }
    this.#events = trace.length
    for (const each of kernel.cpus) this.#noteLane(kernel, each)
    if (this.#looks.isDue()) {
      simulation.standStill()
      this.#looks.look(kernel, this.#present.cycle)
    }
  }

  /** The run has ended: one more look, and everything that was seen. */
  finish(simulation: RecordedSimulation): Recording {
    const { kernel } = simulation
    this.#noteMms(kernel)
    simulation.standStill()
    this.#looks.look(kernel, simulation.cycle)
    return {
      lanes: this.#lanes.finish(),
      writes: this.#memory!.writes(),
      writesEnd: this.#memory!.forgottenFrom,
      mms: [...this.#mms.values()],
      firstKernelSlot: firstKernelSlot(kernel),
      looks: this.#looks.finish(),
    }
  }

  #noteMms(k: KernelState): void {
    this.#nextCtxId = k.nextCtxId
    this.#isSomeUnused = false
    for (const mm of k.mms.values()) {
      const known = this.#mms.get(mm.ctxId)
      if (known !== undefined && known.name !== NO_USERS) continue
      const name = describeMm(k, mm)
      if (name === NO_USERS) this.#isSomeUnused = true
      this.#mms.set(mm.ctxId, {
        ctxId: mm.ctxId, root: mm.pgdPfn, userRoot: userRoot(k, mm), cycle: known?.cycle ?? this.#present.cycle, name,
      })
    }
  }

  #noteLane(k: KernelState, cpu: KernelCpu): void {
    const mode = modeOf(cpu)
    const { pid } = cpu.current
    const { mm } = k.policy.loadedRoot(k, cpu)
    const lazy = cpu.current.mm === undefined && mm !== k.initMm ? 1 : 0
    const last = this.#last
    const at = cpu.id * 4
    if (last[at] === mode && last[at + 1] === pid && last[at + 2] === mm.ctxId && last[at + 3] === lazy) return
    last[at] = mode
    last[at + 1] = pid
    last[at + 2] = mm.ctxId
    last[at + 3] = lazy
    this.#lanes.add(this.#present.cycle, cpu.id, mode, pid, mm.ctxId, lazy)
  }
}

/** The buffers of a recording, for the transfer list of postMessage. */
export function recordingBuffers({ lanes, writes, looks }: Recording): ArrayBuffer[] {
  return [...rowBuffers(lanes), ...rowBuffers(writes), ...rowBuffers(looks.held), looks.cycles.buffer]
}

function modeOf(cpu: KernelCpu): number {
  if (cpu.inUserMode) return MODE_USER
  if (cpu.vcpu.isPreempted) return MODE_AWAY
  if (cpu.inInterrupt) return MODE_INTERRUPT
  if (cpu.isIdle) return MODE_IDLE
  return cpu.stack[cpu.stack.length - 1]?.waiting === true ? MODE_WAITING : MODE_KERNEL
}
