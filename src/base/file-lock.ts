// One writer at a time for files that several processes may be told to write: a small file beside them says who.
// Nothing removes it when its owner is killed, so whoever comes next asks whether the owner is still there:
//
//   on this machine      is there a process with this number that began at that time? Numbers are used again
//   on another machine   (shared file system) was the lock touched lately? Its owner does that while it lives
//
// Two processes may find the same dead lock at the same moment and both put theirs in its place. The last one has
// it: the other finds that out a moment later, or when it looks again before it writes.

import { randomUUID } from 'node:crypto'
import {
  closeSync, fstatSync, fsyncSync, openSync, readFileSync, readlinkSync, renameSync, statSync, unlinkSync, writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { writeFailure } from './atomic-file.js'
import { UserError } from './errors.js'

/** How often the owner shows that it lives, and how long it may be silent on another machine, milliseconds. */
const TOUCH_MS = 10_000
const SILENT_MS = 60_000
/** Time in which another process that found the same dead lock has put its own there, milliseconds. */
const SETTLE_MS = 200

/** Who has a lock. */
interface Owner {
  host: string
  /** This start of this machine, and its process numbers: a container has its own. */
  machine: string
  pid: number
  /** When the process began, in clock ticks since the machine started. */
  began: string
  token: string
}

export class FileLock {
  readonly #path: string
  readonly #own: Owner
  readonly #timer: NodeJS.Timeout
  #descriptor: number

  private constructor(path: string, own: Owner, descriptor: number) {
    this.#path = path
    this.#own = own
    this.#descriptor = descriptor
    this.#timer = setInterval(() => this.#touch(), TOUCH_MS).unref()
  }

  /** Takes the lock `path` on `what`. Throws a UserError when somebody has it. */
  static async take(path: string, what: string): Promise<FileLock> {
    const own = ownerHere()
    const descriptor = create(path, own) ?? await replaceDead(path, what, own)
    return new FileLock(path, own, descriptor)
  }

  /** Throws a UserError when the lock is another's meanwhile, because this process was silent for too long. */
  check(): void {
    if (this.#isOwn()) return
    throw new UserError(`the lock ${this.#path} was removed, or taken by a process that took this one for dead`)
  }

  /** Lets the next one in. */
  release(): void {
    if (this.#descriptor < 0) return
    clearInterval(this.#timer)
    closeSync(this.#descriptor)
    this.#descriptor = -1
    if (this.#isOwn()) removeQuietly(this.#path)
  }

  #isOwn(): boolean {
    return readOwner(this.#path)?.token === this.#own.token
  }

  /** Through its descriptor, so that nobody else's lock is written to; the file system sets the time. */
  #touch(): void {
    try {
      writeOwner(this.#descriptor, this.#own)
    } catch {
      // A full disk, for example: whoever writes results will say so.
    }
  }
}

/** Puts a lock of `own` in the place of one whose owner is gone. */
async function replaceDead(path: string, what: string, own: Owner): Promise<number> {
  const candidate = `${path}.${own.pid}`
  const descriptor = create(candidate, own)
  if (descriptor === undefined) throw new UserError(`cannot write ${candidate}: it is there already`)
  try {
    const other = readOwner(path)
    // Both times are of the clock of the file system.
    const silentMs = fstatSync(descriptor).mtimeMs - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0)
    if (isAlive(other, silentMs)) throw taken(path, what, other, silentMs)
    renameSync(candidate, path)
    await delay(SETTLE_MS)
    const now = readOwner(path)
    if (now?.token !== own.token) throw taken(path, what, now, 0)
    return descriptor
  } catch (error) {
    closeSync(descriptor)
    removeQuietly(candidate)
    throw error instanceof UserError ? error : new UserError(`cannot write ${path}: ${writeFailure(error)}`)
  }
}

function ownerHere(): Owner {
  const { pid } = process
  return { host: hostname(), machine: machineId(), pid, began: beginOf(pid) ?? '', token: randomUUID() }
}

/** Empty where there is no /proc: then only the silence of a lock tells that its owner is gone. */
function machineId(): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return ''
  }
}

/** When process `pid` began (proc_pid_stat(5), field 22); undefined when there is none, or it has ended. */
function beginOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name of the program, in brackets, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

function isAlive(owner: Owner | undefined, silentMs: number): boolean {
  if (owner !== undefined && owner.machine !== '' && owner.machine === machineId()) {
    return beginOf(owner.pid) === owner.began
  }
  return silentMs < SILENT_MS
}

function taken(path: string, what: string, owner: Owner | undefined, silentMs: number): UserError {
  const seconds = Math.max(0, Math.round(silentMs / 1000))
  if (owner !== undefined && owner.machine !== '' && owner.machine === machineId()) {
    return new UserError(`${what} is being written by process ${owner.pid}`, undefined,
      ['wait for it, or write another file'])
  }
  const who = owner === undefined ? 'another process' : `process ${owner.pid} of ${owner.host}`
  return new UserError(`${what} is being written by ${who}, heard of ${seconds} s ago`, undefined, [
    `when it has been silent for ${SILENT_MS / 1000} s, its lock ${path} does not count any more`,
  ])
}

/** Undefined when it is there already. */
function create(path: string, owner: Owner): number | undefined {
  try {
    const descriptor = openSync(path, 'wx')
    writeOwner(descriptor, owner)
    return descriptor
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
    throw new UserError(`cannot write ${path}: ${writeFailure(error)}`)
  }
}

function writeOwner(descriptor: number, owner: Owner): void {
  writeSync(descriptor, JSON.stringify(owner), 0)
  fsyncSync(descriptor)
}

/** Undefined when there is none, or one that is only just being written. */
function readOwner(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner
  } catch {
    return undefined
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It is gone already, which is what was wanted.
  }
}
