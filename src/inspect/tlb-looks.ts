// Looks at all TLBs and paging caches of a machine, taken on the way and thinned out by a fixed rule,
// so that a long run costs no more than a short one. What an entry holds and how it compares with
// the tables (tlb-verdict.ts) is kept once, with the looks from and to which it was seen so.

import type { PagingCacheEntry, TlbEntry } from '../machine/mmu.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { KernelState } from '../kernel/state.js'
import {
  CACHE_NAMES, FIRST_PAGING_CACHE, HELD_COLUMNS, HELD_DIRTY, HELD_GLOBAL, HELD_NX, HELD_USER, HELD_WRITABLE, VERDICTS,
} from '../trace/observations.js'
import type { HeldColumn } from '../trace/observations.js'
import { GrowingRows } from './growing-rows.js'
import type { Rows } from './growing-rows.js'
import type { Judgement } from './tlb-verdict.js'
import { judgePagingCacheEntry, judgeTlbEntry } from './tlb-verdict.js'

export interface LooksOfRun {
  /** Cycle of each look, ascending. */
  cycles: Float64Array<ArrayBuffer>
  /** What was seen; `cycle` of a row is that of its first look, `from` and `to` are looks, both included. */
  held: Rows<HeldColumn>
  /** What `why` numbers. */
  reasons: string[]
  /** Steps with events from one look to the next: 1 when none was left out. */
  stride: number
}

interface Look {
  cycle: number
  /** Ascending numbers of what was seen. */
  seen: number[]
}

export class TlbLooks {
  readonly #looksMax: number
  readonly #entriesMax: number
  #looks: Look[] = []
  #entries = 0
  #stride = 1
  #candidates = 0
  /** Everything that was ever seen, without the looks: number by text, and the words. */
  readonly #numbers = new Map<string, number>()
  readonly #words: number[][] = []
  readonly #reasons = new Map<string, number>([['', 0]])

  constructor(looksMax: number, entriesMax: number) {
    this.#looksMax = looksMax
    this.#entriesMax = entriesMax
  }

  /** A step with events was done: is it one that is looked at? */
  isDue(): boolean {
    return this.#candidates++ % this.#stride === 0
  }

  /** Looks at every CPU. All cores stand at `cycle`. */
  look(k: KernelState, cycle: number): void {
    const seen = k.cpus.flatMap((cpu) => this.#lookAt(k, cpu)).sort((a, b) => a - b)
    const last = this.#looks[this.#looks.length - 1]
    // Of several in one cycle the last counts.
    if (last?.cycle === cycle) this.#entries -= this.#looks.pop()!.seen.length
    this.#looks.push({ cycle, seen })
    this.#entries += seen.length
    if (this.#looks.length > this.#looksMax || this.#entries > this.#entriesMax) this.#thin()
  }

  finish(): LooksOfRun {
    return {
      cycles: Float64Array.from(this.#looks, ({ cycle }) => cycle),
      held: this.#intervals(),
      reasons: [...this.#reasons.keys()],
      stride: this.#stride,
    }
  }

  /** Drops every second look. */
  #thin(): void {
    if (this.#looks.length < 2) return
    this.#looks = this.#looks.filter((_, index) => index % 2 === 0)
    this.#entries = this.#looks.reduce((sum, { seen }) => sum + seen.length, 0)
    this.#stride *= 2
    // The last one kept may be the one just taken or the one before it.
    this.#candidates = 1
  }

  #lookAt(k: KernelState, cpu: KernelCpu): number[] {
    const mmu = k.platform.mmu(cpu.id)
    const seen: number[] = []
    mmu.forEachTlbEntry((entry) => seen.push(this.#tlbEntry(cpu.id, entry, judgeTlbEntry(k, cpu, entry))))
    mmu.forEachPagingCacheEntry((entry) => {
      seen.push(this.#pagingCacheEntry(cpu.id, entry, judgePagingCacheEntry(k, cpu, entry)))
    })
    return seen
  }

  #tlbEntry(cpu: number, entry: TlbEntry, judgement: Judgement): number {
    const flags = (entry.writable ? HELD_WRITABLE : 0) | (entry.user ? HELD_USER : 0) | (entry.dirty ? HELD_DIRTY : 0)
      | (entry.global ? HELD_GLOBAL : 0) | (entry.nx ? HELD_NX : 0)
    const { hi, lo, pageLevel, pcid, pfn } = entry
    return this.#number(
      [cpu, CACHE_NAMES.indexOf(entry.level), hi, lo, pageLevel, pcid, pfn, flags, ...this.#judged(judgement)])
  }

  #pagingCacheEntry(cpu: number, { level, hi, lo, pcid, pfn }: PagingCacheEntry, judgement: Judgement): number {
    return this.#number([cpu, FIRST_PAGING_CACHE + level, hi, lo, level, pcid, pfn, 0, ...this.#judged(judgement)])
  }

  /** mm (0: gone), verdict, why. */
  #judged({ mm, verdict, why }: Judgement): [number, number, number] {
    let reason = this.#reasons.get(why)
    if (reason === undefined) {
      reason = this.#reasons.size
      this.#reasons.set(why, reason)
    }
    return [mm?.ctxId ?? 0, VERDICTS.indexOf(verdict), reason]
  }

  #number(words: number[]): number {
    const key = words.join()
    let number = this.#numbers.get(key)
    if (number === undefined) {
      number = this.#words.length
      this.#numbers.set(key, number)
      this.#words.push(words)
    }
    return number
  }

  /** One row for each stretch of looks at which the same was seen. */
  #intervals(): Rows<HeldColumn> {
    const rows = new GrowingRows<HeldColumn>(HELD_COLUMNS)
    const since = new Map<number, number>()
    const close = (number: number, to: number): void => {
      const from = since.get(number)!
      since.delete(number)
      rows.add(this.#looks[from]!.cycle, from, to, ...this.#words[number]!)
    }
    this.#looks.forEach(({ seen }, index) => {
      const now = new Set(seen)
      for (const number of since.keys()) if (!now.has(number)) close(number, index - 1)
      for (const number of now) if (!since.has(number)) since.set(number, index)
    })
    for (const number of since.keys()) close(number, this.#looks.length - 1)
    return rows.finish()
  }
}
