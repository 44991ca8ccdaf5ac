// A trace on its way into a file: which format, whether the file can be written at all (asked before the
// run, not after it), and writing it piece by piece, so that Ctrl-C is heard in between.

import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { dirname, extname, resolve } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { openAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import type { SimulationConfig } from '../kernel/config.js'
import { endingsText, formatByEnding, formatNamed, TRACE_FORMAT_NAMES } from '../trace/formats.js'
import type { TraceFormat, TraceSource } from '../trace/formats.js'
import type { TraceHeader } from '../trace/text.js'

export const STANDARD_OUTPUT = '-'
/** Pieces of 64 KiB between two looks at signals: about 20 ms. */
const CHUNKS_PER_TURN = 32

/** Where a trace goes. */
export interface TraceTarget {
  readonly path: string
  readonly format: TraceFormat
  /** Writes it completely or not at all. Rejects with the reason of `signal` when that aborts. */
  save(source: TraceSource, signal: AbortSignal): Promise<void>
}

/** What the trace of a run with this configuration says about it. */
export function traceHeaderOf({ name, machine, kernel, seed }: SimulationConfig): TraceHeader {
  const { cpus, costs: { frequencyGhz } } = machine
  return { scenario: name, era: kernel.era, cpus, seed, frequencyGhz }
}

/**
 * Throws a UserError now for a file that could not be written later. Without `formatName` the ending of the name
 * says the format, and standard output gets canonical text. `chunksPerTurn` is for tests.
 */
export function openTraceTarget(path: string, formatName?: string, chunksPerTurn = CHUNKS_PER_TURN): TraceTarget {
  const format = formatName === undefined ? formatOf(path) : formatNamed(formatName)
  if (format === undefined) throw new UserError(`unknown format "${formatName}"`)
  const save = async (source: TraceSource, signal: AbortSignal, write: (chunk: string | Uint8Array) => void) => {
    let chunks = 0
    for (const chunk of format.chunks(source)) {
      write(chunk)
      chunks += 1
      if (chunks % chunksPerTurn !== 0) continue
      await nextTurn()
      signal.throwIfAborted()
    }
  }
  if (path === STANDARD_OUTPUT) {
    return { path, format, save: (source, signal) => save(source, signal, (chunk) => process.stdout.write(chunk)) }
  }
  checkWritable(path)
  return {
    path,
    format,
    async save(source, signal) {
      const file = openAtomic(path)
      try {
        await save(source, signal, (chunk) => file.write(chunk))
        file.commit()
      } finally {
        file.abort()
      }
    },
  }
}

function formatOf(path: string): TraceFormat {
  const format = path === STANDARD_OUTPUT ? formatNamed('text') : formatByEnding(path)
  if (format !== undefined) return format
  throw new UserError(`cannot write ${path} as a trace: ${describeExtension(path)}`, undefined, [
    `expected ${endingsText()}`, `or a format by name: ${TRACE_FORMAT_NAMES.join(', ')}`,
  ])
}

function describeExtension(path: string): string {
  const extension = extname(path)
  return extension === '' ? 'a name without an extension does not say the format' : `unknown extension "${extension}"`
}

/** Throws a UserError now for a file that could not be written later. */
export function checkWritable(path: string): void {
  const fail = (reason: string): never => {
    throw new UserError(`cannot write ${path}: ${reason}`)
  }
  let target = resolve(path)
  try {
    target = realpathSync(path)
    const stat = statSync(target)
    if (stat.isDirectory()) fail('it is a folder')
    // A pipe or a device is opened once, when there is something to say.
    if (!stat.isFile()) return
  } catch (error) {
    if (error instanceof UserError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ELOOP') fail('its symbolic links lead in a circle')
  }
  const folder = dirname(target)
  try {
    if (!statSync(folder).isDirectory()) fail('a part of the path is not a folder')
    accessSync(folder, constants.W_OK)
  } catch (error) {
    if (error instanceof UserError) throw error
    const { code } = error as NodeJS.ErrnoException
    fail(code === 'ENOENT' ? 'the folder does not exist' : code === 'ENOTDIR' ? 'a part of the path is not a folder'
      : code === 'EACCES' ? 'permission denied' : String(code))
  }
  // Whatever access() cannot know (quotas, read-only mounts) shows when a file is really made.
  openAtomic(path).abort()
}
