// start_kernel: physical memory is handed to the allocator, the swapper directory maps all of it
// and the kernel image, every CPU gets an idle task that borrows init_mm, and the scenario's
// processes are put on run queues. Nothing here takes virtual time: the run starts at cycle 0.

import { UserError } from '../base/errors.js'
import { makeEntryHi, makeEntryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_GLOBAL, PAGE_NX_HI, PAGE_PRESENT, PAGE_PSE,
  PAGE_RW } from '../machine/entry.js'
import { geometryOf, LEVEL_PTE } from '../machine/geometry.js'
import type { TraceRecorder } from '../trace/recorder.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from './abi.js'
import type { InitialProcess, ProgramImage } from './abi.js'
import { MM_SLOTS } from './config.js'
import type { SimulationConfig } from './config.js'
import { KERNEL_COUNTERS } from './counters.js'
import type { KernelCounter } from './counters.js'
import { KernelCpu } from './cpu.js'
import { makeMm, newMm, newTask } from './fork.js'
import { startTurn } from './host.js'
import { FRAME_KERNEL, FRAME_TABLE, Frames, MAX_ORDER, MAX_ORDER_16K } from './frames.js'
import { Mailbox } from './mailbox.js'
import { newFrame } from './kernel-op.js'
import { kernelLayout, pa } from './layout.js'
import { $slot, allocTable, hugeLevel, pagesPerEntry } from './pgtable.js'
import { makeKswapd } from './kswapd.js'
import { lruForget, makeLru } from './lru.js'
import { watermarksOf } from './page-alloc.js'
import { makePageCache } from './page-cache.js'
import { Perturber } from './perturbation.js'
import { POLICIES } from './policies.js'
import { makeSwapArea } from './swap.js'
import { idleLoop } from './sched.js'
import { kernelThreadMain } from './syscalls.js'
import type { KernelState, Platform } from './state.js'
import { vpnOf } from './state.js'
import type { TlbPolicy } from './tlb-policy.js'
import { Task } from './task.js'
import { anonymousArea } from './vma.js'
import { makeVmalloc, preallocateVmalloc } from './vmalloc.js'

/** Low memory that firmware and legacy devices keep. */
const FIRMWARE_BYTES = 2 ** 20

