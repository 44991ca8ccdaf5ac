// `--trace FILE`: which format, whether the file can be written at all (asked before the run, not
// after it), and writing it in slices, so that Ctrl-C is heard between them.

import { accessSync, constants, realpathSync, statSync } from 'node:fs'
import { dirname, extname, resolve } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { openAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import type { SimulationConfig } from '../kernel/config.js'
import { writeFtrace } from '../trace/ftrace-text.js'
import type { TraceData } from '../trace/recorder.js'
import { writeTextTrace } from '../trace/text.js'

type Write = (chunk: string) => void
type Writer = (data: TraceData, config: SimulationConfig, write: Write) => void

const canonicalText: Writer = (data, { name, machine, kernel, seed }, write) => {
  const { cpus, costs: { frequencyGhz } } = machine
  writeTextTrace(data, { scenario: name, era: kernel.era, cpus, seed, frequencyGhz }, write)
}
const ftraceText: Writer = (data, { machine, kernel }, write) => {
  writeFtrace(data, { era: kernel.era, cpus: machine.cpus, frequencyGhz: machine.costs.frequencyGhz }, write)
}

const WRITERS: Readonly<Record<string, Writer>> = {
  '.txt': canonicalText, '.trace': canonicalText, '.ftrace': ftraceText,
}
export const STANDARD_OUTPUT = '-'
/** About 50 ms of formatting. */
const SLICE_EVENTS = 100_000

/** Where a trace goes. */
export interface TraceTarget {
  readonly path: string
  /** Writes it completely or not at all. Rejects with the reason of `signal` when that aborts. */
  save(data: TraceData, config: SimulationConfig, signal: AbortSignal): Promise<void>
}

/** Throws a UserError now for a file that could not be written later. `sliceEvents` is for tests. */
export function openTraceTarget(path: string, sliceEvents: number = SLICE_EVENTS): TraceTarget {
  if (path === STANDARD_OUTPUT) {
    return {
      path,
      save: (data, config, signal) =>
        writeSlices(canonicalText, data, config, sliceEvents, signal, (chunk) => process.stdout.write(chunk)),
    }
  }
  const writer = WRITERS[extname(path).toLowerCase()]
  if (writer === undefined) {
    throw new UserError(`--trace ${path}: ${describeExtension(path)}`, undefined, [
      'expected .txt or .trace (canonical text), .ftrace (text as of a real kernel), or - for standard output',
    ])
  }
  checkWritable(path)
  return {
    path,
    async save(data, config, signal) {
      const file = openAtomic(path)
      try {
        await writeSlices(writer, data, config, sliceEvents, signal, (chunk) => file.write(chunk))
        file.commit()
      } finally {
        file.abort()
      }
    },
  }
}

function describeExtension(path: string): string {
  const extension = extname(path)
  return extension === '' ? 'a name without an extension does not say the format' : `unknown extension "${extension}"`
}

function checkWritable(path: string): void {
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

/** The writers start with one piece that is the header, of the whole trace; the slices go without theirs. */
async function writeSlices(
  writer: Writer, data: TraceData, config: SimulationConfig, sliceEvents: number, signal: AbortSignal, write: Write,
): Promise<void> {
  if (data.length <= sliceEvents) {
    writer(data, config, write)
    return
  }
  write(headerOf((sink) => writer(data, config, sink)))
  for (let from = 0; from < data.length; from += sliceEvents) {
    let isHeader = true
    writer(sliceOf(data, from, Math.min(data.length, from + sliceEvents)), config, (chunk) => {
      if (!isHeader) write(chunk)
      isHeader = false
    })
    await nextTurn()
    signal.throwIfAborted()
  }
}

function headerOf(fill: (write: Write) => void): string {
  const enough = new Error('only the header was wanted')
  let header = ''
  try {
    fill((chunk) => {
      header = chunk
      throw enough
    })
  } catch (error) {
    if (error !== enough) throw error
  }
  return header
}

function sliceOf(data: TraceData, from: number, to: number): TraceData {
  return {
    length: to - from,
    cycle: data.cycle.subarray(from, to),
    kind: data.kind.subarray(from, to),
    cpu: data.cpu.subarray(from, to),
    pid: data.pid.subarray(from, to),
    comm: data.comm.subarray(from, to),
    flags: data.flags.subarray(from, to),
    words: data.words.map((column) => column.subarray(from, to)),
    strings: data.strings,
  }
}
