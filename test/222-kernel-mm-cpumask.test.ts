// The forms of mm_cpumask: who is told of a flush when the other CPU runs the mm, holds it lazily, runs another one or
// sleeps deeply; what a switch writes, and what a flush reads.

import { describe, expect, test } from 'vitest'
import { simulateHere } from '../src/engine/simulate.js'
import { MASK_FORMS } from '../src/kernel/config.js'
import type { MaskForm } from '../src/kernel/config.js'
import type { KernelCpu } from '../src/kernel/cpu.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import type { Mm } from '../src/kernel/mm/mm.js'
import type { KernelState } from '../src/kernel/state.js'
import { cpumaskOf, leaveMask, readMaskLines, switchMask } from '../src/kernel/tlb/mm-cpumask.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, image, mmap, munmap, program, signal, sleep, spin, touch,
} from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { neighbours, twoCpus } from './support/two-cpus.js'
import type { Other } from './support/two-cpus.js'

const TWICE = [dontneed(area(0)), dontneed(area(1))]
const IGNORED = ['IRQ+', 'flush(5,0)', 'IRQ-']

async function flushesOf(
  mmCpumask: MaskForm, other: Other, idleDeep = false,
): Promise<{ main: string[]; other: string[] }> {
  const lines = await sequence(testConfig({}, { mmCpumask, idleDeep }), twoCpus(neighbours(3), TWICE, other))
  return { main: onCpu(lines, 0), other: onCpu(lines, 1) }
}

const ANNOUNCED = ['flush(4,3)', 'flush(3,3)', 'flush(4,1)', 'flush(3,1)']
const ALONE = ['flush(3,3)', 'flush(3,1)']

describe('the other CPU runs the mm', () => {
  test.each(MASK_FORMS)('%s: it is interrupted', async form => {
    expect(await flushesOf(form, 'running')).toEqual({
      main: ['flush(4,3)', 'QUEUE 1', 'SEND 1', 'flush(3,3)', 'flush(4,1)', 'QUEUE 1', 'SEND 1', 'flush(3,1)'],
      other: ['IRQ+', 'flush(1,3)', 'IRQ-', 'IRQ+', 'flush(1,1)', 'IRQ-'],
    })
  })
})

describe('the other CPU is lazy', () => {
  test.each(MASK_FORMS)('%s: flushes are announced, nobody is interrupted', async form => {
    expect(await flushesOf(form, 'lazy')).toEqual({ main: ANNOUNCED, other: [] })
  })
})

describe('the other CPU runs another mm', () => {
  test.each<MaskForm>(['eager', 'per-cpu'])('%s: nobody else is considered', async form => {
    expect(await flushesOf(form, 'another mm')).toEqual({ main: ALONE, other: [] })
  })

  test('trimmed: its stale bit costs announcements', async () => {
    expect(await flushesOf('trimmed', 'another mm')).toEqual({ main: ANNOUNCED, other: [] })
  })

  test('lazy: the first flush interrupts it and its bit is gone, the second finds nobody', async () => {
    expect(await flushesOf('lazy', 'another mm')).toEqual({
      main: ['flush(4,3)', 'QUEUE 1', 'SEND 1', 'flush(3,3)', 'flush(3,1)'], other: IGNORED,
    })
  })
})

describe('the other CPU sleeps deeply: it has left the mm and has init_mm, which is not lazy', () => {
  test.each<MaskForm>(['eager', 'per-cpu'])('%s: nobody else is considered', async form => {
    expect((await flushesOf(form, 'lazy', true))).toEqual({ main: ALONE, other: [] })
  })

  test('trimmed: it sleeps on', async () => {
    expect(await flushesOf('trimmed', 'lazy', true)).toEqual({ main: ANNOUNCED, other: [] })
  })

  test('lazy: the flush wakes it up for nothing', async () => {
    const { main, other } = await flushesOf('lazy', 'lazy', true)
    expect(main).toEqual(['flush(4,3)', 'QUEUE 1', 'SEND 1', 'flush(3,3)', 'flush(3,1)'])
    expect(other.slice(0, 3)).toEqual(IGNORED)
  })
})

test.each(MASK_FORMS)('%s: a CPU that was in another mm during munmap faults when it is back', async form => {
  const main = program('main', mmap(0, 2, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }), touch(area(0), 'write'),
    signal(0), spin(1), munmap(area(0)), signal(2))
  const other = program('other', spin(0), touch(area(0), 'read'), sleep(50_000), touch(area(0), 'read'))
  const foreign = program('foreign', spin(0), compute(2000), signal(1), spin(2), compute(60_000))
  const { result } = await simulateHere(testConfig({}, { mmCpumask: form, timeSliceCycles: 2000 }), image([
    { threads: [{ comm: 'main', cpus: [0], program: main }, { comm: 'other', cpus: [1], program: other }] },
    { threads: [{ comm: 'foreign', cpus: [1], program: foreign }] },
  ]), { check: true })
  expect(result.tasks.map(({ comm, outcome }) => `${comm} ${outcome}`)).toEqual([
    'main exited', 'other SIGSEGV', 'foreign exited'])
})

// ---- prices ----

