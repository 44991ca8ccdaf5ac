// A CPU core in user mode: executes a program's instructions from its registers, one action after
// the other, in virtual time. The same code runs in the CPU's worker, in the scheduler for short
// windows, and action by action in the reference engine.
//
// An action starts at the core's clock and takes whole cycles. Before each action the core looks
// for an interrupt that has arrived. In a window (`mayWrite` false) it only reads shared memory:
// an action that would write anything others can see (A or D bits, data, a fault, a system call)
// ends the window before it starts, and the scheduler commits it at its cycle.
//
// Runs of accesses go to WebAssembly where there is some (machine/access-runs), up to the first one that it
// leaves to the MMU. Single steps do not, so that the reference engine holds it against the MMU.
//
// Simplified: `touch` accesses are one byte wide and never cross a page; recorded traces do.

import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE } from '../kernel/abi.js'
import type {
  AccessKind, AreaRef, ComputeInstruction, Instruction, LoadInstruction, ProgramImage, ReplayInstruction,
  SpinInstruction, StoreInstruction, TouchInstruction,
} from '../kernel/abi.js'
import { REG_LOOP_DEPTH, REG_LOOPS, REG_PC, REG_PROGRAM } from '../kernel/sched/task.js'
import { AccessRuns } from '../machine/access-runs/access-runs.js'
import type { MachineConfig } from '../machine/config.js'
import { geometryOf } from '../machine/geometry.js'
import { GENERAL_PROTECTION, Mmu, NEEDS_WRITE, TRANSLATED } from '../machine/mmu.js'
import type { PhysMem } from '../machine/phys-mem.js'
import { hash32 } from '../base/prng.js'
import { RecordsAtHand } from './records-at-hand.js'
import {
  AREA_DOUBLES, CORE_ACCESSES, CORE_AREA_SLOT, CORE_CLOCK, CORE_FAILED_LOADS, CORE_LAST_START, CORE_POSITION,
} from './shared-state.js'
import type { SharedState } from './shared-state.js'

// How a run of actions ended.
/** The window has not been run, or its result no longer holds. */
export const END_NONE = 0
/** The limit was reached; the next action would start at or after it. */
export const END_LIMIT = 1
/** An interrupt has arrived; it is taken at the clock. */
export const END_INTERRUPT = 2
/** The next access would set A or D bits, or faults. */
export const END_ACCESS = 3
/** The next instruction loads or stores data. */
export const END_DATA = 4
/** The next instruction is a system call. */
export const END_SYSCALL = 5
/** One action was done (single step). */
export const END_STEP = 6
/** The committed access faulted: see faultHi, faultLo, mmu.errorCode, mmu.cycles. */
export const END_PAGE_FAULT = 7
export const END_GENERAL_PROTECTION = 8

/** Fewer accesses than this are not worth the call. */
const SHORTEST_RUN = 8

/** Cycles of one poll of a flag, and the grain in which `compute` can be interrupted. */
export const SPIN_CYCLES = 50

type AccessCode = typeof ACCESS_READ | typeof ACCESS_WRITE | typeof ACCESS_EXEC

const ACCESS_CODE: Readonly<Record<AccessKind, AccessCode>> = {
  read: ACCESS_READ, write: ACCESS_WRITE, exec: ACCESS_EXEC,
}
/** Access kind by the top two bits of a trace record: fetch, load, store. */
const RECORD_ACCESS = [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE] as const

export interface LoadMismatch {
  instruction: LoadInstruction
  /** Address. */
  hi: number
  lo: number
  /** What was there. */
  gotHi: number
  gotLo: number
}

export class Core {
  readonly mmu: Mmu
  /** Address of the access that faulted or wants to write; valid after such an end. */
  faultHi = 0
  faultLo = 0
  /** A load that did not return what its program expects; taken by the scheduler after a commit. */
  mismatch: LoadMismatch | undefined

