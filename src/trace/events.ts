// The one table of events. Everything that is written to or read from a trace is derived from
// it: numeric ids, names, the order of fields in a record, the text of a line.
//
// A record carries a header (cycle, cpu, pid, comm, flags) and up to six 32-bit words, a..f,
// which hold the fields in the order given here: one word for an int, a hex number, a cycle
// count, a flush reason or a string (its interned id), two words (hi, lo) for an address.
//
// `ftrace: true` marks events that a real kernel has, under exactly this name; the others are
// ours and appear in ftrace text only as markers. How lines look: text.ts and ftrace-text.ts.

/** Kernel versions whose trace vocabulary differs; the same words as KernelEra in kernel/config.ts. */
export type TraceEra = 'linux-4.6' | 'linux-6.x'

export type FieldType = 'int' | 'string' | 'address' | 'hex' | 'cycles' | 'reason'

export interface EventField {
  readonly name: string
  readonly type: FieldType
}

export interface EventKind {
  readonly id: number
  readonly name: string
  /** Exists in a real kernel's ftrace. */
  readonly ftrace: boolean
  /** Interrupt vector, for the entry/exit pairs of irq_vectors. */
  readonly vector?: number
  readonly doc: string
  readonly fields: readonly EventField[]
}

const int = <N extends string>(name: N) => ({ name, type: 'int' }) as const
const str = <N extends string>(name: N) => ({ name, type: 'string' }) as const
const address = <N extends string>(name: N) => ({ name, type: 'address' }) as const
const hex = <N extends string>(name: N) => ({ name, type: 'hex' }) as const
const cycles = <N extends string>(name: N) => ({ name, type: 'cycles' }) as const
const reason = <N extends string>(name: N) => ({ name, type: 'reason' }) as const

/** x86 interrupt vectors as they appear in irq_vectors events. */
export const VECTOR_LOCAL_TIMER = 236
export const VECTOR_CALL_FUNCTION_SINGLE = 251
export const VECTOR_CALL_FUNCTION = 252
export const VECTOR_RESCHEDULE = 253

