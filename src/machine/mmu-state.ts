// What is computed from the layout of an MMU's state (mmu-layout.ts): keys of entries, shapes of page
// numbers, and how many words a machine's TLBs and paging caches need.

import { geometryOf, LEVEL_NAMES, lowestNameSharing, type Geometry } from './geometry.js'
import type { MachineConfig, TlbArrayConfig, TlbLevelConfig } from './config.js'
import {
  COUNTERS, ENTRY_WORDS, HEADER_WORDS, KEY_CLASS_MASK, KEY_CLASS_SHIFT, KEY_GLOBAL, KEY_PCID_MASK, KEY_VALID,
  UNDO_KEPT, WORD_UNDO,
} from './mmu-layout.js'

export * from './mmu-layout.js'

/** The second word that a global entry for the same page would have. */
export function globalTwin(keyHi: number): number {
  return (keyHi & ~KEY_PCID_MASK) | KEY_GLOBAL
}

/** The part of a second word that says whose entry it is. */
export function tagOf(keyHi: number): number {
  return keyHi & (KEY_VALID | KEY_GLOBAL | KEY_PCID_MASK)
}

/** Whether an entry is of this class, for this tag. */
export function sameTranslation(keyHi: number, cls: number, tag: number): boolean {
  return (keyHi & KEY_CLASS_MASK) >>> KEY_CLASS_SHIFT === cls && tagOf(keyHi) === tag
}

/** Copies the state as it is, once until undo is armed again (engine/checkpoint.ts). */
export function keepWords(words: Int32Array, undo: Int32Array): void {
  undo.set(words)
  words[WORD_UNDO] = UNDO_KEPT
}

/** Which class the leaves of a level belong to, pgd first; -1 where no page can be mapped. */
export function classesByLevel(g: Geometry): readonly number[] {
  const leafLevels = g.levels.map((shape, level) => (shape.leaf ? level : -1)).filter((level) => level >= 0).reverse()
  return g.levels.map((_, level) => leafLevels.indexOf(level))
}

/** Page numbers of one size class: `number = address >> shift`, upper bits cut to the translated ones. */
export interface ClassShape {
  shift: number
  /** Bits of the lower and of the upper half of the page number that exist: the repeated sign is not part of it. */
  loMask: number
  hiMask: number
  /** Low bits of a base-page number that count pages inside one page of this class. */
  insideMask: number
  /** Level of the leaf. */
  level: number
}

const shapesOf = new Map<Geometry, readonly (ClassShape | undefined)[]>()

/** The classes of a geometry, base first; a class that it lacks is undefined. */
export function classShapes(g: Geometry): readonly (ClassShape | undefined)[] {
  let shapes = shapesOf.get(g)
  if (shapes === undefined) shapesOf.set(g, shapes = computeShapes(g))
  return shapes
}

function computeShapes(g: Geometry): readonly (ClassShape | undefined)[] {
  const classes = classesByLevel(g)
  return [0, 1, 2].map((cls) => {
    const level = classes.indexOf(cls)
    if (level < 0) return undefined
    const shift = g.levels[level]!.shift
    const numberBits = g.vaBits - shift
    return {
      shift,
      loMask: numberBits < 32 ? 2 ** numberBits - 1 : -1,
      hiMask: numberBits > 32 ? 2 ** (numberBits - 32) - 1 : 0,
      insideMask: (1 << (shift - g.pageShift)) - 1,
      level,
    }
  })
}

/**
 * Paging-cache entries by level. Names folded into one table share one cache, as large as the largest of theirs.
 * The pte level has none, nor has the pgd of PAE, whose four entries are latched in registers.
 */
export function pagingCacheSizes(m: MachineConfig, g: Geometry): readonly number[] {
  const byName = m.tlb.pagingCache
  const sizes = [byName.pgd, byName.p4d, byName.pud, byName.pmd]
  return LEVEL_NAMES.map((_, level) => {
    if (level === LEVEL_NAMES.length - 1 || g.levels[level]!.folded) return 0
    if (g.name === 'i386-pae' && level === g.topLevel) return 0
    return Math.max(...sizes.slice(level, lowestNameSharing(g, level) + 1))
  })
}

/** Words of one array: whole entries, so that the next array is aligned as this one is. */
export function arrayWords(config: TlbArrayConfig): number {
  return Math.ceil((config.entries * (ENTRY_WORDS + 1) + 1) / ENTRY_WORDS) * ENTRY_WORDS
}

export function tlbLevelWords(config: TlbLevelConfig): number {
  return config.arrays.reduce((words, array) => words + arrayWords(array), 0)
}

/** Length of the words view that a machine's MMU needs. */
export function mmuWords(m: MachineConfig): number {
  const g = geometryOf(m.geometry)
  const tlbs = tlbLevelWords(m.tlb.l1i) + tlbLevelWords(m.tlb.l1d) + tlbLevelWords(m.tlb.stlb)
  const pagingCaches = pagingCacheSizes(m, g)
    .reduce((words, size) => words + (size === 0 ? 0 : arrayWords({ entries: size, ways: size })), 0)
  return HEADER_WORDS + tlbs + pagingCaches
}

/** Length of the counters view. */
export function mmuCounters(): number {
  return COUNTERS
}
