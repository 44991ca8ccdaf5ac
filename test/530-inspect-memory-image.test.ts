// The memory image, read by an MMU that shares no code with ours: a BigInt walker over the bytes of
// the file, written from the manual. Every mapped user page must translate, to the data that the
// program stored there.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { UserError } from '../src/base/errors.js'
import { simulateHere } from '../src/engine/simulate.js'
import { writeMemoryImage } from '../src/inspect/memory-image.js'
import type { MemoryImageTasks } from '../src/inspect/memory-image.js'
import { PROT_NONE, PROT_READ } from '../src/kernel/abi.js'
import type { ProgramImage } from '../src/kernel/abi.js'
import type { KernelState } from '../src/kernel/state.js'
import type { GeometryName } from '../src/machine/config.js'
import { peekWalk } from '../src/machine/mmu.js'
import { testConfig } from './support/machines.js'
import { area, compute, fork, image, mmap, mprotect, program, sleep, store, touch, u64 } from './support/programs.js'
import type { Step } from './support/programs.js'

const LONG = compute(10_000_000)
const STOP = 2_000_000

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'memory-image-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

interface Translation {
  physical: bigint
  writable: boolean
  user: boolean
  executable: boolean
}

/** SDM vol. 3, 4.5: IA-32e paging with 4 or 5 levels, MAXPHYADDR 40, NXE on. Undefined: #PF. */
function translate(memory: Buffer, cr3: bigint, levels: number, address: bigint): Translation | undefined {
  let table = cr3
  let [writable, user, executable] = [true, true, true]
  for (let level = levels; level >= 1; level--) {
    const shift = BigInt(12 + 9 * (level - 1))
    const entry = memory.readBigUInt64LE(Number(table + 8n * ((address >> shift) & 511n)))
    if ((entry & 1n) === 0n) return undefined
    const isLarge = (entry & 0x80n) !== 0n && (level === 2 || level === 3)
    const addressMask = (1n << 40n) - 1n
    const reserved = (((1n << 52n) - 1n) & ~addressMask) | (level > 3 ? 0x80n : 0n) |
      (isLarge ? ((1n << shift) - 1n) & ~0x1fffn : 0n)
    if ((entry & reserved) !== 0n) throw new Error(`a reserved bit is set in ${entry.toString(16)} at level ${level}`)
    if ((entry & 0x20n) === 0n) throw new Error(`A is clear in ${entry.toString(16)} at level ${level}`)
    writable &&= (entry & 2n) !== 0n
    user &&= (entry & 4n) !== 0n
    executable &&= entry >> 63n === 0n
    if (level === 1 || isLarge) {
      const inside = (1n << shift) - 1n
      return { physical: (entry & addressMask & ~inside) | (address & inside), writable, user, executable }
    }
    table = entry & addressMask & ~0xfffn
  }
  return undefined
}

/** Every leaf below the kernel half of a root: first address, physical address, and whether it is global. */
function kernelLeaves(memory: Buffer, cr3: bigint, levels: number): { address: bigint; leaf: Translation }[] {
  const found: { address: bigint; leaf: Translation }[] = []
  const visit = (table: bigint, level: number, base: bigint): void => {
    const shift = BigInt(12 + 9 * (level - 1))
    for (let slot = level === levels ? 256n : 0n; slot < 512n; slot++) {
      const entry = memory.readBigUInt64LE(Number(table + 8n * slot))
      if ((entry & 1n) === 0n) continue
      const address = base | (slot << shift)
      if (level === 1 || (level <= 3 && (entry & 0x80n) !== 0n)) {
        found.push({ address, leaf: translate(memory, cr3, levels, address)! })
      } else {
        visit(entry & 0xff_ffff_f000n, level - 1, address)
      }
    }
  }
  visit(cr3, levels, levels === 4 ? 0xffff_0000_0000_0000n : 0xfe00_0000_0000_0000n)
  return found
}

interface Written {
  k: KernelState
  memory: Buffer
  tasks: MemoryImageTasks
  path: string
}

async function write(geometry: GeometryName, programs: ProgramImage, pti = false): Promise<Written> {
  const config = testConfig({ geometry, memoryBytes: 64 * 2 ** 20 }, { pcid: geometry.startsWith('x86-64'), pti })
  const { simulation, memory } = await simulateHere(config, programs, { untilCycle: STOP, check: true })
  const path = join(folder, 'memory.img')
  writeMemoryImage(path, memory, simulation.kernel)
  return {
    k: simulation.kernel, path,
    memory: readFileSync(path),
    tasks: JSON.parse(readFileSync(`${path}.json`, 'utf8')) as MemoryImageTasks,
  }
}