  readonly #image: ProgramImage
  readonly #mem: PhysMem
  readonly #doubles: Float64Array
  readonly #words: Int32Array
  readonly #nextInterrupt: Float64Array
  readonly #shared: SharedState
  readonly #runs: AccessRuns | undefined
  readonly #records: RecordsAtHand | undefined
  readonly #pageBytes: number
  /** 2^32 / page size: pages per step of the upper address half. */
  readonly #pagesPerHi: number
  // Start and length of the range that an instruction names; valid until the next #resolve.
  #startHi = 0
  #startLo = 0
  #length = 0

  constructor(shared: SharedState, id: number, machine: MachineConfig, mem: PhysMem, image: ProgramImage) {
    const { layout, buffer } = shared
    this.#shared = shared
    this.#image = image
    this.#mem = mem
    this.#doubles = layout.view(buffer, 'core', 'doubles', id)
    this.#words = layout.view(buffer, 'core', 'words', id)
    this.#nextInterrupt = layout.view(buffer, 'mailbox', 'nextInterrupt', id)
    this.mmu = new Mmu(
      machine, mem, layout.view(buffer, 'core', 'mmu', id), layout.view(buffer, 'core', 'counters', id),
      layout.view(buffer, 'undo', 'mmu', id))
    if (shared.wasm !== undefined) {
      this.#runs = new AccessRuns(shared.wasm, {
        plan: layout.view(buffer, 'plan', 'words'),
        mmu: layout.view(buffer, 'core', 'mmu', id),
        counters: layout.view(buffer, 'core', 'counters', id),
        run: this.#doubles,
      })
      this.#records = image.traces.length === 0 ? undefined : new RecordsAtHand(layout.row(buffer, 'records', id))
    }
    const { pageShift } = geometryOf(machine.geometry)
    this.#pageBytes = 2 ** pageShift
    this.#pagesPerHi = 2 ** (32 - pageShift)
  }

  get clock(): number {
    return this.#doubles[CORE_CLOCK]
  }

  get lastStart(): number {
    return this.#doubles[CORE_LAST_START]
  }

  /** Goes to user mode at `cycle` with the areas of address-space slot `areaSlot`. */
  enterUser(cycle: number, areaSlot: number): void {
    this.#doubles[CORE_CLOCK] = cycle
    this.#doubles[CORE_LAST_START] = -1
    this.#words[CORE_AREA_SLOT] = areaSlot
  }

  /** Something below the kernel holds the CPU up. The core stands. */
  delay(cycles: number): void {
    this.#doubles[CORE_CLOCK] += cycles
  }

  /** The instruction at the pc. */
  get instruction(): Instruction {
    return this.#image.programs[this.#words[REG_PROGRAM]].code[this.#words[REG_PC]]
  }

  /** Steps over the system call that ended the run, and returns it. */
  takeSystemCall(): Instruction {
    const { instruction } = this
    this.#words[REG_PC] += 1
    return instruction
  }

  /**
   * Runs actions that start before `limit`. With `single` it does one action and returns END_STEP.
   * With `mayWrite` it commits: sets A and D bits, moves data, reports faults.
   */
  run(limit: number, mayWrite: boolean, single: boolean): number {
    const stop = Math.min(limit, this.#nextInterrupt[0])
    for (;;) {
      if (this.#doubles[CORE_CLOCK] >= stop) {
        return this.#doubles[CORE_CLOCK] >= this.#nextInterrupt[0] ? END_INTERRUPT : END_LIMIT
      }
      const end = this.#execute(this.instruction, stop, mayWrite, single)
      if (end !== END_NONE) return end
    }
  }

  #execute(instruction: Instruction, stop: number, mayWrite: boolean, single: boolean): number {
    switch (instruction.op) {
      case 'touch':
        return this.#touch(instruction, stop, mayWrite, single)
      case 'replay':
        return this.#replay(instruction, stop, mayWrite, single)
      case 'compute':
        return this.#compute(instruction, stop, single)
      case 'spin':
        return this.#spin(instruction, stop, single)
      case 'loop':
        this.#words[REG_LOOPS + this.#words[REG_LOOP_DEPTH]] = instruction.times
        this.#words[REG_LOOP_DEPTH] += 1
        this.#words[REG_PC] += 1
        return END_NONE
      case 'end':
        this.#endLoop(instruction.loop)
        return END_NONE
      case 'store':
      case 'load':
        return mayWrite ? this.#data(instruction) : END_DATA
      default:
        return END_SYSCALL
    }
  }

  #endLoop(loop: number): void {
    const words = this.#words
    const innermost = REG_LOOPS + words[REG_LOOP_DEPTH] - 1
    words[innermost] -= 1
    if (words[innermost] > 0) {
      words[REG_PC] = loop + 1
    } else {
      words[REG_LOOP_DEPTH] -= 1
      words[REG_PC] += 1
    }
  }

  #touch(instruction: TouchInstruction, stop: number, mayWrite: boolean, single: boolean): number {
    this.#resolve(instruction.where)
    const doubles = this.#doubles
    const length = this.#length
    const { stride, seed } = instruction
    const access = ACCESS_CODE[instruction.access]
    const count = instruction.count > 0 ? instruction.count : Math.ceil(length / stride)
    const slots = instruction.pattern === 'random' ? Math.max(1, Math.floor(length / 8)) : 0
    const runs = single || count - doubles[CORE_POSITION] < SHORTEST_RUN ? undefined : this.#runs
    let end = END_NONE
    while (end === END_NONE && doubles[CORE_POSITION] < count && doubles[CORE_CLOCK] < stop) {
      if (runs === undefined) {
        end = this.#touchHere(instruction, access, count, slots, stop, mayWrite, single ? 1 : Infinity)
        if (single && end === END_NONE) end = END_STEP
        continue
      }
      const hi = this.#startHi
      const lo = this.#startLo | 0
      if (slots > 0) runs.touchRandom(stop, count, access, hi, lo, slots, seed)
      else runs.touchStrided(stop, count, access, hi, lo, length, stride, (doubles[CORE_POSITION] * stride) % length)
      end = this.#touchHere(instruction, access, count, slots, stop, mayWrite, 1)
    }
    this.#setPosition(doubles[CORE_POSITION], count)
    return end
  }

  /** Up to `most` accesses of a touch, each by the MMU. */
  #touchHere(
    { stride, seed }: TouchInstruction, access: AccessCode, count: number, slots: number, stop: number,
    mayWrite: boolean, most: number,
  ): number {
    const doubles = this.#doubles
    const mmu = this.mmu
    const length = this.#length
    const before = doubles[CORE_POSITION]
    const past = Math.min(count, before + most)
    let position = before
    let clock = doubles[CORE_CLOCK]
    let lastStart = doubles[CORE_LAST_START]
    let offset = slots > 0 ? 0 : (position * stride) % length
    let end = END_NONE
    while (position < past && clock < stop) {
      if (slots > 0) offset = (hash32(seed, position) % slots) * 8
      const sum = this.#startLo + offset
      const hi = (this.#startHi + sum / 0x1_0000_0000) | 0
      const lo = sum | 0
      const status = mmu.translate(hi, lo, access, true, mayWrite)
      if (status !== TRANSLATED) {
        end = this.#stopAt(status, hi, lo, mayWrite)
        break
      }
      lastStart = clock
      clock += mmu.cycles
      position += 1
      offset += stride
      while (offset >= length) offset -= length
    }
    doubles[CORE_CLOCK] = clock
    doubles[CORE_LAST_START] = lastStart
    doubles[CORE_ACCESSES] += position - before
    doubles[CORE_POSITION] = position
    return end
  }

  /** Position 2i is the first page of record i, 2i + 1 the second page of a record that crosses one. */
  #replay(instruction: ReplayInstruction, stop: number, mayWrite: boolean, single: boolean): number {
    const { trace, from, count } = instruction
    const { words } = this.#image.traces[trace]
    const doubles = this.#doubles
    const pastEnd = (2 * count) | 0
    const runs = single || pastEnd - doubles[CORE_POSITION] < 2 * SHORTEST_RUN ? undefined : this.#runs
    let end = END_NONE
    while (end === END_NONE && doubles[CORE_POSITION] < pastEnd && doubles[CORE_CLOCK] < stop) {
      if (runs === undefined) {
        end = this.#replayHere(words, from, pastEnd, stop, mayWrite, single ? 1 : Infinity)
        if (single && end === END_NONE) end = END_STEP
        continue
      }
      const records = this.#records!
      records.fetch(trace, words, from + (doubles[CORE_POSITION] >> 1))
      const pastHere = Math.min(pastEnd, 2 * (records.past - from))
      runs.replay(stop, pastHere, records.placeOf(from))
      if (doubles[CORE_POSITION] < pastHere) end = this.#replayHere(words, from, pastEnd, stop, mayWrite, 1)
    }
    this.#setPosition(doubles[CORE_POSITION], pastEnd)
    return end
  }

  /** Up to `most` recorded accesses, each by the MMU. */
  #replayHere(
    records: Int32Array, from: number, pastEnd: number, stop: number, mayWrite: boolean, most: number,
  ): number {
    const doubles = this.#doubles
    const mmu = this.mmu
    const pageBytes = this.#pageBytes
    const firstWord = (2 * from) | 0
    let position = doubles[CORE_POSITION] | 0
    let clock = doubles[CORE_CLOCK]
    let lastStart = doubles[CORE_LAST_START]
    let accesses = 0
    let end = END_NONE
    while (position < pastEnd && clock < stop && accesses < most) {
      const isSecond = (position & 1) === 1
      const word = (firstWord + (position & ~1)) | 0
      const top = records[word + 1]
      let lo = records[word]
      let hi = top & 0xffff
      const pastPage = (lo & (pageBytes - 1)) + ((top >>> 16) & 0x3fff)
      if (isSecond) {
        lo = ((lo & -pageBytes) + pageBytes) | 0
        if (lo === 0) hi += 1
      }
      const status = mmu.translate(hi, lo, RECORD_ACCESS[top >>> 30], true, mayWrite)
      if (status !== TRANSLATED) {
        end = this.#stopAt(status, hi, lo, mayWrite)
        break
      }
      lastStart = clock
      clock += mmu.cycles
      accesses += 1
      position += isSecond || pastPage > pageBytes ? 1 : 2
    }
    doubles[CORE_CLOCK] = clock
    doubles[CORE_LAST_START] = lastStart
    doubles[CORE_ACCESSES] += accesses
    doubles[CORE_POSITION] = position
    return end
  }

  #compute(instruction: ComputeInstruction, stop: number, single: boolean): number {
    const doubles = this.#doubles
    const clock = doubles[CORE_CLOCK]
    const remaining = instruction.cycles - doubles[CORE_POSITION]
    if (remaining <= 0) {
      this.#setPosition(1, 1)
      return END_NONE
    }
    const chunks = single ? 1 : Math.ceil(Math.min(stop - clock, remaining) / SPIN_CYCLES)
    const cycles = Math.min(remaining, chunks * SPIN_CYCLES)
    doubles[CORE_CLOCK] = clock + cycles
    doubles[CORE_LAST_START] = clock + (chunks - 1) * SPIN_CYCLES
    this.#setPosition(doubles[CORE_POSITION] + cycles, instruction.cycles)
    return single ? END_STEP : END_NONE
  }

  #spin(instruction: SpinInstruction, stop: number, single: boolean): number {
    // Pairs with the store in raiseFlag(); the scheduler only stores while this core stands still.
    if (Atomics.load(this.#shared.flags, instruction.flag) !== 0) {
      this.#setPosition(1, 1)
      return END_NONE
    }
    const doubles = this.#doubles
    const clock = doubles[CORE_CLOCK]
    const polls = single ? 1 : Math.ceil((stop - clock) / SPIN_CYCLES)
    doubles[CORE_CLOCK] = clock + polls * SPIN_CYCLES
    doubles[CORE_LAST_START] = clock + (polls - 1) * SPIN_CYCLES
    return single ? END_STEP : END_NONE
  }

  /** A store or load of eight bytes, at its place in the total order. */
  #data(instruction: StoreInstruction | LoadInstruction): number {
    this.#resolve(instruction.where)
    const hi = this.#startHi
    const lo = this.#startLo | 0
    const isStore = instruction.op === 'store'
    const status = this.mmu.translate(hi, lo, isStore ? ACCESS_WRITE : ACCESS_READ, true, true)
    if (status !== TRANSLATED) return this.#stopAt(status, hi, lo, true)
    const doubles = this.#doubles
    const inPage = lo & (this.#pageBytes - 1)
    if (instruction.op === 'store') {
      this.#mem.storeWord(this.mmu.pfn, inPage, instruction.value.lo | 0)
      this.#mem.storeWord(this.mmu.pfn, inPage + 4, instruction.value.hi | 0)
    } else if (instruction.expect !== undefined) {
      const gotLo = this.#mem.loadWord(this.mmu.pfn, inPage)
      const gotHi = this.#mem.loadWord(this.mmu.pfn, inPage + 4)
      if (gotLo !== (instruction.expect.lo | 0) || gotHi !== (instruction.expect.hi | 0)) {
        doubles[CORE_FAILED_LOADS] += 1
        this.mismatch = { instruction, hi, lo, gotHi, gotLo }
      }
    }
    doubles[CORE_LAST_START] = doubles[CORE_CLOCK]
    doubles[CORE_CLOCK] += this.mmu.cycles
    doubles[CORE_ACCESSES] += 1
    this.#setPosition(1, 1)
    return END_STEP
  }

  #stopAt(status: number, hi: number, lo: number, mayWrite: boolean): number {
    this.faultHi = hi
    this.faultLo = lo
    if (!mayWrite || status === NEEDS_WRITE) return END_ACCESS
    return status === GENERAL_PROTECTION ? END_GENERAL_PROTECTION : END_PAGE_FAULT
  }

  /** Remembers progress; a finished instruction gives way to the next. */
  #setPosition(position: number, end: number): void {
    if (position < end) {
      this.#doubles[CORE_POSITION] = position
      return
    }
    this.#doubles[CORE_POSITION] = 0
    this.#words[REG_PC] += 1
  }

  /**
   * Where the range of an instruction lies now. An area that was never mapped is page 0, which
   * no program can map, so that using it ends in SIGSEGV as a null pointer does.
   */
  #resolve(where: AreaRef): void {
    if (where.area < 0) {
      this.#placeAt(where.address.hi, where.address.lo, where.offset)
      this.#length = where.bytes
      return
    }
    const table = this.#shared.areas[this.#words[CORE_AREA_SLOT]]
    const vpn = table[where.area * AREA_DOUBLES]
    const pages = table[where.area * AREA_DOUBLES + 1]
    const hi = Math.floor(vpn / this.#pagesPerHi)
    this.#placeAt(hi, (vpn - hi * this.#pagesPerHi) * this.#pageBytes, pages === 0 ? 0 : where.offset)
    const rest = pages * this.#pageBytes - where.offset
    this.#length = where.bytes > 0 ? where.bytes : Math.max(this.#pageBytes, rest)
  }

  #placeAt(hi: number, lo: number, offset: number): void {
    const sum = (lo >>> 0) + offset
    this.#startLo = sum >>> 0
    this.#startHi = (hi + Math.floor(sum / 0x1_0000_0000)) | 0
  }
}
