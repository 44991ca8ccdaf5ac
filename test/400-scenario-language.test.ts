// What the scenario language means: each piece of text against the instructions it becomes.

import { describe, expect, test } from 'vitest'
import type { Instruction, TraceRecords } from '../src/kernel/abi.js'
import { parseScenario, type Scenario, type ScenarioOverrides } from '../src/scenario/parse.js'
import { parseDuration, parseSize, parseTlbArray, toU64 } from '../src/scenario/values.js'

const noTrace = (): TraceRecords => {
  throw new Error('this scenario has no trace')
}

function parse(text: string, overrides: ScenarioOverrides = {}): Promise<Scenario> {
  return parseScenario(text, 'test.yaml', overrides, noTrace)
}

/** The instructions of the only thread, without their lines. */
async function code(operations: string, head = ''): Promise<Omit<Instruction, 'source'>[]> {
  const program = operations.trim().split('\n').map((line) => `      ${line}`).join('\n')
  const scenario = await parse(`${head}\nprocesses:\n  - name: p\n    program:\n${program}\n`)
  return scenario.image.programs[0]!.code.map(({ source: _, ...rest }) => rest)
}

const area = (offset = 0, bytes = 0) => ({ area: 0, address: { hi: 0, lo: 0 }, offset, bytes })
const absolute = (lo: number, offset: number, bytes: number) => ({ area: -1, address: { hi: 0, lo }, offset, bytes })

describe('numbers', () => {
  test('sizes are decimal, hexadecimal or in powers of 1024', () => {
    expect(['4096', '0x1000', '4K', '2M', '1G', 12].map(parseSize)).toEqual([4096, 4096, 4096, 2 ** 21, 2 ** 30, 12])
  })

  test('durations are cycles, or time at the clock of the machine', () => {
    const at2GHz = (text: number | string): number => parseDuration(text, 2)
    expect([1000, '1000cycles', '10us', '3ms', '250 ns', '1.5us'].map(at2GHz))
      .toEqual([1000, 1000, 20_000, 6e6, 500, 3000])
  })

  test('a TLB array without ways is fully associative, and ways must divide entries', () => {
    expect(parseTlbArray('64/4')).toEqual({ entries: 64, ways: 4 })
    expect(parseTlbArray(16)).toEqual({ entries: 16, ways: 16 })
    expect(parseTlbArray('64/5')).toBeUndefined()
  })

  test('64-bit values keep every digit, with and without quotes', async () => {
    const program = ['mmap: {name: b, pages: 1}', 'store: {area: b, value: 0x1122334455667789}',
      "store: {area: b, value: '0xffffffffffffffff'}", 'store: {area: b, value: 18446744073709551615}',
      'store: {area: b, value: 9007199254740993}']
    const instructions = await code(program.map((line) => `- ${line}`).join('\n'))
    const values = instructions.flatMap((one) => 'value' in one ? [one.value] : [])
    expect(values).toEqual([
      { hi: 0x11223344, lo: 0x55667789 }, { hi: 0xffffffff, lo: 0xffffffff }, { hi: 0xffffffff, lo: 0xffffffff },
      { hi: 0x200000, lo: 1 },
    ])
    expect(toU64(0x7fff_0000_0001n)).toEqual({ hi: 0x7fff, lo: 1 })
  })
})

