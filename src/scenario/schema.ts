// What a scenario file may say: the one source of its checks, its types, the JSON Schema that
// editors complete from, and docs/scenario-reference.md (schema-reference.ts). Everything has a
// default except `processes`.
//
// Not here: what only makes sense across keys (an area used before its mmap, a barrier that
// nobody completes); that is compile.ts and what it calls.

import { z } from 'zod'
import { BUG_NAMES } from '../kernel/bugs.js'
import { KERNEL_ERAS, MASK_FORMS, THP_MODES } from '../kernel/config.js'
import { COUNTER_NAMES } from '../kernel/counters.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { APIC_MODES, GEOMETRY_NAMES, ICR_MODES } from '../machine/config.js'
import type { Costs } from '../machine/costs.js'
import { MACHINE_PRESETS, TLB_PRESETS, unitOf } from '../machine/presets.js'
import { SMT_MODES } from '../machine/smt.js'
import {
  comm, duration, flag, integer, keys, MAX_COUNT, name, oneOf, size, some, text, tlbArray, wants,
} from './fields.js'
import { cpuList, cpuNumber, MAX_CPUS, program } from './schema-operations.js'

export const DEFAULT_MACHINE = 'skl-2s'
const MIN_GHZ = 0.001
const MAX_GHZ = 100
const MAX_COST_CYCLES = 1e9
const COST_NAMES = Object.keys(Object.values(MACHINE_PRESETS)[0]!.costs) as (keyof Costs)[]
const presetName = oneOf('machine preset', Object.keys(MACHINE_PRESETS))

// ---- machine and kernel ----

const tlbLevel = z.union([tlbArray, keys({
  base: tlbArray.optional().describe('Array for base pages. Without it they are not cached at this level.'),
  large: tlbArray.optional().describe('Array for 2 MiB (4 MiB on i386) pages.'),
  giant: tlbArray.optional().describe('Array for 1 GiB pages.'),
}).meta({ id: 'tlb level' })], wants("entries and ways as '64/4', or a map"))

const tlb = keys({
  preset: oneOf('TLB preset', Object.keys(TLB_PRESETS)).optional()
    .describe('TLBs to start from. Default: those of the machine.'),
  l1i: tlbLevel.optional().describe("First-level instruction TLB. '64/8' holds every page size in one array."),
  l1d: tlbLevel.optional().describe('First-level data TLB.'),
  stlb: tlbLevel.optional().describe('Second-level TLB, shared by instructions and data.'),
  pagingCache: keys({
    pgd: integer(0, 4096).optional().describe('Entries of the pgd cache.'),
    p4d: integer(0, 4096).optional().describe('Entries of the p4d cache.'),
    pud: integer(0, 4096).optional().describe('Entries of the pud cache.'),
    pmd: integer(0, 4096).optional().describe('Entries of the pmd cache.'),
  }).meta({ id: 'paging cache' }).optional().describe('Paging-structure caches, entries by level; 0 disables one.'),
}).meta({ id: 'tlb' })

const wantsClock = wants(`a clock from ${MIN_GHZ} to ${MAX_GHZ} GHz`)
const clock = z.number(wantsClock).min(MIN_GHZ, wantsClock).max(MAX_GHZ, wantsClock)
const cost = integer(0, MAX_COST_CYCLES, 'cycles')
const costShape = Object.fromEntries(COST_NAMES.map((field) => field === 'frequencyGhz'
  ? [field, clock.optional().describe(`Core clock, GHz, ${MIN_GHZ} to ${MAX_GHZ}.`)]
  : [field, cost.optional().describe(unitOf(field) === 'lines'
    ? 'Cache lines of 64 bytes, a whole number.' : 'Cycles, a whole number.')]))

