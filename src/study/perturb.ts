// A seed of `shootdown explore` to a run: the scenario's configuration and programs with everything
// changed that a legal run of the same scenario may have otherwise. What is decided before the run
// starts is done here; what happens on the way is kernel/perturbation.ts. Seed 0 changes nothing.
//
// A seed leaves about a third of the kinds alone: runs that are disturbed in every way at once are
// more alike than runs that are disturbed in few.

import { createRandom } from '../base/prng.js'
import type { Random } from '../base/prng.js'
import type { Instruction, Program, ProgramImage } from '../kernel/abi.js'
import type { SimulationConfig } from '../kernel/config.js'
import { RUN_PERTURBATIONS } from '../kernel/perturbation.js'
import type { RunPerturbation } from '../kernel/perturbation.js'
import type { Costs } from '../machine/costs.js'

/** What is changed before the run starts. */
const START_PERTURBATIONS = ['prices', 'starts', 'pauses', 'slices', 'placement', 'speculation'] as const
type StartPerturbation = (typeof START_PERTURBATIONS)[number]

export type PerturbationKind = StartPerturbation | RunPerturbation
/** Every kind, with what it does, for help texts and documents. */
export const PERTURBATIONS: Readonly<Record<PerturbationKind, string>> = {
  prices: 'each price is a quarter to four times what it was',
  starts: 'initial tasks begin up to 50,000 cycles later',
  pauses: 'pauses and yields between operations',
  slices: 'time slices of other lengths',
  placement: 'initial threads that may run anywhere are bound to one CPU',
  speculation: 'CPUs in the kernel walk pages on their own, or do not; random accesses go elsewhere',
  steps: 'kernel steps take up to three times as long, on one CPU up to ten times; ties are broken the other way',
  stalls: 'now and then a kernel step takes up to 400,000 cycles longer',
  interrupts: 'each interrupt is up to 50,000 cycles longer on its way',
  locks: 'mmap_lock is handed to any of its waiters',
  stores: 'a store that no barrier drains stays in its buffer for longer',
}
export const PERTURBATION_KINDS = Object.keys(PERTURBATIONS) as PerturbationKind[]

export interface RunInput {
  config: SimulationConfig
  image: ProgramImage
}

const PRICE_FACTOR = 4
const LONGEST_START = 50_000
const LONGEST_PAUSE = 20_000
const PAUSE_ONE_IN = [2, 4, 8, 16]
const SLICES = [1000, 3000, 10_000, 50_000]

/** The run of `seed`. `kinds` are those that may be perturbed. */
export function perturbed({ config, image }: RunInput, seed: number, kinds: readonly PerturbationKind[]): RunInput {
  if (seed === 0) return { config, image }
  const choice = createRandom(seed, 'perturbation kinds')
  const isOn = Object.fromEntries(PERTURBATION_KINDS.map(kind => [kind, choice.nextInt(3) > 0 && kinds.includes(kind)]))
  const on = (kind: PerturbationKind): boolean => isOn[kind] === true
  const random = (kind: StartPerturbation): Random => createRandom(seed, kind)
  const machine = on('prices')
    ? { ...config.machine, costs: otherPrices(config.machine.costs, random('prices')) } : config.machine
  const kernel = {
    ...config.kernel,
    ...(on('slices') ? { timeSliceCycles: SLICES[random('slices').nextInt(SLICES.length)]! } : {}),
    ...(on('speculation') ? { speculation: random('speculation').nextInt(2) === 1 } : {}),
  }
  let { programs, processes } = image
  if (on('pauses')) {
    // Each program has draws of its own, as each CPU has in kernel/perturbation.ts.
    const oneIn = PAUSE_ONE_IN[random('pauses').nextInt(PAUSE_ONE_IN.length)]!
    programs = programs.map(program => withPauses(program, oneIn, createRandom(seed, `pauses of ${program.name}`)))
  }
  if (on('starts')) programs = laterStarts(programs, image, seed)
  if (on('placement')) {
    const draws = random('placement')
    processes = processes.map(process => ({
      ...process,
      threads: process.threads.map(thread => thread.cpus.length > 0 || draws.nextInt(2) === 0
        ? thread : { ...thread, cpus: [draws.nextInt(config.machine.cpus)] }),
    }))
  }
  return {
    config: {
      ...config, machine, kernel,
      ...(on('speculation') ? { seed: random('speculation').nextU32() } : {}),
      perturbation: { seed, kinds: RUN_PERTURBATIONS.filter(on) },
    },
    image: { ...image, programs, processes },
  }
}

/** Whole cycles; what costs something goes on costing something. */
function otherPrices(costs: Costs, random: Random): Costs {
  const entries = Object.entries(costs).map(([name, price]: [string, number]) => {
    const factor = PRICE_FACTOR ** (2 * random.nextFloat() - 1)
    return [name, name === 'frequencyGhz' || price === 0 ? price : Math.max(1, Math.round(price * factor))]
  })
  return Object.fromEntries(entries) as Costs
}

function laterStarts(programs: readonly Program[], image: ProgramImage, seed: number): Program[] {
  const initial = new Set(image.processes.flatMap(({ threads }) => threads.map(({ program }) => program)))
  return programs.map((program, index) => {
    const random = createRandom(seed, `start of ${program.name}`)
    const pause = logUniform(random, LONGEST_START)
    if (!initial.has(index) || random.nextInt(3) === 0) return program
    const { source } = program.code[0]!
    return inserted(program, at => (at === 0 ? { op: 'compute', cycles: pause, source } : undefined))
  })
}

function withPauses(program: Program, oneIn: number, random: Random): Program {
  return inserted(program, (index) => {
    const cycles = logUniform(random, LONGEST_PAUSE)
    const isYield = random.nextInt(5) === 0
    if (random.nextInt(oneIn) !== 0) return undefined
    const { source } = program.code[index]!
    return isYield ? { op: 'yield', source } : { op: 'compute', cycles, source }
  })
}

/** The program with what `before` gives put in front of each instruction; loops keep their ends. */
function inserted(program: Program, before: (index: number) => Instruction | undefined): Program {
  const code: Instruction[] = []
  const place: number[] = []
  for (const [index, instruction] of program.code.entries()) {
    const extra = before(index)
    if (extra !== undefined) code.push(extra)
    place.push(code.length)
    code.push(instruction)
  }
  return { ...program, code: code.map(instruction => moved(instruction, place)) }
}

/** The instruction with its partner where that went. */
function moved(instruction: Instruction, place: readonly number[]): Instruction {
  if (instruction.op === 'loop') return { ...instruction, end: place[instruction.end]! }
  return instruction.op === 'end' ? { ...instruction, loop: place[instruction.loop]! } : instruction
}

/** 1 to `longest`; each power of two is as likely as the next. */
function logUniform(random: Random, longest: number): number {
  return Math.max(1, Math.floor(longest ** random.nextFloat()))
}
