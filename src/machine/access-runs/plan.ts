// Writes the plan of a machine (plan-layout.ts): where the arrays of its MMUs are, what an access
// costs, how a walk goes. The objects that know are built over words that nobody uses.

import type { MachineConfig } from '../config.js'
import { PAGE_ACCESSED, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PRESENT, PAGE_PSE, PAGE_RW, PAGE_USER } from '../entry.js'
import { canonicalBias, canonicalMask, geometryOf, LEVEL_PMD, LEVEL_PTE } from '../geometry.js'
import type { Geometry } from '../geometry.js'
import {
  ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, classesByLevel, CLASS_BASE, type CLASS_LARGE, classShapes, HEADER_WORDS,
  mmuWords, WORD_DENY, WORD_EMPTY_SET,
} from '../mmu-state.js'
import { PagingCache } from '../paging-cache.js'
import type { TlbArray, TlbLevel } from '../tlb.js'
import { TlbLevels } from '../tlb-levels.js'
import { walkLevels } from '../walker.js'
import * as plan from './plan-layout.js'

const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT

export interface PlanOptions {
  /** Physical memory, which is at the beginning of the WebAssembly memory. */
  memoryBytes: number
  /** Recorded accesses are split at pages of this class (default: base pages), however long they are. */
  recordClass?: typeof CLASS_BASE | typeof CLASS_LARGE
}

/** Fills `words` (PLAN_WORDS of them). */
export function writePlan(words: Int32Array, m: MachineConfig, options: PlanOptions): void {
  const g = geometryOf(m.geometry)
  const front = options.recordClass ?? CLASS_BASE
  words.fill(0)
  writePair(words, plan.PLAN_ADDRESS_MASK, g.vaBits < 32 ? 2 ** g.vaBits - 1 : -1, 2 ** Math.max(0, g.vaBits - 32) - 1)
  words[plan.PLAN_CANONICAL_BIAS] = canonicalBias(g)
  words[plan.PLAN_CANONICAL_MASK] = canonicalMask(g)
  words[plan.PLAN_FRONT_CLASS] = front
  words[plan.PLAN_FRONT_SHIFT] = classShapes(g)[front]!.shift
  words[plan.PLAN_SHORT_RECORDS] = options.recordClass === undefined ? 0 : 1
  words[plan.PLAN_ACCESS_CYCLES] = m.costs.access
  words[plan.PLAN_STLB_HIT_CYCLES] = m.costs.stlbHit
  words[plan.PLAN_WALK_STEP_CYCLES] = m.costs.walkStep
  words[plan.PLAN_FRAMES] = Math.floor(options.memoryBytes / g.pageBytes)
  words[plan.PLAN_FRAME_SHIFT] = g.pageShift

  const unused = new Int32Array(mmuWords(m))
  const tlbs = new TlbLevels(unused, HEADER_WORDS, m.tlb, g)
  writeLevel(words, plan.PLAN_L1I, tlbs.l1i, g)
  writeLevel(words, plan.PLAN_L1D, tlbs.l1d, g)
  writeLevel(words, plan.PLAN_STLB, tlbs.stlb, g)
  writeFront(words, tlbs, g, front)
  // Entries of four bytes, and the four of PAE that are latched with CR3, are left to the MMU.
  if (g.entryBytes !== 8 || g.name === 'i386-pae') return
  words[plan.PLAN_TOP_ROW] = plan.PLAN_ROWS
  const cache = new PagingCache(unused, tlbs.end, m, g)
  writeWalk(words, m, g, cache)
  const isPlain = front === CLASS_BASE && g.pageShift === 12 && (cache.levels[0] ?? LEVEL_PMD) === LEVEL_PMD
  if (isPlain) writePlainWalk(words, m, g)
}

/** Reserved bits, and what restricts or maps a page above the last level, or is global: others go by rows. */
function writePlainWalk(words: Int32Array, m: MachineConfig, g: Geometry): void {
  const levels = walkLevels(m, g)
  const { leafLo, hi } = levels.at(-1)!.reserved
  const tableLo = levels[0]!.reserved.tableLo
    | PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED | PAGE_PSE | PAGE_GLOBAL
  words[plan.PLAN_PLAIN_TABLES] = levels.length - 1
  writePair(words, plan.PLAN_PLAIN_MASK, tableLo, hi | PAGE_NX_HI)
  writePair(words, plan.PLAN_PLAIN_LEAF_MASK, leafLo | PAGE_PRESENT | PAGE_ACCESSED | PAGE_GLOBAL, hi)
}