const machine = keys({
  preset: presetName.optional().describe(`Machine to start from. Default: ${DEFAULT_MACHINE}.`),
  cpus: integer(1, MAX_CPUS, 'CPUs').optional().describe('Number of CPUs. Default: 2, whatever the preset.'),
  sockets: integer(1, MAX_CPUS, 'sockets').optional()
    .describe('Sockets the CPUs are spread over. Default: as many of the preset\'s as the CPUs fill.'),
  memory: size.optional().describe('Physical memory, a multiple of 4M, at most 8G. Default: 256M.'),
  geometry: oneOf('geometry', GEOMETRY_NAMES).optional().describe('Page-table geometry. Default: that of the preset.'),
  maxPhysAddrBits: integer(32, 44, 'bits').optional().describe('MAXPHYADDR: entry bits at and above it are reserved.'),
  vendor: oneOf('vendor', ['intel', 'amd']).optional().describe('Whose manual decides where they differ.'),
  invpcid: flag.optional().describe('It has INVPCID, which page-table isolation uses. Default: that of the preset.'),
  apic: oneOf('APIC mode', APIC_MODES).optional()
    .describe('Destinations of one interrupt command: a cluster of up to 16 CPUs, one CPU, or (flat) all of up to 8. '
      + 'Default: that of the preset.'),
  ipiShorthand: flag.optional()
    .describe('Interrupts for all other CPUs take one command, as 5.4 and later send them. Default: false.'),
  icr: oneOf('way of sending interrupts', ICR_MODES).optional()
    .describe('What a write of the interrupt command register is: to hardware (ipiSend), an exit of a guest to its '
      + 'host, or virtualised by the processor (icrExit..., icrVirtual...). Default: that of the preset.'),
  smt: oneOf('way of sharing TLBs', SMT_MODES).optional()
    .describe('CPUs are hardware threads, two of a core, and each has half of every TLB and paging cache. Default: '
      + 'every CPU is a core.'),
  noise: integer(0, 100, 'percent').optional()
    .describe('Log-normal noise on what kernels do, in percent, drawn from the seed. Default: 0, exact prices.'),
  tlb: z.union([oneOf('TLB preset', Object.keys(TLB_PRESETS)), tlb], wants('a TLB preset or a map')).optional()
    .describe('TLBs: the name of a preset, or changes to one.'),
  host: keys({
    run: duration.describe('How long a virtual CPU runs, on average.'),
    away: duration.describe('How long it is away after that, on average.'),
  }).meta({ id: 'host' }).optional()
    .describe('A virtual machine on an overcommitted host, which takes CPUs away in turns. Default: they always run.'),
  costs: keys(costShape, 'cost').meta({ id: 'costs' }).optional()
    .describe('Prices that differ from the preset, in cycles (docs/cost-model.md).'),
}).meta({ id: 'machine' })