/** A value that no other page has. */
const valueOf = (base: bigint, page: number): bigint => 0xfeed_0000_0000n + base * 16n + BigInt(page)

/** Maps 6 pages at `base` and stores a value in each of the first 4. */
function fill(index: number, base: bigint): Step[] {
  return [
    mmap(index, 6, { at: u64(base), fixed: true }),
    ...[0, 1, 2, 3].map((page) => store(area(index, page, 1), valueOf(base, page))),
  ]
}

for (const [geometry, levels, bases] of [
  ['x86-64', 4, [0xb17000n, 0x7fff_0000_0000n, 0x1_ffff_d000n]],
  ['x86-64-la57', 5, [0xb17000n, 0x0004_0000_0000_0000n, 0x00ff_ffff_0000_0000n]],
] as const) {
  describe(`${levels}-level tables`, () => {
    const programs = image([{ threads: [
      { comm: 'first', cpus: [0], program: program('first',
        ...bases.flatMap((base, index) => fill(index, base)),
        touch(area(0, 4, 1), 'read'), mprotect(area(1, 0, 1), PROT_READ), mprotect(area(1, 1, 1), PROT_NONE),
        mmap(5, 512, { at: u64(0x4000_0000n), fixed: true, huge: true }), store(area(5, 7, 1), 77n),
        fork(0, 'child', [1]), LONG) },
    ] }], { children: [program('child', store(area(0, 2, 1), 99n), touch(area(0, 3, 1), 'read'), sleep(0))] })

    test('every user page translates as our own walk does, unmapped ones included', async () => {
      const { k, memory, tasks } = await write(geometry, programs)
      expect(tasks.la57).toBe(levels === 5)
      expect(tasks.tasks.map(({ comm }) => comm)).toEqual(['first', 'child'])
      let mapped = 0
      for (const { pid, cr3 } of tasks.tasks) {
        const mm = k.tasks.find((task) => task.pid === pid)!.mm!
        for (const vma of mm.vmas.areas) {
          for (let vpn = vma.vmStart; vpn < vma.vmEnd; vpn++) {
            const address = BigInt(vpn) * 4096n
            const { hi, lo } = u64(address)
            const ours = peekWalk(k.geometry, k.mem, mm.pgdPfn, hi, lo)
            const isMapped = ours.reason === 'ok' || ours.reason === 'huge'
            const last = ours.steps.at(-1)!
            // fork copies entries with A clear; the walker above wants it set, as a CPU leaves it.
            if (isMapped && (last.lo & 0x20) === 0) continue
            const theirs = translate(memory, BigInt(cr3), levels, address)
            expect(theirs === undefined ? undefined : { ...theirs }).toEqual(isMapped ? {
              physical: BigInt(ours.pfn) * 4096n, writable: ours.writable, user: ours.user, executable: !ours.nx,
            } : undefined)
            mapped += isMapped ? 1 : 0
          }
        }
      }
      expect(mapped).toBeGreaterThan(512)
    })

    test('page-table isolation: the user root translates user pages alike, and of the kernel has no data', async () => {
      const { k, memory, tasks } = await write(geometry, programs, true)
      let mapped = 0
      for (const { pid, cr3, userCr3 } of tasks.tasks) {
        expect(BigInt(userCr3!)).toBe(BigInt(cr3) + 4096n)
        const mm = k.tasks.find((task) => task.pid === pid)!.mm!
        for (const vma of mm.vmas.areas) {
          for (let vpn = vma.vmStart; vpn < vma.vmEnd; vpn++) {
            const { hi, lo } = u64(BigInt(vpn) * 4096n)
            const last = peekWalk(k.geometry, k.mem, mm.pgdPfn, hi, lo).steps.at(-1)!
            if ((last.lo & 1) !== 0 && (last.lo & 0x20) === 0) continue
            const [inKernel, inUser] = [cr3, userCr3!].map((root) =>
              translate(memory, BigInt(root), levels, BigInt(vpn) * 4096n))
            if (inKernel === undefined) expect(inUser).toBeUndefined()
            else expect(inUser).toEqual({ ...inKernel, executable: last.hi >= 0 })
            // The kernel cannot execute user pages.
            expect(inKernel?.executable ?? false).toBe(false)
            mapped += inUser === undefined ? 0 : 1
          }
        }
        const leaves = kernelLeaves(memory, BigInt(userCr3!), levels)
        expect(leaves.every(({ leaf }) => !leaf.user)).toBe(true)
        // One large page of entry code, the IDT and three pages for each of two CPUs: nothing of it is direct map.
        expect(leaves.length).toBe(1 + 1 + 2 * 3)
        const [areas, code] = [leaves.slice(0, -1), leaves.at(-1)!]
        expect(code).toEqual({ address: 0xffff_ffff_8100_0000n,
          leaf: { physical: 0x100_0000n, writable: false, user: false, executable: true } })
        expect(areas.map(({ address }) => address & ~0xffffn)).toEqual(areas.map(() => 0xffff_fe00_0000_0000n))
        const direct = leaves.map(({ leaf }) => leaf.physical).filter((physical) => physical !== 0x100_0000n)
        for (const physical of direct) expect(memory.subarray(Number(physical), Number(physical) + 4096)
          .every((byte) => byte === 0)).toBe(true)
      }
      expect(mapped).toBeGreaterThan(512)
    })

    test('every stored value is where the translation says', async () => {
      const { memory, tasks } = await write(geometry, programs)
      const [parent, child] = tasks.tasks.map(({ cr3 }) => BigInt(cr3))
      const read = (cr3: bigint, address: bigint): bigint | undefined => {
        const found = translate(memory, cr3, levels, address)
        return found === undefined ? undefined : memory.readBigUInt64LE(Number(found.physical))
      }
      for (const [index, base] of bases.entries()) {
        for (let page = 0; page < 4; page++) {
          const isInaccessible = index === 1 && page === 1
          expect(read(parent!, base + BigInt(page) * 4096n)).toBe(isInaccessible ? undefined : valueOf(base, page))
        }
      }
      expect(read(parent!, 0x4000_0000n + 7n * 4096n)).toBe(77n)
      // Copy-on-write: the child has a frame of its own where it wrote, and shares where it read.
      expect(read(child!, bases[0] + 0x2000n)).toBe(99n)
      expect(read(child!, bases[0] + 0x3000n)).toBe(valueOf(bases[0], 3))
      expect(translate(memory, child!, levels, bases[0] + 0x3000n)!.physical)
        .toBe(translate(memory, parent!, levels, bases[0] + 0x3000n)!.physical)
    })

    test('the direct map reaches every frame, for the kernel only', async () => {
      const { k, memory, tasks } = await write(geometry, programs)
      for (let physical = 0n; physical < BigInt(memory.length); physical += 0x123_4000n) {
        const found = translate(memory, BigInt(tasks.tasks[0]!.cr3), levels, k.layout.pageOffset + physical)!
        expect(found).toEqual({ physical, writable: true, user: false, executable: false })
      }
    })
  })
}

