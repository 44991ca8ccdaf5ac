// R2: a CR3 reload against INVLPG for one to four pages, on the machine alone: an MMU over real page tables, no
// kernel. The cold state needs data caches, which the simulator has not: a small rule stands for them, below.

import { makeEntryLo, PAGE_ACCESSED, PAGE_PRESENT, PAGE_RW, PAGE_USER } from '../../machine/entry.js'
import { geometryOf } from '../../machine/geometry.js'
import { ACCESS_READ, LINUX_CONTROLS, Mmu, mmuCounters, mmuWords, TRANSLATED } from '../../machine/mmu.js'
import { allocatePhysicalMemory, PhysMem } from '../../machine/phys-mem.js'
import { MACHINE_PRESETS } from '../../machine/presets.js'
import { assert } from '../../base/assert.js'
import { INVALIDATION } from './published/ingo.js'
import type { InvalidationCycles } from './published/ingo.js'
import { between, fitLine, holds, shown, within } from './target.js'
import type { Figure, Results, Row, Run, Target } from './target.js'

const PAGES = [1, 2, 3, 4] as const
const WAYS = ['invlpg', 'cr3'] as const
type Way = (typeof WAYS)[number]

/**
 * Cold: the instruction itself takes longer, the lines of the first page come with it, and each further page costs a
 * miss to memory. After INVLPG, which serialises, misses come one after the other; after one CR3 load as many at
 * once as the processor keeps outstanding. Intel's miss is what touching a second cold page cost without any
 * flush; AMD's miss and both numbers of outstanding misses are fitted. The instruction: the cold reload less the hot
 * one.
 */
const COLD: Readonly<Record<string, { missCycles: number; missesAtOnce: number }>> = {
  'intel-2015': { missCycles: 432, missesAtOnce: 4 },
  'amd-2015': { missCycles: 213, missesAtOnce: 2 },
}

/** Tables of four levels in frames 1 to 4, pages from frame 16. */
function mmuOf(name: string): Mmu {
  const config = { ...MACHINE_PRESETS[name]!, preset: name }
  const mem = new PhysMem(new Int32Array(allocatePhysicalMemory(2 ** 22)), geometryOf('x86-64'))
  const flags = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED
  for (const table of [1, 2, 3]) mem.store(table, 0, makeEntryLo(table + 1, flags, 12), 0)
  for (const page of PAGES) mem.store(4, page - 1, makeEntryLo(16 + page, flags, 12), 0)
  const mmu = new Mmu(config, mem, new Int32Array(mmuWords(config)), new Float64Array(mmuCounters()))
  mmu.reset(LINUX_CONTROLS)
  mmu.loadCr3(1, 0, false)
  return mmu
}

/** Cycles of the invalidation and of touching the pages again, caches hot. */
function hotCycles(name: string, way: Way, pages: number): number {
  const mmu = mmuOf(name)
  const { costs } = MACHINE_PRESETS[name]!
  const touch = (): number => {
    let cycles = 0
    for (let page = 0; page < pages; page++) {
      const verdict = mmu.translate(0, page << 12, ACCESS_READ, true, true)
      assert(verdict === TRANSLATED, `page ${page} of R2 is not mapped`)
      cycles += mmu.cycles
    }
    return cycles
  }
  touch()
  if (way === 'cr3') mmu.flushNonGlobal()
  else for (let page = 0; page < pages; page++) mmu.invlpg(0, page << 12)
  return (way === 'cr3' ? costs.fullFlush : pages * costs.invlpg) + touch()
}

function coldCycles({ machine, reload }: InvalidationCycles, way: Way, pages: number): number {
  const { missCycles, missesAtOnce } = COLD[machine]!
  const misses = way === 'invlpg' ? pages - 1 : Math.ceil((pages - 1) / missesAtOnce)
  return hotCycles(machine, way, pages) + reload[1] - reload[0] + misses * missCycles
}

function runOf(data: InvalidationCycles, way: Way, pages: number): Run {
  return {
    key: `${data.machine} ${way} ${pages}`,
    measure: () => Promise.resolve({
      hot: hotCycles(data.machine, way, pages), cold: coldCycles(data, way, pages),
    }),
  }
}

