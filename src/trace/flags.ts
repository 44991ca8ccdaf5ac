// The context flags of a record, packed in one int, and the five characters that ftrace shows
// for them (spec 7.1):
//
//   31......12 11.......8 7..........4 3        2       1           0
//   0          migrate-   preempt      0        hard    need-       irqs
//              disable    depth                 irq     resched     off
//
// Simplified: no softirqs and no NMIs run here, so `s`, `H`, `z` and `Z` never appear, and
// need-resched is always the full `N` (task flag and preempt bit set together).

const FLAG_IRQS_OFF = 1 << 0
const FLAG_NEED_RESCHED = 1 << 1
const FLAG_HARD_IRQ = 1 << 2
/** The preempt depth is `(flags >> PREEMPT_SHIFT) & PREEMPT_MAX`. */
const PREEMPT_SHIFT = 4
/** Deeper nesting shows as this. */
const PREEMPT_MAX = 15
export const MIGRATE_SHIFT = 8

export interface ContextFlags {
  irqsOff: boolean
  needResched: boolean
  hardIrq: boolean
  /** 0 to PREEMPT_MAX. */
  preemptDepth: number
}

/** Not from {@link ContextFlags}: every event of a trace would make an object for it. */
export function packFlags(irqsOff: boolean, needResched: boolean, hardIrq: boolean, preemptDepth: number): number {
  return (irqsOff ? FLAG_IRQS_OFF : 0) | (needResched ? FLAG_NEED_RESCHED : 0) | (hardIrq ? FLAG_HARD_IRQ : 0)
    | (Math.min(preemptDepth, PREEMPT_MAX) << PREEMPT_SHIFT)
}

export function unpackFlags(packed: number): ContextFlags {
  return {
    irqsOff: (packed & FLAG_IRQS_OFF) !== 0,
    needResched: (packed & FLAG_NEED_RESCHED) !== 0,
    hardIrq: (packed & FLAG_HARD_IRQ) !== 0,
    preemptDepth: (packed >> PREEMPT_SHIFT) & PREEMPT_MAX,
  }
}

/** The five characters of the ftrace prefix, `.....` for plain task context. */
export function flagCharacters(packed: number): string {
  return ((packed & FLAG_IRQS_OFF) !== 0 ? 'd' : '.')
    + ((packed & FLAG_NEED_RESCHED) !== 0 ? 'N' : '.')
    + ((packed & FLAG_HARD_IRQ) !== 0 ? 'h' : '.')
    + depthCharacter((packed >> PREEMPT_SHIFT) & PREEMPT_MAX)
    + depthCharacter((packed >> MIGRATE_SHIFT) & 15)
}

function depthCharacter(depth: number): string {
  return depth === 0 ? '.' : depth.toString(16)
}
