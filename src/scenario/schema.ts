// What a scenario file may say: the one source of its checks, its types, the JSON Schema that
// editors complete from, and docs/scenario-reference.md (schema-reference.ts). Everything has a
// default except `processes`.
//
// Not here: what only makes sense across keys (an area used before its mmap, a barrier that
// nobody completes); that is compile.ts and what it calls.

import { z } from 'zod'
import { ERRNO, type ErrnoName } from '../kernel/abi.js'
import { KERNEL_ERAS } from '../kernel/config.js'
import { COUNTER_NAMES } from '../kernel/counters.js'
import { GEOMETRY_NAMES } from '../machine/config.js'
import type { Costs } from '../machine/costs.js'
import { MACHINE_PRESETS, TLB_PRESETS } from '../machine/presets.js'
import {
  comm, describeValue, duration, flag, integer, keys, MAX_COUNT, name, oneOf, place, size, some, text, tlbArray, u64,
  wants, type KeyIssue,
} from './fields.js'
import { suggestionLines } from './suggest.js'

export const MAX_CPUS = 256
export const DEFAULT_MACHINE = 'skl-2s'
const MIN_GHZ = 0.001
const MAX_GHZ = 100
const MAX_COST_CYCLES = 1e9
const COST_NAMES = Object.keys(Object.values(MACHINE_PRESETS)[0]!.costs) as (keyof Costs)[]
const presetName = oneOf('machine preset', Object.keys(MACHINE_PRESETS))
const cpuNumber = integer(0, MAX_CPUS - 1).meta({ title: 'CPU number' })
const cpuList = some(cpuNumber, 'CPU numbers')
const pages = integer(1, MAX_COUNT, 'pages')

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
  : [field, cost.optional().describe('Cycles, a whole number.')]))

const machine = keys({
  preset: presetName.optional().describe(`Machine to start from. Default: ${DEFAULT_MACHINE}.`),
  cpus: integer(1, MAX_CPUS, 'CPUs').optional().describe('Number of CPUs. Default: 2, whatever the preset.'),
  sockets: integer(1, MAX_CPUS, 'sockets').optional()
    .describe('Sockets the CPUs are spread over. Default: as many of the preset\'s as the CPUs fill.'),
  memory: size.optional().describe('Physical memory, a multiple of 4M, at most 8G. Default: 256M.'),
  geometry: oneOf('geometry', GEOMETRY_NAMES).optional().describe('Page-table geometry. Default: that of the preset.'),
  maxPhysAddrBits: integer(32, 44, 'bits').optional().describe('MAXPHYADDR: entry bits at and above it are reserved.'),
  vendor: oneOf('vendor', ['intel', 'amd']).optional().describe('Whose manual decides where they differ.'),
  tlb: z.union([oneOf('TLB preset', Object.keys(TLB_PRESETS)), tlb], wants('a TLB preset or a map')).optional()
    .describe('TLBs: the name of a preset, or changes to one.'),
  costs: keys(costShape, 'cost').meta({ id: 'costs' }).optional()
    .describe('Prices that differ from the preset, in cycles (docs/cost-model.md).'),
}).meta({ id: 'machine' })

const era = oneOf('kernel era', KERNEL_ERAS)
const kernel = keys({
  era: era.optional().describe('Whose rules the kernel follows. Default: linux-6.x.'),
  flushCeiling: integer(0, 2 ** 20, 'pages').optional()
    .describe('tlb_single_page_flush_ceiling: a longer flush becomes a full one. Default: 33.'),
  pcid: flag.optional().describe('Use PCID. Default: true for linux-6.x where the geometry has it; 4.6 has no PCID.'),
  timeSlice: duration.optional().describe('How long a task runs while others wait on its CPU. Default: 3ms.'),
  idle: oneOf('idle mode', ['poll', 'halt']).optional()
    .describe('What an idle CPU does: halt (pays idleExit to wake) or poll. Default: halt.'),
  physBase: size.optional().describe('Physical load address of the kernel image, a multiple of 2M. Default: 16M.'),
}).meta({ id: 'kernel' })

// ---- operations ----

const placeShape = {
  area: name.optional().describe('An area that an mmap of this process named.'),
  at: u64.optional().describe('An absolute address, instead of an area.'),
  offset: size.optional().describe('Bytes from the start of the area or address. Default: 0.'),
}
const rangeShape = {
  ...placeShape,
  pages: pages.optional().describe('Length in base pages. Default: to the end of the area.'),
  bytes: size.optional().describe('Length in bytes, instead of pages.'),
}
const expectError = oneOf('error number', Object.keys(ERRNO) as ErrnoName[]).optional()
  .describe('The error that the system call must return; anything else fails the run. Without it an error is shown '
    + 'in the summary, and the program goes on.')

