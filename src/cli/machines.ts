// `shootdown machines [NAME]`: the machines that there are; of one, every price with its unit and origin, its TLBs and
// its topology; and how far conclusions depend on its prices.

import { Command, Option } from 'commander'
import { UserError } from '../base/errors.js'
import { tableLines } from '../base/table.js'
import type { MachineConfig, TlbConfig, TlbLevelConfig } from '../machine/config.js'
import type { Costs } from '../machine/costs.js'
import { COST_SOURCES, MACHINE_NOTES, MACHINE_PRESETS, TLB_PRESETS } from '../machine/presets.js'
import { suggestionLines } from '../scenario/suggest.js'
import { HEADLINES, headlines, sensitivity, SENSITIVITY_MACHINE, sensitivityMarkdown, sensitivityText,
} from '../study/sensitivity.js'
import { Progress } from './progress.js'

export const MACHINES_SCHEMA_VERSION = 1

interface Flags {
  json?: boolean
  sensitivity?: boolean
  markdown?: boolean
}

/** The sub-command, to be added to the program. */
export function machinesCommand(): Command {
  return new Command('machines')
    .description('list the machines, or explain one: prices, where they come from, TLBs, topology')
    .argument('[name]', 'a machine preset')
    .option('--sensitivity', 'change each price by a quarter and show what that does to a few numbers')
    .option('--json', 'print one JSON object, and nothing else')
    .addOption(new Option('--markdown', 'with --sensitivity: a table for a document').conflicts('json'))
    .addHelpText('after', `
Origins: source, read in a published measurement; derived, computed from one; assumed, ours.

Examples:
  shootdown machines
  shootdown machines milan
  shootdown machines --sensitivity`)
    .action(machines)
}

async function machines(name: string | undefined, flags: Flags): Promise<void> {
  if (name !== undefined && MACHINE_PRESETS[name] === undefined) {
    throw new UserError(`there is no machine "${name}"`, undefined, suggestionLines(name, Object.keys(MACHINE_PRESETS)))
  }
  if (flags.markdown === true && flags.sensitivity !== true) throw new UserError('--markdown goes with --sensitivity')
  if (flags.sensitivity === true) return await showSensitivity(name ?? SENSITIVITY_MACHINE, flags)
  if (flags.json === true) {
    const names = name === undefined ? Object.keys(MACHINE_PRESETS) : [name]
    process.stdout.write(`${JSON.stringify({ schemaVersion: MACHINES_SCHEMA_VERSION, machines: names.map(asData) })}\n`)
    return
  }
  process.stdout.write(name === undefined ? listText() : machineText(name))
}

async function showSensitivity(name: string, flags: Flags): Promise<void> {
  const progress = new Progress()
  const base = await headlines(name)
  const rows = await sensitivity(name, (done, all) => progress.update(() => `${done} of ${all} prices`))
  progress.done()
  if (flags.json === true) {
    const numbers = HEADLINES.map((headline, i) => ({ name: headline.name, what: headline.what, value: base[i] }))
    const data = { schemaVersion: MACHINES_SCHEMA_VERSION, machine: name, headlines: numbers, prices: rows }
    process.stdout.write(`${JSON.stringify(data)}\n`)
    return
  }
  process.stdout.write(flags.markdown === true ? sensitivityMarkdown(rows, base) : sensitivityText(rows, base))
}

function asData(name: string): unknown {
  const { costs, tlb, ...shape } = MACHINE_PRESETS[name]!
  const prices = Object.fromEntries(Object.entries(costs).map(([price, value]) => (
    [price, { value, ...COST_SOURCES[name]![price as keyof Costs] }])))
  return { name, what: MACHINE_NOTES[name], ...shape, tlb, prices }
}

function listText(): string {
  const rows = Object.entries(MACHINE_PRESETS).map(([name, machine]) => {
    const origins = Object.values(COST_SOURCES[name]!).map(({ origin }) => origin)
    const known = origins.filter(origin => origin !== 'assumed').length
    return [name, String(machine.sockets), String(machine.costs.frequencyGhz), tlbName(machine.tlb),
      `${known} of ${origins.length}`, MACHINE_NOTES[name] ?? '']
  })
  return [
    ...tableLines([
      { title: 'machine', align: 'left' }, { title: 'sockets', align: 'right' }, { title: 'GHz', align: 'right' },
      { title: 'TLB', align: 'left' }, { title: 'known prices', align: 'right' },
        { title: 'what it is', align: 'left' },
    ], rows), '',
    'Every price of one: shootdown machines NAME. Known prices are read or derived; the others are assumed.', '',
  ].join('\n')
}

function machineText(name: string): string {
  const machine = MACHINE_PRESETS[name]!
  const rows = (Object.keys(machine.costs) as (keyof Costs)[]).map((price) => {
    const { unit, origin, note } = COST_SOURCES[name]![price]
    return [price, String(machine.costs[price]), unit, origin, note]
  })
  return [
    `${name}: ${MACHINE_NOTES[name] ?? ''}`, '',
    ...tableLines([{ title: 'what', align: 'left' }, { title: '', align: 'left' }], shapeRows(machine)), '',
    ...tableLines([
      { title: 'price', align: 'left' }, { title: 'value', align: 'right' }, { title: 'unit', align: 'left' },
      { title: 'origin', align: 'left' }, { title: 'note', align: 'left' },
    ], rows), '',
    'What each price is for, and the keys of the notes: docs/cost-model.md.', '',
  ].join('\n')
}

function shapeRows(machine: Omit<MachineConfig, 'preset'>): string[][] {
  const { sockets, vendor, geometry, maxPhysAddrBits, invpcid, apic, icr, tlb } = machine
  const cache = tlb.pagingCache
  return [
    ['sockets', `${sockets}; CPUs are numbered socket by socket, a hop for each socket between two`],
    ['processor', `${vendor}, ${invpcid ? 'with' : 'without'} INVPCID`],
    ['page tables', `${geometry}, ${maxPhysAddrBits} physical address bits`],
    ['interrupts', `${apic}, commands ${icr ?? 'native'}`],
    ['TLBs', tlbName(tlb)], ['L1I', levelText(tlb.l1i)], ['L1D', levelText(tlb.l1d)], ['STLB', levelText(tlb.stlb)],
    ['paging caches', `pgd ${cache.pgd}, p4d ${cache.p4d}, pud ${cache.pud}, pmd ${cache.pmd} entries`],
  ]
}

function tlbName(tlb: TlbConfig): string {
  // Two processors may have the same.
  const names = Object.entries(TLB_PRESETS).filter(([, preset]) => preset === tlb).map(([name]) => name)
  return names.length === 0 ? 'its own' : names.join(' or ')
}

/** `64/4 base, 32/4 large`: entries and ways by page size. */
function levelText({ arrays, base, large, giant }: TlbLevelConfig): string {
  const sizes = arrays.map(({ entries, ways }, at) => {
    const kept = [['base', base], ['large', large],
      ['giant', giant]].filter(([, array]) => array === at).map(([size]) => size)
    return `${entries}/${ways} ${kept.join(' and ')}`
  })
  return sizes.length === 0 ? 'none' : sizes.join(', ')
}
