// Virtual CPUs that an overcommitted host takes away: what a flush costs whoever waits for one, and how a
// KVM guest that knows of it leaves the flush to the host.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { checkEverything } from '../src/inspect/check.js'
import { WAIT } from '../src/kernel/kernel-op.js'
import { publishNextInterrupt } from '../src/kernel/smp/ipi.js'
import { KernelBench } from './support/kernel-bench.js'
import { TEST_COSTS, testConfig } from './support/machines.js'
import { area, compute, image, mmap, program, signal, spin, touch } from './support/programs.js'
import { onCpu } from './support/sequence.js'

const AT = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }
const VPN = 0x10000
const LONG = compute(200_000)
const AWAY = 50_000

const onePage = { start: VPN, end: VPN + 1, stridePages: 1, freedTables: false, hugetlb: false }

/** Threads of one mm on CPU 0 and 1; the host takes CPU 1 away at cycle 60 000, and nobody else. */
function bench(policy: string, costs: Partial<typeof TEST_COSTS> = {}): KernelBench {
  const config = testConfig(
    { host: { runCycles: 1e9, awayCycles: AWAY }, costs: { ...TEST_COSTS, ...costs } },
    { policy, timeSliceCycles: 10_000_000 })
  const made = new KernelBench(config, image([{ threads: [0, 1].map(cpu => ({ comm: `t${cpu}`, cpus: [cpu],
    program: program('t', ...(cpu === 0 ? [mmap(0, 8, AT), touch(area(0), 'write'), signal(0)] : [spin(0)]),
      touch(area(0), 'read'), LONG) })) }]))
  for (const cpu of made.k.cpus) {
    cpu.vcpu.awayAt = cpu.id === 1 ? 60_000 : Infinity
    publishNextInterrupt(made.k, cpu)
  }
  made.until(() => made.cpu(1).vcpu.isPreempted)
  made.mark()
  return made
}

const flushOf = (made: KernelBench): void =>
  made.enterAll([0], (k, cpu) => k.policy.flushMmRange(k, cpu, made.mmOf('t0'), onePage))

describe('a CPU that the host has taken away', () => {
  test('executes nothing: the program takes as much longer as it was away, to the cycle', async () => {
    const programs = image([{ threads: [
      { comm: 'main', program: program('main', mmap(0, 4), touch(area(0), 'write'), LONG) }] }])
    const alone = await simulateHere(testConfig({ cpus: 1 }), programs)
    const shared = await simulateHere(
      testConfig({ cpus: 1, host: { runCycles: 10_000, awayCycles: 20_000 } }), programs)
    const { stolenCycles, vcpuPreemptions } = shared.result.counters
    expect(vcpuPreemptions).toBeGreaterThan(10)
    expect(shared.result.cycle).toBe(alone.result.cycle + stolenCycles)
  })

  test('answers an interrupt when it is back: whoever flushes waits for the host', () => {
    const made = bench('linux-6.x')
    const back = made.cpu(1).topFrame.resumeAt
    flushOf(made)
    expect(onCpu(made.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,1)'])
    expect(made.simulation.cycle).toBeGreaterThan(back)
    expect(made.k.counters.initiatorCycles).toBeGreaterThan(AWAY / 2 - 1000)
  })

  test('in kvm-pv is left out, and the host flushes it before it runs again', () => {
    const made = bench('kvm-pv')
    flushOf(made)
    expect(onCpu(made.sinceMark(), 0)).toEqual(['flush(4,1)', 'flush(3,1)'])
    expect([made.cpu(1).vcpu.isPreempted, made.cpu(1).vcpu.flushOnEntry]).toEqual([true, true])
    checkEverything(made.k)
    made.until(() => !made.cpu(1).vcpu.isPreempted)
    const resumed = made.events().findLast(event => event.name === 'vcpu_resume')
    expect(resumed?.name === 'vcpu_resume' && resumed.fields.flushed).toBe(1)
    expect(made.k.counters).toMatchObject({ hostFlushes: 1, callFunctionIpis: 0 })
    // The guest does not know: its generation stays behind, and the next flush is a full one.
    const { ctxs, loadedMmAsid } = made.cpu(1).tlb6x
    expect(ctxs[loadedMmAsid]!.tlbGen).toBe(made.mmOf('t0').tlbGen - 1)
    made.untilRunning(['t1'])
    made.mark()
    flushOf(made)
    expect(onCpu(made.sinceMark(), 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
  })

  test('in kvm-pv is interrupted after all when it comes back before the compare-and-swap', () => {
    const made = bench('kvm-pv', { ackTransfer: 400 })
    const back = made.cpu(1).topFrame.resumeAt
    made.until(() => made.simulation.platform.cores[0]!.clock >= back - TEST_COSTS.flushSetup - 300)
    flushOf(made)
    expect(onCpu(made.sinceMark(), 0)).toEqual(['flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,1)'])
    expect(made.k.counters.hostFlushes).toBe(0)
  })

  test('a flag on a CPU that the host does not look at is caught: I8', () => {
    const made = bench('kvm-pv')
    made.until(() => !made.cpu(1).vcpu.isPreempted)
    made.cpu(1).vcpu.flushOnEntry = true
    expect(() => checkEverything(made.k)).toThrow(/^I8: cpu1 .*: a flush was left to the host, which does not look/)
  })
})

test('tasks that wait for each other for ever are found on an overcommitted host as well', async () => {
  const programs = image([{ threads: [0, 1].map(cpu => (
    { comm: `t${cpu}`, cpus: [cpu], program: program('t', spin(cpu), signal(1 - cpu)) })) }])
  const { result } = await simulateHere(testConfig({ host: { runCycles: 1000, awayCycles: 3000 } }), programs)
  expect(result.end).toBe('stalled')
})

test('and so are CPUs that wait in the kernel for ever, which the host takes away and gives back', () => {
  const programs = image([{ threads: [0, 1].map(cpu => (
    { comm: `t${cpu}`, cpus: [cpu], program: program('t', compute(20_000), spin(cpu)) })) }])
  const made = new KernelBench(testConfig({ host: { runCycles: 1000, awayCycles: 3000 } }), programs)
  made.untilRunning(['t0'])
  made.enter(0, function* (_k, cpu) {
    cpu.waitingFor = 'nobody'
    yield WAIT
  })
  expect(() => made.until(() => made.simulation.cycle > 1e6)).toThrow('the run ended: stalled')
  const [first] = made.simulation.describeStall()
  expect(first).toMatch(/^cpu0 cycle \d+: t0-1 waits for nobody(, taken away by the host)?$/)
})