describe('operations', () => {
  test('a touch of an area reads it once from end to end, one access a page', async () => {
    expect((await code('- mmap: {name: b, pages: 4}\n- touch: b'))[1]).toEqual({
      op: 'touch', where: area(), access: 'read', pattern: 'seq', stride: 4096, count: 0, seed: 1,
    })
  })

  test('read, write and exec are touches, and write: true is short for access: write', async () => {
    const program = ['- mmap: {name: b, pages: 4}', '- read: b', '- write: b', '- exec: b',
      '- touch: {area: b, write: true}', '- touch: {area: b, access: exec}'].join('\n')
    expect((await code(program)).flatMap((one) => 'access' in one ? [one.access] : []))
      .toEqual(['read', 'write', 'exec', 'write', 'exec'])
  })

  test('an absolute address is one access', async () => {
    expect((await code('- read: 0xb17010'))[0]).toMatchObject({ op: 'touch', where: absolute(0xb17010, 0, 8) })
  })

  test('passes multiply the accesses of one pass over the range', async () => {
    const program = ['- mmap: {name: b, pages: 4}', '- read: {area: b, offset: 4K, passes: 10}',
      '- read: {area: b, pages: 2, stride: 64, passes: 2}'].join('\n')
    expect((await code(program)).flatMap((one) => 'count' in one ? [one.count] : [])).toEqual([30, 256])
  })

  test('a repeat becomes a loop and its end, which name each other', async () => {
    const program = ['- repeat:', '    times: 3', '    do:', '      - compute: 1',
      '      - repeat: {times: 2, do: [compute: 2]}'].join('\n')
    expect(await code(program)).toEqual([
      { op: 'loop', times: 3, end: 5 }, { op: 'compute', cycles: 1 },
      { op: 'loop', times: 2, end: 4 }, { op: 'compute', cycles: 2 }, { op: 'end', loop: 2 },
      { op: 'end', loop: 0 }, { op: 'exit' },
    ])
  })

  test('mmap is private, readable and writable, and leaves the address to the kernel', async () => {
    const plain = {
      op: 'mmap', area: 0, bytes: 8192, prot: 3, fixed: false, noReplace: false, populate: false, huge: false,
      giant: false, shared: false, file: -1, fileOffset: 0, device: false,
    }
    expect((await code('- mmap: {name: b, size: 5000}'))[0]).toEqual(plain)
    const options = 'bytes: 8K, at: 0x7f0000001000, prot: rx, fixed: true, expectError: ENOMEM'
    expect((await code(`- mmap: {name: b, ${options}}`))[0])
      .toEqual({ ...plain, at: { hi: 0x7f00, lo: 0x1000 }, prot: 5, fixed: true, expectError: 'ENOMEM' })
    expect((await code('- mmap: {name: b, size: 3M, huge: true}'))[0]).toMatchObject({ bytes: 4 * 2 ** 20, huge: true })
  })

  test('munmap, mprotect and madvise take an area, a part of one, or addresses', async () => {
    const program = ['- mmap: {name: b, pages: 8}', '- mprotect: {area: b, offset: 4K, pages: 2, prot: r}',
      '- madvise: {area: b, advice: dontneed}', '- munmap: {at: 0x10000, bytes: 8K}', '- munmap: b'].join('\n')
    expect((await code(program)).slice(1, -1)).toEqual([
      { op: 'mprotect', where: area(4096, 8192), prot: 1 },
      { op: 'madvise', where: area(), advice: 'dontneed' },
      { op: 'munmap', where: absolute(0x10000, 0, 8192) },
      { op: 'munmap', where: area() },
    ])
  })

  test('pages are base pages of the geometry, also of the 16 KiB granule', async () => {
    expect((await code('- mmap: {name: b, pages: 2}\n- read: b', 'machine: {geometry: granule-16k}')))
      .toMatchObject([{ bytes: 32768 }, { stride: 16384 }, { op: 'exit' }])
  })

  test('sleep takes cycles, time, or forever (0 cycles)', async () => {
    const program = ['- sleep: 1000', '- sleep: 1cycles', '- sleep: {cycles: 7}', '- sleep: forever', '- wake: p']
      .join('\n')
    expect((await code(program)).flatMap((one) => one.op === 'sleep' && 'cycles' in one ? [one.cycles] : []))
      .toEqual([1000, 1, 7, 0])
    const [timed] = await code('- sleep: {us: 10}', 'machine: {costs: {frequencyGhz: 2.5}}')
    expect(timed).toMatchObject({ cycles: 25_000 })
  })

  test('wait, yield and exit stand alone or as empty keys, and exit is added only where it is missing', async () => {
    expect(await code('- wait\n- yield:\n- yield\n- exit'))
      .toEqual([{ op: 'wait' }, { op: 'yield' }, { op: 'yield' }, { op: 'exit' }])
    expect(await code('- wait:')).toEqual([{ op: 'wait' }, { op: 'exit' }])
  })

  test('every instruction knows its line', async () => {
    const { image } = await parse('processes:\n  - name: p\n    program:\n      - compute: 1\n      - yield\n')
    expect(image.programs[0]!.code.map((one) => one.source)).toEqual([
      { line: 4, column: 9 }, { line: 5, column: 9 }, { line: 5, column: 9 },
    ])
  })
})

