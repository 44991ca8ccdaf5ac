// Linux 6.x: who is told of a flush, in which order, with which reason and how many pages. Each
// test is one of the sequences observed on a live 6.18 kernel (G1..G22) or a rule beside them.

import { describe, expect, test } from 'vitest'
import { PROT_NONE, PROT_READ, PROT_WRITE } from '../src/kernel/abi.js'
import type { AreaRef } from '../src/kernel/abi.js'
import { onCpu, sequence } from './support/sequence.js'
import { testConfig } from './support/machines.js'
import { BEGIN, END, neighbours, SETTLE, twoCpus } from './support/two-cpus.js'
import type { Other } from './support/two-cpus.js'
import { area, barrier, compute, dontneed, fork, giveWay, image, load, mmap, mprotect, munmap, program, sleep, store,
  touch, wait } from './support/programs.js'
import type { Step } from './support/programs.js'

const RW = PROT_READ | PROT_WRITE

const range = (pages: number): string => (pages > 33 ? '-1' : `${pages}`)

describe('munmap that frees no table', () => {
  for (const pages of [1, 3, 33, 34, 511]) {
    const n = range(pages)
    test(`${pages} page(s), the other thread running: announced, sent, flushed on both sides`, async () => {
      const lines = await sequence(testConfig(), twoCpus(neighbours(pages), [munmap(area(0))], 'running'))
      expect(onCpu(lines, 0)).toEqual([`flush(4,${n})`, 'QUEUE 1', 'SEND 1', `flush(3,${n})`])
      expect(onCpu(lines, 1)).toEqual(['IRQ+', `flush(1,${n})`, 'IRQ-'])
    })

    test(`${pages} page(s), the other thread asleep: announced, but its lazy CPU gets no interrupt`, async () => {
      const lines = await sequence(testConfig(), twoCpus(neighbours(pages), [munmap(area(0))], 'lazy'))
      expect(lines).toEqual([`0: flush(4,${n})`, `0: flush(3,${n})`])
    })

    test(`${pages} page(s), the other thread exited: its CPU is lazy too`, async () => {
      const lines = await sequence(testConfig(), twoCpus(neighbours(pages), [munmap(area(0))], 'exited'))
      expect(lines).toEqual([`0: flush(4,${n})`, `0: flush(3,${n})`])
    })

    test(`${pages} page(s), the other CPU runs another mm: its stale mask bit costs an announcement only`, async () => {
      const lines = await sequence(testConfig(), twoCpus(neighbours(pages), [munmap(area(0))], 'another mm'))
      expect(lines).toEqual([`0: flush(4,${n})`, `0: flush(3,${n})`])
    })
  }
})