/** All kinds; `EVENTS[id].id === id`. */
export const EVENTS = [
  // ---- sched: the header's comm and pid are prev, waker or parent ----
  { id: 0, name: 'sched_switch', ftrace: true, fields: [str('prevState'), str('nextComm'), int('nextPid')],
    doc: 'The CPU goes from the task in the header (pid 0: idle) to next.' },
  { id: 1, name: 'sched_wakeup', ftrace: true, fields: [str('comm'), int('pid'), int('targetCpu')],
    doc: 'The named task becomes runnable on targetCpu.' },
  { id: 2, name: 'sched_wakeup_new', ftrace: true, fields: [str('comm'), int('pid'), int('targetCpu')],
    doc: 'A new task becomes runnable for the first time.' },
  { id: 3, name: 'sched_migrate_task', ftrace: true,
    fields: [str('comm'), int('pid'), int('origCpu'), int('destCpu')],
    doc: 'A task moves from one run queue to another.' },
  { id: 4, name: 'sched_process_fork', ftrace: true, fields: [str('childComm'), int('childPid')],
    doc: 'The task in the header made a child.' },
  { id: 5, name: 'sched_process_exit', ftrace: true, fields: [int('groupDead')],
    doc: 'The task in the header exits; groupDead is 1 for the last thread of its process.' },

  // ---- tlb ----
  { id: 6, name: 'tlb_flush', ftrace: true, fields: [int('pages'), reason('reason')],
    doc: 'A flush on this CPU (reasons 0 to 3 and 5), or the announcement of a remote one (4). pages -1: everything.' },

  // ---- ipi, csd, irq_vectors ----
  { id: 7, name: 'ipi_send_cpu', ftrace: true, fields: [int('cpu'), str('callback')],
    doc: 'One interrupt to one CPU; callback is CALLBACK_CALL_FUNCTION or CALLBACK_RESCHEDULE.' },
  { id: 8, name: 'ipi_send_cpumask', ftrace: true, fields: [str('cpumask'), str('callback')],
    doc: 'One interrupt to each CPU of the mask (text as in cpumask.ts).' },
  { id: 9, name: 'csd_queue_cpu', ftrace: true, fields: [int('cpu')],
    doc: 'A call-function request is put on the list of that CPU.' },
  { id: 10, name: 'call_function_single_entry', ftrace: true, vector: VECTOR_CALL_FUNCTION_SINGLE, fields: [],
    doc: 'The handler of a call-function interrupt sent to this CPU alone starts.' },
  { id: 11, name: 'call_function_single_exit', ftrace: true, vector: VECTOR_CALL_FUNCTION_SINGLE, fields: [],
    doc: 'and ends.' },
  { id: 12, name: 'call_function_entry', ftrace: true, vector: VECTOR_CALL_FUNCTION, fields: [],
    doc: 'The handler of a call-function interrupt sent to a mask starts.' },
  { id: 13, name: 'call_function_exit', ftrace: true, vector: VECTOR_CALL_FUNCTION, fields: [], doc: 'and ends.' },
  { id: 14, name: 'reschedule_entry', ftrace: true, vector: VECTOR_RESCHEDULE, fields: [],
    doc: 'The handler of a reschedule interrupt starts.' },
  { id: 15, name: 'reschedule_exit', ftrace: true, vector: VECTOR_RESCHEDULE, fields: [], doc: 'and ends.' },
  { id: 16, name: 'local_timer_entry', ftrace: true, vector: VECTOR_LOCAL_TIMER, fields: [],
    doc: 'The handler of the local timer interrupt starts.' },
  { id: 17, name: 'local_timer_exit', ftrace: true, vector: VECTOR_LOCAL_TIMER, fields: [], doc: 'and ends.' },

  // ---- exceptions and markers ----
  { id: 18, name: 'page_fault_user', ftrace: true, fields: [address('address'), address('ip'), hex('errorCode')],
    doc: 'A page fault taken in user mode; errorCode as the CPU pushes it.' },
  { id: 19, name: 'page_fault_kernel', ftrace: true, fields: [address('address'), address('ip'), hex('errorCode')],
    doc: 'A page fault taken in kernel mode.' },
  { id: 20, name: 'tracing_mark_write', ftrace: true, fields: [str('text')],
    doc: 'Free text written by a program (`mark`).' },

  // ---- ours ----
  { id: 21, name: 'sys_enter', ftrace: false, fields: [str('name'), address('start'), int('bytes')],
    doc: 'A system call starts; start and bytes are 0 where it has no range.' },
  { id: 22, name: 'sys_exit', ftrace: false, fields: [str('name'), int('result')],
    doc: 'It returns: 0 or more, or a negative error number.' },
  { id: 23, name: 'flush_begin', ftrace: false,
    fields: [int('mm'), address('start'), int('pages'), int('newTlbGen')],
    doc: 'This CPU starts a flush request. mm -1: kernel mappings. pages -1: everything. newTlbGen 0 in 4.6.' },
  { id: 24, name: 'flush_skip', ftrace: false, fields: [int('cpu'), str('why')],
    doc: 'The open request of this CPU leaves out the named one: `lazy`, `not loaded`, `preempted` or `deferred`.' },
  { id: 25, name: 'flush_ack', ftrace: false, fields: [int('cpu')],
    doc: 'Recorded on the responder, after its tlb_flush: it has done its part for the request of CPU `cpu`.' },
  { id: 26, name: 'flush_done', ftrace: false, fields: [int('mm'), int('targets'), cycles('cycles')],
    doc: 'The open request of this CPU is complete: number of CPUs it waited for, cycles since flush_begin.' },
  { id: 27, name: 'signal', ftrace: false, fields: [str('name'), address('address')],
    doc: 'The task in the header is ended by a signal because of this address.' },
  { id: 28, name: 'enter_lazy_tlb', ftrace: false, fields: [int('mm')],
    doc: 'This CPU keeps the mm loaded while a kernel thread or idle runs.' },
  { id: 29, name: 'leave_mm', ftrace: false, fields: [int('mm')],
    doc: 'This CPU gives up the borrowed mm and loads the kernel root.' },
  { id: 30, name: 'switch_mm', ftrace: false, fields: [int('mm'), int('asid'), int('flushed')],
    doc: 'This CPU loads the root of mm into slot asid; flushed is 1 when its entries were dropped.' },
  { id: 31, name: 'mm_free', ftrace: false, fields: [int('mm')], doc: 'The last reference to mm is gone.' },
  { id: 32, name: 'page_map', ftrace: false, fields: [address('address'), int('pfn'), int('order')],
    doc: 'A user page is mapped; order 9 is a 2 MiB leaf on x86-64.' },
  { id: 33, name: 'load_mismatch', ftrace: false, fields: [address('address'), address('got'), address('expected')],
    doc: 'A load returned another value than the program expected.' },
  { id: 34, name: 'oom', ftrace: false, fields: [str('what')],
    doc: 'No frame was left; what says for which purpose.' },
  { id: 35, name: 'vcpu_preempt', ftrace: false, fields: [],
    doc: 'The host takes this virtual CPU away: it executes nothing until vcpu_resume.' },
  { id: 36, name: 'vcpu_resume', ftrace: false, fields: [cycles('cycles'), int('flushed')],
    doc: 'It runs again, after so many cycles; flushed is 1 when the host flushed its TLB first.' },

  // ---- tasks, more: real kernels have these ----
  { id: 37, name: 'sched_process_exec', ftrace: true, fields: [str('filename'), int('oldPid')],
    doc: 'The task in the header runs a new program; oldPid differs from its pid when it was not the first thread.' },
  { id: 38, name: 'signal_generate', ftrace: true, fields: [int('sig'), str('comm'), int('pid')],
    doc: 'A signal is sent to the process of the named task.' },
] as const satisfies readonly EventKind[]