describe('who runs', () => {
  test('a process with a program has one thread of its own name', async () => {
    const { image } = await parse('processes: [{name: p, cpu: 1, program: [compute: 1]}]')
    expect(image.processes).toEqual([
      { name: 'p', kernelThread: false, threads: [{ comm: 'p', program: 0, cpus: [1] }], traceMappings: [] },
    ])
  })

  test('threads may run on a list of CPUs, or on all; kernel threads follow the processes', async () => {
    const { image } = await parse(`
processes:
  - name: p
    threads:
      - {name: a, cpus: [1, 0, 1], program: [compute: 1]}
      - {name: b, program: [yield]}
kernelThreads:
  - {name: kworker/1, cpu: 1, program: [compute: 5us]}
`)
    const kinds = image.processes.map(({ kernelThread, threads }) =>
      ({ kernelThread, cpus: threads.map(({ cpus }) => cpus) }))
    expect(kinds).toEqual([
      { kernelThread: false, cpus: [[0, 1], []] }, { kernelThread: true, cpus: [[1]] },
    ])
    expect(image.programs.map(({ name }) => name)).toEqual(['a', 'b', 'kworker/1'])
  })

  test('a forked child knows the areas of its parent and runs a program of its own', async () => {
    const { image } = await parse(`
processes:
  - name: p
    program:
      - mmap: {name: buf, pages: 1}
      - fork: {name: c, cpu: 1, program: [write: buf]}
      - wait
`)
    expect(image.programs.map(({ name }) => name)).toEqual(['p', 'c'])
    expect(image.programs[0]!.code[1]).toMatchObject({ op: 'fork', program: 1, comm: 'c', cpus: [1] })
    expect(image.areaNames).toEqual(['buf'])
  })

  test('a thread may use an area that its sibling maps', async () => {
    const { image } = await parse(`processes: [{name: p, threads: [
      {name: a, program: [spin: up, read: buf]}, {name: b, program: [mmap: {name: buf, pages: 1}, signal: up]}]}]`)
    expect(image.programs[0]!.code[1]).toMatchObject({ op: 'touch', where: area() })
  })

  test('a barrier waits for every task that mentions it, children in loops counted with the loop', async () => {
    const { image } = await parse(`
processes:
  - name: p
    threads:
      - name: a
        program:
          - barrier: start
          - repeat: {times: 3, do: [fork: {name: c, program: [barrier: all]}]}
          - barrier: all
      - name: b
        program:
          - repeat: {times: 9, do: [barrier: start]}
          - barrier: {name: few, tasks: 1}
`)
    expect(image.barriers).toEqual([{ name: 'start', tasks: 2 }, { name: 'all', tasks: 4 }, { name: 'few', tasks: 1 }])
  })

  test('a program that mentions a barrier before and after a fork is still one task', async () => {
    const { image } = await parse(`
processes:
  - name: p
    program:
      - barrier: b
      - fork: {name: c, program: [barrier: b]}
      - barrier: b
`)
    expect(image.barriers).toEqual([{ name: 'b', tasks: 2 }])
  })

  test('flags have one index wherever they are mentioned', async () => {
    const { image } = await parse(
      'processes: [{name: a, program: [spin: x, signal: y]}, {name: b, program: [signal: x]}]')
    expect(image.flagNames).toEqual(['x', 'y'])
    expect(image.programs[1]!.code[0]).toMatchObject({ op: 'signal', flag: 0 })
  })
})

describe('machine and kernel', () => {
  const run = 'processes: [{name: p, program: [yield]}]'

  test('everything has a default', async () => {
    const { config, name, lookFor, expectations } = await parse(run)
    expect(config.machine).toMatchObject({ preset: 'skl-2s', cpus: 2, memoryBytes: 256 * 2 ** 20, geometry: 'x86-64' })
    expect(config.kernel).toEqual({
      era: 'linux-6.x', policy: 'linux-6.x', remoteFlush: 'concurrent', mmCpumask: 'trimmed', earlyAck: false,
      flushCeilingPages: 33,
      pcid: true, pti: false, idlePoll: false, physBase: 0x1000000,
      swapBytes: 0, thp: 'never', khugepaged: undefined, idleDeep: false,
      bugs: [], speculation: false,
      timeSliceCycles: Math.round(3e6 * config.machine.costs.frequencyGhz),
    })
    expect({ seed: config.seed, name, lookFor, expectations })
      .toEqual({ seed: 1, name: 'test', lookFor: [], expectations: [] })
  })

  test('Linux 4.6 has no PCID, and 32-bit geometries have none either', async () => {
    expect((await parse(`kernel: linux-4.6\n${run}`)).config.kernel).toMatchObject({ era: 'linux-4.6', pcid: false })
    expect((await parse(`machine: {geometry: i386}\n${run}`)).config.kernel.pcid).toBe(false)
  })

  test('a file changes single prices and TLBs of a preset', async () => {
    const { config } = await parse(`
machine:
  cpus: 8
  memory: 8G
  tlb: {l1d: 32/4, stlb: {base: 1024/8, large: 32}, pagingCache: {pmd: 0}}
  costs: {invlpg: 11, ipiWire: 22}
${run}`)
    expect(config.machine).toMatchObject({ cpus: 8, memoryBytes: 2 ** 33, costs: { invlpg: 11, ipiWire: 22 } })
    expect(config.machine.tlb.l1d).toEqual({ arrays: [{ entries: 32, ways: 4 }], base: 0, large: 0, giant: 0 })
    expect(config.machine.tlb.stlb).toEqual({
      arrays: [{ entries: 1024, ways: 8 }, { entries: 32, ways: 32 }], base: 0, large: 1, giant: -1,
    })
    expect(config.machine.tlb.pagingCache.pmd).toBe(0)
  })

  test('what the command line says comes last', async () => {
    const text = `machine: {cpus: 4}\nseed: 7\nkernel: {idle: poll, flushCeiling: 0}\n${run}`
    expect((await parse(text)).config)
      .toMatchObject({ seed: 7, machine: { cpus: 4 }, kernel: { idlePoll: true, flushCeilingPages: 0 } })
    expect((await parse(text, { seed: 9, cpus: 16, era: 'linux-4.6' })).config)
      .toMatchObject({ seed: 9, machine: { cpus: 16 }, kernel: { era: 'linux-4.6', pcid: false } })
  })

  test('anchors and comments are plain YAML', async () => {
    const { image } = await parse(`
processes:
  - {name: a, program: &work [compute: 5]}   # the anchor
  - {name: b, program: *work}
`)
    expect(image.programs[1]!.code[0]).toMatchObject({ op: 'compute', cycles: 5 })
  })
})
