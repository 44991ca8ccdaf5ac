// One program of a scenario as the flat instructions of kernel/abi.ts. Loops become a loop/end
// pair, shorthands their full form, forked children programs of their own; every instruction
// remembers its line.
//
// Not here: memory ranges (ranges.ts), names that need the whole scenario (names.ts).

import {
  MAX_LOOP_DEPTH, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
  type Instruction, type LoopInstruction, type MremapInstruction, type SourceLine,
} from '../kernel/abi.js'
import { assert } from '../base/assert.js'
import { mappedAreas, userAddress, VisibleAreas } from './address-space.js'
import { compileLoad, compileStore, compileTouch, type AccessContext } from './compile-accesses.js'
import { callRules, compileCall, expecting } from './compile-calls.js'
import type { ProgramSet, TaskContext } from './compile-context.js'
import { compileReplay } from './compile-replay.js'
import { MAX_COUNT } from './fields.js'
import { FixedMappings, overlapError, overlapNote } from './fixed-mappings.js'
import { compileRange, rangeOf, type RangeContext } from './ranges.js'
import type { RawFork, RawExecve, RawMmap, RawOperation, RawRange, RawRepeat } from './schema-operations.js'
import { hex64, parseSize, parseU64, toU64 } from './values.js'
import type { Path } from './yaml-source.js'

const PROT_BITS = {
  none: PROT_NONE,
  r: PROT_READ,
  rw: PROT_READ | PROT_WRITE,
  rx: PROT_READ | PROT_EXEC,
  rwx: PROT_READ | PROT_WRITE | PROT_EXEC,
} as const

const KERNEL_THREAD_OPERATIONS = [
  'compute', 'sleep', 'wake', 'barrier', 'signal', 'mark', 'yield', 'repeat', 'exit', 'irqsOff', 'nice', 'setaffinity',
  'kill', 'reclaim', 'sync', 'truncate', 'vmalloc', 'vfree', 'kernelTouch', 'useMm', 'unuseMm',
]
/** What a kernel thread may do with the address space that it took with useMm. */
const BORROWED_MM_OPERATIONS = ['touch', 'read', 'write', 'gupFast']

type Op<Key extends Exclude<RawOperation, string> extends infer Map ? keyof Map : never> =
  NonNullable<Exclude<RawOperation, string>[Key]>

/** Compiles `raw` and everything it forks into `set.programs`; the index of its program. */
export function compileProgram(set: ProgramSet, task: TaskContext, raw: readonly RawOperation[], path: Path): number {
  const index = set.programs.length
  set.programs.push({ name: task.comm, code: [] }) // keeps the place; children come after their parent
  const code = new ProgramCompiler(set, task, index).compile(raw, path)
  set.programs[index] = { name: task.comm, code }
  return index
}

class ProgramCompiler implements AccessContext {
  readonly set: ProgramSet
  readonly task: TaskContext
  readonly ranges: RangeContext
  private readonly index: number
  private readonly code: Instruction[] = []
  private depth = 0
  /** How often the current operation runs: the product of the loops around it. */
  private times = 1

  constructor(set: ProgramSet, task: TaskContext, index: number) {
    this.set = set
    this.task = task
    this.index = index
    const { source, space, names } = set
    this.ranges = { source, space, names, areas: task.areas, whyUnknown: task.whyUnknown }
  }

  compile(raw: readonly RawOperation[], path: Path): Instruction[] {
    this.operations(raw, path)
    const source = this.sourceLine([...path, raw.length - 1])
    if (this.code.at(-1)?.op !== 'exit') this.code.push({ op: 'exit', source })
    return this.code
  }

  private operations(raw: readonly RawOperation[], path: Path): void {
    for (const [index, operation] of raw.entries()) this.operation(operation, [...path, index])
  }

