// What memory an operation of a capture worked on, from the page faults before it. A program that is
// captured maps an area, touches its pages, sets its BEGIN marker and calls the kernel: the last pages
// that it touched for the first time are those of the call, their neighbours the rest of the area.
//
//   fault 3f000  fault 43000  fault 40000  fault 41000  fault 42000   BEGIN op=munmap pages=3
//   area 3f000..44000 (5 pages), the call is on 40000..43000
//
// Addresses are taken over as they are: whether a page table goes with the pages depends on them.

import type { Fact } from '../trace/capture-facts.js'

export const PAGE_BYTES = 4096
const FAULT_PRESENT = 1
const FAULT_WRITE = 2
const FAULT_INSTRUCTION = 16
/** Where an area is put of which the capture shows nothing, with room between two of them. */
const FREE_ADDRESS = 0x1000_0000_0000n

/** A page number; addresses have 47 bits, so this is exact. */
export type Page = number

export interface Touch {
  page: Page
  isWrite: boolean
  /** The page was there; its entry did not allow the access. */
  wasPresent: boolean
}

export interface Area {
  name: string
  start: Page
  pages: number
  /** Pages are there from the beginning: no fault shows when they came. */
  populated: boolean
}

export interface Target {
  area: Area
  /** First page of the call, and how many. */
  start: Page
  pages: number
}

/** Data faults of user mode, in their order. */
export function touchesOf(facts: readonly Fact[], isOwn: (pid: number) => boolean): Touch[] {
  const touches: Touch[] = []
  for (const { kind, pid, record } of facts) {
    if (kind !== 'fault' || record.event !== 'page_fault_user' || !isOwn(pid)) continue
    const code = Number(record.fields['error_code'])
    const address = Number(record.fields['address'])
    if ((code & FAULT_INSTRUCTION) !== 0 || !Number.isSafeInteger(address)) continue
    touches.push({
      page: Math.floor(address / PAGE_BYTES), isWrite: (code & FAULT_WRITE) !== 0,
      wasPresent: (code & FAULT_PRESENT) !== 0,
    })
  }
  return touches
}

/** Area and pages of a call on `wanted` pages (0: unknown) after these touches; undefined when they do not say. */
export function targetOf(touches: readonly Touch[], wanted: number, name: string): Target | undefined {
  const fresh = [...new Set(touches.filter(touch => !touch.wasPresent).map(touch => touch.page))]
  if (fresh.length === 0) return undefined
  const cluster = clusterAround(fresh, fresh.at(-1)!)
  const area: Area = { name, start: cluster[0]!, pages: cluster.length, populated: false }
  if (wanted === 0) return { area, start: area.start, pages: area.pages }
  if (cluster.length < wanted) return undefined
  const last = fresh.slice(-wanted).sort((a, b) => a - b)
  const isTogether = last.length === wanted && last.at(-1)! - last[0]! === wanted - 1
  // Touched in another order: pages on both sides keep the table, so the middle is meant.
  const start = isTogether ? last[0]! : area.start + Math.floor((cluster.length - wanted) / 2)
  return { area, start, pages: wanted }
}

/** An area of which nothing is known but the length of the call, and whether its page table has to stay. */
export function inventedTarget(wanted: number, keepsTables: boolean, name: string, number: number): Target {
  const pages = Math.max(1, wanted)
  const around = keepsTables ? 1 : 0
  const start = Number(FREE_ADDRESS / BigInt(PAGE_BYTES)) + number * 2 ** 18
  return {
    area: { name, start, pages: pages + 2 * around, populated: true }, start: start + around, pages,
  }
}

/** Adjacent pages of `pages` around `page`, ascending. */
function clusterAround(pages: readonly Page[], page: Page): Page[] {
  const known = new Set(pages)
  let [from, to] = [page, page]
  while (known.has(from - 1)) from -= 1
  while (known.has(to + 1)) to += 1
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

/** The touches of an area as operations: ascending neighbours with the same access are one. */
export function touchOperations(touches: readonly Touch[], area: Area): Record<string, unknown>[] {
  const operations: Record<string, unknown>[] = []
  const done = new Set<string>()
  let open: { key: string; from: Page; to: Page } | undefined
  const close = (): void => {
    if (open === undefined) return
    const { key, from, to } = open
    operations.push({ [key]: { area: area.name, ...offsetOf(from - area.start), pages: to - from } })
    open = undefined
  }
  for (const { page, isWrite } of touches) {
    if (page < area.start || page >= area.start + area.pages) continue
    const key = isWrite ? 'write' : 'read'
    if (done.has(`${key} ${page}`)) continue
    done.add(`${key} ${page}`)
    if (open?.key === key && open.to === page) {
      open.to += 1
      continue
    }
    close()
    open = { key, from: page, to: page + 1 }
  }
  close()
  return operations
}

export function offsetOf(pages: number): { offset?: number } {
  return pages === 0 ? {} : { offset: pages * PAGE_BYTES }
}

export function addressOf(page: Page): string {
  return `0x${(BigInt(page) * BigInt(PAGE_BYTES)).toString(16)}`
}