const patternShape = {
  pattern: oneOf('pattern', ['seq', 'random']).optional()
    .describe('seq: start, start + stride, ... and around; random: any aligned word of the range. Default: seq.'),
  stride: size.optional().describe('Bytes between accesses. Default: one base page.'),
  count: integer(1, MAX_COUNT, 'accesses').optional().describe('Number of accesses. Default: one pass over the range.'),
  passes: integer(1, MAX_COUNT, 'passes').optional().describe('Passes over the range, instead of a count.'),
  seed: integer(0, 2 ** 32 - 1).optional().describe('Seed of the random pattern. Default: the seed of the scenario.'),
}
const touch = z.union([place, keys({
  ...rangeShape,
  access: oneOf('access', ['read', 'write', 'exec']).optional().describe('What the accesses do. Default: read.'),
  write: flag.optional().describe('`write: true` is short for `access: write`.'),
  ...patternShape,
}).meta({ id: 'touch' })], wants('an area, an address or a map'))
const access = z.union([place, keys({ ...rangeShape, ...patternShape }).meta({ id: 'access' })],
  wants('an area, an address or a map'))

const wantsTime = wants('a positive number')
const time = z.number(wantsTime).positive(wantsTime)
const prot = oneOf('protection', ['rw', 'r', 'rwx', 'rx', 'none'])
const range = keys({ ...rangeShape, expectError }).meta({ id: 'range' })
const leafShape = {
  touch: touch.optional().describe('Accesses memory: an area, an address, or a range with a pattern.'),
  read: access.optional().describe('`touch` that reads.'),
  write: access.optional().describe('`touch` that writes.'),
  exec: access.optional().describe('`touch` that fetches instructions.'),
  compute: duration.optional().describe('Runs without touching memory.'),
  spin: name.optional().describe('Polls in user mode until some task signals the flag.'),
  signal: name.optional().describe('Raises a flag that `spin` waits for. A flag stays raised.'),
  store: keys({ ...placeShape, value: u64.describe('The 64-bit value.') }).meta({ id: 'store' }).optional()
    .describe('Stores a 64-bit value, 8-byte aligned.'),
  load: z.union([place, keys({
    ...placeShape, expect: u64.optional().describe('The value that must be found; another one fails the run.'),
  }).meta({ id: 'load' })], wants('an area, an address or a map')).optional()
    .describe('Loads 8 bytes, 8-byte aligned, and may check the value.'),
  mmap: keys({
    name: name.optional().describe('Names the area for later operations of this process and its children.'),
    pages: pages.optional().describe('Length in base pages.'),
    bytes: size.optional().describe('Length in bytes; the kernel rounds it up to whole pages.'),
    size: size.optional().describe('The same as bytes.'),
    at: u64.optional()
      .describe('Wanted address. Without `fixed` or `noReplace` it is a hint: where something is mapped the kernel '
        + 'chooses another one, and the run says so in a note. Default: the kernel chooses.'),
    prot: prot.optional().describe('Protection. Default: rw.'),
    fixed: flag.optional().describe('MAP_FIXED: replaces what is mapped there, also a part of it; '
      + 'the run says so in a note.'),
    noReplace: flag.optional().describe('MAP_FIXED_NOREPLACE: EEXIST if something is mapped there. '
      + 'An overlap that is certain is an error in the scenario, unless `expectError: EEXIST` announces it.'),
    populate: flag.optional().describe('MAP_POPULATE: fault every page in at once.'),
    huge: flag.optional().describe('MAP_HUGETLB: large pages (2 MiB on x86-64).'),
    expectError,
  }).meta({ id: 'mmap' }).optional().describe('Maps anonymous private memory.'),
  munmap: z.union([name, range], wants('an area or a map')).optional().describe('Unmaps an area or a part of it.'),
  mprotect: keys({ ...rangeShape, prot: prot.describe('The new protection.'), expectError })
    .meta({ id: 'mprotect' }).optional().describe('Changes the protection of a range.'),
  madvise: keys({
    ...rangeShape, advice: oneOf('advice', ['dontneed']).describe('dontneed drops the pages.'), expectError,
  }).meta({ id: 'madvise' }).optional().describe('Advises the kernel about a range.'),
  wait: z.null(wants('nothing after "wait:"')).optional().describe('Waits until every child of this task has exited.'),
  sleep: z.union([duration, z.literal('forever'), keys({
    cycles: integer(1, 1e12).optional().describe('Cycles.'),
    ns: time.optional().describe('Nanoseconds.'),
    us: time.optional().describe('Microseconds.'),
    ms: time.optional().describe('Milliseconds.'),
  }).meta({ id: 'sleep' })], wants("a duration such as 1000 (cycles) or '10us', or forever")).optional()
    .describe('Sleeps for a time, or `forever`: until some task wakes this one.'),
  wake: comm.optional().describe('Wakes the named task. If it does not sleep, the wake-up is remembered once.'),
  barrier: z.union([name, keys({
    name: name.describe('Name of the barrier.'),
    tasks: integer(1, 65536, 'tasks').optional()
      .describe('Tasks that must arrive. Default: all initial threads and forked children that mention it.'),
  }).meta({ id: 'barrier' })], wants('the name of a barrier or a map')).optional()
    .describe('Waits, asleep, until all its tasks have arrived.'),
  mark: text.optional().describe('Writes a tracing_mark_write event.'),
  yield: z.null(wants('nothing after "yield:"')).optional().describe('Lets another task of this CPU run.'),
  exit: z.null(wants('nothing after "exit:"')).optional().describe('Ends the task. Every program ends with it anyway.'),
  replay: z.union([text, keys({
    trace: text.describe('Path of the trace, relative to the scenario file.'),
    from: integer(0, MAX_COUNT).optional().describe('First record. Default: 0.'),
    count: integer(1, MAX_COUNT, 'records').optional().describe('Number of records. Default: to the end of the trace.'),
  }).meta({ id: 'replay' })], wants('the path of a trace or a map')).optional()
    .describe('Replays a recorded memory trace; its pages are mapped before the run starts.'),
}

