// Differences between a capture and a simulation that say nothing against either: what the capture
// could not show, and what depends on a past that neither of them knows. Every explanation names its
// condition; a difference without one stays unexplained.

import type { Fact, FactKind } from './capture-facts.js'
import type { Item, OperationItems } from './capture-items.js'
import { reasonOf } from './capture-items.js'
import type { Operation } from './capture-marks.js'
import { TLB_FLUSH_ON_TASK_SWITCH, TLB_LOCAL_MM_SHOOTDOWN } from './events.js'

export const EXPLANATIONS = {
  'not recorded': 'one of the two has no event of this kind at all: it was not recorded',
  'idle events missing': 'idle-task events of this CPU outside of interrupts are missing from the capture',
  'events lost': 'the kernel lost events while this was captured',
  'cut off': 'the capture begins or ends inside of this operation',
  'other pages': 'a page that the scenario does not have: program text, libraries, stack',
  'slot history': 'whether a slot still holds the address space depends on what ran there before',
  'sleep or wake first': 'whether a task had gone to sleep when it was switched away is a matter of wake-up preemption',
  'beyond the marker': 'another task did this before BEGIN or after END on the other side: nothing orders the two',
  'already interrupted': 'a CPU whose call list is not empty has been interrupted already and gets no second interrupt',
  'idle CPU polled': 'an idle CPU that polls takes the request without an interrupt',
} as const
export type Explanation = keyof typeof EXPLANATIONS

/** What is known about the two traces as wholes. */
export interface Background {
  /** Kinds of events that a whole trace does not have. */
  realLacks: ReadonlySet<FactKind>
  oursLacks: ReadonlySet<FactKind>
  /** CPUs (simulation's numbers) whose idle task shows nothing outside of interrupts in the capture. */
  silentIdleCpus: ReadonlySet<number>
  /** Page numbers on which the simulation faults anywhere, as hex. */
  ourPages: ReadonlySet<string>
  /** Both traces use the same addresses. */
  withPages: boolean
  lostLines: readonly number[]
}

/** Kinds that a capture may well be made without. The rest tells what a flush is. */
const OPTIONAL_KINDS: readonly FactKind[] = ['csd', 'fault', 'switch', 'fork', 'exit']

export function lackingKinds(facts: readonly Fact[]): ReadonlySet<FactKind> {
  const present = new Set(facts.map(fact => fact.kind))
  return new Set(OPTIONAL_KINDS.filter(kind => !present.has(kind)))
}

/** The page of a fault as hex. */
export function pageOf(fact: Fact): string {
  return fact.record.fields['address']!.replace(/^0x0*/, '').slice(0, -3)
}

/** Is there anything of the idle task on this CPU, but for interrupts? */
export function silentIdleCpus(facts: readonly Fact[], cpuOf: (cpu: number) => number): ReadonlySet<number> {
  const cpus = new Set(facts.map(fact => fact.cpu))
  for (const fact of facts) if (fact.pid === 0 && !fact.isInterrupt && fact.kind === 'switch') cpus.delete(fact.cpu)
  return new Set([...cpus].map(cpuOf))
}

interface Place {
  operation: Operation
  real: OperationItems
  background: Background
  /** Between this operation and its neighbours, as `cpu key`. */
  realAround: ReadonlySet<string>
  ourAround: ReadonlySet<string>
  /** Task that sets the markers in the simulation. */
  ourPid: number
}

/** Only in the capture. */
export function explainExtra(item: Item, cpu: number, place: Place): Explanation | undefined {
  const { background, operation, ourAround } = place
  const isOurs = item.kind !== 'fault' || (background.withPages && background.ourPages.has(pageOf(item.fact)))
  if (!isOurs) return 'other pages'
  if (background.oursLacks.has(item.kind)) return 'not recorded'
  if (background.realLacks.has('fault') && isOnePage(item)) return 'other pages'
  return isElsewhere(item, operation.pid, `${cpu} ${item.key}`, ourAround) ? 'beyond the marker' : undefined
}

/** Only in the simulation. `polled` names idle CPUs that answered without an interrupt. */
export function explainMissing(
  item: Item, cpu: number, place: Place, polled: ReadonlySet<number>,
): Explanation | undefined {
  const { operation, background, real, realAround, ourPid } = place
  if (background.realLacks.has(item.kind)) return 'not recorded'
  if (item.isIdle && !item.fact.isInterrupt && background.silentIdleCpus.has(cpu)) return 'idle events missing'
  if (operation.isCut) return 'cut off'
  const { firstLine, lastLine } = operation
  if (background.lostLines.some(line => line >= firstLine && line <= lastLine + 1)) return 'events lost'
  if (item.kind === 'ipi' && item.fact.targets.length > 0 && item.fact.targets.every(target => polled.has(target))) {
    return 'idle CPU polled'
  }
  if (item.fact.isInterrupt && polled.has(cpu)) return 'idle CPU polled'
  if (item.kind === 'ipi' && item.fact.targets.every(target => wasInterrupted(real, target))) {
    return 'already interrupted'
  }
  return isElsewhere(item, ourPid, `${cpu} ${item.key}`, realAround) ? 'beyond the marker' : undefined
}

/** As after copy-on-write, whose fault was not recorded. */
function isOnePage(item: Item): boolean {
  return item.kind === 'flush' && item.value === '1' && reasonOf(item.fact) === TLB_LOCAL_MM_SHOOTDOWN
}

/** Another task did the same on the other side of the marker. */
function isElsewhere(item: Item, markerPid: number, key: string, around: ReadonlySet<string>): boolean {
  return !item.fact.isInterrupt && item.fact.pid !== markerPid && around.has(key)
}

/** Its handler answers this request together with others, whose interrupt was on its way already. */
function wasInterrupted(real: OperationItems, cpu: number): boolean {
  return real.lanes.some(lane => lane.cpu === cpu && lane.context === 'interrupt'
    && lane.items.some(({ fact: { handler } }) => handler !== undefined && handler.otherSenders.length > 0))
}

/** In both, with another value. */
export function explainChange(real: Item, ours: Item, cpu: number, place: Place): Explanation | undefined {
  if (real.kind === 'switch' && ours.kind === 'switch' && real.key === ours.key) return 'sleep or wake first'
  if (real.kind !== 'flush' || ours.kind !== 'flush') return undefined
  const isSwitch = reasonOf(real.fact) === TLB_FLUSH_ON_TASK_SWITCH && reasonOf(ours.fact) === TLB_FLUSH_ON_TASK_SWITCH
  if (!isSwitch || ![real.value, ours.value].every(pages => pages === '0' || pages === '-1')) return undefined
  const isOpen = real.isFirstUse && ours.isFirstUse
  return isOpen || (real.value === '-1' && place.real.foreignCpus.has(cpu)) ? 'slot history' : undefined
}