const era = oneOf('kernel era', KERNEL_ERAS)
const khugepaged = keys({
  scanSleep: duration.optional().describe('Between two scans, at least 10us. Default: 10s.'),
  pagesToScan: integer(1, 2 ** 20, 'pages').optional().describe('Entries looked at in one scan. Default: 4096.'),
  maxPtesNone: integer(0, 2 ** 20, 'pages').optional()
    .describe('Entries of a range that may be empty. Default: all but one.'),
}).meta({ id: 'khugepaged' })
const kernel = keys({
  era: era.optional().describe('Whose rules the kernel follows. Default: linux-6.x.'),
  policy: oneOf('shootdown policy', POLICY_NAMES).optional()
    .describe('Who is interrupted for a flush, and what lazy CPUs do. Default: what Linux does in this era.'),
  flushCeiling: integer(0, 2 ** 20, 'pages').optional()
    .describe('tlb_single_page_flush_ceiling: a longer flush becomes a full one. Default: 33.'),
  vmapLazyPages: integer(0, 2 ** 20, 'pages').optional()
    .describe('Pages of freed kernel buffers that may wait for one flush. Default: 32M for one CPU, as much again for '
      + 'each doubling of their number (lazy_max_pages).'),
  pcid: flag.optional()
    .describe('Use PCID. Default: true where the geometry has it, except linux-4.6 and policies without PCID.'),
  pti: flag.optional()
    .describe('Page-table isolation: user mode runs under page tables and PCIDs of its own. Default: false.'),
  remoteFlush: oneOf('order', ['concurrent', 'serial']).optional()
    .describe('Does the initiator flush itself while its targets do, or before? Default: concurrent; 4.6 is serial.'),
  mmCpumask: oneOf('form of mm_cpumask', MASK_FORMS).optional()
    .describe('Which CPUs a flush considers. eager: a switch sets and clears bits (Linux until 6.13). lazy: bits are '
      + 'cleared by the next flush, which interrupts their CPUs. trimmed: by a flush once a second (6.14 and later). '
      + 'per-cpu: no mask, a flush looks at the loaded mm of every CPU. Default: trimmed; 4.6 is eager.'),
  earlyAck: flag.optional()
    .describe('Responders acknowledge a flush before they do it, unless page tables are freed (proposed by N. Amit, A. '
      + 'Tai and M. Wei, EuroSys 2020). Default: false, as in Linux. 6.x only.'),
  flushEachUnmap: flag.optional()
    .describe('Reclaim flushes every page that it unmaps by itself, as before Linux 4.3. Default: up to 32 at once.'),
  timeSlice: duration.optional().describe('How long a task runs while others wait on its CPU. Default: 3ms.'),
  idle: oneOf('idle mode', ['poll', 'halt', 'deep']).optional()
    .describe('What an idle CPU does: poll, halt (pays idleExit to wake), or halt in a deep state that loses the TLBs '
      + 'and leaves a borrowed address space (pays idleExitDeep). Default: halt.'),
  swap: size.optional().describe('Size of the swap area, in memory that is not counted (zram). Default: none.'),
  speculation: flag.optional()
    .describe('CPUs in the kernel walk mapped addresses on their own, as out-of-order hardware may. Default: false.'),
  thp: oneOf('THP mode', THP_MODES).optional()
    .describe('Transparent huge pages for all anonymous areas, after madvise hugepage, or not at all. Default: never.'),
  khugepaged: khugepaged.optional()
    .describe('A kernel task that collapses base pages into huge ones in the background. Default: none.'),
  physBase: size.optional().describe('Physical load address of the kernel image, a multiple of 2M. Default: 16M.'),
}).meta({ id: 'kernel' })

// ---- who runs ----

const thread = keys({
  name: comm.describe('Task name, unique in the scenario.'),
  cpu: cpuNumber.optional().describe('The CPU it runs on. Default: any.'),
  cpus: cpuList.optional().describe('CPUs it may run on.'),
  copies: z.union([integer(1, MAX_CPUS, 'copies'), z.literal('rest')], wants('a number of copies, or rest')).optional()
    .describe('So many threads of this kind, `name-0`, `name-1`, ..., the first on `cpu` and each on the next one; '
      + '`rest`: up to the last CPU of the machine, which may be none. Areas that the program maps are its own in '
      + 'each copy. Default: one thread, under its own name.'),
  program: program.describe('What it runs.'),
}).meta({ id: 'thread' })
const processMap = keys({
  name: comm.describe('Name of the process; also the task name when `program` is given here.'),
  cpu: cpuNumber.optional().describe('With `program`: the CPU it runs on.'),
  cpus: cpuList.optional().describe('With `program`: CPUs it may run on.'),
  program: program.optional().describe('The program of a process with one thread.'),
  threads: some(thread, 'threads').optional().describe('Threads that share the address space.'),
}).meta({ id: 'process' })
const kernelThread = keys({
  name: comm.describe('Task name, unique in the scenario.'),
  cpu: cpuNumber.optional().describe('The CPU it runs on. Default: any.'),
  cpus: cpuList.optional().describe('CPUs it may run on.'),
  program: program.describe('Only what needs no address space; after useMm also read, write, touch and gupFast.'),
}).meta({ id: 'kernel thread' })

const file = keys({
  name: name.describe('Name of the file.'),
  pages: integer(1, MAX_COUNT, 'pages').optional().describe('Length in base pages.'),
  bytes: size.optional().describe('Length in bytes.'),
}).meta({ id: 'file' })

// ---- expectations ----