function rowsOf(data: InvalidationCycles, results: Results): Row[] {
  const { machine, invlpgHot, invlpgCold, cr3Cold } = data
  const cycles = (way: Way, pages: number, state = 'hot'): number => results.get(`${machine} ${way} ${pages}`, state)
  const slope = fitLine(PAGES.map(pages => [pages, cycles('invlpg', pages)])).slope
  const published = fitLine(PAGES.map((pages, i) => [pages, invlpgHot[i]!])).slope
  const flat = PAGES.map(pages => cycles('cr3', pages))
  const mean = flat.reduce((sum, value) => sum + value, 0) / flat.length
  const wins = (pages: number): boolean => cycles('invlpg', pages) < cycles('cr3', pages)
  const isIntel = machine.startsWith('intel')
  const ratio = (ours: (way: Way) => number): number => ours('invlpg') / ours('cr3')
  return [
    within(`${machine}: INVLPG, slope`, 'cycles a page', isIntel ? 225 : 93, slope, 10),
    shown(`${machine}: INVLPG, slope of the data`, 'cycles a page', published, slope),
    between(`${machine}: CR3 reload, furthest from its mean`, '%', undefined,
      100 * Math.max(...flat.map(value => Math.abs(value / mean - 1))), 0, 15),
    isIntel ? holds(`${machine}: CR3 wins from one page on`, PAGES.every(pages => !wins(pages)))
      : holds(`${machine}: INVLPG wins for one page and loses for two`, wins(1) && !wins(2)),
    within(`${machine}: cold INVLPG / cold CR3, 4 pages`, 'ratio', invlpgCold[3]! / cr3Cold[3]!,
      ratio(way => cycles(way, 4, 'cold')), 25),
    ...PAGES.flatMap((pages, i) => [
      shown(`${machine}: INVLPG, ${pages}, hot`, 'cycles', invlpgHot[i]!, cycles('invlpg', pages)),
      shown(`${machine}: CR3, ${pages}, hot`, 'cycles', data.cr3Hot[i]!, cycles('cr3', pages)),
      shown(`${machine}: INVLPG, ${pages}, cold`, 'cycles', invlpgCold[i]!, cycles('invlpg', pages, 'cold')),
      shown(`${machine}: CR3, ${pages}, cold`, 'cycles', cr3Cold[i]!, cycles('cr3', pages, 'cold')),
    ]),
  ]
}

function figureOf(data: InvalidationCycles, results: Results): Figure {
  const ours = (way: Way, state: string): [number, number][] => (
    PAGES.map(pages => [pages, results.get(`${data.machine} ${way} ${pages}`, state)]))
  const theirs = (cycles: readonly number[]): [number, number][] => PAGES.map((pages, i) => [pages, cycles[i]!])
  return {
    kind: 'chart',
    chart: {
      title: `R2: INVLPG against a CR3 reload, ${data.machine}`, x: { label: 'adjacent pages', ticks: PAGES },
      y: { label: 'flush and touch again (cycles)', scale: 'log10', min: 50, max: 5000 },
      series: [
        { kind: 'line', name: 'simulated: INVLPG, hot', look: 0, points: ours('invlpg', 'hot') },
        { kind: 'line', name: 'simulated: CR3, hot', look: 1, points: ours('cr3', 'hot') },
        { kind: 'line', name: 'simulated: INVLPG, cold', look: 2, points: ours('invlpg', 'cold') },
        { kind: 'line', name: 'simulated: CR3, cold', look: 3, points: ours('cr3', 'cold') },
        { kind: 'marker', name: 'published [v]: INVLPG, hot', look: 0, points: theirs(data.invlpgHot) },
        { kind: 'marker', name: 'published [v]: CR3, hot', look: 1, points: theirs(data.cr3Hot) },
        { kind: 'marker', name: 'published [v]: INVLPG, cold', look: 2, points: theirs(data.invlpgCold) },
        { kind: 'marker', name: 'published [v]: CR3, cold', look: 3, points: theirs(data.cr3Cold) },
      ],
    },
  }
}

export const R2: Target = {
  id: 'R2',
  title: 'CR3 reload against INVLPG',
  kind: 'gate',
  source: 'INGO-B: two processors, 2015, kernel pages',
  mark: 'v',
  machines: INVALIDATION.map(({ machine }) => machine),
  setup: 'One MMU: touch n adjacent pages, invalidate them, touch them again.',
  fitted: ['invlpg, fullFlush and walkStep of both machines (hot)', 'the cold rule: AMD\'s miss, misses at once'],
  departures: [
    'the simulator has no data caches: cold states follow a rule of this target, whose inputs are named at COLD in '
      + 'src/study/reproduce/r02.ts and are not prices of the machines',
    'user pages stand for kernel pages without G',
  ],
  runs: () => INVALIDATION.flatMap(data => WAYS.flatMap(way => PAGES.map(pages => runOf(data, way, pages)))),
  judge: results => ({
    rows: INVALIDATION.flatMap(data => rowsOf(data, results)),
    figures: INVALIDATION.map(data => figureOf(data, results)),
  }),
}
