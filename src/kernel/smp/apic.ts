// Sending interrupts (arch/x86/kernel/apic): one write of the interrupt command register reaches one
// CPU, or all that its destination names (kernel-behaviour.md 6.4).
//
//   x2apic-cluster    the CPUs of a cluster: up to 16 neighbours of one socket; a write per cluster
//   x2apic-physical   one CPU; a write each
//   xapic-flat        all of at most 8 CPUs; on bigger machines one CPU, as physflat
//   shorthand         all but the sender: 5.4 and later, whatever the mode
//
// Writes are what a sender pays for and what delays the interrupts behind them: ipiSend on hardware; in a guest
// (machine.icr) an exit to the host, or a virtualised write, through xAPIC's page or x2APIC's MSR.

import type { KernelCpu } from '../cpu.js'
import type { KernelState } from '../state.js'

/** CPUs that share the upper bits of the logical x2APIC id. */
const CLUSTER_CPUS = 16
/** Bits of a logical destination in flat mode. */
const FLAT_CPUS = 8

/** The targets (ascending, without the sender) by the writes that reach them, in the order of the writes. */
export function interruptCommands(k: KernelState, targets: readonly number[]): readonly (readonly number[])[] {
  const { apic, ipiShorthand } = k.config.machine
  const isEverybody = targets.length > 1 && targets.length === k.cpus.length - 1
  if (ipiShorthand && isEverybody && k.config.kernel.era !== 'linux-4.6') return [targets]
  if (apic === 'xapic-flat' && k.cpus.length <= FLAT_CPUS) return [targets]
  if (apic !== 'x2apic-cluster') return targets.map(id => [id])
  const commands: number[][] = []
  let last = -1
  for (const id of targets) {
    const cluster = clusterOf(k, k.cpus[id])
    if (cluster === last) commands[commands.length - 1].push(id)
    else commands.push([id])
    last = cluster
  }
  return commands
}

/** The price of one write. */
export function icrWriteCycles({ costs, config: { machine } }: Pick<KernelState, 'costs' | 'config'>): number {
  const isXapic = machine.apic === 'xapic-flat'
  if (machine.icr === 'exit') return isXapic ? costs.icrExitXapic : costs.icrExitX2apic
  if (machine.icr === 'virtualized') return isXapic ? costs.icrVirtualXapic : costs.icrVirtualX2apic
  return costs.ipiSend
}

/** Counted up from the first CPU. APIC ids of a socket start at a power of two, so no cluster spans two sockets. */
function clusterOf(k: KernelState, cpu: KernelCpu): number {
  const perSocket = Math.ceil(k.cpus.length / k.config.machine.sockets)
  const clustersPerSocket = Math.ceil(perSocket / CLUSTER_CPUS)
  return cpu.socket * clustersPerSocket + Math.floor((cpu.id - cpu.socket * perSocket) / CLUSTER_CPUS)
}