/** The class in front. */
function writeFront(words: Int32Array, { l1i, l1d, stlb }: TlbLevels, g: Geometry, cls: number): void {
  const pages = 2 ** (g.vaBits - (g.canonical ? 1 : 0) - classShapes(g)[cls]!.shift)
  writePair(words, plan.PLAN_FRONT_PAGES, pages | 0, Math.floor(pages / 2 ** 32))
  const arrays = [l1i, l1d, stlb].map((level) => level.arrayOf(cls))
  const isFit = arrays.every((array) => array !== undefined && array.divisor === 0) && arrays[2]!.isStamped
  words[plan.PLAN_IS_FIT] = isFit ? 1 : 0
  const second = plan.PLAN_STLB + cls * plan.ARRAY_WORDS
  words.copyWithin(plan.PLAN_FRONT_STLB, second, second + plan.ARRAY_WORDS)
  for (const [kind, access] of [ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE].entries()) {
    const at = plan.PLAN_KINDS + kind * plan.KIND_WORDS
    const array = (kind === 0 ? plan.PLAN_L1I : plan.PLAN_L1D) + cls * plan.ARRAY_WORDS
    words[at + plan.KIND_START] = words[array + plan.ARRAY_START]!
    words[at + plan.KIND_MASK] = words[array + plan.ARRAY_MASK]!
    words[at + plan.KIND_SET_BYTES] = words[array + plan.ARRAY_SET_BYTES]!
    words[at + plan.KIND_DENY] = (WORD_DENY + access * 2 + 1) * WORD_BYTES
  }
}

function writeLevel(words: Int32Array, at: number, level: TlbLevel, g: Geometry): void {
  for (let cls = 0; cls < plan.CLASSES; cls++) {
    const place = at + cls * plan.ARRAY_WORDS
    words[place + plan.ARRAY_SHIFT] = classShapes(g)[cls]?.shift ?? 0
    words[place + plan.ARRAY_START] = WORD_EMPTY_SET * WORD_BYTES
    const array = level.arrayOf(cls)
    if (array !== undefined) writeArray(words, place, array)
  }
}

function writeArray(words: Int32Array, at: number, array: TlbArray): void {
  words[at + plan.ARRAY_START] = array.offset * WORD_BYTES
  words[at + plan.ARRAY_SET_BYTES] = array.setWords * WORD_BYTES
  words[at + plan.ARRAY_WAYS] = array.ways
  words[at + plan.ARRAY_MASK] = array.mask
  words[at + plan.ARRAY_SETS] = array.divisor
  if (!array.isStamped) return
  words[at + plan.ARRAY_STAMPS] = array.stamps * WORD_BYTES
  words[at + plan.ARRAY_CLOCK] = array.clock * WORD_BYTES
}

function writeWalk(words: Int32Array, m: MachineConfig, g: Geometry, cache: PagingCache): void {
  const classes = classesByLevel(g)
  const levels = walkLevels(m, g)
  const rowOf = (index: number): number => plan.PLAN_ROWS + index * plan.ROW_WORDS
  const cacheOf = (index: number): number => plan.PLAN_CACHE + index * plan.CACHE_WORDS
  for (const [index, { level, reserved: { tableLo, leafLo, hi } }] of levels.entries()) {
    const at = rowOf(index)
    const shape = g.levels[level]!
    writePair(words, at + plan.ROW_RESERVED_TABLE, tableLo, hi)
    writePair(words, at + plan.ROW_RESERVED_LEAF, leafLo, hi)
    words[at + plan.ROW_SHIFT] = shape.shift
    words[at + plan.ROW_INDEX_MASK] = (1 << shape.bits) - 1
    if (level === LEVEL_PTE) words[at + plan.ROW_LEAF] = plan.LEAF_ALWAYS
    else words[at + plan.ROW_LEAF] = shape.leaf ? plan.LEAF_WITH_PS : plan.LEAF_NEVER
    words[at + plan.ROW_LEVEL] = level
    words[at + plan.ROW_CLASS] = classes[level]!
    const cached = cache.levels.indexOf(level)
    if (cached >= 0) words[at + plan.ROW_CACHE] = cacheOf(cached)
  }
  words[plan.PLAN_CACHES] = cache.levels.length
  for (const [index, level] of cache.levels.entries()) {
    const at = cacheOf(index)
    const { array, hiMask } = cache.arrayOf(level)
    writeArray(words, at, array)
    words[at + plan.ARRAY_SHIFT] = g.levels[level]!.shift
    writePair(words, at + plan.CACHE_KEY_MASK, -1, hiMask)
    words[at + plan.CACHE_ROW_BELOW] = rowOf(levels.findIndex((row) => row.level === level) + 1)
  }
}

/** 64 bits, low word first. */
function writePair(words: Int32Array, at: number, lo: number, hi: number): void {
  words[at] = lo
  words[at + 1] = hi
}
