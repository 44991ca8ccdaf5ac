// How far conclusions depend on prices: a few numbers that people quote, with each price of the default machine
// changed by a quarter up and down. A price that moves none of them needs no better source; one that moves them all
// does.

import { grouped, markdownLines, tableLines } from '../base/table.js'
import type { Column } from '../base/table.js'
import type { Costs } from '../machine/costs.js'
import { COST_SOURCES, MACHINE_PRESETS } from '../machine/presets.js'
import { runScenario, times } from './reproduce/simulated.js'
import type { Operation } from './reproduce/simulated.js'

export const SENSITIVITY_MACHINE = 'skl-2s'
const CHANGE = 0.25
/** Effects below this share of a number are noise of whole cycles, percent. */
const LEAST_EFFECT = 0.3

type Price = keyof Costs
type Changes = Partial<Record<Price, number>>

export interface Headline {
  name: string
  what: string
  measure: (machine: string, changes: Changes) => Promise<number>
}

export interface Sensitivity {
  price: Price
  origin: string
  /** Percent that each headline moves with the price a quarter lower, and a quarter higher. */
  effects: readonly { lower: number; higher: number }[]
}

/** The mean flush of a page that eight CPUs on two sockets use, or the munmap around it. */
async function unmapped(preset: string, costs: Changes, what: 'flush' | 'call'): Promise<number> {
  const rounds = 3
  const main: Operation[] = times(rounds, n => [
    { mmap: { name: 'page', pages: 1 } }, { write: 'page' }, { signal: `map${n}` },
    ...times(7, user => [{ spin: `seen${n}_${user + 1}` }]), { munmap: 'page' }, { signal: `gone${n}` },
  ])
  const user = (id: number): Operation[] => times(rounds, n => [
    { spin: `map${n}` }, { read: 'page' }, { signal: `seen${n}_${id}` }, { spin: `gone${n}` },
  ])
  const done = await runScenario({
    machine: { preset, cpus: 8, sockets: 2, costs }, kernel: 'linux-6.x',
    processes: [{ name: 'p', threads: [
      { name: 'main', cpu: 0, program: main },
        ...times(7, n => [{ name: `t${n + 1}`, cpu: n + 1, program: user(n + 1) }]),
    ] }],
  })
  if (what === 'call') return done.calls('munmap').at(-1)!
  return done.shootdowns.filter(({ comm }) => comm === 'main')[rounds - 1]!.cycles!
}

/** A round of a thread that drops a page and moves to another CPU. */
async function wandering(preset: string, costs: Changes, kernel: string): Promise<number> {
  const program: Operation[] = [{ mmap: { name: 'a', pages: 1 } }, ...times(6, n => [
    { mark: 'round' }, { write: 'a' }, { madvise: { area: 'a', advice: 'dontneed' } },
      { setaffinity: { cpu: (n + 1) % 2 } },
  ])]
  const done = await runScenario({ machine: { preset, costs }, cpus: 2, kernel,
    processes: [{ name: 'p', cpus: [0, 1], program }] })
  const rounds = done.marks('round')
  return (rounds.at(-1)! - rounds[1]!) / (rounds.length - 2)
}

/** Two processes in turns on one CPU, each with 256 pages. */
async function turns(preset: string, costs: Changes, pcid: boolean): Promise<number> {
  const program = (other: string, begins: boolean): Operation[] => {
    const work: Operation[] = [{ read: 'a' }, { wake: other }]
    return [{ mmap: { name: 'a', pages: 256 } }, { repeat: { times: 8, do: begins ? [...work, { sleep: 'forever' }]
      : [{ sleep: 'forever' }, ...work] } }, { wake: other }]
  }
  const { result } = await runScenario({
    machine: { preset, costs }, cpus: 1, kernel: { era: 'linux-6.x', pcid },
    processes: [{ name: 'ping', program: program('pong', true) }, { name: 'pong', program: program('ping', false) }],
  }, { trace: false })
  return result.cycle
}

async function protecting(preset: string, costs: Changes, pages: number): Promise<number> {
  const program = [{ mmap: { name: 'a', pages } }, { write: 'a' }, { mprotect: { area: 'a', prot: 'r' } }]
  const done = await runScenario({ machine: { preset, costs }, cpus: 1, processes: [{ name: 'p', program }] })
  return done.calls('mprotect')[0]!
}

async function ratio(over: Promise<number>, under: Promise<number>): Promise<number> {
  return await over / await under
}

