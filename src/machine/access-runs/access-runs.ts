// The WebAssembly code of assembly/ in a thread: memory that it can reach, and its functions bound to
// the MMU of one CPU. A host that cannot do it gets plain memory and no such code: mmu.ts translates every
// access then, with the same results.

import { fail } from '../../base/assert.js'
import type { AccessKind } from '../controls.js'
import { ACCESS_RUNS_BASE64 } from './binary.js'
import { PLAN_FRONT_SHIFT } from './plan-layout.js'

const PAGE_BYTES = 65_536
/** WebAssembly addresses have 32 bits. */
const PAGES_MAX = 65_536

/** A WebAssembly.Memory. The name is not in our types, because those who use them may have no declaration of it. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer
}

/** Shared memory of a machine. */
export interface MachineMemory {
  readonly buffer: SharedArrayBuffer
  /** The same memory as WebAssembly sees it; undefined: it does not. */
  readonly wasm: WasmMemory | undefined
}

/** Zeroed memory. The host gives pages out when they are first touched: an untouched gigabyte costs nothing. */
export function allocateMachineMemory(bytes: number): MachineMemory {
  const pages = Math.ceil(bytes / PAGE_BYTES)
  if (pages <= PAGES_MAX && compiled() !== undefined) {
    try {
      const wasm = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
      return { buffer: wasm.buffer, wasm }
    } catch {
      // The host has no address space to reserve: there is another way.
    }
  }
  return { buffer: new SharedArrayBuffer(bytes), wasm: undefined }
}

type Pointers = [plan: number, mmu: number, counters: number, run: number]
interface Functions {
  touchStrided(
    ...args: [
      ...Pointers, stop: number, end: number, access: number, hi: number, lo: number, length: number, stride: number,
      offset: number,
    ]): void
  touchRandom(
    ...args: [
      ...Pointers, stop: number, end: number, access: number, hi: number, lo: number, slots: number, seed: number,
    ]): void
  replay: Replay
  replay4k: Replay
}
type Replay = (...args: [...Pointers, stop: number, end: number, records: number]) => void

/** Compiled once a thread, and the host shares the code between threads; false: it cannot be. */
let module: WebAssembly.Module | false | undefined

/** Undefined on hosts without WebAssembly, or without its instructions on vectors. */
function compiled(): WebAssembly.Module | undefined {
  if (module === undefined) {
    try {
      module = new WebAssembly.Module(Buffer.from(ACCESS_RUNS_BASE64, 'base64'))
    } catch {
      module = false
    }
  }
  return module === false ? undefined : module
}

const functionsOf = new WeakMap<WasmMemory, Functions>()

function functionsFor(memory: WasmMemory): Functions {
  const known = functionsOf.get(memory)
  if (known !== undefined) return known
  const code = compiled() ?? fail('access runs: memory for WebAssembly, and no WebAssembly')
  const { exports } = new WebAssembly.Instance(code, { env: { memory: memory as WebAssembly.Memory } })
  functionsOf.set(memory, exports as Functions)
  return exports as Functions
}

/** Where the state of a CPU is: all of these in the memory of the machine. */
export interface RunViews {
  /** PLAN_WORDS, filled by writePlan(). */
  plan: Int32Array
  mmu: Int32Array
  counters: Float64Array
  /** RUN_* doubles. */
  run: Float64Array
}

/**
 * Runs of user accesses on one CPU. Each method starts at RUN_CLOCK and RUN_POSITION and brings the run, the MMU and
 * its counters forward to where `end` (a position) or `stop` (a cycle) is reached, or in front of an access that
 * Mmu.translate() must answer.
 */
export class AccessRuns {
  readonly #functions: Functions
  readonly #replay: Replay
  readonly #plan: number
  readonly #mmu: number
  readonly #counters: number
  readonly #run: number

  constructor(wasm: WasmMemory, { plan, mmu, counters, run }: RunViews) {
    this.#functions = functionsFor(wasm)
    const { replay, replay4k } = this.#functions
    this.#replay = plan[PLAN_FRONT_SHIFT] === 12 ? replay4k : replay
    this.#plan = plan.byteOffset
    this.#mmu = mmu.byteOffset
    this.#counters = counters.byteOffset
    this.#run = run.byteOffset
  }

  /** Accesses `stride` bytes apart that start over at `length`; the next one is `offset` bytes behind `hi`, `lo`. */
  touchStrided(
    stop: number, end: number, access: AccessKind, hi: number, lo: number, length: number, stride: number,
    offset: number,
  ): void {
    this.#functions.touchStrided(
      this.#plan, this.#mmu, this.#counters, this.#run, stop, end, access, hi, lo, length, stride, offset)
  }

  /** Accesses to one of `slots` places of eight bytes: hash32(seed, position) modulo `slots`. */
  touchRandom(
    stop: number, end: number, access: AccessKind, hi: number, lo: number, slots: number, seed: number,
  ): void {
    this.#functions.touchRandom(
      this.#plan, this.#mmu, this.#counters, this.#run, stop, end, access, hi, lo, slots, seed)
  }

  /** Recorded accesses; `records`: byte in the memory where record 0 is, or would be. Two positions a record. */
  replay(stop: number, end: number, records: number): void {
    this.#replay(this.#plan, this.#mmu, this.#counters, this.#run, stop, end, records)
  }
}
