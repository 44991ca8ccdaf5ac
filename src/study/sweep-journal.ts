// What a sweep has finished so far, on disk: rows are appended in the order in which points end, each forced to
// the disk before it counts. A killed sweep loses the points that were being run and nothing else; the next one
// reads the journal and goes on. When all points are there, the rows are sorted into the file of results, which
// therefore does not depend on the order, and the journal goes. While a sweep has it open, a lock beside it
// (base/file-lock.ts) keeps a second sweep of the same file out.

import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { UserError } from '../base/errors.js'
import { FileLock } from '../base/file-lock.js'
import { placeOf, scanResults, type LineRef } from './result-lines.js'
import { unitedRefs, writeResults } from './result-set.js'
import type { StudyPlan } from './study-plan.js'

export class SweepJournal {
  readonly path: string
  /** Indices that are finished. */
  readonly done = new Set<number>()
  /** Bytes of a line that a killed process left unfinished, and that were cut off. */
  readonly tornBytes: number
  readonly #lock: FileLock
  #descriptor: number

  /**
   * Opens the journal beside `output`, with what an earlier sweep of the same plan and version has left in it. `lock`
   * is that of {@link lockResults}; whoever took it gives it back.
   */
  constructor(output: string, plan: StudyPlan, version: string, lock: FileLock) {
    this.path = journalPath(output)
    this.#lock = lock
    const isThere = existsSync(this.path)
    const { refs, wholeBytes, tornBytes } = isThere ? scanResults(this.path)
      : { refs: [], wholeBytes: 0, tornBytes: 0 }
    for (const ref of refs) {
      refuseOther(ref, plan, version)
      this.done.add(ref.index)
    }
    this.tornBytes = tornBytes
    this.#descriptor = openJournal(this.path)
    if (tornBytes > 0) ftruncateSync(this.#descriptor, wholeBytes)
  }

  /** Adds the row of point `index`. A point that is there already changes nothing. */
  append(index: number, line: string): void {
    if (this.done.has(index)) return
    this.#lock.check()
    try {
      writeSync(this.#descriptor, `${line}\n`)
      fsyncSync(this.#descriptor)
    } catch (error) {
      throw new UserError(`cannot write ${this.path}: ${(error as Error).message}`, undefined,
        [`${this.done.size} results are kept in it; the same command goes on from there`])
    }
    this.done.add(index)
  }

  /** Everything is there: writes `output`, sorted, and removes the journal. */
  finish(output: string): void {
    this.close()
    this.#lock.check()
    writeResults(output, unitedRefs(scanResults(this.path).refs))
    unlinkSync(this.path)
  }

  close(): void {
    if (this.#descriptor >= 0) closeSync(this.#descriptor)
    this.#descriptor = -1
  }
}

/** Keeps other sweeps from `output` until it is released. Throws a UserError when one is at it. */
export function lockResults(output: string): Promise<FileLock> {
  return FileLock.take(`${output}.lock`, output)
}

/** Where the rows are while a sweep is under way. */
export function journalPath(output: string): string {
  return `${output}.partial`
}

/** Throws when a row is not one of this plan and version. */
export function refuseOther(ref: LineRef, plan: StudyPlan, version: string): void {
  const aside = ['use another --output, or --fresh to start again without these results']
  if (ref.study !== plan.hash) {
    throw new UserError(`this is a result of another study (${ref.study}, and ${plan.file} is ${plan.hash})`,
      placeOf(ref), ['the study, its scenario or its points have changed since', ...aside])
  }
  if (ref.version !== version) {
    throw new UserError(`this is a result of version ${ref.version}, and this is ${version}`, placeOf(ref),
      ['results of two versions do not mix', ...aside])
  }
}

function openJournal(path: string): number {
  try {
    return openSync(path, 'a')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'the folder does not exist' : code
    throw new UserError(`cannot write ${path}: ${reason}`)
  }
}
