// What a program of a scenario may do: the schema of every operation. schema.ts has the rest of a
// scenario file; compile-program.ts and compile-calls.ts say what becomes of an operation.

import { z } from 'zod'
import { ADVICE, ERRNO, type ErrnoName } from '../kernel/abi.js'
import {
  comm, describeValue, duration, flag, integer, keys, MAX_COUNT, name, oneOf, place, size, some, text, u64, wants,
  type KeyIssue,
} from './fields.js'
import { suggestionLines } from './suggest.js'

export const MAX_CPUS = 256
export const cpuNumber = integer(0, MAX_CPUS - 1).meta({ title: 'CPU number' })
export const cpuList = some(cpuNumber, 'CPU numbers')
const pages = integer(1, MAX_COUNT, 'pages')

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
    huge: z.union([flag, oneOf('huge page size', ['2M', '1G'])], wants('true, false, 2M or 1G')).optional()
      .describe('MAP_HUGETLB: large pages (true: 2 MiB on x86-64), or those of the size given.'),
    shared: flag.optional().describe('MAP_SHARED: writes reach every mapping of the same memory, also in forked '
      + 'children. Default: MAP_PRIVATE.'),
    file: name.optional().describe('A file of the scenario (`files:`) to map. Default: anonymous memory.'),
    fileOffset: size.optional().describe('First byte of the file that is mapped. Default: 0.'),
    device: flag.optional().describe('Memory of a driver, without struct pages (VM_PFNMAP).'),
    expectError,
  }).meta({ id: 'mmap' }).optional().describe('Maps memory: anonymous and private unless it says otherwise.'),
  munmap: z.union([name, range], wants('an area or a map')).optional().describe('Unmaps an area or a part of it.'),
  mprotect: keys({ ...rangeShape, prot: prot.describe('The new protection.'), expectError })
    .meta({ id: 'mprotect' }).optional().describe('Changes the protection of a range.'),
  madvise: keys({
    ...rangeShape,
    advice: oneOf('advice', ADVICE).describe('dontneed drops the pages; free lets reclaim drop them until they are '
      + 'written again; cold and pageout make reclaim take them sooner or now; hugepage, nohugepage and collapse '
      + 'are about transparent huge pages.'),
    expectError,
  }).meta({ id: 'madvise' }).optional().describe('Advises the kernel about a range.'),
  mremap: keys({
    ...rangeShape,
    to: size.optional().describe('New length in bytes. Default: the old one.'),
    toPages: pages.optional().describe('New length in base pages, instead of `to`.'),
    newAt: u64.optional().describe('MREMAP_FIXED: the new address. Default: the kernel chooses.'),
    mayMove: flag.optional().describe('MREMAP_MAYMOVE. Default: true.'),
    name: name.optional().describe('Names the result. Default: the area follows.'),
    expectError,
  }).meta({ id: 'mremap' }).optional().describe('Moves or resizes a mapping.'),
  migrate: z.union([name, range], wants('an area or a map')).optional()
    .describe('move_pages(): migrates the pages of a range to other frames.'),
  numaHint: z.union([name, range], wants('an area or a map')).optional()
    .describe('What a NUMA balancing scan does: the next access to each page of the range is a hinting fault.'),
  reclaim: keys({ pages: pages.describe('Base pages to reclaim.') }).meta({ id: 'reclaim' }).optional()
    .describe('memory.reclaim: reclaims pages of anybody, in the context of this task.'),
  sync: name.optional().describe('fsync(): writes the dirty pages of a file back.'),
  truncate: keys({
    file: name.describe('A file of the scenario.'),
    pages: integer(0, MAX_COUNT, 'pages').optional().describe('New length in base pages.'),
    bytes: size.optional().describe('New length in bytes.'),
  }).meta({ id: 'truncate' }).optional().describe('ftruncate(): cuts a file off, also where it is mapped.'),
  gupFast: z.union([name, range], wants('an area or a map')).optional()
    .describe('get_user_pages_fast(): a lockless table walk with interrupts off.'),
  modifyLdt: keys({ entries: integer(1, 8192, 'entries').describe('Entries of the new LDT.') })
    .meta({ id: 'modifyLdt' }).optional().describe('Replaces the LDT of the address space.'),
  vmalloc: keys({
    name: name.describe('Names the buffer, for the whole scenario.'),
    pages: pages.optional().describe('Length in base pages.'),
    bytes: size.optional().describe('Length in bytes.'),
  }).meta({ id: 'vmalloc' }).optional().describe('Allocates a kernel buffer in vmalloc space.'),
  vfree: name.optional().describe('Frees a vmalloc buffer.'),
  kernelTouch: z.union([name, keys({
    buffer: name.describe('A vmalloc buffer.'),
    access: oneOf('access', ['read', 'write']).optional().describe('Default: read.'),
    offset: size.optional().describe('First byte. Default: 0.'),
    stride: size.optional().describe('Bytes between accesses. Default: one base page.'),
    count: integer(1, MAX_COUNT, 'accesses').optional().describe('Default: 1.'),
  }).meta({ id: 'kernelTouch' })], wants('a buffer or a map')).optional()
    .describe('The kernel accesses a vmalloc buffer on behalf of this task.'),
  useMm: name.optional().describe('kthread_use_mm(): the kernel thread takes the address space of a process.'),
  unuseMm: z.null(wants('nothing after "unuseMm:"')).optional().describe('kthread_unuse_mm().'),
  kill: comm.optional().describe('Sends SIGKILL to the named task; its whole process ends.'),
  exitGroup: z.null(wants('nothing after "exitGroup:"')).optional().describe('Ends every thread of the process.'),
  setaffinity: keys({
    task: comm.optional().describe('Default: this task.'),
    cpu: cpuNumber.optional().describe('The CPU it may run on.'),
    cpus: cpuList.optional().describe('CPUs it may run on.'),
  }).meta({ id: 'setaffinity' }).optional().describe('sched_setaffinity(): the task moves if it has to.'),
  nice: z.union([integer(-20, 19), keys({
    task: comm.optional().describe('Default: this task.'),
    value: integer(-20, 19).describe('-20 (most) to 19 (least).'),
  }).meta({ id: 'nice' })], wants('a number from -20 to 19 or a map')).optional()
    .describe('Changes the weight of a task.'),
  irqsOff: duration.optional().describe('A stretch in the kernel with interrupts off; interrupts wait.'),
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

