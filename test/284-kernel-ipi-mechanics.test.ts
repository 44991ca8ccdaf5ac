// smp_call_function and the local APIC: which writes reach which CPUs, what a sender waits for, and in
// which order a target runs what lies on its list.

import { describe, expect, test } from 'vitest'
import { interruptCommands } from '../src/kernel/smp/apic.js'
import type { KernelEra } from '../src/kernel/config.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import { smpCallMany } from '../src/kernel/smp/ipi.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import type { KernelState } from '../src/kernel/state.js'
import { APIC_MODES } from '../src/machine/config.js'
import type { ApicMode, MachineConfig } from '../src/machine/config.js'
import { KernelBench } from './support/kernel-bench.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { compute, image, irqsOff, program } from './support/programs.js'
import { steppedRun } from './support/checked-run.js'

const ERAS: readonly KernelEra[] = ['linux-4.6', 'linux-6.x']

function commands(machine: Partial<MachineConfig>, targets: number[], era: KernelEra = 'linux-6.x'): number[][] {
  const { kernel } = steppedRun(testConfig(machine, { era }), image([])).simulation
  return interruptCommands(kernel, targets).map(write => write.slice())
}

const upTo = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

describe('one interrupt command', () => {
  test('reaches the CPUs of a cluster, which holds 16 and never two sockets', () => {
    const machine = { cpus: 40, sockets: 2, apic: 'x2apic-cluster' } as const
    expect(commands(machine, upTo(1, 40))).toEqual([upTo(1, 16), upTo(16, 20), upTo(20, 36), upTo(36, 40)])
    expect(commands(machine, [3, 17, 39])).toEqual([[3], [17], [39]])
  })

  test('reaches one CPU in physical mode', () => {
    expect(commands({ cpus: 4, apic: 'x2apic-physical' }, [1, 2, 3])).toEqual([[1], [2], [3]])
  })

  test('reaches all CPUs in flat mode when there are at most eight', () => {
    expect(commands({ cpus: 8, apic: 'xapic-flat' }, [1, 5, 7])).toEqual([[1, 5, 7]])
    expect(commands({ cpus: 9, apic: 'xapic-flat' }, [1, 5])).toEqual([[1], [5]])
  })

  test('reaches everybody else with the shorthand, in kernels that use it', () => {
    for (const apic of APIC_MODES) {
      const machine = { cpus: 20, apic, ipiShorthand: true }
      expect(commands(machine, upTo(1, 20))).toEqual([upTo(1, 20)])
      const writes = { 'x2apic-cluster': 2, 'x2apic-physical': 18, 'xapic-flat': 18 }
      expect(commands(machine, upTo(2, 20)).length).toBe(writes[apic])
    }
    expect(commands({ cpus: 3, ipiShorthand: true }, [1, 2], 'linux-4.6')).toEqual([[1], [2]])
  })
})

/** CPU 0 calls a function on all others, which are in user mode; when did each handler start, after the send? */
function arrivals(apic: ApicMode, era: KernelEra): { writes: number; ipis: number; entries: number[] } {
  const cpus = 5
  const machine = { cpus, apic, costs: { ...TEST_COSTS, ipiSend: 100 } }
  const b = new KernelBench(testConfig(machine, { era }), image([{ threads: upTo(0, cpus).map(cpu => (
    { comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, compute(200_000)) })) }]))
  b.untilRunning(upTo(0, cpus).map(cpu => `t${cpu}`), 5000)
  const before = b.k.counters.icrWrites
  const ipis = b.k.counters.callFunctionIpis
  b.mark()
  b.enterAll([0], (k, cpu) => smpCallMany(k, cpu, upTo(1, cpus), nothing, { alwaysSend: false }))
  const entries = b.eventsSinceMark().filter(event => event.name === 'call_function_entry')
  const first = entries[0]!.cycle
  return {
    writes: b.k.counters.icrWrites - before, ipis: b.k.counters.callFunctionIpis - ipis,
    entries: entries.map(event => event.cycle - first),
  }
}

function* nothing(): KernelOp {
  yield 1
}

for (const era of ERAS) {
  describe(era, () => {
    test('targets of one command are interrupted together, those of several one after the other', () => {
      expect(arrivals('x2apic-cluster', era)).toEqual({ writes: 1, ipis: 4, entries: [0, 0, 0, 0] })
      // A write is 100 cycles here; programs look for interrupts every 50.
      expect(arrivals('x2apic-physical', era)).toEqual({ writes: 4, ipis: 4, entries: [0, 100, 200, 300] })
    })

    test('a sender has one record for each target: a second call waits until the first was taken', () => {
      const b = new KernelBench(testConfig({}, { era }), image([{ threads: [
        { comm: 'a', cpus: [0], program: program('a', compute(300_000)) },
        { comm: 'b', cpus: [1], program: program('b', irqsOff(100_000), compute(300_000)) },
      ] }]))
      b.until(() => b.cpu(0).inUserMode && b.cpu(1).irqsOff > 0 && b.cpu(1).current.comm === 'b')
      const times: number[] = []
      b.enterAll([0], function* twice(k: KernelState, cpu: KernelCpu): KernelOp {
        yield* smpCallMany(k, cpu, [1], nothing, { alwaysSend: false, detached: true })
        times.push(cpu.now)
        yield* smpCallMany(k, cpu, [1], nothing, { alwaysSend: false, detached: true })
        times.push(cpu.now)
      })
      expect(times[1]! - times[0]!).toBeGreaterThan(90_000)
    })

    test('what lies on a list is run oldest first in 4.6; in 6.x what senders wait for comes first', () => {
      const b = new KernelBench(testConfig({ cpus: 4 }, { era }), image([{ threads: [
        ...[0, 1, 2].map(cpu => ({ comm: `t${cpu}`, cpus: [cpu], program: program(`t${cpu}`, compute(300_000)) })),
        { comm: 'target', cpus: [3], program: program('target', irqsOff(60_000), compute(300_000)) },
      ] }]))
      b.until(() => b.cpu(3).irqsOff > 0 && b.cpu(3).current.comm === 'target'
        && [0, 1, 2].every(id => b.cpu(id).inUserMode))
      const order: string[] = []
      const call = (name: string, delay: number, detached: boolean) => function* send(k: KernelState, cpu: KernelCpu) {
        yield delay
        yield* smpCallMany(k, cpu, [3], function* run(): KernelOp {
          order.push(name)
          yield 1
        }, { alwaysSend: false, detached })
      }
      const calls = [call('async', 100, true), call('sync1', 2000, false), call('sync2', 4000, false)]
      const statuses = calls.map((op, id) => b.enter(id, op))
      b.until(() => statuses.every(status => status.done) && order.length === 3)
      expect(order).toEqual(era === 'linux-4.6' ? ['async', 'sync1', 'sync2'] : ['sync1', 'sync2', 'async'])
      // One interrupt drains the list.
      expect(b.events().filter(event => event.name === 'call_function_single_entry' && event.cpu === 3).length).toBe(1)
    })
  })
}
