// The kernel's view of the machine, over shared memory: MMUs, registers, areas, flags, mailboxes.
// The three hooks that keep cores and kernel in the total order (beforeSharedWrite,
// beforeFlagWrite, interruptAt, enterUser) are given by the engine that runs the cores.

import { geometryOf } from '../machine/geometry.js'
import { COUNTER_STLB_MISSES, LINUX_CONTROLS } from '../machine/mmu.js'
import type { Mmu } from '../machine/mmu.js'
import { PhysMem } from '../machine/phys-mem.js'
import type { ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import type { KernelCpu } from '../kernel/cpu.js'
import type { MailboxWords } from '../kernel/smp/mailbox.js'
import type { Mm } from '../kernel/mm/mm.js'
import type { Platform } from '../kernel/state.js'
import type { Task } from '../kernel/sched/task.js'
import { REG_WORDS } from '../kernel/sched/task.js'
import { Core } from './core.js'
import { AREA_DOUBLES, CORE_POSITION } from './shared-state.js'
import type { SharedState } from './shared-state.js'

/** What an engine does when the kernel is about to change something that cores can see. */
export interface CoreHooks {
  beforeSharedWrite(cpu: KernelCpu, mm: Mm): void
  beforeTlbWrite(cpu: KernelCpu, target: KernelCpu): void
  beforeFlagWrite(cpu: KernelCpu): void
  interruptAt(target: KernelCpu, cycle: number): void
  enterUser(cpu: KernelCpu): void
}

export class SharedPlatform implements Platform {
  readonly mem: PhysMem
  readonly cores: readonly Core[]
  readonly #shared: SharedState
  readonly #hooks: CoreHooks
  readonly #doubles: readonly Float64Array[]
  readonly #words: readonly Int32Array[]
  readonly #counters: readonly Float64Array[]
  readonly #nextInterrupt: readonly Float64Array[]
  readonly #mailboxes: readonly MailboxWords[]
  readonly #areas: number

  constructor(
    shared: SharedState, config: SimulationConfig, image: ProgramImage, hooks: CoreHooks,
    /** Memory that is observed; default: plain memory. */
    recorded?: PhysMem,
  ) {
    const { machine } = config
    this.#shared = shared
    this.#hooks = hooks
    this.#areas = image.areaNames.length
    this.mem = recorded ?? new PhysMem(shared.memory, geometryOf(machine.geometry))
    const ids = Array.from({ length: machine.cpus }, (_, id) => id)
    const { layout, buffer } = shared
    this.#doubles = ids.map(id => layout.view(buffer, 'core', 'doubles', id))
    this.#words = ids.map(id => layout.view(buffer, 'core', 'words', id))
    this.#counters = ids.map(id => layout.view(buffer, 'core', 'counters', id))
    this.#nextInterrupt = ids.map(id => layout.view(buffer, 'mailbox', 'nextInterrupt', id))
    this.#mailboxes = ids.map(id => layout.row(buffer, 'mailbox', id))
    this.cores = ids.map(id => new Core(shared, id, machine, this.mem, image))
    for (const id of ids) this.#nextInterrupt[id][0] = Infinity
    const is64 = machine.geometry !== 'i386' && machine.geometry !== 'i386-pae'
    for (const core of this.cores) core.mmu.reset({ ...LINUX_CONTROLS, pcide: config.kernel.pcid && is64 })
  }

  mmu(cpu: number): Mmu {
    return this.cores[cpu].mmu
  }

  walks(cpu: number): number {
    return this.#counters[cpu][COUNTER_STLB_MISSES]
  }

  beforeSharedWrite(cpu: KernelCpu, mm: Mm): void {
    this.#hooks.beforeSharedWrite(cpu, mm)
  }

  beforeTlbWrite(cpu: KernelCpu, target: KernelCpu): void {
    this.#hooks.beforeTlbWrite(cpu, target)
  }

  delayUser(target: KernelCpu, cycles: number): void {
    this.cores[target.id].delay(cycles)
    target.retime()
  }

  beforeFlagWrite(cpu: KernelCpu): void {
    this.#hooks.beforeFlagWrite(cpu)
  }

  interruptAt(target: KernelCpu, cycle: number): void {
    if (this.#nextInterrupt[target.id][0] === cycle) return
    // First: its core looks at this word whenever it runs.
    if (target.inUserMode) this.#hooks.interruptAt(target, cycle)
    this.#nextInterrupt[target.id][0] = cycle
  }

  enterUser(cpu: KernelCpu): void {
    const { mm } = cpu.current
    this.cores[cpu.id].enterUser(cpu.now, mm === undefined ? 0 : mm.slot)
    this.#hooks.enterUser(cpu)
  }

  saveRegs(cpu: KernelCpu, task: Task): void {
    if (task.isKernelThread) return
    const words = this.#words[cpu.id]
    for (let i = 0; i < REG_WORDS; i++) task.regs[i] = words[i]
    task.position = this.#doubles[cpu.id][CORE_POSITION]
  }

  loadRegs(cpu: KernelCpu, task: Task): void {
    if (task.isKernelThread) return
    const words = this.#words[cpu.id]
    for (let i = 0; i < REG_WORDS; i++) words[i] = task.regs[i]
    this.#doubles[cpu.id][CORE_POSITION] = task.position
  }

  setArea(mm: Mm, area: number, startVpn: number, pages: number): void {
    this.#shared.areas[mm.slot][area * AREA_DOUBLES] = startVpn
    this.#shared.areas[mm.slot][area * AREA_DOUBLES + 1] = pages
  }

  areaStart(mm: Mm, area: number): number {
    return this.#shared.areas[mm.slot][area * AREA_DOUBLES]
  }

  areaPages(mm: Mm, area: number): number {
    return this.#shared.areas[mm.slot][area * AREA_DOUBLES + 1]
  }

  copyAreas(from: Mm, to: Mm): void {
    if (this.#areas > 0) this.#shared.areas[to.slot].set(this.#shared.areas[from.slot])
  }

  clearAreas(mm: Mm): void {
    this.#shared.areas[mm.slot].fill(0)
  }

  raiseFlag(flag: number): void {
    // Pairs with the load in Core.#spin; polling cores stand still meanwhile (beforeFlagWrite).
    Atomics.store(this.#shared.flags, flag, 1)
  }

  isFlagRaised(flag: number): boolean {
    return Atomics.load(this.#shared.flags, flag) !== 0
  }

  mailbox(cpu: number): MailboxWords {
    return this.#mailboxes[cpu]
  }
}
