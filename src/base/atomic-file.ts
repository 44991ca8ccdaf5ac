// Output files that exist completely or not at all: text goes to a temporary file in the same
// folder, which takes the final name only when everything is written. A full disk, a missing
// folder or a failed permission becomes a UserError and leaves nothing behind.
//
// Something that is not a regular file (a terminal, a pipe, /dev/full) cannot be replaced by a
// rename, so it is written to directly; what it has swallowed stays swallowed.

import {
  closeSync, ftruncateSync, openSync, realpathSync, renameSync, statSync, unlinkSync, writeFileSync, writeSync,
} from 'node:fs'
import { resolve } from 'node:path'
import { threadId } from 'node:worker_threads'
import { assert } from './assert.js'
import { UserError } from './errors.js'

export interface AtomicFile {
  write(data: string | Uint8Array): void
  /** As many zero bytes: a hole in the file where there can be holes, which takes no space on the disk. */
  skip(bytes: number): void
  /** Gives the file its name. Nothing may be written afterwards. */
  commit(): void
  /** Throws everything away. Does nothing after commit or abort. */
  abort(): void
}

const openFiles = new Set<AtomicFile>()
let nextSuffix = 0

/** Starts writing `path`. Every call must end in `commit` or `abort`; `writeFileAtomic` sees to that. */
export function openAtomic(path: string): AtomicFile {
  const { target, direct } = resolveTarget(path)
  const temporary = direct ? target : `${target}.${process.pid}-${threadId}-${nextSuffix++}.tmp`
  let descriptor = guarded(path, () => openSync(temporary, 'w'))
  /** Bytes so far, holes included. Not counted for what cannot be replaced. */
  let length = 0

  const close = (): void => {
    const closing = descriptor
    descriptor = -1
    openFiles.delete(file)
    if (closing >= 0) closeSync(closing)
  }
  const abort = (): void => {
    if (descriptor < 0) return
    try {
      close()
    } finally {
      if (!direct) removeQuietly(temporary)
    }
  }
  const file: AtomicFile = {
    write(data) {
      assert(descriptor >= 0, `write to ${path} after commit or abort`)
      if (direct) guarded(path, () => writeFileSync(descriptor, data), abort)
      else length += guarded(path, () => writeAt(descriptor, data, length), abort)
    },
    skip(bytes) {
      if (direct) file.write(Buffer.alloc(bytes))
      else length += bytes
    },
    commit() {
      assert(descriptor >= 0, `second commit of ${path}`)
      const discard = (): void => {
        if (!direct) removeQuietly(temporary)
      }
      guarded(path, () => {
        // A hole at the end exists only once the file is given its length.
        if (!direct) ftruncateSync(descriptor, length)
        close()
      }, () => {
        abort()
        discard()
      })
      if (!direct) guarded(path, () => renameSync(temporary, target), discard)
    },
    abort,
  }
  openFiles.add(file)
  return file
}

/** Writes `path` through `fill`; an exception from inside leaves nothing behind. */
export function writeFileAtomic(path: string, fill: (write: AtomicFile['write']) => void): void {
  const file = openAtomic(path)
  try {
    fill((data) => file.write(data))
    file.commit()
  } finally {
    file.abort()
  }
}

/** For a signal handler: throws away everything that is being written. */
export function abortOpenFiles(): void {
  for (const file of openFiles) file.abort()
}

/** Writes all of `data` from `position` on; how many bytes that were. */
function writeAt(descriptor: number, data: string | Uint8Array, position: number): number {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  let done = 0
  while (done < bytes.length) done += writeSync(descriptor, bytes, done, bytes.length - done, position + done)
  return done
}

function resolveTarget(path: string): { target: string; direct: boolean } {
  // /dev/stdout may lead to a file that the shell holds open: replacing it would lose the rest of the output.
  if (/^\/(dev|proc)\//.test(resolve(path))) return { target: path, direct: true }
  try {
    const target = realpathSync(path)
    const stat = statSync(target)
    return { target, direct: !stat.isFile() && !stat.isDirectory() }
  } catch {
    // Not there yet, or a link to a pipe, which has no real path.
    try {
      return { target: path, direct: !statSync(path).isFile() }
    } catch {
      return { target: path, direct: false }
    }
  }
}

function guarded<T>(path: string, action: () => T, cleanUp?: () => void): T {
  try {
    return action()
  } catch (error) {
    cleanUp?.()
    throw new UserError(`cannot write ${path}: ${writeFailure(error)}`)
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  ENOENT: 'the folder does not exist',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EROFS: 'the file system is read-only',
  EISDIR: 'it is a folder',
  EPIPE: 'the reader went away',
}

/** Why something could not be written, in words. */
export function writeFailure(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  return (code !== undefined && REASONS[code]) || (error instanceof Error ? error.message : String(error))
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It is gone already, which is what was wanted.
  }
}
