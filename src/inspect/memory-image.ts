// Physical memory as a file that other tools can read: byte n of the file is physical address n.
// Tables in it are what a real MMU walks. Beside it stands `<path>.json`, which says how to start
// a walk: whether the tables have five levels, and where each task's root table is.
//
// The file is sparse: chunks of zeroes become holes. Both files get their names only when both are
// complete.

import { statSync } from 'node:fs'
import { openAtomic } from '../base/atomic-file.js'
import type { AtomicFile } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { toBigInt } from '../base/units.js'
import { userRoot } from '../kernel/tlb/pti.js'
import type { KernelState } from '../kernel/state.js'

const CHUNK_BYTES = 2 ** 20

/** What `<path>.json` holds. */
export interface MemoryImageTasks {
  la57: boolean
  /**
   * User tasks that have not exited; `cr3` is the physical address of the root table, without a PCID. With page-table
   * isolation that is the kernel's, and `userCr3` is the one of user mode.
   */
  tasks: { pid: number; comm: string; cr3: string; userCr3?: string }[]
}

/** Writes memory to `path` and what is needed to walk it to `path` + `.json`. Throws UserError when it cannot. */
export function writeMemoryImage(path: string, memory: Int32Array, k: KernelState): void {
  refuseDevices(path)
  const image = openAtomic(path)
  let tasks: AtomicFile | undefined
  try {
    tasks = openAtomic(`${path}.json`)
    writeSparse(image, memory)
    tasks.write(`${JSON.stringify(describeTasks(k))}\n`)
    image.commit()
    tasks.commit()
  } finally {
    image.abort()
    tasks?.abort()
  }
}

/** The tasks of the image, as its JSON file has them. */
export function describeTasks(k: KernelState): MemoryImageTasks {
  const tasks: MemoryImageTasks['tasks'] = []
  for (const { pid, comm, mm, state } of k.tasks) {
    if (mm === undefined || state === 'Z') continue
    const physical = (pfn: number): string => `0x${(toBigInt(0, pfn) << BigInt(k.geometry.pageShift)).toString(16)}`
    const user = userRoot(k, mm)
    tasks.push({ pid, comm, cr3: physical(mm.pgdPfn), ...(user === mm.pgdPfn ? {} : { userCr3: physical(user) }) })
  }
  return { la57: k.geometry.name === 'x86-64-la57', tasks }
}

/** A device or a pipe can take one of the two files, but the other would need a name beside it. */
function refuseDevices(path: string): void {
  let stat
  try {
    stat = statSync(path)
  } catch {
    // Not there, or not to be seen: opening it makes it or says why not.
    return
  }
  if (stat.isFile() || stat.isDirectory()) return
  throw new UserError(`cannot write a memory image to ${path}: it is not a regular file`)
}

function writeSparse(file: AtomicFile, memory: Int32Array): void {
  const zeroes = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; at < memory.byteLength; at += CHUNK_BYTES) {
    const bytes = Math.min(CHUNK_BYTES, memory.byteLength - at)
    const chunk = Buffer.from(memory.buffer, memory.byteOffset + at, bytes)
    if (chunk.equals(bytes === CHUNK_BYTES ? zeroes : zeroes.subarray(0, bytes))) file.skip(bytes)
    else file.write(chunk)
  }
}