const TRANSFER = 100

interface Made { k: KernelState; a: Mm; b: Mm; cpu: (id: number) => KernelCpu }

/** Four CPUs in init_mm, two mms that nobody has run, all lines owned by nobody. */
function made(mmCpumask: MaskForm): Made {
  const process = (comm: string) => ({ threads: [{ comm, cpus: [0], program: program(comm, compute(100_000)) }] })
  const config = testConfig({ cpus: 4 }, { mmCpumask })
  const bench = new KernelBench({ ...config, machine: { ...config.machine,
    costs: { ...config.machine.costs, lineTransfer: TRANSFER, lineTransferRemote: TRANSFER } } },
  image([process('a'), process('b')]), { check: false })
  return { k: bench.k, a: bench.mmOf('a'), b: bench.mmOf('b'), cpu: id => bench.cpu(id) }
}

/** Cycles that it takes, with nobody else about. */
function cyclesOf(cpu: KernelCpu, op: KernelOp<unknown>): number {
  let sum = 0
  for (const step of op) {
    if (typeof step !== 'number') throw new Error('it waits')
    sum += step
    cpu.now += step
  }
  return sum
}

describe('what a switch of one CPU pays for the lines that another CPU wrote last', () => {
  const pays: Record<MaskForm, [first: number, again: number]> = {
    // The bit of a is cleared, that of b is set: both lines come over, and stay.
    'eager': [2 * TRANSFER, 0],
    // The bit of b is set. Next time it is set already.
    'lazy': [TRANSFER, 0],
    'trimmed': [TRANSFER, 0],
    'per-cpu': [0, 0],
  }
  test.each(MASK_FORMS)('%s', form => {
    const { k, a, b, cpu } = made(form)
    cyclesOf(cpu(1), switchMask(k, cpu(1), a, b))
    cyclesOf(cpu(1), switchMask(k, cpu(1), b, a))
    const first = cyclesOf(cpu(0), switchMask(k, cpu(0), a, b))
    const again = cyclesOf(cpu(0), switchMask(k, cpu(0), a, b))
    expect([first, again]).toEqual(pays[form])
  })

  test('two CPUs that switch to and fro: eager passes both lines on every time, the others none', () => {
    const inTurn = (form: MaskForm): number => {
      const { k, a, b, cpu } = made(form)
      let last = 0
      for (let round = 0; round < 3; round++) {
        last = 0
        for (const id of [0, 1]) {
          cpu(id).now = 10_000 * (2 * round + id)
          last += cyclesOf(cpu(id), switchMask(k, cpu(id), a, b)) + cyclesOf(cpu(id), switchMask(k, cpu(id), b, a))
        }
      }
      return last
    }
    expect(MASK_FORMS.map(inTurn)).toEqual([4 * TRANSFER, 0, 0, 0])
  })
})

describe('what a flush pays to learn who has the mm', () => {
  test.each(MASK_FORMS)('%s', form => {
    const { k, a, b, cpu } = made(form)
    for (const id of [1, 2, 3]) cyclesOf(cpu(id), switchMask(k, cpu(id), b, a))
    cpu(0).now = 10_000
    // With a mask one line; without one a line from each CPU, and again from those that switched meanwhile.
    const first = readMaskLines(k, cpu(0), a)
    cyclesOf(cpu(2), switchMask(k, cpu(2), a, b))
    cpu(0).now = 20_000
    const again = readMaskLines(k, cpu(0), a)
    expect([first, again]).toEqual(form === 'per-cpu' ? [3 * TRANSFER, TRANSFER]
      : [TRANSFER, form === 'eager' ? TRANSFER : 0])
  })

  test('per-cpu: the CPU that flushes nobody pays nothing, the one that is looked at pays to write again', () => {
    const { k, a, b, cpu } = made('per-cpu')
    expect(cyclesOf(cpu(1), switchMask(k, cpu(1), b, a))).toBe(0)
    readMaskLines(k, cpu(0), a)
    cpu(1).now = 10_000
    expect(cyclesOf(cpu(1), switchMask(k, cpu(1), a, b))).toBe(TRANSFER)
    expect(cyclesOf(cpu(1), switchMask(k, cpu(1), b, a))).toBe(0)
  })

  test('per-cpu: the set is of the CPUs that have the mm loaded or are on their way somewhere', () => {
    const { k, a, b, cpu } = made('per-cpu')
    cpu(1).tlb6x.loadedMm = a
    cpu(2).tlb6x.loadedMm = undefined
    cpu(3).tlb6x.loadedMm = b
    expect(cpumaskOf(k, a).toArray()).toEqual([1, 2])
  })
})

test('a handler on the wrong CPU writes the mask where that is the only way out of it', () => {
  const pays = (form: MaskForm): [number, boolean] => {
    const { k, a, cpu } = made(form)
    a.mmCpumask.set(1)
    a.cpumaskLine.write(k, cpu(0))
    return [cyclesOf(cpu(1), leaveMask(k, cpu(1), a)), a.mmCpumask.has(1)]
  }
  expect(MASK_FORMS.map(pays)).toEqual([[0, true], [TRANSFER, false], [TRANSFER, false], [0, true]])
})
