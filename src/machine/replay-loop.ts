// Runs recorded accesses through an MMU as fast as the host allows. Nearly all accesses go to the
// page that is youngest in its first-level TLB set, and such a hit changes nothing but the lookup
// counter: the youngest stays the youngest, and A, D and permissions were settled when the entry
// was filled. So these hits are recognised here and counted in bulk. Other hits of either level
// are found in the MMU's own arrays, in its own order; every walk is Mmu.translate()'s. State and
// counts are at every moment those of translating each access alone.
//
// A record is two words (kernel/abi.ts, TraceRecords):
//
//   word 0  address bits 31:0        word 1  31..30 29..16 15..........0
//                                            kind   size   address 47:32
//
// That holds only for pages that permit everything, with A and D set: the caller has mapped all
// pages so, in one size. Not here: page tables, address-space switches (engine/replay.ts).

import { assert, fail } from '../base/assert.js'
import type { MachineConfig, TlbLevelConfig } from './config.js'
import { geometryOf } from './geometry.js'
import * as state from './mmu-state.js'
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, TRANSLATED, type AccessKind, type Mmu } from './mmu.js'
import { TlbArray } from './tlb-array.js'

// Bound to constants of this module: the compiler folds those, and loads imported ones each time.
const {
  CLASS_BASE, CLASS_LARGE, COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS,
  COUNTER_L1I_MISSES, COUNTER_STLB_LOOKUPS, ENTRY_KEY_HI, KEY_CLASS_SHIFT, WORD_LIVE, WORD_TAG,
} = state

const RECORD_WORDS = 2
const KIND_SHIFT = 30
const KIND_MASK = 3 << KIND_SHIFT
const SIZE_SHIFT = 16
const SIZE_MASK = 0x3fff
const HI_MASK = 0xffff
/** Access kinds of Mmu.translate by the kind of a record: fetch, load, store. */
const ACCESS_OF_KIND: readonly AccessKind[] = [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE]

export class ReplayLoop {
  declare private readonly mmu: Mmu
  declare private readonly tlb: Int32Array
  declare private readonly counters: Float64Array
  declare private readonly cls: number
  declare private readonly pageShift: number
  /** The arrays for pages of this size, or one that is always empty where a level does not keep them. */
  declare private readonly code: TlbArray
  declare private readonly data: TlbArray
  declare private readonly second: TlbArray
  declare private readonly keepsCode: boolean
  /** All three levels keep pages of this size: a hit in the second can be brought into the first here. */
  declare private readonly keepsAll: boolean

  /** `largePages`: every page is of the geometry's second size. `words` and `counters` are the MMU's own views. */
  constructor(machine: MachineConfig, mmu: Mmu, words: Int32Array, counters: Float64Array, largePages: boolean) {
    const g = geometryOf(machine.geometry)
    this.mmu = mmu
    this.tlb = words
    this.counters = counters
    this.cls = largePages ? CLASS_LARGE : CLASS_BASE
    const shape = state.classShapes(g)[this.cls]
    if (shape === undefined || shape.shift >= 32) fail(`replay: ${g.name} has no pages of this size`)
    this.pageShift = shape.shift
    const { l1i, l1d, stlb } = machine.tlb
    const dataOffset = state.HEADER_WORDS + state.tlbLevelWords(l1i)
    const none = new TlbArray(words, state.WORD_EMPTY_SET, { entries: 1, ways: 1 }, false)
    this.code = arrayView(words, state.HEADER_WORDS, l1i, largePages, false) ?? none
    this.data = arrayView(words, dataOffset, l1d, largePages, false) ?? none
    this.second = arrayView(words, dataOffset + state.tlbLevelWords(l1d), stlb, largePages, true) ?? none
    this.keepsCode = this.code !== none
    this.keepsAll = this.keepsCode && this.data !== none && this.second !== none
  }

