// Small deliberate mistakes in the kernel, each of which the goldens or the invariants must notice (main.ts
// makes them one at a time). `find` stands exactly once in its file; a mutation whose place has changed
// is an error, not a pass.

export interface Mutation {
  name: string
  /** Below src. */
  file: string
  /** What is wrong with it, as a row of docs/mutations.md says it. */
  what: string
  find: string
  replace: string
}

const FLUSH_6X = 'kernel/tlb/tlb-flush-6x.ts'
const MASK = 'kernel/tlb/mm-cpumask.ts'
const FLUSH_46 = 'kernel/tlb/tlb-flush-46.ts'
const GATHER = 'kernel/mm/mmu-gather.ts'

export const MUTATIONS: readonly Mutation[] = [
  // ---- who is interrupted ----
  { name: 'skip-one-ipi', file: FLUSH_6X, what: 'the last CPU of several targets gets no interrupt',
    find: '  return targets\n}\n\n/** Freed tables concern',
    replace: '  if (targets.length > 1) targets.pop()\n  return targets\n}\n\n/** Freed tables concern' },
  { name: 'skip-one-ipi-46', file: FLUSH_46, what: 'the same in 4.6',
    find: 'mask.toArray().filter(id => id !== cpu.id)\n  yield* smpCallMany(k, cpu, targets, target => flushFunc',
    replace: 'mask.toArray().filter(id => id !== cpu.id).slice(0, 1)\n'
      + '  yield* smpCallMany(k, cpu, targets, target => flushFunc' },
  { name: 'interrupt-lazy', file: FLUSH_6X, what: 'lazy CPUs are interrupted for every flush',
    find: '  if (isLazy) return false\n', replace: '  if (isLazy) return true\n' },
  { name: 'spare-lazy-for-tables', file: FLUSH_6X, what: 'lazy CPUs are left out when tables are freed',
    find: 'return reachesLazy || isChangingAsid(k, info)', replace: 'return isChangingAsid(k, info)' },
  { name: 'no-trim', file: MASK, what: 'stale mask bits are never trimmed',
    find: '  if (cpu.now <= mm.nextTrimCycle) return false\n', replace: '  if (cpu.now > 0) return false\n' },
  { name: 'eager-keeps-bit', file: MASK, what: 'a switch of the form "eager" leaves the bit of the mm before',
    find: '    prev.mmCpumask.clear(cpu.id)\n', replace: '' },
  { name: 'lazy-keeps-bit', file: MASK, what: 'a flush that finds another mm leaves the bit, in the form "lazy"',
    find: "  if (form !== 'lazy' && form !== 'trimmed') return\n", replace: "  if (form !== 'trimmed') return\n" },
  { name: 'switching-cpu-missed', file: MASK,
    what: 'a flush of the form "per-cpu" passes over a CPU in the middle of a switch',
    find: 'loadedMm === mm || loadedMm === undefined) mask.set(id)', replace: 'loadedMm === mm) mask.set(id)' },
  { name: 'wrong-vector', file: 'kernel/smp/ipi.ts', what: 'one target gets the interrupt of many',
    find: 'send.length === 1 ? VECTOR_CALL_FUNCTION_SINGLE : VECTOR_CALL_FUNCTION\n',
    replace: 'send.length === 0 ? VECTOR_CALL_FUNCTION_SINGLE : VECTOR_CALL_FUNCTION\n' },
  { name: 'no-wait-for-ack', file: 'kernel/smp/ipi.ts', what: 'the sender does not wait for its targets',
    find: '  if (completion.remaining > 0) {\n    completion.frame',
    replace: '  if (completion.remaining > 1000) {\n    completion.frame' },

  // ---- what is flushed ----
  { name: 'ceiling-34', file: FLUSH_6X, what: 'the ceiling is one page higher',
    find: '> k.config.kernel.flushCeilingPages) {', replace: '> k.config.kernel.flushCeilingPages + 1) {' },
  { name: 'ceiling-34-46', file: FLUSH_46, what: 'the same in 4.6',
    find: 'wholeMm = pages > k.config.kernel.flushCeilingPages',
    replace: 'wholeMm = pages > k.config.kernel.flushCeilingPages + 1' },
  { name: 'one-page-short', file: FLUSH_6X, what: 'a range is flushed without its last page',
    find: 'invalidatePages(k, cpu, info.start, Math.ceil(units), info.stridePages)',
    replace: 'invalidatePages(k, cpu, info.start, Math.ceil(units) - 1, info.stridePages)' },
  { name: 'count-off-by-one', file: FLUSH_6X, what: 'tlb_flush reports one page too many',
    find: '    pages = Math.floor(units)\n', replace: '    pages = Math.floor(units) + 1\n' },
  { name: 'wrong-reason', file: FLUSH_6X, what: 'a batch of the own CPU is reported as "local MM shootdown"',
    find: 'info.mm === undefined ? TLB_LOCAL_SHOOTDOWN : TLB_LOCAL_MM_SHOOTDOWN',
    replace: 'info.mm === undefined ? TLB_LOCAL_MM_SHOOTDOWN : TLB_LOCAL_MM_SHOOTDOWN' },
  { name: 'hugetlb-range-46', file: FLUSH_46, what: '4.6 flushes hugetlb ranges page by page',
    find: 'range.end === FLUSH_ALL || range.hugetlb ? Infinity', replace: 'range.end === FLUSH_ALL ? Infinity' },
  { name: 'gather-range-short', file: GATHER, what: 'a gather forgets the end of its range',
    find: '  gather.end = Math.max(gather.end, end)\n', replace: '  gather.end = Math.max(gather.end, start + 1)\n' },
  { name: 'free-before-flush', file: GATHER, what: 'frames are freed before the flush',
    find: '    yield* flushMmuTlbonly(k, cpu, gather)\n    const cycles', replace: '    const cycles' },
  { name: 'nested-gather-missed', file: GATHER, what: 'overlapping gathers do not notice each other',
    find: 'gather.mm.gathersPending > 1 &&', replace: 'gather.mm.gathersPending > 9 &&' },
  { name: 'nested-gather-missed-46', file: GATHER, what: 'the same in 4.6 alone',
    find: '    extend(gather, gather.asked.start, gather.asked.end)\n', replace: '' },

  // ---- generations, slots, masks ----
  { name: 'generation-not-compared', file: FLUSH_6X, what: 'a lazy CPU returns without comparing generations',
    find: '    if (state.ctxs[state.loadedMmAsid].tlbGen === tlbGen) return\n',
    replace: '    if (tlbGen >= 0) return\n' },
  { name: 'stale-slot-kept', file: FLUSH_6X, what: 'a slot that is behind is loaded without a flush',
    find: 'needFlush: state.ctxs[asid].tlbGen < tlbGen', replace: 'needFlush: false' },
  { name: 'seven-slots', file: 'kernel/cpu.ts', what: 'a CPU has seven PCID slots',
    find: 'TLB_NR_DYN_ASIDS = 6', replace: 'TLB_NR_DYN_ASIDS = 7' },
  { name: 'generation-jumps', file: FLUSH_6X, what: 'a range is flushed as a range although a request is missing',
    find: 'info.newTlbGen === localGen + 1 && info.newTlbGen === mmGen', replace: 'info.newTlbGen > localGen' },
  { name: 'mask-not-set', file: MASK, what: 'a switch does not set the bit in mm_cpumask',
    find: '  next.mmCpumask.set(cpu.id)\n', replace: '' },
  { name: 'mask-not-cleared-46', file: FLUSH_46, what: '4.6 does not clear the bit of the old mm',
    find: '    prev.mmCpumask.clear(cpu.id)\n', replace: '    prev.mmCpumask.set(cpu.id)\n' },
  { name: 'mask-not-cleared-on-leave-46', file: FLUSH_46, what: 'a lazy CPU of 4.6 leaves the mm and keeps its bit',
    find: '  activeMm.mmCpumask.clear(cpu.id)\n', replace: '  activeMm.mmCpumask.set(cpu.id)\n' },
  { name: 'wrong-cpu-keeps-bit', file: FLUSH_6X, what: 'an interrupt that finds another mm loaded leaves the bit',
    find: '    if (!borrows) yield* leaveMask(k, cpu, info.mm)\n',
    replace: '    if (borrows) yield* leaveMask(k, cpu, info.mm)\n' },

  // ---- whose mm it is ----
  { name: 'reference-not-taken', file: 'kernel/sched/context-switch.ts', what: 'a borrower takes no reference',
    find: '    if (prev.mm !== undefined) {\n      mmgrabLazy(k, borrowed)\n',
    replace: '    if (prev.mm !== undefined) {\n' },
  { name: 'reference-not-dropped', file: 'kernel/sched/context-switch.ts', what: 'a borrowed mm is never given back',
    find: '  mmdropLazy(k, cpu, dropped)\n', replace: '' },

  // ---- operations ----
  { name: 'fork-not-flushed', file: 'kernel/sched/fork.ts', what: 'fork flushes nothing when it has copied the tables',
    find: '  yield* k.policy.flushMmRange(k, cpu, from, {\n    start: 0, end: FLUSH_ALL,',
    replace: '  if (entries < 0) yield* k.policy.flushMmRange(k, cpu, from, {\n    start: 0, end: FLUSH_ALL,' },
  { name: 'fork-leaves-writable', file: 'kernel/sched/fork.ts', what: 'fork leaves the entries of the parent writable',
    find: 'const isChanged = !vma.shared && protectedEntry.lo !== lo', replace: 'const isChanged = vma.shared' },
  { name: 'cow-not-flushed', file: 'kernel/mm/fault.ts', what: 'a copied page is mapped without a flush of the old one',
    find: '    yield* k.policy.flushPage(k, cpu, mm, vpn)\n    const exec', replace: '    const exec' },
  { name: 'cow-always-reuses', file: 'kernel/mm/fault.ts', what: 'a shared page is taken for one of a sole owner',
    find: 'k.frames.mapcount[pfn] + k.frames.entireMapcount[pfn] !== 1) return false\n',
    replace: 'k.frames.mapcount[pfn] + k.frames.entireMapcount[pfn] < 1) return false\n' },
  { name: 'cow-ignores-references', file: 'kernel/mm/fault.ts',
    what: '6.x reuses a page to which others hold references',
    find: '  return is46 || k.frames.refcount[pfn] === 1\n', replace: '  return is46 || k.frames.refcount[pfn] > 0\n' },
  { name: 'loosening-not-flushed', file: 'kernel/mm/mmap.ts', what: 'mprotect flushes nothing when write is allowed',
    find: 'const differs = (oldLo ^ newLo) & (PAGE_RW', replace: 'const differs = (oldLo & ~newLo) & (PAGE_RW' },
  { name: 'mprotect-46-precise', file: 'kernel/mm/mmap.ts', what: '4.6 flushes nothing that was not present',
    find: '    present += 1\n    if (entry.lo !== lo',
    replace: '    if (entry.lo & lo & 1) present += 1\n    if (entry.lo !== lo' },
  { name: 'mremap-not-flushed', file: 'kernel/mm/move-page-tables.ts', what: 'mremap does not flush the old place',
    find: 'KernelOp {\n  yield* k.policy.flushMmRange(k, cpu, mm, { start, end,',
    replace: 'KernelOp {\n  if (end < start) yield* k.policy.flushMmRange(k, cpu, mm, { start, end,' },
  { name: 'collapse-not-synced', file: 'kernel/huge/collapse.ts', what: 'collapse does not wait for lockless walkers',
    find: '  yield* removeTableSyncOne(k, cpu)\n', replace: '' },
  { name: 'sweep-not-flushed', file: 'kernel/tlb/tlb-latr.ts', what: 'LATR clears the bit of a CPU that did not flush',
    find: 'if (!tlb6x.isLazy) yield* executeFlush(', replace: 'if (tlb6x.isLazy) yield* executeFlush(' },
  { name: 'migration-not-flushed', file: 'kernel/pages/migrate.ts',
    what: 'migration copies a page that may still be written',
    find: '  if (needsFlush && !isLate) yield*', replace: '  if (needsFlush && isLate) yield*' },
  { name: 'batch-never-deferred', file: 'kernel/reclaim/unmap-batch.ts', what: 'reclaim flushes every page at once',
    find: 'flushEachUnmap !== true && cpumaskOf(k, mm).anyBut(cpu.id)',
    replace: 'flushEachUnmap !== true && cpumaskOf(k, mm).anyBut(cpu.id) && cpu.id < 0' },
  { name: 'ldt-not-sent', file: 'kernel/mm/ldt.ts', what: 'other CPUs do not hear of a new LDT',
    find: 'const targets = cpumaskOf(k, mm).toArray().filter(id => id !== cpu.id)',
    replace: 'const targets = cpumaskOf(k, mm).toArray().filter(id => id < 0)' },
  { name: 'kernel-ceiling-32', file: 'kernel/tlb/kernel-flush.ts',
    what: 'the ceiling of kernel ranges is one page lower',
    find: 'end - start > k.config.kernel.flushCeilingPages',
    replace: 'end - start >= k.config.kernel.flushCeilingPages' },
  { name: 'lapse-of-a-cycle', file: FLUSH_6X, what: 'every flush of an mm costs one cycle more',
    find: '  yield k.costs.flushSetup\n  const forGeneration',
    replace: '  yield k.costs.flushSetup + 1\n  const forGeneration' },
]
