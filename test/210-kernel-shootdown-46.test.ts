// Linux 4.6: the initiator flushes itself first, then interrupts everyone in the mask, lazy CPUs
// too; those leave the mm and are left alone from then on.

import { describe, expect, test } from 'vitest'
import { PROT_READ } from '../src/kernel/abi.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, giveWay, image, mmap, mprotect, munmap, program, sleep, store, touch,
  wait } from './support/programs.js'
import type { Step } from './support/programs.js'
import { onCpu, sequence } from './support/sequence.js'
import { BEGIN, END, neighbours, twoCpus } from './support/two-cpus.js'

const config = testConfig({}, { era: 'linux-4.6' })
const range = (pages: number): string => (pages > 33 ? '-1' : `${pages}`)

describe('munmap', () => {
  for (const pages of [1, 3, 33, 34, 511]) {
    const n = range(pages)
    const initiator = [`flush(3,${n})`, `flush(4,${n})`, 'QUEUE 1', 'SEND 1']

    test(`${pages} page(s), the other thread running: local first, then the interrupt`, async () => {
      const lines = await sequence(config, twoCpus(neighbours(pages), [munmap(area(0))], 'running'))
      expect(onCpu(lines, 0)).toEqual(initiator)
      expect(onCpu(lines, 1)).toEqual(['IRQ+', `flush(1,${n})`, 'IRQ-'])
    })

    for (const other of ['lazy', 'exited'] as const) {
      test(`${pages} page(s), the other thread ${other}: its CPU is interrupted once and leaves the mm`, async () => {
        const again = [munmap(area(0)), munmap(area(1))]
        const lines = await sequence(config, twoCpus(neighbours(pages), again, other))
        expect(onCpu(lines, 0).slice(0, 4)).toEqual(initiator)
        expect(onCpu(lines, 0).slice(4)).toEqual([expect.stringMatching(/^flush\(3,/)])
        expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(0,-1)', 'IRQ-'])
      })
    }

    test(`${pages} page(s), the other CPU runs another mm: its bit was cleared by the switch`, async () => {
      const lines = await sequence(config, twoCpus(neighbours(pages), [munmap(area(0))], 'another mm'))
      expect(lines).toEqual([`0: flush(3,${n})`])
    })
  }

  test('512 pages with their page table: everything, on both sides', async () => {
    const setup = [mmap(0, 512, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }), touch(area(0), 'write')]
    const lines = await sequence(config, twoCpus(setup, [munmap(area(0))], 'running'))
    expect(onCpu(lines, 0)).toEqual(['flush(3,-1)', 'flush(4,-1)', 'QUEUE 1', 'SEND 1'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
  })

  test('a huge page is always flushed by a full flush', async () => {
    const huge: Step[] = [
      mmap(0, 1024, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true, huge: true }), touch(area(0), 'write')]
    const lines = await sequence(config, twoCpus(huge, [munmap(area(0, 0, 512))], 'running'))
    expect(onCpu(lines, 0)).toEqual(['flush(3,-1)', 'flush(4,-1)', 'QUEUE 1', 'SEND 1'])
  })
})

test('mprotect flushes the whole sub-range when any entry is present', async () => {
  const sparse = [mmap(0, 8), touch(area(0, 2, 1), 'write')]
  const lines = await sequence(config, twoCpus(sparse, [mprotect(area(0), PROT_READ)], 'running'))
  expect(onCpu(lines, 0)).toEqual(['flush(3,8)', 'flush(4,8)', 'QUEUE 1', 'SEND 1'])
})

test('a copy-on-write flush of one page leaves no local record', async () => {
  const steps = [fork(0, 'child', [1]), compute(20_000), BEGIN, store(area(0), 7n), END, wait()]
  const lines = await sequence(config, image(
    [{ threads: [{ comm: 'main', cpus: [0], program: program('main', ...neighbours(1), ...steps) }] }],
    { children: [program('child', sleep(400_000))] }))
  expect(onCpu(lines, 0)).toEqual(['fault 0x7'])
})

test('a CPU that left lazily reloads its root when it returns to the same mm', async () => {
  const lines = await sequence(config, image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', ...neighbours(1), sleep(20_000), BEGIN, munmap(area(0)),
      compute(50_000), END) },
    { comm: 'other', cpus: [1], program: program('other', sleep(60_000)) },
  ] }]))
  expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(0,-1)', 'IRQ-', 'switch', 'flush(0,-1)', 'switch'])
})

test('every switch to another mm flushes, there is no PCID', async () => {
  const player: Step[] = [compute(200), giveWay(), compute(200), giveWay(), compute(200)]
  const lines = await sequence(testConfig({ cpus: 1 }, { era: 'linux-4.6' }), image([
    { threads: [{ comm: 'a', program: program('a', BEGIN, ...player) }] },
    { threads: [{ comm: 'b', program: program('b', ...player) }] },
  ]))
  expect(lines.slice(0, 4)).toEqual(['0: switch', '0: flush(0,-1)', '0: switch', '0: flush(0,-1)'])
})
