// start_kernel: physical memory is handed to the allocator, the swapper directory maps all of it
// and the kernel image, every CPU gets an idle task that borrows init_mm, and the scenario's
// processes are put on run queues. Nothing here takes virtual time: the run starts at cycle 0.

import { UserError } from '../base/errors.js'
import { geometryOf } from '../machine/geometry.js'
import type { TraceRecorder } from '../trace/recorder.js'
import { PROT_EXEC, PROT_READ, PROT_WRITE } from './abi.js'
import type { InitialProcess, ProgramImage } from './abi.js'
import { MM_SLOTS } from './config.js'
import type { SimulationConfig } from './config.js'
import { KERNEL_COUNTERS } from './counters.js'
import type { KernelCounter } from './counters.js'
import { KernelCpu } from './cpu.js'
import { doExit } from './sched/exit.js'
import { makeMm, newMm, newTask } from './sched/fork.js'
import { startTurn } from './smp/host.js'
import { FRAME_KERNEL, FRAME_TABLE, Frames, MAX_ORDER, MAX_ORDER_16K } from './pages/frames.js'
import { Mailbox } from './smp/mailbox.js'
import { newFrame } from './kernel-op.js'
import { makeMigration } from './pages/migration-entries.js'
import type { KernelOp } from './kernel-op.js'
import { khugepagedMain } from './huge/khugepaged.js'
import { kernelLayout } from './mm/layout.js'
import { makeKswapd } from './reclaim/kswapd.js'
import { lruForget, makeLru } from './pages/lru.js'
import { watermarksOf } from './pages/page-alloc.js'
import { mapKernel } from './mm/map-kernel.js'
import { rootOrder } from './tlb/pti.js'
import { makePageCache } from './pages/page-cache.js'
import { Noise } from './noise.js'
import { Perturber } from './perturbation.js'
import { POLICIES, whyNoPti } from './policies.js'
import { idleLoop } from './sched/sched.js'
import { startSchedule } from './sched/sched-script.js'
import { makeSwapArea } from './reclaim/swap.js'
import { kernelThreadMain } from './syscalls/syscalls.js'
import type { KernelState, Platform } from './state.js'
import { vpnOf } from './state.js'
import type { TlbPolicy } from './tlb/tlb-policy.js'
import { Task } from './sched/task.js'
import { anonymousArea, makeVma } from './mm/vma.js'
import { makeVmalloc, preallocateVmalloc } from './mm/vmalloc.js'

/** Low memory that firmware and legacy devices keep. */
const FIRMWARE_BYTES = 2 ** 20

/** Boots a kernel on `platform` and puts the image's processes on its run queues. */
export function bootKernel(
  config: SimulationConfig, image: ProgramImage, platform: Platform, trace: TraceRecorder,
): KernelState {
  const geometry = geometryOf(config.machine.geometry)
  const layout = kernelLayout(config.kernel.era, geometry)
  checkConfig(config)
  const { cpus, sockets, costs, noisePercent: noise } = config.machine
  const frames = new Frames(platform.mem.frames, cpus, geometry.pageShift > 12 ? MAX_ORDER_16K : MAX_ORDER)
  releaseMemory(config, frames, geometry.pageShift, layout.textOffset, layout.textBytes + layout.dataBytes)
  const root = frames.allocate(0, rootOrder({ config }), FRAME_TABLE)
  for (let half = 0; half < 1 << rootOrder({ config }); half++) platform.mem.zeroFrame(root + half)
  const perturber = config.perturbation === undefined ? undefined : new Perturber(config.perturbation, cpus)
  const initMm = makeMm({ costs, config }, () => k, -1, 1, root)
  initMm.tablePages = 1 << rootOrder({ config })
  initMm.mmUsers = 2
  initMm.mmCount = 1 + cpus
  const counters = Object.fromEntries(Object.keys(KERNEL_COUNTERS).map(name => [name, 0]))
  const retimed: KernelCpu[] = []
  const perSocket = Math.ceil(cpus / sockets)
  const k: KernelState = {
    config, costs, geometry, layout, image, platform, mem: platform.mem, frames, trace,
    counters: counters as Record<KernelCounter, number>,
    policy: policyOf(config),
    initMm,
    cpus: Array.from({ length: cpus }, (_, id) => (
      new KernelCpu(
        id, Math.floor(id / perSocket), idleTask(id, trace), initMm, new Mailbox(platform.mailbox(id)),
        counters as Record<KernelCounter, number>, retimed))),
    retimed,
    tasks: [],
    mms: new Map([[initMm.ctxId, initMm]]),
    freeMmSlots: Array.from({ length: MM_SLOTS }, (_, i) => MM_SLOTS - 1 - i),
    rmap: new Map(),
    pageCache: makePageCache(image.files),
    pageLocks: new Map(),
    migration: makeMigration(),
    vmalloc: makeVmalloc(layout, geometry, image.bufferNames.length),
    swap: makeSwapArea(Math.floor(config.kernel.swapBytes / 2 ** geometry.pageShift)),
    lru: makeLru(frames.count),
    watermarks: watermarksOf(config.kernel.era, geometry, frames.freeFrames),
    kswapd: makeKswapd(() => k),
    openBatches: new Set(),
    deferredSplits: new Set(),
    sharedTables: new Map(),
    khugepaged: { task: undefined, mm: undefined, ctxId: 0, vpn: 0 },
    barriers: image.barriers.map(barrier => ({ ...barrier, arrived: [] })),
    schedule: undefined,
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
    noise: noise === undefined || noise === 0 ? undefined : new Noise(config.seed, noise / 100, cpus),
    rcuTables: [],
    deferredFrees: [],
    unflushed: [],
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
  k.schedule = startSchedule(k)
  startKhugepaged(k)
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
  const noPti = config.kernel.pti ? whyNoPti(config.kernel.era, config.kernel.policy, config.machine.geometry) : ''
  if (noPti !== '') throw new UserError(`${noPti}: set kernel.pti to false`)
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

/** start_stop_khugepaged(). */
function startKhugepaged(k: KernelState): void {
  if (k.config.kernel.khugepaged === undefined || k.config.kernel.thp === 'never') return
  function* main(task: Task): KernelOp {
    yield* khugepagedMain(k, task)
    yield* doExit(k, k.cpus[task.cpu], 'exited')
  }
  const cpus = k.cpus.map(each => each.id)
  const task = newTask(k, { comm: 'khugepaged', mm: undefined, cpus, program: 0, kernelMain: main })
  const last = k.cpus[k.cpus.length - 1]
  task.cpu = last.id
  last.runQueue.push(task)
  k.khugepaged.task = task
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
        const vmStart = vpnOf(k, range.start.hi, range.start.lo)
        const vmEnd = vpnOf(k, range.end.hi, range.end.lo - 1) + 1
        mm.vmas.insert(makeVma(vmStart, vmEnd, anonymousArea(PROT_READ | PROT_WRITE | PROT_EXEC)))
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