test('the file is as long as memory, and empty memory takes no space on the disk', async () => {
  const { path, memory } = await write('x86-64', image([{ threads: [
    { comm: 'one', program: program('one', ...fill(0, 0xb17000n), LONG) }] }]))
  expect(memory.length).toBe(64 * 2 ** 20)
  expect(statSync(path).blocks * 512).toBeLessThan(16 * 2 ** 20)
})

test('the JSON beside it names live user tasks only, each with the address of its root table', async () => {
  const { k, tasks } = await write('i386', image([
    { threads: [{ comm: 'alive', cpus: [0], program: program('alive', mmap(0, 1), LONG) }] },
    { threads: [{ comm: 'gone', cpus: [1], program: program('gone', mmap(0, 1)) }] },
    { kernelThread: true, threads: [{ comm: 'kworker', program: program('kworker', sleep(0)) }] },
  ]))
  const root = BigInt(k.tasks[0]!.mm!.pgdPfn) * 4096n
  expect(tasks).toEqual({ la57: false, tasks: [{ pid: 1, comm: 'alive', cr3: `0x${root.toString(16)}` }] })
})

test('an image that cannot be written leaves nothing behind and says why', async () => {
  const { simulation, memory } = await simulateHere(testConfig(), image([]))
  const missing = join(folder, 'missing', 'memory.img')
  expect(() => writeMemoryImage(missing, memory, simulation.kernel)).toThrow(UserError)
  expect(existsSync(join(folder, 'missing'))).toBe(false)
  expect(() => writeMemoryImage('/dev/full', memory, simulation.kernel)).toThrow(/not a regular file/)
  expect(existsSync('/dev/full.json')).toBe(false)
  expect(readdirSync(folder)).toEqual([])
})