type LeafOperations = { [Key in keyof typeof leafShape]?: z.infer<(typeof leafShape)[Key]> }
export interface RawFork {
  name: string
  cpu?: number | undefined
  cpus?: number[] | undefined
  program: RawOperation[]
}
export interface RawRepeat {
  times: number
  do: RawOperation[]
}
/** One operation as written: a map with exactly one key, or the bare word. */
export type RawOperation = 'wait' | 'yield' | 'exit'
  | (LeafOperations & { fork?: RawFork | undefined; repeat?: RawRepeat | undefined })

const operation: z.ZodType<RawOperation> = z.lazy(() => operationSchema)
const program = some(operation, 'operations')
const operationShape = {
  ...leafShape,
  fork: keys({
    name: comm.describe('Task name of the child.'),
    cpu: cpuNumber.optional().describe('The CPU the child runs on. Default: as the parent.'),
    cpus: cpuList.optional().describe('CPUs the child may run on.'),
    program: program.describe('What the child runs.'),
  }).meta({ id: 'fork' }).optional().describe('Forks a child that shares memory copy-on-write.'),
  repeat: keys({
    times: integer(1, MAX_COUNT, 'times').describe('How often, at least once.'),
    do: program.describe('The operations to repeat.'),
  }).meta({ id: 'repeat' }).optional().describe('Repeats operations.'),
}
export const OPERATION_NAMES = Object.keys(operationShape)

const operationMap = keys(operationShape, 'operation', indentationHint).superRefine((value, context) => {
  const given = Object.keys(value)
  if (given.length === 1 || context.issues.length > 0) return
  const found = given.length === 0 ? 'none' : given.join(', ')
  context.addIssue({ code: 'custom', message: `an operation is a map with exactly one key, found ${found}\n`
    + 'every operation of a program starts with its own "- "' })
}).meta({ id: 'operation' })
const operationSchema = z.union([z.enum(['wait', 'yield', 'exit']), operationMap], {
  error: ({ input }) => {
    if (typeof input !== 'string') return `expected an operation such as "- touch: buf", found ${describeValue(input)}`
    if (OPERATION_NAMES.includes(input)) return `the operation "${input}" needs a value\nexpected "- ${input}: ..."`
    return [`unknown operation "${input}"`, ...suggestionLines(input, OPERATION_NAMES, 40)].join('\n')
  },
})

/** `- touch:` with its options at the same depth reads as two keys; say so. */
function indentationHint(issue: KeyIssue): string[] {
  const first = Object.keys(issue.input as object).find((key) => key in operationShape)
  return first === undefined ? [] : [`if it is an option of "${first}", indent it below "${first}:"`]
}

// ---- who runs ----

const thread = keys({
  name: comm.describe('Task name, unique in the scenario.'),
  cpu: cpuNumber.optional().describe('The CPU it runs on. Default: any.'),
  cpus: cpuList.optional().describe('CPUs it may run on.'),
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
  program: program.describe('Only compute, sleep, wake, barrier, signal, mark, yield, repeat and exit.'),
}).meta({ id: 'kernel thread' })

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
  seed: integer(0, 2 ** 32 - 1).optional().describe('Seed of everything random. Default: 1.'),
  processes: some(processMap, 'processes').describe('What runs. The only key that is required.'),
  kernelThreads: some(kernelThread, 'kernel threads').optional()
    .describe('Tasks without an address space of their own.'),
  expect: some(expectation, 'expectations').optional().describe('Facts that must hold after the run.'),
}).meta({ id: 'scenario' })

export type RawScenario = z.infer<typeof scenarioSchema>
export type RawMachine = z.infer<typeof machine>
export type RawTlb = z.infer<typeof tlb>
export type RawTlbLevel = z.infer<typeof tlbLevel>
export type RawKernel = z.infer<typeof kernel>
export type RawProcess = z.infer<typeof processMap>
export type RawThread = z.infer<typeof thread>
export type RawExpectation = z.infer<typeof expectation>
/** The keys by which operations name a piece of memory. */
export interface RawRange {
  area?: string | undefined
  at?: number | string | undefined
  offset?: number | string | undefined
  pages?: number | undefined
  bytes?: number | string | undefined
}
export type RawTouch = z.infer<typeof touch>
export type RawMmap = NonNullable<z.infer<(typeof leafShape)['mmap']>>

/** JSON Schema (draft 2020-12) of a scenario file, for editors. */
export function scenarioJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(scenarioSchema, { io: 'input' }) as Record<string, unknown>
}