/** Boots a kernel on `platform` and puts the image's processes on its run queues. */
export function bootKernel(
  config: SimulationConfig, image: ProgramImage, platform: Platform, trace: TraceRecorder,
): KernelState {
  const geometry = geometryOf(config.machine.geometry)
  const layout = kernelLayout(config.kernel.era, geometry)
  checkConfig(config)
  const { cpus, sockets, costs } = config.machine
  const frames = new Frames(platform.mem.frames, cpus, geometry.pageShift > 12 ? MAX_ORDER_16K : MAX_ORDER)
  releaseMemory(config, frames, geometry.pageShift, layout.textOffset, layout.textBytes + layout.dataBytes)
  const root = frames.allocate(0, 0, FRAME_TABLE)
  platform.mem.zeroFrame(root)
  const perturber = config.perturbation === undefined ? undefined : new Perturber(config.perturbation, cpus)
  const initMm = makeMm({ costs, config, perturber }, -1, 1, root)
  initMm.mmUsers = 2
  initMm.mmCount = 1 + cpus
  const counters = Object.fromEntries(Object.keys(KERNEL_COUNTERS).map(name => [name, 0]))
  const perSocket = Math.ceil(cpus / sockets)
  const k: KernelState = {
    config, costs, geometry, layout, image, platform, mem: platform.mem, frames, trace,
    counters: counters as Record<KernelCounter, number>,
    policy: policyOf(config),
    initMm,
    cpus: Array.from({ length: cpus }, (_, id) => (
      new KernelCpu(
        id, Math.floor(id / perSocket), idleTask(id, trace), initMm, new Mailbox(platform.mailbox(id))))),
    tasks: [],
    mms: new Map([[initMm.ctxId, initMm]]),
    freeMmSlots: Array.from({ length: MM_SLOTS }, (_, i) => MM_SLOTS - 1 - i),
    rmap: new Map(),
    pageCache: makePageCache(image.files),
    pageLocks: new Map(),
    vmalloc: makeVmalloc(layout, geometry, image.bufferNames.length),
    swap: makeSwapArea(Math.floor(config.kernel.swapBytes / 2 ** geometry.pageShift)),
    lru: makeLru(frames.count),
    watermarks: watermarksOf(config.kernel.era, geometry, frames.freeFrames),
    kswapd: makeKswapd(() => k),
    openBatches: new Set(),
    barriers: image.barriers.map(barrier => ({ ...barrier, arrived: [] })),
    zeroPagePfn: 0,
    nextPid: 1,
    nextCtxId: 2,
    liveTasks: 0,
    threads: 0,
    failures: [],
    observer: undefined,
    bugs: new Set(config.kernel.bugs),
    storeBuffer: [],
    speculation: { steps: 0 },
    perturber,
    rcuTables: [],
    deferredFrees: [],
    processTgids: [],
  }
  frames.onRelease = pfn => lruForget(k, pfn)
  mapKernel(k)
  preallocateVmalloc(k)
  k.zeroPagePfn = frames.allocate(0, 0, FRAME_KERNEL)
  platform.mem.zeroFrame(k.zeroPagePfn)
  for (const cpu of k.cpus) {
    cpu.idleTask.activeMm = initMm
    cpu.stack = [newFrame(idleLoop(k, cpu), 0)]
    k.policy.initCpu(k, cpu)
    startTurn(k, cpu, 0)
  }
  for (const process of image.processes) startProcess(k, process)
  return k
}

function policyOf(config: SimulationConfig): TlbPolicy {
  const { policy: name, era } = config.kernel
  const policy = POLICIES[name]
  if (policy === undefined) throw new UserError(`unknown policy "${name}"`)
  if (!policy.eras.includes(era)) throw new UserError(`policy ${name} runs on ${policy.eras.join(', ')}, not on ${era}`)
  return policy
}

function checkConfig(config: SimulationConfig): void {
  if (config.kernel.era === 'linux-4.6' && config.machine.geometry === 'x86-64-la57') {
    throw new UserError('linux-4.6 has no five-level page tables: use geometry x86-64, or era linux-6.x')
  }
  if (config.kernel.pcid && !config.machine.geometry.startsWith('x86-64')) {
    throw new UserError(`${config.machine.geometry} has no PCID: set kernel.pcid to false`)
  }
  if (config.kernel.pcid && !policyOf(config).usesPcid) {
    throw new UserError(`${config.kernel.policy} does not use PCID: set kernel.pcid to false`)
  }
}

function idleTask(cpu: number, trace: TraceRecorder): Task {
  const task = new Task({
    pid: 0, comm: `swapper/${cpu}`, mm: undefined, isIdle: true, cpus: [cpu], program: 0,
  })
  task.commId = trace.intern('<idle>')
  return task
}

/** Everything but firmware memory and the kernel image becomes free. */
function releaseMemory(
  config: SimulationConfig, frames: Frames, pageShift: number, textOffset: number, imageBytes: number,
): void {
  const shift = 2 ** pageShift
  const imageStart = (textOffset + config.kernel.physBase) / shift
  const imageEnd = imageStart + imageBytes / shift
  if (imageEnd + 64 > frames.count) {
    const needed = Math.ceil((imageEnd * shift) / 2 ** 20) + 4
    throw new UserError(`memory is too small for the kernel image: at least ${needed}M are needed`)
  }
  frames.release(imageEnd, frames.count)
  frames.release(FIRMWARE_BYTES / shift, imageStart)
}

