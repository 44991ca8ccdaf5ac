// Invariants of a running kernel.
import type { KernelState } from '../kernel/state.js'

export function checkInvariants(_k: KernelState): void {
  // filled in by the inspect layer
}
