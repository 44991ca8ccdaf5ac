// Short ways to write programs as the kernel sees them, without a scenario file.

import type {
  AccessKind, Advice, AreaRef, Instruction, MmapInstruction, Program, ProgramImage, TouchInstruction, U64,
} from '../../src/kernel/abi.js'
import { PROT_READ, PROT_WRITE } from '../../src/kernel/abi.js'

const source = { line: 1, column: 1 }
const PAGE = 4096

export const area = (index: number, offsetPages = 0, pages = 0): AreaRef =>
  ({ area: index, address: { hi: 0, lo: 0 }, offset: offsetPages * PAGE, bytes: pages * PAGE })

export const u64 = (value: bigint): U64 => ({ hi: Number(value >> 32n), lo: Number(value & 0xffff_ffffn) })

export const mmap = (index: number, pages: number, options: Partial<MmapInstruction> = {}): Instruction => ({
  op: 'mmap', source, area: index, bytes: pages * PAGE, prot: PROT_READ | PROT_WRITE, fixed: false, noReplace: false,
  populate: false, huge: false, giant: false, shared: false, file: -1, fileOffset: 0, device: false, ...options,
})
export const touch = (where: AreaRef, access: AccessKind, options: Partial<TouchInstruction> = {}): Instruction => ({
  op: 'touch', source, where, access, pattern: 'seq', stride: PAGE, count: 0, seed: 1, ...options,
})
export const munmap = (where: AreaRef): Instruction => ({ op: 'munmap', source, where })
export const mprotect = (where: AreaRef, prot: number): Instruction => ({ op: 'mprotect', source, where, prot })
export const advise = (where: AreaRef, advice: Advice): Instruction => ({ op: 'madvise', source, where, advice })
export const dontneed = (where: AreaRef): Instruction => advise(where, 'dontneed')
export const reclaim = (pages: number): Instruction => ({ op: 'reclaim', source, pages })
export const store = (where: AreaRef, value: bigint): Instruction =>
  ({ op: 'store', source, where, value: u64(value) })
export const load = (where: AreaRef, expect?: bigint): Instruction =>
  ({ op: 'load', source, where, ...(expect === undefined ? {} : { expect: u64(expect) }) })
export const compute = (cycles: number): Instruction => ({ op: 'compute', source, cycles })
export const spin = (flag: number): Instruction => ({ op: 'spin', source, flag })
export const signal = (flag: number): Instruction => ({ op: 'signal', source, flag })
export const sleep = (cycles: number): Instruction => ({ op: 'sleep', source, cycles })
export const wake = (comm: string): Instruction => ({ op: 'wake', source, comm })
export const barrier = (index: number): Instruction => ({ op: 'barrier', source, barrier: index })
export const mark = (text: string): Instruction => ({ op: 'mark', source, text })
export const fork = (program: number, comm: string, cpus?: number[]): Instruction =>
  ({ op: 'fork', source, program, comm, ...(cpus === undefined ? {} : { cpus }) })
export const mremap = (
  where: AreaRef, pages: number, options: Partial<Extract<Instruction, { op: 'mremap' }>> = {},
): Instruction => ({ op: 'mremap', source, where, bytes: pages * PAGE, mayMove: true, area: where.area, ...options })
export const migrate = (where: AreaRef): Instruction => ({ op: 'migrate', source, where })
export const numaHint = (where: AreaRef): Instruction => ({ op: 'numaHint', source, where })
export const vmalloc = (buffer: number, pages: number): Instruction =>
  ({ op: 'vmalloc', source, buffer, bytes: pages * PAGE })
