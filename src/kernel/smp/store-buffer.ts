// A CPU's store buffer: stores that the CPU has executed and others do not see yet. Everything in
// this kernel is sequentially consistent, because JavaScript's atomics and the engine's total order
// are; a missing barrier can therefore only be shown by a store that is held back on purpose. Only
// bug switches (bugs.ts) use this.
//
//   storeLater()        the store is in the buffer; this CPU would read it, others do not
//   `storeDrain` cycles later, before the first step of any CPU after that cycle: it is seen
//   drainOwn()          a barrier or a locked operation of the CPU: seen at once
//
// Between two kernel steps nobody reads what such a store writes, so applying it before the first
// step that comes later in the order (cycle, cpu) is the same as an event of its own.

import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'

export interface BufferedStore {
  readonly cpu: number
  /** Cycle from which on others see it. */
  readonly visibleAt: number
  readonly apply: () => void
}

/** Stores without a barrier: `apply` happens later. */
export function storeLater(k: KernelState, cpu: KernelCpu, apply: () => void): void {
  const cycles = k.perturber?.store(cpu.id, k.costs.storeDrain) ?? k.costs.storeDrain
  // Stores of one CPU are seen in their order (x86-TSO).
  const last = k.storeBuffer.findLast(store => store.cpu === cpu.id)?.visibleAt ?? 0
  k.storeBuffer.push({ cpu: cpu.id, visibleAt: Math.max(last, cpu.now + cycles), apply })
}

/** Before a step of `cpu` at `cycle`: what has left the buffers by then, in order. */
export function drainDue(k: KernelState, cpu: KernelCpu, cycle: number): void {
  if (k.storeBuffer.length > 0) drainUpTo(k, cycle, cpu.id)
}

/** A barrier of `cpu`: its own stores are seen now. */
export function drainOwn(k: KernelState, cpu: KernelCpu): void {
  if (k.storeBuffer.length > 0) drain(k, store => store.cpu === cpu.id)
}

/** Are there stores of `cpu` that others do not see yet? */
export function hasBuffered(k: KernelState, cpu: KernelCpu): boolean {
  return k.storeBuffer.some(store => store.cpu === cpu.id)
}

/** Those that come before a step of CPU `id` at `cycle`. */
function drainUpTo(k: KernelState, cycle: number, id: number): void {
  drain(k, store => store.visibleAt < cycle || (store.visibleAt === cycle && store.cpu < id))
}

function drain(k: KernelState, isDue: (store: BufferedStore) => boolean): void {
  const due = k.storeBuffer.filter(isDue)
  if (due.length === 0) return
  const rest = k.storeBuffer.filter(store => !due.includes(store))
  k.storeBuffer.splice(0, k.storeBuffer.length, ...rest)
  for (const store of due) store.apply()
}
