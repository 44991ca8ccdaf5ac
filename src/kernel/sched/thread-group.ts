// struct signal_struct: what the threads of a process have in common, and how a process ends. A
// thread that exits is gone at once, except the leader, who stays a zombie until the last thread has
// exited and the parent has waited (kernel/exit.c).
//
//   threads   have not exited yet (until exit_notify)
//   live      have not entered do_exit() yet: the last one to enter is `group_dead`
//   zombies   children that are dead and not waited for: each still counts as a task
//
// Children belong to the whole group: any thread may wait for them (do_wait without __WNOTHREAD).
// When the last thread is gone they are init's, who waits for nobody here: a zombie is released.

import { fail } from '../../base/assert.js'
import type { KernelState } from '../state.js'
import type { Task } from './task.js'

export class ThreadGroup {
  readonly tgid: number
  leader: Task
  readonly threads: Task[] = []
  live = 0
  parent: ThreadGroup | undefined
  readonly children = new Set<ThreadGroup>()
  /** Children that have not exited. */
  liveChildren = 0
  /** Dead, but neither waited for nor without a parent. */
  isZombie = false
  /** Threads that sleep in wait(). */
  readonly waiters: Task[] = []
  /** group_exec_task: the thread that executes execve() and waits for the others to be gone. */
  execTask: Task | undefined

  constructor(leader: Task, parent: ThreadGroup | undefined) {
    this.tgid = leader.pid
    this.leader = leader
    this.parent = parent
    if (parent === undefined) return
    parent.children.add(this)
    parent.liveChildren += 1
  }

  add(task: Task): void {
    this.threads.push(task)
    this.live += 1
  }
}

/**
 * max_threads (fork_init): tasks that may exist, zombies included. An eighth of memory may be kernel stacks of
 * 16 KiB. Simplified: the stacks themselves take no frames here, so a fork bomb leaves more memory to programs.
 */
export function maxThreads(k: KernelState): number {
  return Math.max(MIN_THREADS, Math.floor(k.config.machine.memoryBytes / (8 * THREAD_BYTES)))
}

const THREAD_BYTES = 16_384
const MIN_THREADS = 20

/** release_task() of every child that is dead: what wait() does. */
export function reapChildren(k: KernelState, group: ThreadGroup): void {
  for (const child of group.children) if (child.isZombie) reap(k, child)
}

/**
 * exit_notify(): `task` is gone from its group. True when the group is dead; its parent has then been told (its
 * `liveChildren` is one less), or there is none and it is released.
 */
export function leaveGroup(k: KernelState, task: Task): boolean {
  const { group } = task
  const index = group.threads.indexOf(task)
  if (index < 0) fail(`${task.comm} exits twice`)
  group.threads.splice(index, 1)
  if (task !== group.leader) k.threads -= 1
  if (group.threads.length > 0) return false
  for (const child of group.children) {
    child.parent = undefined
    if (child.isZombie) release(k, child)
  }
  group.children.clear()
  if (group.parent === undefined) {
    release(k, group)
    return true
  }
  group.isZombie = true
  group.parent.liveChildren -= 1
  return true
}

/** de_thread() of a thread that is not the leader: it takes over the leader's pid, the old leader is released. */
export function becomeLeader(k: KernelState, task: Task): void {
  const { group } = task
  const old = group.leader
  if (old === task) return
  const { pid } = task
  task.pid = old.pid
  old.pid = pid
  group.leader = task
  k.threads -= 1
}

function reap(k: KernelState, child: ThreadGroup): void {
  child.parent?.children.delete(child)
  release(k, child)
}

function release(k: KernelState, group: ThreadGroup): void {
  group.isZombie = false
  k.threads -= 1
}
