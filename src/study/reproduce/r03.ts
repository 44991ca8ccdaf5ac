// R3: what PCID saves at context switches: two processes that wake each other on one CPU, alone and with 512 pages
// touched at every turn.

import { runScenario } from './simulated.js'
import type { Operation } from './simulated.js'
import { between, shown, within } from './target.js'
import type { Results, Run, Target } from './target.js'

const MACHINE = 'skl-guest'
const SHORT = 20
const LONG = 60

/** Turns of one process: what it always needs, the pages of variant b, and the other's turn before or after them. */
function turns(other: string, count: number, pages: number, begins: boolean): Operation[] {
  const work = [{ exec: 'text' }, { write: 'stack' }, ...(pages > 0 ? [{ read: 'array' }] : []), { wake: other }]
  return [
    { mmap: { name: 'text', pages: 2, prot: 'rx' } }, { mmap: { name: 'stack', pages: 2 } },
    { mmap: { name: 'array', pages: Math.max(1, pages) } }, { exec: 'text' }, { write: 'stack' }, { read: 'array' },
    { repeat: { times: count, do: begins ? [...work, { sleep: 'forever' }] : [{ sleep: 'forever' }, ...work] } },
    { wake: other },
  ]
}

async function total(pages: number, pcid: boolean, count: number): Promise<{ cycles: number; walks: number }> {
  const { result } = await runScenario({
    machine: MACHINE, cpus: 1, kernel: { era: 'linux-6.x', pcid, idle: 'poll' },
    processes: [
      { name: 'ping', program: turns('pong', count, pages, true) },
      { name: 'pong', program: turns('ping', count, pages, false) },
    ],
  }, { trace: false })
  return { cycles: result.cycle, walks: result.counters.stlbMisses }
}

/** A turn: the difference of two lengths, so that beginning and end do not count. */
function turn(pages: number, pcid: boolean): Run {
  return {
    key: `${pages} ${pcid ? 'pcid' : 'plain'}`,
    measure: async () => {
      const [short, long] = [await total(pages, pcid, SHORT), await total(pages, pcid, LONG)]
      const rounds = 2 * (LONG - SHORT)
      return { us: (long.cycles - short.cycles) / rounds / 2300, walks: (long.walks - short.walks) / rounds }
    },
  }
}

export const R3: Target = {
  id: 'R3',
  title: 'PCID and context switches',
  kind: 'gate',
  source: 'LUTO: Skylake laptop, 2.3 GHz, one CPU of a KVM guest, idle=poll',
  mark: 'v',
  machines: [MACHINE],
  setup: 'Two processes on one CPU wake each other in turns; (a) nothing else, (b) each reads 512 pages of the zero '
    + 'page '
    + 'at every turn.',
  fitted: ['skl-guest walkStep, stlbHit, contextSwitch'],
  departures: ['wake and sleep stand for a write to and a read from an eventfd'],
  runs: () => [0, 512].flatMap(pages => [true, false].map(pcid => turn(pages, pcid))),
  judge: (results: Results) => {
    const us = (pages: number, way: string): number => results.get(`${pages} ${way}`, 'us')
    const gain = 100 * (1 - us(0, 'pcid') / us(0, 'plain'))
    return {
      rows: [
        within('(b) without PCID / with PCID', 'ratio', 3.44, us(512, 'plain') / us(512, 'pcid'), 25),
        // With PCID nothing walks here once both are warm: counted as one walk, so the ratio is at least this.
        between('(b) page walks, without / with', 'ratio', 18.8,
          results.get('512 plain', 'walks') / Math.max(1, results.get('512 pcid', 'walks')), 10, Infinity),
        between('(a) gain', '%', 9, gain, 4, 15),
        shown('(a) with PCID', 'us', 1.22, us(0, 'pcid')),
        shown('(a) without', 'us', 1.34, us(0, 'plain')),
        shown('(b) with PCID', 'us', 1.8, us(512, 'pcid')),
        shown('(b) without', 'us', 6.2, us(512, 'plain')),
      ],
      figures: [{
        kind: 'bars',
        chart: {
          title: 'R3: a turn of two processes on one CPU', y: { label: 'time (us)' },
          categories: ['(a) PCID', '(a) none', '(b) PCID', '(b) none'],
          series: [{ name: 'simulated', values: [us(0, 'pcid'), us(0, 'plain'), us(512, 'pcid'), us(512, 'plain')] }],
          marks: [{ name: 'published [v] LUTO', values: [1.22, 1.34, 1.8, 6.2] }],
        },
      }],
    }
  },
}