export const vfree = (buffer: number): Instruction => ({ op: 'vfree', source, buffer })
export const kernelTouch = (
  buffer: number, options: Partial<Extract<Instruction, { op: 'kernelTouch' }>> = {},
): Instruction => ({ op: 'kernelTouch', source, buffer, access: 'read', offset: 0, stride: PAGE, count: 1, ...options })
export const gupFast = (where: AreaRef): Instruction => ({ op: 'gupFast', source, where })
export const modifyLdt = (entries: number): Instruction => ({ op: 'modifyLdt', source, entries })
export const useMm = (process: number): Instruction => ({ op: 'useMm', source, process })
export const unuseMm = (): Instruction => ({ op: 'unuseMm', source })
export const wait = (): Instruction => ({ op: 'wait', source })
export const giveWay = (): Instruction => ({ op: 'yield', source })

export const sync = (file: number): Instruction => ({ op: 'sync', source, file })
export const truncate = (file: number, pages: number): Instruction =>
  ({ op: 'truncate', source, file, bytes: pages * PAGE })

const started = (program: number, comm: string, cpus?: number[]) =>
  ({ source, program, comm, ...(cpus === undefined ? {} : { cpus }) })
export const clone = (program: number, comm: string, cpus?: number[]): Instruction =>
  ({ op: 'clone', ...started(program, comm, cpus) })
export const vfork = (program: number, comm: string, cpus?: number[]): Instruction =>
  ({ op: 'vfork', ...started(program, comm, cpus) })
export const execve = (program: number, comm: string): Instruction => ({ op: 'execve', source, program, comm })
export const exit = (): Instruction => ({ op: 'exit', source })
export const exitGroup = (): Instruction => ({ op: 'exitGroup', source })
export const kill = (comm: string): Instruction => ({ op: 'kill', source, comm })
export const setaffinity = (cpus: number[], comm = ''): Instruction => ({ op: 'setaffinity', source, comm, cpus })
export const nice = (value: number, comm = ''): Instruction => ({ op: 'nice', source, comm, value })
export const irqsOff = (cycles: number): Instruction => ({ op: 'irqsOff', source, cycles })

/** Repeats a body; nested bodies are flattened with the right jump targets by {@link program}. */
export interface Repeat {
  times: number
  body: readonly Step[]
}
export type Step = Instruction | Repeat
export const repeat = (times: number, ...body: Step[]): Repeat => ({ times, body })

export function program(name: string, ...steps: Step[]): Program {
  const code: Instruction[] = []
  flatten(steps, code)
  code.push({ op: 'exit', source })
  return { name, code }
}

function flatten(steps: readonly Step[], code: Instruction[]): void {
  for (const step of steps) {
    if ('op' in step) {
      code.push(step)
      continue
    }
    const loop = code.length
    code.push({ op: 'loop', source, times: step.times, end: 0 })
    flatten(step.body, code)
    code[loop] = { op: 'loop', source, times: step.times, end: code.length }
    code.push({ op: 'end', source, loop })
  }
}

export interface ThreadSpec {
  comm: string
  program: Program
  cpus?: number[]
}
export interface ProcessSpec {
  threads: ThreadSpec[]
  kernelThread?: boolean
}

/** An image of processes; `children` are programs that fork refers to, numbered from 0. */
export function image(
  processes: readonly ProcessSpec[],
  options: {
    areas?: number; flags?: number; barriers?: number[]; children?: Program[]
    files?: { name: string; bytes: number }[]; buffers?: number
  } = {},
): ProgramImage {
  const programs: Program[] = [...(options.children ?? [])]
  return {
    areaNames: Array.from({ length: options.areas ?? 8 }, (_, i) => `area${i}`),
    flagNames: Array.from({ length: options.flags ?? 4 }, (_, i) => `flag${i}`),
    barriers: (options.barriers ?? []).map((tasks, i) => ({ name: `barrier${i}`, tasks })),
    traces: [],
    files: options.files ?? [],
    bufferNames: Array.from({ length: options.buffers ?? 2 }, (_, i) => `buffer${i}`),
    processes: processes.map((spec, i) => ({
      name: `process${i}`,
      kernelThread: spec.kernelThread ?? false,
      traceMappings: [],
      threads: spec.threads.map(thread => ({
        comm: thread.comm, cpus: thread.cpus ?? [], program: programs.push(thread.program) - 1,
      })),
    })),
    programs,
  }
}