  private operation(raw: RawOperation, path: Path): void {
    const map: Exclude<RawOperation, string> = typeof raw === 'string' ? { [raw]: null } : raw
    const key = Object.keys(map)[0] as keyof typeof map
    const here = typeof raw === 'string' ? path : [...path, key]
    if (this.task.kernelThread) this.checkKernelThread(key, here)
    const source = this.sourceLine(path)
    const { names, source: text } = this.set
    switch (key) {
      case 'touch': return this.emit(compileTouch(this, map.touch!, undefined, source, here))
      case 'read':
      case 'write':
      case 'exec': return this.emit(compileTouch(this, map[key]!, key, source, here))
      case 'spin': return this.emit({ op: 'spin', flag: names.spin(map.spin!, here), source })
      case 'signal': return this.emit({ op: 'signal', flag: names.signal(map.signal!), source })
      case 'store': return this.emit(compileStore(this, map.store!, source, here))
      case 'load': return this.emit(compileLoad(this, map.load!, source, here))
      case 'mmap': return this.mmap(map.mmap!, source, here)
      case 'munmap': return this.munmap(map.munmap!, source, here)
      case 'mprotect': {
        const { prot, expectError } = map.mprotect!
        const where = compileRange(this.ranges, map.mprotect!, here, callRules(expectError))
        return this.emit({ op: 'mprotect', where, prot: PROT_BITS[prot], source, ...expecting(expectError) })
      }
      case 'fork':
      case 'clone':
      case 'vfork': return this.child(key, map[key]!, source, here)
      case 'execve': return this.execve(map.execve!, source, here)
      case 'useMm': return this.useMm(map.useMm!, source, here)
      case 'repeat': return this.repeat(map.repeat!, source, here)
      case 'wake': {
        names.wake(map.wake!, here)
        return this.emit({ op: 'wake', comm: map.wake!, source })
      }
      case 'barrier': {
        const raw = typeof map.barrier === 'string' ? { name: map.barrier, tasks: undefined } : map.barrier!
        const mention = { path: here, program: this.index, copies: this.task.copies }
        return this.emit({ op: 'barrier', barrier: names.barrier(raw.name, raw.tasks, mention), source })
      }
      case 'mark': {
        if (/[\n\r]/.test(map.mark!)) throw text.error('a mark is one line of text', here)
        return this.emit({ op: 'mark', text: map.mark!, source })
      }
      case 'replay': return this.emit(compileReplay(this.set, this.task, map.replay!, source, here))
      case 'wait':
      case 'yield':
      case 'unuseMm':
      case 'exitGroup':
      case 'exit': return this.emit({ op: key, source })
      default: {
        const { frequencyGhz, cpus } = this.set
        const context = {
          source: text, names, ranges: this.ranges, frequencyGhz, pageBytes: this.set.space.pageBytes, cpus,
          comm: this.task.comm,
        }
        const call = compileCall(context, key, map, here, source)
        assert(call !== undefined, `operation ${key} has no meaning`)
        if (call.op === 'mremap') this.followMremap(map.mremap!, call)
        return this.emit(call)
      }
    }
  }

  private checkKernelThread(key: string, path: Path): void {
    if (KERNEL_THREAD_OPERATIONS.includes(key)) return
    if (BORROWED_MM_OPERATIONS.includes(key) && this.task.borrowed) return
    const more = this.task.borrowed ? BORROWED_MM_OPERATIONS : []
    throw this.set.source.error(`a kernel thread cannot ${key}: it has no address space of its own`, path,
      [`expected one of: ${[...KERNEL_THREAD_OPERATIONS, ...more].join(', ')}`], 'key')
  }

  private emit(instruction: Instruction): void {
    this.code.push(instruction)
  }