/** The direct map of all memory, and the image at its link address. Kernel mappings are global. */
function mapKernel(k: KernelState): void {
  const { layout, config } = k
  const pageBytes = 2 ** k.geometry.pageShift
  const data = PAGE_PRESENT | PAGE_RW | PAGE_ACCESSED | PAGE_DIRTY | PAGE_GLOBAL
  const text = PAGE_PRESENT | PAGE_ACCESSED | PAGE_GLOBAL
  const noExec = k.geometry.entryBytes === 8 ? PAGE_NX_HI : 0
  const mapped = Math.min(k.frames.count, layout.directMapBytes / pageBytes)
  mapRange(k, layout.pageOffset, 0, mapped, data, noExec)
  if (layout.startMap === layout.pageOffset) return
  const start = layout.startMap + BigInt(layout.textOffset)
  const firstPfn = Number(pa(layout, config.kernel.physBase, start)) / pageBytes
  const textPages = layout.textBytes / pageBytes
  mapRange(k, start, firstPfn, textPages, text, 0)
  mapRange(k, start + BigInt(layout.textBytes), firstPfn + textPages, layout.dataBytes / pageBytes, data, noExec)
}

/** Maps `pages` frames from `pfn` at `address` in init_mm, with large leaves where both sides are aligned. */
function mapRange(k: KernelState, address: bigint, pfn: number, pages: number, flagsLo: number, flagsHi: number): void {
  const g = k.geometry
  const unsigned = BigInt.asUintN(64, address)
  const vpn = vpnOf(k, Number(unsigned >> 32n) | 0, Number(unsigned & 0xffff_ffffn) | 0)
  const huge = hugeLevel(g)
  const hugePages = pagesPerEntry(g, huge)
  for (let i = 0; i < pages;) {
    const isLarge = (vpn + i) % hugePages === 0 && (pfn + i) % hugePages === 0 && pages - i >= hugePages
    const level = isLarge ? huge : LEVEL_PTE
    allocTable(k, k.cpus[0], k.initMm, vpn + i, level)
    const lo = makeEntryLo(pfn + i, isLarge ? flagsLo | PAGE_PSE : flagsLo, g.pageShift)
    k.mem.store($slot.pfn, $slot.slot, lo, makeEntryHi(pfn + i, flagsHi, g.pageShift))
    i += isLarge ? hugePages : 1
  }
}

function startProcess(k: KernelState, process: InitialProcess): void {
  const cpu = k.cpus[0]
  const mm = process.kernelThread ? undefined : newMm(k, cpu)
  if (mm === undefined && !process.kernelThread) {
    throw new UserError(`memory is too small to start process ${process.name}`)
  }
  if (mm !== undefined) {
    mm.mmUsers = process.threads.length
    for (const trace of process.traceMappings) {
      for (const range of k.image.traces[trace].ranges) {
        mm.vmas.insert({
          vmStart: vpnOf(k, range.start.hi, range.start.lo),
          vmEnd: vpnOf(k, range.end.hi, range.end.lo - 1) + 1,
          ...anonymousArea(PROT_READ | PROT_WRITE | PROT_EXEC),
        })
      }
    }
  }
  let leader: Task | undefined
  for (const thread of process.threads) {
    const cpus = thread.cpus.length > 0 ? [...thread.cpus].sort((a, b) => a - b) : k.cpus.map(each => each.id)
    const task = newTask(k, {
      comm: thread.comm, mm, cpus, program: thread.program,
      ...(leader === undefined ? {} : { group: leader.group }),
      ...(process.kernelThread ? { kernelMain: (self: Task) => kernelThreadMain(k, self) } : {}),
    })
    leader ??= task
    if (leader === task) k.processTgids.push(task.tgid)
    let best = cpus[0]
    for (const id of cpus) if (k.cpus[id].runQueue.length < k.cpus[best].runQueue.length) best = id
    task.cpu = best
    k.cpus[best].runQueue.push(task)
  }
}
