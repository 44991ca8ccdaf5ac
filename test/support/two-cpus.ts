// A process with a thread on CPU 0, which does something to its memory, and another on CPU 1, which
// is running, asleep, gone or displaced by another mm at that time.

import type { ProgramImage } from '../../src/kernel/abi.js'
import type { KernelEra } from '../../src/kernel/config.js'
import { KernelBench } from './kernel-bench.js'
import { testConfig } from './machines.js'
import { area, compute, image, mark, mmap, program, signal, sleep, spin, touch } from './programs.js'
import type { Step } from './programs.js'
import { onCpu } from './sequence.js'

export const BEGIN = mark('BEGIN')
export const END = mark('END')
/** Long enough for a sleeping thread's CPU to have become idle. */
export const SETTLE = compute(50_000)

export type Other = 'running' | 'lazy' | 'exited' | 'another mm' | 'none'

/** Area 0 is under test; areas 1 and 2 share its page table, so that tables stay. */
export const neighbours = (pages: number): Step[] => [
  mmap(0, pages, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }),
  mmap(1, 1, { at: { hi: 0, lo: 0x1000_0000 + 4096 * pages }, fixed: true }),
  mmap(2, 1, { at: { hi: 0, lo: 0x1000_0000 - 4096 }, fixed: true }),
  touch(area(0), 'write'),
  touch(area(1), 'write'),
]

/** The main thread does `setup`, then `steps` between the marks. */
export function twoCpus(setup: Step[], steps: Step[], other: Other): ProgramImage {
  const main = program('main', ...setup, ...(other === 'none' ? [] : [signal(0), SETTLE]),
    BEGIN, ...steps, END, signal(1))
  const second: Record<Other, Step[]> = {
    'running': [spin(0), touch(area(0), 'read'), spin(1)],
    'lazy': [spin(0), touch(area(0), 'read'), sleep(0)],
    'exited': [spin(0), touch(area(0), 'read')],
    'another mm': [spin(0), touch(area(0), 'read'), sleep(0)],
    'none': [],
  }
  const threads = [{ comm: 'main', cpus: [0], program: main }]
  if (other !== 'none') threads.push({ comm: 'other', cpus: [1], program: program('other', ...second[other]) })
  const foreign = { threads: [{ comm: 'foreign', cpus: [1], program: program('foreign', spin(1)) }] }
  return image([{ threads }, ...(other === 'another mm' ? [foreign] : [])], { areas: 5 })
}

/** What happens on CPU 0 during `steps` when another thread runs on CPU 1, with the machine of most tests. */
export function shootdowns(era: KernelEra, setup: Step[], ...steps: Step[]): string[] {
  const bench = new KernelBench(testConfig({}, { era }), twoCpus(setup, [signal(2), ...steps, signal(3)], 'running'))
  bench.untilSignal(2)
  bench.mark()
  bench.untilSignal(3)
  return onCpu(bench.sinceMark(), 0)
}
