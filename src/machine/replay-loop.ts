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

import { assert } from '../base/assert.js'
import type { MachineConfig, TlbLevelConfig } from './config.js'
import { geometryOf } from './geometry.js'
import {
  CLASS_BASE, CLASS_LARGE, COUNTER_L1D_LOOKUPS, COUNTER_L1D_MISSES, COUNTER_L1I_LOOKUPS, COUNTER_L1I_MISSES,
  COUNTER_STLB_LOOKUPS, ENTRY_ATTR, ENTRY_KEY_HI, ENTRY_PFN, HEADER_WORDS, KEY_CLASS_SHIFT,
  WORD_EMPTY_SET, WORD_LIVE, WORD_TAG, tlbLevelWords,
} from './mmu-state.js'
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, TRANSLATED, type AccessKind, type Mmu } from './mmu.js'
import { TlbArray, classShapes } from './tlb.js'

const RECORD_WORDS = 2
const KIND_SHIFT = 30
const KIND_MASK = 3 << KIND_SHIFT
const SIZE_SHIFT = 16
const SIZE_MASK = 0x3fff
const HI_MASK = 0xffff
/** Access kinds of Mmu.translate by the kind of a record: fetch, load, store. */
const ACCESS_OF_KIND: readonly AccessKind[] = [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE]

export class ReplayLoop {
  private readonly mmu: Mmu
  private readonly tlb: Int32Array
  private readonly counters: Float64Array
  private readonly cls: number
  private readonly pageShift: number
  /** The arrays for pages of this size; undefined where a level does not keep them. */
  private readonly code: TlbArray | undefined
  private readonly data: TlbArray | undefined
  private readonly second: TlbArray | undefined

  /** `largePages`: every page is of the geometry's second size. `words` and `counters` are the MMU's own views. */
  constructor(machine: MachineConfig, mmu: Mmu, words: Int32Array, counters: Float64Array, largePages: boolean) {
    const g = geometryOf(machine.geometry)
    this.mmu = mmu
    this.tlb = words
    this.counters = counters
    this.cls = largePages ? CLASS_LARGE : CLASS_BASE
    const shape = classShapes(g)[this.cls]
    assert(shape !== undefined && shape.shift < 32, `replay: ${g.name} has no pages of this size`)
    this.pageShift = shape.shift
    const { l1i, l1d, stlb } = machine.tlb
    const dataOffset = HEADER_WORDS + tlbLevelWords(l1i)
    this.code = arrayView(words, HEADER_WORDS, l1i, largePages, true)
    this.data = arrayView(words, dataOffset, l1d, largePages, true)
    this.second = arrayView(words, dataOffset + tlbLevelWords(l1d), stlb, largePages, false)
  }

  /** Translates records [from, to). The MMU's address space must not change meanwhile. */
  run(records: Int32Array, from: number, to: number): void {
    const tlb = this.tlb
    const shift = this.pageShift
    const pageMask = -1 << shift
    const data = this.data
    // A level that does not keep these pages, or divides to find a set, shows an empty set here.
    const dataMask = isMasked(data) ? data.mask : 0
    const dataStart = isMasked(data) ? data.offset : WORD_EMPTY_SET
    const dataSetWords = isMasked(data) ? data.setWords : 0
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
        this.translateAll(this.code, hi, lo, tagged)
        lastLo = lo
        lastTagged = crosses || this.code === undefined ? KIND_MASK : tagged
        continue
      }
      if (crosses) {
        this.translateAll(data, hi, lo, tagged)
        continue
      }
      const keyLo = (lo >>> shift) | (hi << (32 - shift))
      const keyHi = (hi >>> shift) | tag
      const start = dataStart + (keyLo & dataMask) * dataSetWords
      if (tlb[start] === keyLo && tlb[start + ENTRY_KEY_HI] === keyHi) dataHits++
      else this.translatePage(data, hi, lo, keyLo, keyHi, tagged)
    }
    this.counters[COUNTER_L1I_LOOKUPS]! += to - from - others
    this.counters[COUNTER_L1D_LOOKUPS]! += dataHits
  }

  /** One page: a hit in either level is dealt with here, a walk by the MMU. */
  private translatePage(
    first: TlbArray | undefined, hi: number, lo: number, keyLo: number, keyHi: number, tagged: number,
  ): void {
    const second = this.second
    if (first !== undefined && second !== undefined) {
      const { tlb, counters } = this
      const pageHi = hi >>> this.pageShift
      const isCode = (tagged & KIND_MASK) === 0
      const start = first.startOf(pageHi, keyLo)
      const inFirst = first.find(start, keyLo, keyHi)
      if (inFirst >= 0) {
        first.touch(start, inFirst)
        counters[isCode ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
        return
      }
      const secondStart = second.startOf(pageHi, keyLo)
      const inSecond = second.find(secondStart, keyLo, keyHi)
      if (inSecond >= 0) {
        counters[isCode ? COUNTER_L1I_LOOKUPS : COUNTER_L1D_LOOKUPS]! += 1
        counters[isCode ? COUNTER_L1I_MISSES : COUNTER_L1D_MISSES]! += 1
        counters[COUNTER_STLB_LOOKUPS]! += 1
        first.insert(start, keyLo, keyHi, tlb[inSecond + ENTRY_PFN]!, tlb[inSecond + ENTRY_ATTR]!)
        tlb[isCode ? WORD_LIVE : WORD_LIVE + 1]! |= 1 << this.cls
        second.touch(secondStart, inSecond)
        return
      }
    }
    const status = this.mmu.translate(hi, lo, ACCESS_OF_KIND[tagged >>> KIND_SHIFT]!, true, true)
    assert(status === TRANSLATED, 'replay: a page of the trace is not mapped')
  }

  /** Every page of one access, the lowest first. */
  private translateAll(first: TlbArray | undefined, hi: number, lo: number, tagged: number): void {
    const shift = this.pageShift
    const pageBytes = 1 << shift
    const tag = (this.cls << KEY_CLASS_SHIFT) | this.tlb[WORD_TAG]!
    let pageHi = hi
    let pageLo = lo & -pageBytes
    let rest = ((tagged >>> SIZE_SHIFT) & SIZE_MASK) + (lo & (pageBytes - 1))
    for (; rest > 0; rest -= pageBytes) {
      const keyLo = (pageLo >>> shift) | (pageHi << (32 - shift))
      this.translatePage(first, pageHi, pageLo, keyLo, (pageHi >>> shift) | tag, tagged)
      pageLo = (pageLo + pageBytes) | 0
      if (pageLo === 0) pageHi++
    }
  }
}

function isMasked(array: TlbArray | undefined): array is TlbArray {
  return array !== undefined && (array.mask !== 0 || array.sets === 1)
}

/** The array for this page size among those of a level whose first one is at `offset`; undefined when there is none. */
function arrayView(
  words: Int32Array, offset: number, level: TlbLevelConfig, largePages: boolean, youngestFirst: boolean,
): TlbArray | undefined {
  const index = largePages ? level.large : level.base
  const config = level.arrays[index]
  if (config === undefined) return undefined
  return new TlbArray(words, offset + tlbLevelWords({ ...level, arrays: level.arrays.slice(0, index) }), config, youngestFirst)
}
