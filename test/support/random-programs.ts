// Random small simulations for property tests: a few processes with a few threads each, doing
// everything that programs can do to memory and to each other. Programs that run into SIGSEGV are
// welcome; programs that wait for each other are built so that they end.

import fc from 'fast-check'
import { PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE } from '../../src/kernel/abi.js'
import type { AccessKind, Program, ProgramImage } from '../../src/kernel/abi.js'
import type { KernelEra, MaskForm, SimulationConfig } from '../../src/kernel/config.js'
import { nativeMaskForm, nativePolicy, POLICIES, POLICY_NAMES, whyNoMaskForm } from '../../src/kernel/policies.js'
import { testConfig } from './machines.js'
import { randomHost } from './random-host.js'
import { randomPricing } from './random-pricing.js'
import { sometimesIsolated } from './random-pti.js'
import { randomSwap, reclaimStep } from './random-reclaim.js'
import { sometimesPerturbed } from './random-perturbation.js'
import { area, compute, dontneed, fork, giveWay, gupFast, image, load, mmap, modifyLdt, mprotect, munmap, program,
  repeat, signal, sleep, spin, store, sync, touch, truncate, unuseMm, useMm, wait } from './programs.js'
import type { ProcessSpec, Step } from './programs.js'
import { kernelBufferStep, moveSteps } from './random-moves.js'
import { pair, taskStep } from './random-tasks.js'
import { khugepagedConfig, thpMode, thpSetup, thpStep } from './random-thp.js'

export interface RandomRun {
  config: SimulationConfig
  image: ProgramImage
}

const AREAS = 4
const CHILDREN = 2
const FILES = [{ name: 'data', bytes: 20 * 4096 }, { name: 'log', bytes: 5 * 4096 + 100 }]

const areaIndex = fc.integer({ min: 0, max: AREAS - 1 })
const access = fc.constantFrom<AccessKind>('read', 'write', 'write', 'read', 'exec')
const prot = fc.constantFrom(PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE | PROT_EXEC)
const allProt = PROT_READ | PROT_WRITE | PROT_EXEC

/** What an mmap maps, besides private anonymous memory. */
const backing = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: fc.constant({ shared: true }) },
  { weight: 4, arbitrary: fc.record({
    file: fc.integer({ min: 0, max: FILES.length - 1 }), shared: fc.boolean(),
    fileOffset: fc.constantFrom(0, 0, 4096, 8192),
  }) },
  { weight: 1, arbitrary: fc.constant({ device: true }) },
)

const mapStep: fc.Arbitrary<Step> = fc.record({
  index: areaIndex, pages: fc.integer({ min: 1, max: 48 }), populate: fc.boolean(),
  huge: fc.integer({ min: 0, max: 9 }), shared: fc.boolean(), backing,
}).map(({ index, pages, populate, huge, shared, backing: what }) => huge === 0
  ? mmap(index, 512, { huge: true, shared, prot: allProt }) : mmap(index, pages, { ...what, populate, prot: allProt }))

const fileStep: fc.Arbitrary<Step> = fc.record({
  file: fc.integer({ min: 0, max: FILES.length - 1 }), pages: fc.integer({ min: 0, max: 24 }), cut: fc.boolean(),
}).map(({ file, pages, cut }) => cut ? truncate(file, pages) : sync(file))

const touchStep: fc.Arbitrary<Step> = fc.record({
  index: areaIndex, access, pattern: fc.constantFrom<'seq' | 'random'>('seq', 'random'),
  stride: fc.constantFrom(64, 4096, 4096, 8192), count: fc.integer({ min: 1, max: 400 }),
  seed: fc.integer({ min: 0, max: 1000 }),
}).map(({ index, ...rest }) => touch(area(index), rest.access, rest))

const part = fc.record({
  index: areaIndex, offset: fc.integer({ min: 0, max: 3 }), pages: fc.integer({ min: 1, max: 40 }),
})

const memoryStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: touchStep },
  { weight: 2, arbitrary: mapStep },
  { weight: 1, arbitrary: fileStep },
  { weight: 2, arbitrary: thpStep(AREAS) },
  { weight: 2, arbitrary: part.map(p => munmap(area(p.index, p.offset, p.pages))) },
  { weight: 1, arbitrary: fc.tuple(part, prot).map(([p, to]) => mprotect(area(p.index, p.offset, p.pages), to)) },
  { weight: 4, arbitrary: moveSteps(AREAS) },
  { weight: 1, arbitrary: kernelBufferStep },
  { weight: 2, arbitrary: part.map(p => dontneed(area(p.index, p.offset, p.pages))) },
  { weight: 2, arbitrary: fc.tuple(areaIndex, fc.bigInt(0n, 255n)).map(([i, v]) => store(area(i), v)) },
  { weight: 1, arbitrary: areaIndex.map(i => load(area(i))) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3000 }).map(compute) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 3000 }).map(sleep) },
  { weight: 1, arbitrary: fc.constant(giveWay()) },
  { weight: 1, arbitrary: part.map(p => gupFast(area(p.index, p.offset, p.pages))) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 1000 }).map(modifyLdt) },
  { weight: 2, arbitrary: reclaimStep(part) },
)

const body = (cpus: number): fc.Arbitrary<Step[]> => fc.array(fc.oneof(
  { weight: 8, arbitrary: memoryStep },
  { weight: 2, arbitrary: taskStep(cpus, CHILDREN + 1) },
  { weight: 1, arbitrary: fc.tuple(fc.integer({ min: 2, max: 5 }), fc.array(memoryStep, { minLength: 1, maxLength: 4 }))
    .map(([times, steps]) => repeat(times, ...steps)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: CHILDREN - 1 }).map(child => fork(child, `child${child}`)) },
), { minLength: 2, maxLength: 12 })

const mapAll: Step[] = Array.from({ length: AREAS }, (_, i) => mmap(i, 40, { prot: allProt }))

const children: fc.Arbitrary<Program[]> = fc.array(
  fc.array(memoryStep, { minLength: 1, maxLength: 6 }), { minLength: CHILDREN + 1, maxLength: CHILDREN + 1 },
).map(bodies => bodies.map((steps, i) => i < CHILDREN ? program(`child${i}`, ...steps)
  // What execve() runs has no areas yet.
  : program('image', ...mapAll, ...steps)))

const cpuSet = (cpus: number): fc.Arbitrary<number[]> =>
  fc.uniqueArray(fc.integer({ min: 0, max: cpus - 1 }), { minLength: 0, maxLength: cpus })

/** One process: the first thread maps and raises a flag, the others poll it, then everybody works. */
function process(cpus: number, index: number): fc.Arbitrary<ProcessSpec> {
  const threads = fc.array(
    fc.record({ steps: body(cpus), cpus: cpuSet(cpus), late: fc.boolean() }), { minLength: 1, maxLength: 3 })
  return fc.tuple(threads, thpSetup(AREAS - 1)).map(([specs, thpArea]) => ({
    threads: specs.map((thread, i) => ({
      comm: `p${index}t${i}`,
      cpus: thread.cpus,
      program: program(`p${index}t${i}`, ...(i === 0 ? [...mapAll, ...thpArea, signal(index)] : [spin(index)]),
        ...thread.steps, ...(thread.late ? [wait()] : [])),
    })),
  }))
}

const kernelThread = (cpus: number): fc.Arbitrary<ProcessSpec> => fc.record({
  cycles: fc.integer({ min: 10, max: 5000 }), pause: fc.integer({ min: 10, max: 5000 }),
  times: fc.integer({ min: 1, max: 6 }), cpus: cpuSet(cpus), borrows: fc.boolean(), index: areaIndex, access,
}).map(spec => ({
  kernelThread: true,
  threads: [{
    comm: 'kworker', cpus: spec.cpus,
    program: program('kworker', repeat(spec.times, compute(spec.cycles), sleep(spec.pause),
      ...(spec.borrows ? [useMm(0), touch(area(spec.index), spec.access), gupFast(area(spec.index)), unuseMm()] : []))),
  }],
}))

