// The counters of a run, by name. One list serves the kernel that bumps them, the scenario
// language that states facts about them (`expect:`) and the summaries that print them.

export const KERNEL_COUNTERS = {
  contextSwitches: 'context switches, idle task included',
  syscalls: 'system calls executed',
  failedSyscalls: 'system calls that returned an error',
  pageFaults: 'page faults taken, spurious ones included',
  spuriousFaults: 'page faults whose entry already allowed the access',
  zeroPageFaults: 'read faults that mapped the shared zero page',
  demandZero: 'write faults that allocated a zeroed page',
  cowCopies: 'copy-on-write faults that copied',
  fileFaults: 'page faults that mapped a page of the page cache',
  sharedWriteFaults: 'write faults that made a shared page writable, without a copy or a flush',
  fileReads: 'pages of files read into the page cache',
  fileWrites: 'dirty pages of files written back',
  mremapMoves: 'areas that mremap moved to another address',
  pageTablesMoved: 'page tables that moved whole, with their entries',
  vmallocs: 'kernel buffers allocated',
  vmapPurges: 'flushes of freed kernel buffers, many at a time',
  vmallocFaults: 'faults that copied an entry of the swapper directory into the loaded root',
  kernelOopses: 'tasks ended by a kernel oops: the kernel accessed what is not mapped',
  kernelUseAfterFree: 'accesses of the kernel to a freed buffer that a TLB still had',
  cowReuses: 'copy-on-write faults that found a sole owner and reused the page',
  sigsegv: 'tasks ended by SIGSEGV',
  sigbus: 'tasks ended by SIGBUS',
  oomKills: 'tasks ended because memory ran out',
  shootdowns: 'flush requests that had to consider another CPU',
  ipisSent: 'call-function and reschedule interrupts sent',
  callFunctionIpis: 'call-function interrupts sent (one per target)',
  rescheduleIpis: 'reschedule interrupts sent',
  lazySkipped: 'targets skipped because they were lazy (6.x)',
  lazyLeft: 'CPUs that left a borrowed mm because of an interrupt or at exit',
  wrongCpu: 'flush interrupts that found another mm loaded',
  uselessFlushes: 'flush interrupts that had nothing left to do',
  nr_tlb_remote_flush: 'vmstat: requests with remote targets (debug counter)',
  nr_tlb_remote_flush_received: 'vmstat: handler runs on targets (debug counter)',
  nr_tlb_local_flush_all: 'vmstat: full flushes by initiators (debug counter)',
  nr_tlb_local_flush_one: 'vmstat: pages invalidated by initiators (debug counter)',
  initiatorCycles: 'cycles from the start of a flush request to its completion, summed',
  responderCycles: 'cycles stolen from targets by flush interrupts, summed',
  savedStates: 'invalidations noted down for later instead of sent (latr)',
  settledStates: 'of these, done early because their range was to be used again',
  vcpuPreemptions: 'times that the host took a virtual CPU away',
  stolenCycles: 'cycles that virtual CPUs were away, summed',
  hostFlushes: 'flushes of virtual CPUs that were away, left to the host (kvm-pv)',
  pagesAllocated: 'frames allocated to users and page tables',
  pagesFreed: 'frames returned by users and page tables',
} as const

export const CORE_COUNTERS = {
  accesses: 'memory accesses completed in user mode',
  l1iLookups: 'first-level instruction TLB lookups',
  l1iMisses: 'first-level instruction TLB misses',
  l1dLookups: 'first-level data TLB lookups',
  l1dMisses: 'first-level data TLB misses',
  stlbLookups: 'second-level TLB lookups',
  stlbMisses: 'second-level TLB misses, that is page walks',
  walkSteps: 'entries read by page walks',
  failedLoads: 'loads whose value was not the expected one',
} as const

export type KernelCounter = keyof typeof KERNEL_COUNTERS
export type CoreCounter = keyof typeof CORE_COUNTERS
export type CounterName = KernelCounter | CoreCounter

export const COUNTER_NAMES = [...Object.keys(KERNEL_COUNTERS), ...Object.keys(CORE_COUNTERS)] as CounterName[]