const BARE_OPERATIONS = ['wait', 'yield', 'exit', 'exitGroup', 'unuseMm'] as const
type LeafOperations = { [Key in keyof typeof leafShape]?: z.infer<(typeof leafShape)[Key]> }
/** A child, a thread or a new program image. */
export interface RawFork {
  name: string
  cpu?: number | undefined
  cpus?: number[] | undefined
  program: RawOperation[]
}
export interface RawExecve {
  name?: string | undefined
  program: RawOperation[]
}
export interface RawRepeat {
  times: number
  do: RawOperation[]
}
/** One operation as written: a map with exactly one key, or the bare word. */
export type RawOperation = (typeof BARE_OPERATIONS)[number]
  | (LeafOperations & {
    fork?: RawFork | undefined
    clone?: RawFork | undefined
    vfork?: RawFork | undefined
    execve?: RawExecve | undefined
    repeat?: RawRepeat | undefined
  })

const operation: z.ZodType<RawOperation> = z.lazy(() => operationSchema)
export const program = some(operation, 'operations')
const childShape = {
  name: comm.describe('Task name of the child.'),
  cpu: cpuNumber.optional().describe('The CPU the child runs on. Default: as the parent.'),
  cpus: cpuList.optional().describe('CPUs the child may run on.'),
  program: program.describe('What the child runs.'),
}
const operationShape = {
  ...leafShape,
  fork: keys(childShape).meta({ id: 'fork' }).optional().describe('Forks a child that shares memory copy-on-write.'),
  clone: keys(childShape).meta({ id: 'clone' }).optional()
    .describe('Starts a thread in this process: same address space, same thread group.'),
  vfork: keys(childShape).meta({ id: 'vfork' }).optional()
    .describe('A child that borrows the address space; this task sleeps until the child calls execve or exits.'),
  execve: keys({
    name: comm.optional().describe('New task name. Default: the old one.'),
    program: program.describe('What runs in the new address space.'),
  }).meta({ id: 'execve' }).optional().describe('execve(): a new, empty address space and a new program. '
    + 'The other threads of the process end; what follows is never reached.'),
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
const operationSchema = z.union([z.enum(BARE_OPERATIONS), operationMap], {
  error: ({ input }) => {
    if (typeof input !== 'string') return `expected an operation such as "- touch: buf", found ${describeValue(input)}`
    if (OPERATION_NAMES.includes(input)) return `the operation "${input}" needs a value\nexpected "- ${input}: ..."`
    return [`unknown operation "${input}"`, ...suggestionLines(input, OPERATION_NAMES, 60)].join('\n')
  },
})

/** `- touch:` with its options at the same depth reads as two keys; say so. */
function indentationHint(issue: KeyIssue): string[] {
  const first = Object.keys(issue.input as object).find((key) => key in operationShape)
  return first === undefined ? [] : [`if it is an option of "${first}", indent it below "${first}:"`]
}

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