  private mmap(raw: RawMmap, source: SourceLine, path: Path): void {
    const { space, names, source: text } = this.set
    const bytes = space.mmapBytes(raw)
    if (bytes === undefined) {
      throw text.error('mmap needs its length exactly once', path, ['expected one of: pages, bytes, size'], 'key')
    }
    if (bytes === 0 && raw.expectError === undefined) throw text.error('the length is zero', path, [], 'key')
    if (bytes > Number(space.userEnd) && raw.expectError === undefined) {
      throw text.error(`${bytes} bytes do not fit into the user half`, path, [], 'key')
    }
    if (raw.fixed && raw.noReplace) {
      throw text.error('fixed and noReplace exclude each other', [...path, 'noReplace'],
        ['fixed replaces what is mapped there'])
    }
    if (raw.file !== undefined && raw.device) {
      throw text.error('file and device exclude each other', [...path, 'device'], ['a device has memory of its own'])
    }
    if (raw.huge === '1G' && space.giantPageBytes === undefined) {
      throw text.error(`${space.geometry} has no pages of 1 GiB`, [...path, 'huge'])
    }
    if ((raw.fixed || raw.noReplace) && raw.at === undefined) {
      throw text.error('a fixed mapping needs an address', [...path, raw.fixed ? 'fixed' : 'noReplace'],
        ['add "at: <address>"'])
    }
    const at = raw.at === undefined ? {} : { at: toU64(this.mmapAddress(raw, raw.at, bytes, path)) }
    if (raw.name !== undefined) this.task.areas.add(raw.name, bytes)
    this.emit({
      op: 'mmap',
      area: raw.name === undefined ? -1 : names.area(raw.name),
      ...at,
      bytes,
      prot: PROT_BITS[raw.prot ?? 'rw'],
      fixed: raw.fixed ?? false,
      noReplace: raw.noReplace ?? false,
      populate: raw.populate ?? false,
      huge: (raw.huge ?? false) !== false,
      giant: raw.huge === '1G',
      shared: raw.shared ?? false,
      file: raw.file === undefined ? -1 : names.file(raw.file, [...path, 'file']),
      fileOffset: this.fileOffset(raw, path),
      device: raw.device ?? false,
      source,
      ...expecting(raw.expectError),
    })
  }

  private mmapAddress(raw: RawMmap, text: number | string, bytes: number, path: Path): bigint {
    const { space, source } = this.set
    const at = [...path, 'at']
    if (raw.expectError !== undefined) {
      if (parseU64(text) >> 64n !== 0n) throw source.error(`${hex64(parseU64(text))} does not fit into 64 bits`, at)
      return parseU64(text)
    }
    const start = userAddress(source, space, text, bytes, at)
    const unit = space.mmapUnit(raw)
    if (start % BigInt(unit) !== 0n) {
      throw source.error(`the address ${hex64(start)} is not aligned`, at, [
        `expected a multiple of the page size, ${unit}`, `the nearest below is ${hex64(start - start % BigInt(unit))}`,
      ])
    }
    if (this.depth === 0) {
      const kind = raw.noReplace ? 'noReplace' : raw.fixed ? 'fixed' : 'hint'
      const mapping = { start, end: start + BigInt(bytes), area: raw.name, kind, path: at } as const
      const earlier = this.task.fixed.add(mapping)
      if (earlier && kind === 'noReplace') throw overlapError(source, mapping, earlier)
      if (earlier) this.set.notes.push(overlapNote(source, mapping, earlier))
    }
    return start
  }

  private fileOffset(raw: RawMmap, path: Path): number {
    if (raw.fileOffset === undefined) return 0
    const at = [...path, 'fileOffset']
    const { source, space } = this.set
    if (raw.file === undefined) throw source.error('fileOffset needs a file', at, ['add "file: <name>"'], 'key')
    const offset = parseSize(raw.fileOffset)
    if (offset % space.pageBytes === 0) return offset
    throw source.error(`the offset ${offset} is not aligned`, at, [`expected a multiple of ${space.pageBytes}`])
  }

  private munmap(raw: Op<'munmap'>, source: SourceLine, path: Path): void {
    const expectError = typeof raw === 'object' ? raw.expectError : undefined
    const where = compileRange(this.ranges, raw, path, callRules(expectError))
    const range: RawRange = rangeOf(raw)
    if (this.depth > 0) {
      this.task.fixed.forget()
    } else if (range.area !== undefined) {
      this.task.fixed.removeArea(range.area, where.offset, where.bytes)
    } else {
      const start = parseU64(range.at!) + BigInt(where.offset)
      this.task.fixed.remove(start, start + BigInt(where.bytes))
    }
    this.emit({ op: 'munmap', where, source, ...expecting(expectError) })
  }

