// CPUs, tasks and address spaces as tables: one row each, the counters that the kernel keeps, and
// the areas of each mm.

import { hex64 } from '../base/units.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../kernel/abi.js'
import type { KernelCpu } from '../kernel/cpu.js'
import { TLBSTATE_OK } from '../kernel/cpu.js'
import type { Mm } from '../kernel/mm/mm.js'
import { fileOf } from '../kernel/pages/page-cache.js'
import type { KernelState } from '../kernel/state.js'
import { vpnHi, vpnLo } from '../kernel/state.js'
import type { Task } from '../kernel/sched/task.js'
import { cpumaskOf } from '../kernel/tlb/mm-cpumask.js'
import type { Vma } from '../kernel/mm/vma.js'
import { columns, pcidTitle, rootTitle, sizeOf } from './text.js'
import { describeMm, describeTask } from './violation.js'

/** Where a CPU's core stands while it is in user mode; the kernel's rows do not say. */
export type ClockOf = (cpu: KernelCpu) => number

/** One row a CPU: what it runs, which mm is loaded, whether it is lazy, and its PCID slots. */
export function dumpCpus(k: KernelState, clockOf?: ClockOf): string {
  const is46 = k.config.kernel.era === 'linux-4.6'
  const header = ['cpu', 'cycle', 'mode', 'task', 'loaded', is46 ? 'state' : 'lazy', ...(is46 ? [] : ['slots mm:gen'])]
  return table([header, ...k.cpus.map((cpu) => cpuRow(k, cpu, is46, clockOf))], [1])
}

/** One row a task, idle tasks first, then every address space with its counters and areas. */
export function dumpTasks(k: KernelState): string {
  const tasks = [...k.cpus.map((cpu) => cpu.idleTask), ...k.tasks]
  const taskRows = tasks.map((task) => taskRow(k, task))
  const header = ['pid', 'tgid', 'comm', 'state', 'cpu', 'mm', 'active_mm', 'doing']
  const mms = [...k.mms.values()].map((mm) => dumpMm(k, mm))
  return [table([header, ...taskRows], [0, 1]), ...mms].join('\n')
}

/** Counters and areas of one address space. */
export function dumpMm(k: KernelState, mm: Mm): string {
  const locks = [
    ...(mm.mmapLock.isHeldForWriting ? ['mmap_lock held for writing'] : mm.mmapLock.isHeld ? ['mmap_lock held'] : []),
    ...(mm.gathersPending > 0 ? [`${mm.gathersPending} open gathers`] : []),
  ]
  const counters = [
    `mm ${mm.ctxId} ${describeMm(k, mm)}`,
    `pgd pfn ${rootTitle(k, mm)}`, pcidTitle(k, mm),
    `mm_users ${mm.mmUsers}`, `mm_count ${mm.mmCount}`, `mm_cpumask ${cpumaskOf(k, mm).toHex()}`,
    `tlb_gen ${mm.tlbGen}`,
    `rss ${sizeOf(k, mm.rssPages)}`, `tables ${mm.tablePages}`, ...locks,
  ].join('  ')
  const areas = columns(mm.vmas.areas.map((vma) => areaRow(k, vma)), [1])
  return [counters, ...areas.map((line) => `  ${line}`), ''].join('\n')
}

function cpuRow(k: KernelState, cpu: KernelCpu, is46: boolean, clockOf: ClockOf | undefined): string[] {
  const cycle = cpu.inUserMode ? clockOf?.(cpu) ?? '-' : cpu.now
  const task = cpu.isIdle ? 'idle' : describeTask(cpu.current)
  const row = [`cpu${cpu.id}`, String(cycle), modeOf(cpu), task]
  if (is46) {
    const { state, activeMm } = cpu.tlb46
    const hasLeft = !activeMm.mmCpumask.has(cpu.id)
    const loaded = hasLeft ? `init_mm (left mm ${activeMm.ctxId})` : `mm ${activeMm.ctxId}`
    return [...row, activeMm === k.initMm ? 'init_mm' : loaded, state === TLBSTATE_OK ? 'OK' : 'LAZY']
  }
  const { loadedMm, isLazy, ctxs, loadedMmAsid } = cpu.tlb6x
  const loaded = loadedMm === undefined ? 'SWITCHING' : loadedMm === k.initMm ? 'init_mm' : `mm ${loadedMm.ctxId}`
  const slots = ctxs.map(({ ctxId, tlbGen }, asid) => {
    const text = ctxId === 0 ? '-' : `${ctxId}:${tlbGen}`
    return asid === loadedMmAsid ? `[${text}]` : text
  })
  return [...row, loaded, isLazy ? 'lazy' : '-', slots.join(' ')]
}

function modeOf(cpu: KernelCpu): string {
  if (cpu.inUserMode) return 'user'
  const top = cpu.stack[cpu.stack.length - 1]
  if (top?.halted === true) return 'halted'
  const words = [
    cpu.inInterrupt ? 'interrupt' : 'kernel', ...(cpu.irqsOff > 0 ? ['irqs off'] : []),
    ...(top?.waiting === true ? [`waits for ${cpu.waitingFor}`] : []),
  ]
  return words.join(', ')
}

function taskRow(k: KernelState, task: Task): string[] {
  const doing = task.state === 'Z' ? task.outcome : task.isAsleep ? `sleeps, waiting for ${task.sleepingOn}`
    : k.cpus[task.cpu]!.current === task ? 'runs' : task.isIdle ? '-' : 'ready'
  return [
    String(task.pid), String(task.tgid), task.comm, task.state, `cpu${task.cpu}`,
    mmOf(k, task.mm), mmOf(k, task.activeMm), doing,
  ]
}

function areaRow(k: KernelState, vma: Vma): string[] {
  const range = [vma.vmStart, vma.vmEnd].map((vpn) => hex64(vpnHi(k, vpn), vpnLo(k, vpn))).join('-')
  const letters = [[PROT_READ, 'r'], [PROT_WRITE, 'w'], [PROT_EXEC, 'x']] as const
  const prot = letters.map(([bit, letter]) => ((vma.prot & bit) === 0 ? '-' : letter)).join('')
  const file = mappedFile(k, vma)
  return [range, sizeOf(k, vma.vmEnd - vma.vmStart), `${prot}${vma.shared ? 's' : 'p'}`,
    file === '' && vma.huge ? 'huge' : file]
}

/** What an area maps, and from where on: `file data+16K`. */
function mappedFile(k: KernelState, vma: Vma): string {
  const file = fileOf(k, vma)
  if (file === undefined) return ''
  const name = file.kind === 'file' ? `file ${file.name}` : file.name
  return vma.pgoff === 0 ? name : `${name}+${sizeOf(k, vma.pgoff)}`
}

function mmOf(k: KernelState, mm: Mm | undefined): string {
  return mm === undefined ? '-' : mm === k.initMm ? 'init_mm' : String(mm.ctxId)
}

function table(rows: readonly (readonly string[])[], right: readonly number[]): string {
  return `${columns(rows, right).join('\n')}\n`
}