  /** Translates records [from, to). The MMU's address space must not change meanwhile. */
  run(records: Int32Array, from: number, to: number): void {
    const { tlb, code, data } = this
    const shift = this.pageShift
    const pageMask = -1 << shift
    const tag = (this.cls << KEY_CLASS_SHIFT) | tlb[WORD_TAG]!

    // The last fetch, whose page is the youngest of its set; or the kind that no record has.
    let lastLo = 0
    let lastTagged = KIND_MASK
    let others = 0
    let dataHits = 0
    const end = to * RECORD_WORDS
    for (let at = from * RECORD_WORDS; at < end; at += RECORD_WORDS) {
      const lo = records[at]!
      const tagged = records[at + 1]!
      const lastByte = (lo + ((tagged >>> SIZE_SHIFT) & SIZE_MASK) - 1) | 0
      // A fetch whose first and last byte are in the page of the fetch before it.
      if (((((lo ^ lastLo) | (lastByte ^ lastLo)) & pageMask)
        | ((tagged ^ lastTagged) & (KIND_MASK | HI_MASK))) === 0) continue
      others++
      const hi = tagged & HI_MASK
      const crosses = ((lo ^ lastByte) & pageMask) !== 0
      if ((tagged & KIND_MASK) === 0) {
        this.translateAll(code, hi, lo, tagged)
        lastLo = lo
        lastTagged = this.keepsCode && !crosses ? tagged : KIND_MASK
        continue
      }
      if (crosses) {
        this.translateAll(data, hi, lo, tagged)
        continue
      }
      const keyLo = (lo >>> shift) | (hi << (32 - shift))
      const keyHi = (hi >>> shift) | tag
      const start = data.startOf(hi >>> shift, keyLo)
      if (tlb[start] === keyLo && tlb[start + ENTRY_KEY_HI] === keyHi) dataHits++
      else if (hitInSet(data, start, keyLo, keyHi)) dataHits++
      else this.missFirst(data, start, hi, lo, keyLo, keyHi, tagged)
    }
    this.counters[COUNTER_L1I_LOOKUPS]! += to - from - others
    this.counters[COUNTER_L1D_LOOKUPS]! += dataHits
  }

  /** The second page of a record that crosses into one, and no more. */
  runSecondPage(records: Int32Array, record: number): void {
    const tagged = records[record * RECORD_WORDS + 1]!
    const lo = ((records[record * RECORD_WORDS]! & (-1 << this.pageShift)) + (1 << this.pageShift)) | 0
    const hi = (tagged & HI_MASK) + (lo === 0 ? 1 : 0)
    const oneByte = (tagged & KIND_MASK) | (1 << SIZE_SHIFT)
    this.translateAll((tagged & KIND_MASK) === 0 ? this.code : this.data, hi, lo, oneByte)
  }

  /** Every page of one access, the lowest first. */
  private translateAll(first: TlbArray, hi: number, lo: number, tagged: number): void {
    const shift = this.pageShift
    const pageBytes = 1 << shift
    const tag = (this.cls << KEY_CLASS_SHIFT) | this.tlb[WORD_TAG]!
    let pageHi = hi
    let pageLo = lo & -pageBytes
    let rest = ((tagged >>> SIZE_SHIFT) & SIZE_MASK) + (lo & (pageBytes - 1))
    for (; rest > 0; rest -= pageBytes) {
      const keyLo = (pageLo >>> shift) | (pageHi << (32 - shift))
      const keyHi = (pageHi >>> shift) | tag
      const start = first.startOf(pageHi >>> shift, keyLo)
      if (!hitInSet(first, start, keyLo, keyHi)) this.missFirst(first, start, pageHi, pageLo, keyLo, keyHi, tagged)
      else this.counters[(tagged & KIND_MASK) === 0 ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
      pageLo = (pageLo + pageBytes) | 0
      if (pageLo === 0) pageHi++
    }
  }

  /** A page that is not in the set at `start` of its first level: a hit in the second is brought in, a miss walks. */
  private missFirst(
    first: TlbArray, start: number, hi: number, lo: number, keyLo: number, keyHi: number, tagged: number,
  ): void {
    if (this.keepsAll) {
      const { tlb, counters, second } = this
      const secondStart = second.startOf(hi >>> this.pageShift, keyLo)
      const at = second.find(secondStart, keyLo, keyHi)
      if (at >= 0) {
        const isCode = (tagged & KIND_MASK) === 0
        counters[isCode ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
        counters[isCode ? COUNTER_L1I_MISSES : COUNTER_L1D_MISSES]! += 1
        counters[COUNTER_STLB_LOOKUPS]! += 1
        first.insertCopy(start, at)
        second.touch(secondStart, at)
        tlb[isCode ? WORD_LIVE : WORD_LIVE + 1]! |= 1 << this.cls
        return
      }
    }
    const status = this.mmu.translate(hi, lo, ACCESS_OF_KIND[tagged >>> KIND_SHIFT]!, true, true)
    assert(status === TRANSLATED, 'replay: a page of the trace is not mapped')
  }
}

/** Whether the key is in the set at `start`, whose first way, the youngest, it then takes. */
function hitInSet(array: TlbArray, start: number, keyLo: number, keyHi: number): boolean {
  const at = array.find(start, keyLo, keyHi)
  if (at < 0) return false
  array.touch(start, at)
  return true
}

/** The array for this page size among those of a level whose first one is at `offset`; undefined when there is none. */
function arrayView(
  words: Int32Array, offset: number, level: TlbLevelConfig, largePages: boolean, stamped: boolean,
): TlbArray | undefined {
  const index = largePages ? level.large : level.base
  const config = level.arrays[index]
  if (config === undefined) return undefined
  const before = state.tlbLevelWords({ ...level, arrays: level.arrays.slice(0, index) })
  return new TlbArray(words, offset + before, config, stamped)
}