const bound = z.int(wants('a whole number')).min(0, wants('a whole number'))
const bounds = {
  atLeast: bound.optional().describe('Smallest number that is right.'),
  atMost: bound.optional().describe('Largest number that is right.'),
}
const matched = z.union([z.string(), z.number()], wants('text or a number'))
const expectation = keys({
  counter: oneOf('counter', COUNTER_NAMES).meta({ title: 'counter' }).optional().describe('A counter of the run.'),
  equals: bound.optional().describe('With counter: the exact value.'),
  event: text.optional().describe('An event of the trace, such as tlb_flush.'),
  where: z.record(z.string(), matched, wants('a map of event fields')).optional()
    .describe('With event: only those whose fields match. `cpu` and `task` are where it happened; '
      + '`args.cpu` is a field of the event itself. A reason is its ftrace text or its constant, in any case.'),
  count: bound.optional().describe('With event: the exact number. Without a bound: at least one.'),
  task: comm.optional().describe('A task, by name.'),
  outcome: oneOf('outcome', ['exited', 'SIGSEGV', 'SIGBUS', 'SIGKILL']).optional().describe('With task: how it ended.'),
  ...bounds,
}).meta({ id: 'expectation' })

export const scenarioSchema = keys({
  name: text.optional().describe('Default: the file name without its extension.'),
  question: text.optional().describe('What the scenario asks.'),
  lookFor: z.union([text, some(text, 'lines of text')], wants('text or a list of texts')).optional()
    .describe('What to look for in the trace.'),
  machine: z.union([presetName, machine], wants('a machine preset or a map')).optional()
    .describe(`The machine: the name of a preset, or changes to one. Default: ${DEFAULT_MACHINE}.`),
  cpus: integer(1, MAX_CPUS, 'CPUs').optional().describe('Short for machine.cpus. Default: 2.'),
  kernel: z.union([era, kernel], wants('a kernel era or a map')).optional()
    .describe('The kernel: an era, or options. Default: linux-6.x.'),
  bugs: z.array(oneOf('bug', BUG_NAMES), wants('a list of bugs')).optional()
    .describe('Historical bugs to put back into the kernel (docs/bugs.md). `--check` shows what they break.'),
  seed: integer(0, 2 ** 32 - 1).optional().describe('Seed of everything random. Default: 1.'),
  files: some(file, 'files').optional().describe('Files that mmap can map. No page of them is cached at the start.'),
  processes: some(processMap, 'processes').describe('What runs. The only key that is required.'),
  kernelThreads: some(kernelThread, 'kernel threads').optional()
    .describe('Tasks without an address space of their own.'),
  schedule: z.union([text, keys({
    trace: text.describe('Path of the capture (ftrace text with sched_switch), relative to the scenario file.'),
    tasks: z.record(z.string(), comm, wants('a map of captured tasks to tasks of the scenario')).optional()
      .describe('Which task of the capture is which of the scenario, where their names differ.'),
    stretch: z.number(wants('a positive number')).positive(wants('a positive number')).optional()
      .describe('Makes the captured time so many times longer. Default: 1.'),
  }).meta({ id: 'schedule' })], wants('the path of a capture or a map')).optional()
    .describe('Tasks run where and when a captured schedule says, not as the scheduler would choose.'),
  expect: some(expectation, 'expectations').optional().describe('Facts that must hold after the run.'),
}).meta({ id: 'scenario' })

/** What a scenario may say, as an object instead of YAML. */
export type ScenarioSource = z.input<typeof scenarioSchema>
export type RawScenario = z.infer<typeof scenarioSchema>
export type RawMachine = z.infer<typeof machine>
export type RawTlb = z.infer<typeof tlb>
export type RawTlbLevel = z.infer<typeof tlbLevel>
export type RawKernel = z.infer<typeof kernel>
export type RawProcess = z.infer<typeof processMap>
export type RawThread = z.infer<typeof thread>
export type RawExpectation = z.infer<typeof expectation>

/** JSON Schema (draft 2020-12) of a scenario file, for editors. */
export function scenarioJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(scenarioSchema, { io: 'input' }) as Record<string, unknown>
}

/** The file that the package ships. */
export function schemaFileText(): string {
  const { $schema, ...rest } = scenarioJsonSchema()
  const title = 'A scenario of shootdown, a simulator of kernel memory management on several CPUs'
  return `${JSON.stringify({ $schema, title, ...rest }, undefined, 2)}\n`
}