/** A whole random run of the kernels as they are. */
export const randomRun: fc.Arbitrary<RandomRun> = randomRunOf(
  fc.constantFrom<KernelEra>('linux-4.6', 'linux-6.x', 'linux-6.x').map(nativePolicy))

/** A whole random run under any policy. */
export const randomRunOfAnyPolicy: fc.Arbitrary<RandomRun> = randomRunOf(fc.constantFrom(...POLICY_NAMES))

/** A whole random run under the policies that `policies` gives, each on the first of its eras. */
export function randomRunOf(policies: fc.Arbitrary<string>): fc.Arbitrary<RandomRun> {
  return sometimesIsolated(sometimesPerturbed(fc.integer({ min: 1, max: 5 }).chain(cpus => fc.record({
    processes: fc.integer({ min: 1, max: 3 })
      .chain(n => fc.tuple(...Array.from({ length: n }, (_, i) => process(cpus, i)))),
    worker: fc.option(kernelThread(cpus), { nil: undefined }),
    pair: fc.option(pair(cpus), { nil: undefined }),
    children,
    policy: policies,
    pcid: fc.boolean(),
    timeSliceCycles: fc.integer({ min: 500, max: 20_000 }),
    idlePoll: fc.boolean(),
    speculation: fc.boolean(),
    thp: thpMode,
    khugepaged: khugepagedConfig,
    sockets: fc.constantFrom(1, 1, 2),
    geometry: fc.constantFrom<SimulationConfig['machine']['geometry']>(
      'x86-64', 'x86-64', 'x86-64', 'x86-64-la57', 'i386', 'i386-pae'),
    ceiling: fc.constantFrom(33, 33, 4, 0),
    host: randomHost,
    pricing: randomPricing,
    swap: randomSwap,
    remoteFlush: fc.constantFrom<'concurrent' | 'serial'>('concurrent', 'concurrent', 'serial'),
    vmapLazyPages: fc.constantFrom(0, 10, 200),
    earlyAck: fc.constantFrom(false, false, true),
    mmCpumask: fc.constantFrom<MaskForm>('trimmed', 'trimmed', 'eager', 'lazy', 'per-cpu'),
  }).map(spec => {
    const { eras: [era], usesPcid } = POLICIES[spec.policy]!
    const geometry = era === 'linux-4.6' && spec.geometry === 'x86-64-la57' ? 'x86-64' : spec.geometry
    const is64 = geometry.startsWith('x86-64')
    return {
      config: testConfig(
        { cpus, sockets: Math.min(cpus, spec.sockets), geometry, memoryBytes: 32 * 2 ** 20, ...spec.host,
          ...spec.pricing },
        { era: era!, policy: spec.policy, pcid: spec.pcid && is64 && usesPcid, timeSliceCycles: spec.timeSliceCycles,
          idlePoll: spec.idlePoll, speculation: spec.speculation, flushCeilingPages: spec.ceiling,
          ...spec.swap,
          vmapLazyPages: spec.vmapLazyPages, thp: spec.thp, khugepaged: spec.khugepaged,
          remoteFlush: era === 'linux-4.6' ? 'serial' : spec.remoteFlush,
          mmCpumask: whyNoMaskForm(era!, spec.policy, spec.mmCpumask) === '' ? spec.mmCpumask : nativeMaskForm(era!),
          earlyAck: era !== 'linux-4.6' && spec.earlyAck }),
      image: image(
        [...spec.processes, ...[spec.worker, spec.pair].filter(more => more !== undefined)],
        { barriers: [2], areas: AREAS, flags: 4, children: spec.children, files: FILES }),
    }
  }))))
}