test('once a second a flush also interrupts CPUs that have another mm loaded, to clear their stale bits', async () => {
  const second = testConfig().machine.costs.frequencyGhz * 1e9
  const steps = [munmap(area(0)), munmap(area(1))]
  const lines = await sequence(testConfig(), twoCpus([...neighbours(3), sleep(second)], steps, 'another mm'))
  expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(5,0)', 'IRQ-'])
  expect(onCpu(lines, 0).slice(0, 4)).toEqual(['flush(4,3)', 'QUEUE 1', 'SEND 1', 'flush(3,3)'])
  // The second flush finds the bit cleared: nobody else is in the mask.
  expect(onCpu(lines, 0).slice(4)).toEqual([expect.stringMatching(/^flush\(3,/)])
})

describe('munmap that frees the page table', () => {
  // The table's region starts far below the pages, so the range is wider than the ceiling.
  const setup = (pages: number): Step[] => [
    mmap(0, pages, { at: { hi: 0, lo: 0x1000_0000 + 4096 * (pages === 512 ? 0 : 100) }, fixed: true }),
    touch(area(0), 'write')]

  for (const pages of [1, 3, 33, 34, 512]) {
    test(`${pages} page(s), the other thread running: everything is flushed (G11)`, async () => {
      const lines = await sequence(testConfig(), twoCpus(setup(pages), [munmap(area(0))], 'running'))
      expect(onCpu(lines, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(3,-1)'])
      expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,-1)', 'IRQ-'])
    })

    test(`${pages} page(s), the other CPU lazy: it is interrupted all the same and leaves the mm (G17)`, async () => {
      const lines = await sequence(testConfig(), twoCpus(setup(pages), [munmap(area(0))], 'lazy'))
      expect(onCpu(lines, 0)).toEqual(['flush(4,-1)', 'QUEUE 1', 'SEND 1', 'flush(3,-1)'])
      expect(onCpu(lines, 1)).toEqual(['IRQ+', expect.stringMatching(/^flush\(0,(0|-1)\)$/), 'IRQ-'])
    })
  }

  test('pages at the start of the table region keep their own count', async () => {
    const start = [mmap(0, 3, { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }), touch(area(0), 'write')]
    const lines = await sequence(testConfig(), twoCpus(start, [munmap(area(0))], 'none'))
    // The pmd table goes too and its region starts lower: the whole mm.
    expect(lines).toEqual(['0: flush(3,-1)'])
  })
})

describe('mprotect', () => {
  const run = (from: number, to: number, other: Other): Promise<string[]> => {
    const setup = [...neighbours(8), ...(from === RW ? [] : [mprotect(area(0), from)])]
    return sequence(testConfig(), twoCpus(setup, [mprotect(area(0), to)], other))
  }

  test('RW to read-only of 8 present pages interrupts the running thread (G1)', async () => {
    const lines = await run(RW, PROT_READ, 'running')
    expect(onCpu(lines, 0)).toEqual(['flush(4,8)', 'QUEUE 1', 'SEND 1', 'flush(3,8)'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,8)', 'IRQ-'])
  })

  test('read-only to RW flushes as well, because RW differs (G2)', async () => {
    const lines = await run(PROT_READ, RW, 'running')
    expect(onCpu(lines, 0)).toEqual(['flush(4,8)', 'QUEUE 1', 'SEND 1', 'flush(3,8)'])
  })

  test('the same protection again does nothing (G3)', async () => {
    expect(await run(RW, RW, 'running')).toEqual([])
  })

  test('PROT_NONE to RW flushes nothing: no TLB can hold the old entries (G4)', async () => {
    const lines = await run(PROT_NONE, RW, 'lazy')
    expect(lines).toEqual([])
  })

  test('RW to PROT_NONE is like G1 (G5)', async () => {
    const lines = await run(RW, PROT_NONE, 'lazy')
    expect(lines).toEqual(['0: flush(4,8)', '0: flush(3,8)'])
  })

  test('a lazy CPU is announced to but not interrupted (G16)', async () => {
    expect(await run(RW, PROT_READ, 'lazy')).toEqual(['0: flush(4,8)', '0: flush(3,8)'])
  })
})

describe('madvise DONTNEED', () => {
  test('8 present pages: one round (G6)', async () => {
    const lines = await sequence(testConfig(), twoCpus(neighbours(8), [dontneed(area(0))], 'running'))
    expect(onCpu(lines, 0)).toEqual(['flush(4,8)', 'QUEUE 1', 'SEND 1', 'flush(3,8)'])
    expect(onCpu(lines, 1)).toEqual(['IRQ+', 'flush(1,8)', 'IRQ-'])
  })

  test('an empty range does nothing (G7)', async () => {
    const lines = await sequence(testConfig(),
      twoCpus([...neighbours(8), dontneed(area(0))], [dontneed(area(0))], 'none'))
    expect(lines).toEqual([])
  })

  for (const [pages, shown] of [[33, 33], [34, -1]] as const) {
    test(`${pages} pages are flushed as ${shown} (G8)`, async () => {
      const lines = await sequence(testConfig(), twoCpus(neighbours(pages), [dontneed(area(0))], 'running'))
      expect(onCpu(lines, 0)).toEqual([`flush(4,${shown})`, 'QUEUE 1', 'SEND 1', `flush(3,${shown})`])
      expect(onCpu(lines, 1)).toEqual(['IRQ+', `flush(1,${shown})`, 'IRQ-'])
    })
  }
})

describe('fork and copy-on-write', () => {
  const sole: AreaRef = area(0)
  const run = (setup: Step[], steps: Step[], child: Step[] = [sleep(400_000)]): Promise<string[]> =>
    sequence(testConfig(), image(
      [{ threads: [{ comm: 'main', cpus: [0], program: program('main', ...setup, BEGIN, ...steps, END, wait()) }] }],
      { children: [program('child', ...child)] }))

  test('fork flushes the whole mm once (G12, alone in the mask: G21)', async () => {
    expect(await run(neighbours(8), [fork(0, 'child', [1])])).toEqual(['0: flush(3,-1)'])
  })

  test('a write to a page whose other owner still maps it copies and flushes one page (G13)', async () => {
    const lines = await run([...neighbours(1), fork(0, 'child', [1])], [store(sole, 7n)])
    expect(lines.filter(line => line.startsWith('0'))).toEqual(['0: fault 0x7', '0: flush(3,1)'])
  })

  test('a write to a page that no other owner maps any more reuses it without a flush (G14)', async () => {
    const lines = await run([...neighbours(1), fork(0, 'child', [1]), wait()], [store(sole, 7n)], [])
    expect(lines).toEqual(['0: fault 0x7'])
  })

  test('a read maps the zero page without a flush, the write after it replaces it with one (G15)', async () => {
    const setup = [mmap(0, 1), mmap(1, 1), touch(area(1), 'write')]
    expect(await run(setup, [load(sole), store(sole, 1n)])).toEqual(['0: fault 0x4', '0: fault 0x7', '0: flush(3,1)'])
  })
})

describe('context switches', () => {
  test('an mm without a slot is flushed into one, a fresh one is not (G19, G20)', async () => {
    const player = (turns: number): Step[] => Array.from({ length: turns }, () => [compute(200), giveWay()]).flat()
    const lines = await sequence(testConfig({ cpus: 1 }), image([
      { threads: [{ comm: 'a', program: program('a', BEGIN, ...player(4)) }] },
      { threads: [{ comm: 'b', program: program('b', ...player(4)) }] },
    ]))
    expect(lines.slice(0, 6)).toEqual([
      '0: switch', '0: flush(0,-1)', '0: switch', '0: flush(0,0)', '0: switch', '0: flush(0,0)'])
  })

  test('without PCID every switch to another mm flushes', async () => {
    const player: Step[] = [compute(200), giveWay(), compute(200), giveWay(), compute(200)]
    const lines = await sequence(testConfig({ cpus: 1 }, { pcid: false }), image([
      { threads: [{ comm: 'a', program: program('a', BEGIN, ...player) }] },
      { threads: [{ comm: 'b', program: program('b', ...player) }] },
    ]))
    expect(lines.slice(0, 6)).toEqual([
      '0: switch', '0: flush(0,-1)', '0: switch', '0: flush(0,-1)', '0: switch', '0: flush(0,-1)'])
  })

  test('threads of one mm follow each other without touching the TLB', async () => {
    const player: Step[] = [compute(200), giveWay(), compute(200), giveWay()]
    const lines = await sequence(testConfig({ cpus: 1 }), image([{ threads: [
      { comm: 'a', program: program('a', BEGIN, ...player, END) },
      { comm: 'b', program: program('b', ...player) },
    ] }]))
    expect(lines).toEqual(['0: switch', '0: switch', '0: switch', '0: switch'].slice(0, lines.length))
    expect(lines.length).toBeGreaterThanOrEqual(3)
  })
})

describe('exit', () => {
  test('the last thread exits while the other CPU is lazily holding the mm: both leave it (G22)', async () => {
    const lines = await sequence(testConfig(), image([{ threads: [
      { comm: 'first', cpus: [0], program: program('first', mmap(0, 4), touch(area(0), 'write'), barrier(0)) },
      { comm: 'last', cpus: [1], program: program('last', barrier(0), SETTLE, BEGIN) },
    ] }], { barriers: [2] }))
    const one = onCpu(lines, 1).filter(text => text !== 'switch')
    const zero = onCpu(lines, 0)
    expect(one).toEqual(['flush(4,-1)', 'QUEUE 0', 'SEND 0', expect.stringMatching(/^flush\(0,/)])
    expect(zero).toEqual(['IRQ+', expect.stringMatching(/^flush\(0,/), 'IRQ-'])
  })
})