  /** The area has its new length, or the result its name, from here on. */
  private followMremap(raw: Op<'mremap'>, call: MremapInstruction): void {
    const area = raw.name ?? rangeOf(raw).area
    if (area === undefined) return
    const source = rangeOf(raw).area
    const unchanged = source === undefined ? 0 : this.task.areas.maxBytes(source)
    this.task.areas.add(area, call.bytes > 0 ? call.bytes : unchanged)
    this.task.fixed.forget()
  }

  /** fork copies the address space; clone and vfork share it. */
  private child(op: 'fork' | 'clone' | 'vfork', raw: RawFork, source: SourceLine, path: Path): void {
    const { names, space } = this.set
    names.task(raw.name, [...path, 'name'])
    const cpus = this.set.cpus(raw, path)
    const parent = this.task
    const ownFixed = op === 'fork' && this.depth === 0
    const child: TaskContext = {
      ...parent,
      comm: raw.name,
      areas: op === 'fork' ? parent.areas.forChild() : parent.areas,
      fixed: ownFixed ? new FixedMappings(parent.fixed.surviving) : new FixedMappings(),
      copies: Math.min(MAX_COUNT, parent.copies * this.times),
      whyUnknown: (area) => mappedAreas(space, raw.program).has(area)
        ? 'it is mapped only after this operation' : parent.whyUnknown(area),
    }
    const at = this.code.length
    const instruction = { op, comm: raw.name, source, ...(cpus ? { cpus } : {}) }
    this.emit({ ...instruction, program: 0 })
    const program = compileProgram(this.set, child, raw.program, [...path, 'program'])
    this.code[at] = { ...instruction, program }
  }

  /** A new address space knows none of the old areas. */
  private execve(raw: RawExecve, source: SourceLine, path: Path): void {
    const comm = raw.name ?? this.task.comm
    if (raw.name !== undefined) this.set.names.task(raw.name, [...path, 'name'])
    const { space } = this.set
    const image: TaskContext = {
      ...this.task,
      comm,
      areas: new VisibleAreas(new Map(), new Map()),
      fixed: new FixedMappings(),
      whyUnknown: (area) => mappedAreas(space, raw.program).has(area)
        ? 'it is mapped only after this operation' : 'execve leaves no area of the old address space',
    }
    const at = this.code.length
    this.emit({ op: 'execve', program: 0, comm, source })
    const program = compileProgram(this.set, image, raw.program, [...path, 'program'])
    this.code[at] = { op: 'execve', program, comm, source }
  }

  private useMm(raw: string, source: SourceLine, path: Path): void {
    if (!this.task.kernelThread) {
      throw this.set.source.error('useMm is for kernel threads: a process has an address space', path, [], 'key')
    }
    const process = this.set.processAreas(raw, path)
    for (const [name, sizes] of process.areas) for (const bytes of sizes) this.task.areas.add(name, bytes)
    this.task.borrowed = true
    this.emit({ op: 'useMm', process: process.index, source })
  }

  private repeat(raw: RawRepeat, source: SourceLine, path: Path): void {
    if (this.depth === MAX_LOOP_DEPTH) {
      throw this.set.source.error(`loops are nested more than ${MAX_LOOP_DEPTH} deep`, path, [], 'key')
    }
    const outerTimes = this.times
    this.depth++
    this.times = Math.min(MAX_COUNT, outerTimes * raw.times)
    const loop = this.code.length
    const instruction: LoopInstruction = { op: 'loop', times: raw.times, end: -1, source }
    this.emit(instruction)
    this.operations(raw.do, [...path, 'do'])
    instruction.end = this.code.length
    this.emit({ op: 'end', loop, source })
    this.depth--
    this.times = outerTimes
  }

  private sourceLine(path: Path): SourceLine {
    const { line, column } = this.set.source.source.position(this.set.source.span(path).start)
    return { line, column }
  }
}
