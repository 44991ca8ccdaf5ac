// The page-out daemon (mm/vmscan.c: kswapd): sleeps until an allocation finds memory below the low
// watermark, and reclaims up to the high one. A kernel thread; made when it is first needed, so
// that a run without memory pressure has none.
//
//   woken     free < low, unless the last 16 rounds reclaimed nothing at all
//   sleeps    free >= high, or nothing more to be had

import type { KernelCpu } from '../cpu.js'
import { newTask } from '../sched/fork.js'
import type { KernelOp } from '../kernel-op.js'
import { schedule, sleepOn, wakeUp, wakeUpNew } from '../sched/sched.js'
import type { KernelState } from '../state.js'
import type { Task } from '../sched/task.js'
import type { ScanControl } from './vmscan.js'
import { DEF_PRIORITY, MAX_RECLAIM_RETRIES, scanControl, shrinkNode, SWAP_CLUSTER_MAX } from './vmscan.js'

/** What the rest of the kernel knows of it. */
export interface Kswapd {
  task: Task | undefined
  /** Rounds in a row that reclaimed nothing (kswapd_failures). */
  failures: number
  /** wakeup_kswapd(). */
  wake(cpu: KernelCpu): void
}

export function makeKswapd(state: () => KernelState): Kswapd {
  const kswapd: Kswapd = { task: undefined, failures: 0, wake: cpu => wakeKswapd(state(), cpu) }
  return kswapd
}

function wakeKswapd(k: KernelState, cpu: KernelCpu): void {
  const { kswapd } = k
  if (kswapd.failures >= MAX_RECLAIM_RETRIES) return
  if (kswapd.task !== undefined) {
    wakeUp(k, cpu, kswapd.task)
    return
  }
  kswapd.task = newTask(k, {
    comm: 'kswapd0', mm: undefined, cpus: k.cpus.map(each => each.id), program: 0,
    kernelMain: task => kswapdMain(k, task),
  })
  kswapd.task.cpu = cpu.id
  wakeUpNew(k, cpu, kswapd.task)
}

function* kswapdMain(k: KernelState, task: Task): KernelOp {
  for (;;) {
    yield* balance(k, k.cpus[task.cpu])
    task.isMidway = false
    yield* sleepOn(k, k.cpus[task.cpu], 'memory to run low')
  }
}

/** balance_pgdat(): harder while it gets less than it wants, again and again while it gets something. */
function* balance(k: KernelState, cpu: KernelCpu): KernelOp {
  const { high } = k.watermarks
  const sc: ScanControl = scanControl(k, cpu, Math.max(high, SWAP_CLUSTER_MAX), {
    relax: function* (here): KernelOp<KernelCpu> {
      return here.needResched ? yield* schedule(k, here) : here
    },
  })
  k.counters.pageoutrun += 1
  let total = 0
  for (sc.priority = DEF_PRIORITY; sc.priority > 0 && k.frames.freeFrames < high; sc.priority--) {
    sc.nrReclaimed = 0
    sc.nrScanned = 0
    yield* shrinkNode(k, sc)
    total += sc.nrReclaimed
    if (sc.nrScanned > 0 && sc.nrReclaimed > 0) sc.priority += 1
  }
  k.kswapd.failures = total > 0 ? 0 : k.kswapd.failures + 1
}