type Row = (typeof EVENTS)[number]
export type EventName = Row['name']

type Camel<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S

/** Numeric ids under camelCase names: `EVENT.tlbFlush`, `EVENT.callFunctionSingleEntry`. */
export const EVENT = Object.freeze(
  Object.fromEntries(EVENTS.map((row) => [camelCase(row.name), row.id])),
) as { readonly [R in Row as Camel<R['name']>]: R['id'] }

type FieldValue<T extends FieldType> = T extends 'string' ? string : T extends 'address' ? bigint : number

/** The decoded fields of an event: strings as text, addresses as bigint, everything else as number. */
export type FieldsOf<N extends EventName> = {
  readonly [F in Extract<Row, { name: N }>['fields'][number] as F['name']]: FieldValue<F['type']>
}

/** One decoded record. Comparing `event.name` narrows `event.fields`. */
export type TraceEvent = {
  [N in EventName]: {
    /** Place in the trace, from 0. */
    readonly index: number
    readonly cycle: number
    readonly cpu: number
    readonly pid: number
    readonly comm: string
    readonly flags: number
    readonly kind: number
    readonly name: N
    readonly fields: FieldsOf<N>
  }
}[EventName]

// ---- tlb_flush reasons (spec 4.0; Linux enum tlb_flush_reason) ----

export const TLB_FLUSH_ON_TASK_SWITCH = 0
export const TLB_REMOTE_SHOOTDOWN = 1
export const TLB_LOCAL_SHOOTDOWN = 2
export const TLB_LOCAL_MM_SHOOTDOWN = 3
export const TLB_REMOTE_SEND_IPI = 4
export const TLB_REMOTE_WRONG_CPU = 5

export interface FlushReason {
  readonly id: number
  /** The kernel's constant; what the canonical text prints. */
  readonly name: string
  /** What ftrace prints; undefined where the era does not have this reason. */
  readonly text: Readonly<Record<TraceEra, string | undefined>>
}

export const FLUSH_REASONS: readonly FlushReason[] = [
  { id: 0, name: 'TLB_FLUSH_ON_TASK_SWITCH',
    text: { 'linux-4.6': 'flush on task switch', 'linux-6.x': 'flush on task switch' } },
  { id: 1, name: 'TLB_REMOTE_SHOOTDOWN',
    text: { 'linux-4.6': 'remote shootdown', 'linux-6.x': 'remote shootdown' } },
  { id: 2, name: 'TLB_LOCAL_SHOOTDOWN',
    text: { 'linux-4.6': 'local shootdown', 'linux-6.x': 'local shootdown' } },
  { id: 3, name: 'TLB_LOCAL_MM_SHOOTDOWN',
    text: { 'linux-4.6': 'local mm shootdown', 'linux-6.x': 'local MM shootdown' } },
  { id: 4, name: 'TLB_REMOTE_SEND_IPI',
    text: { 'linux-4.6': 'remote ipi send', 'linux-6.x': 'remote IPI send' } },
  { id: 5, name: 'TLB_REMOTE_WRONG_CPU', text: { 'linux-4.6': undefined, 'linux-6.x': 'remote wrong CPU' } },
]

/** The era's text for a reason. A number the era does not know prints as hex, as the kernel's symbol printer does. */
export function flushReasonText(reasonId: number, era: TraceEra): string {
  return FLUSH_REASONS[reasonId]?.text[era] ?? `0x${(reasonId >>> 0).toString(16)}`
}

// ---- callbacks of ipi_send_cpu and ipi_send_cpumask ----

export const CALLBACK_CALL_FUNCTION = 'generic_smp_call_function_single_interrupt'
/** A reschedule interrupt has no callback; the kernel prints the null pointer. */
export const CALLBACK_RESCHEDULE = '0x0'

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