export const HEADLINES: readonly Headline[] = [
  { name: 'shootdown', what: 'flush of a page that 8 CPUs on 2 sockets use, cycles',
    measure: (machine, changes) => unmapped(machine, changes, 'flush') },
  { name: 'munmap', what: 'the munmap around it, cycles',
    measure: (machine, changes) => unmapped(machine, changes, 'call') },
  { name: 'lazy TLB', what: 'a thread that drops a page and moves on: Linux 4.6 / 6.x',
    measure: (m, c) => ratio(wandering(m, c, 'linux-4.6'), wandering(m, c, 'linux-6.x')) },
  { name: 'PCID', what: 'two processes in turns with 256 pages each: without / with',
    measure: (m, c) => ratio(turns(m, c, false), turns(m, c, true)) },
  { name: 'ceiling', what: 'mprotect of 34 pages / of 33',
    measure: (m, c) => ratio(protecting(m, c, 34), protecting(m, c, 33)) },
]

/** The headline numbers of a machine as it is. */
export async function headlines(machine = SENSITIVITY_MACHINE): Promise<number[]> {
  const values: number[] = []
  for (const { measure } of HEADLINES) values.push(await measure(machine, {}))
  return values
}

/** Every price of a machine, those that move something first. `onProgress`: prices done, of how many. */
export async function sensitivity(
  machine = SENSITIVITY_MACHINE, onProgress: (done: number, all: number) => void = () => {},
): Promise<Sensitivity[]> {
  const base = await headlines(machine)
  const { costs } = MACHINE_PRESETS[machine]!
  const prices = (Object.keys(costs) as Price[]).filter(price => price !== 'frequencyGhz' && costs[price] > 0)
  const rows: Sensitivity[] = []
  for (const [at, price] of prices.entries()) {
    const effects = []
    for (const [i, { measure }] of HEADLINES.entries()) {
      const moved = async (share: number): Promise<number> => {
        const value = await measure(machine, { [price]: Math.max(0, Math.round(costs[price] * (1 + share))) })
        return 100 * (value / base[i]! - 1)
      }
      effects.push({ lower: await moved(-CHANGE), higher: await moved(CHANGE) })
    }
    rows.push({ price, origin: COST_SOURCES[machine]![price].origin, effects })
    onProgress(at + 1, prices.length)
  }
  const size = ({ effects }: Sensitivity): number => Math.max(...effects.map(({ lower, higher }) => (
    Math.max(Math.abs(lower), Math.abs(higher)))))
  return rows.sort((a, b) => size(b) - size(a))
}

const COLUMNS: readonly Column[] = [
  { title: 'price', align: 'left' },
  { title: 'origin', align: 'left' },
  ...HEADLINES.map(({ name }) => ({ title: name, align: 'right' as const })),
]

function cells({ price, origin, effects }: Sensitivity): string[] {
  return [price, origin, ...effects.map(effectText)]
}

/** As a Markdown table; prices that move nothing are named below it. */
export function sensitivityMarkdown(rows: readonly Sensitivity[], base: readonly number[]): string {
  const { moving, still } = parted(rows)
  return [
    ...markdownLines(COLUMNS, [['*as it is*', '', ...base.map(numberText)], ...moving.map(cells)]), '',
    ...HEADLINES.map(({ name, what }) => `- **${name}**: ${what}`), '',
    `Less than ${LEAST_EFFECT} % of all of them: ${still.join(', ')}.`, '',
  ].join('\n')
}

/** For a terminal. */
export function sensitivityText(rows: readonly Sensitivity[], base: readonly number[]): string {
  const { moving, still } = parted(rows)
  return [
    ...tableLines(COLUMNS, [['as it is', '', ...base.map(numberText)], ...moving.map(cells)]), '',
    ...HEADLINES.map(({ name, what }) => `${name}: ${what}`), '',
    `less than ${LEAST_EFFECT} % of all of them: ${still.join(', ')}`, '',
  ].join('\n')
}

function parted(rows: readonly Sensitivity[]): { moving: Sensitivity[]; still: string[] } {
  const moves = ({ effects }: Sensitivity): boolean => (
    effects.some(({ lower, higher }) => Math.max(Math.abs(lower), Math.abs(higher)) >= LEAST_EFFECT))
  return { moving: rows.filter(moves), still: rows.filter(row => !moves(row)).map(({ price }) => price).sort() }
}

/** `-4.1 / +4.0 %`; a dash where nothing moves. */
function effectText({ lower, higher }: { lower: number; higher: number }): string {
  if (Math.max(Math.abs(lower), Math.abs(higher)) < LEAST_EFFECT) return '-'
  return `${signed(lower)} / ${signed(higher)} %`
}

function signed(value: number): string {
  const text = value.toFixed(1)
  return text === '-0.0' || text === '0.0' ? '0' : value > 0 ? `+${text}` : text
}

function numberText(value: number): string {
  return value >= 100 ? grouped(Math.round(value)) : value.toFixed(3)
}
