// Perturbed timing: the same machine and the same programs, but every duration that no manual fixes is
// another one. A run stays a pure function of its configuration: what a step takes is drawn from
// the perturbation's seed, the CPU and the number of its draw, and draws are made only where a kernel does a
// step, which happens in the same order in every engine. Each CPU has draws of its own, so that a program that
// changes on one CPU leaves the others alone: shrinking a failure depends on that.
//
// Every perturbed run is a legal one. Steps only become longer (an SMI, a hypervisor that runs somebody
// else), interrupts arrive later, a store stays in its buffer for longer, a lock goes to another of
// its waiters. Which of two events comes first may therefore change, also of two in the same
// cycle; that a cause comes a cycle before its effect on another CPU does not.
//
// Not here: what can be changed before a run starts (prices, pauses in programs, placement): study/perturb.ts.

import { createRandom, hash32 } from '../base/prng.js'

/** What a kernel perturbs while it runs. */
export const RUN_PERTURBATIONS = ['steps', 'stalls', 'interrupts', 'locks', 'stores'] as const
export type RunPerturbation = (typeof RUN_PERTURBATIONS)[number]

export interface PerturbationConfig {
  seed: number
  kinds: readonly RunPerturbation[]
}

/** What a seed draws from. Zeroes are common: a seed that perturbs one thing shows its bugs best. */
const JITTER_PERCENT = [0, 0, 5, 50, 200]
const SLOWER_CPU = [1, 1, 1, 3, 10]
const STALL_ONE_IN = [0, 6, 20, 60, 200]
const LONGEST_STALL = [300, 3000, 30_000, 400_000]
const LONGEST_WIRE = [0, 0, 1000, 10_000, 50_000]
const LONGEST_STORE = [0, 300, 3000, 30_000]

export class Perturber {
  readonly #seed: number
  readonly #draws: number[]
  readonly #jitterPercent: number
  readonly #slowCpu: number
  readonly #slowFactor: number
  readonly #stallOneIn: number
  readonly #longestStall: number
  readonly #longestWire: number
  readonly #longestStore: number
  readonly #picksWaiters: boolean

  constructor({ seed, kinds }: PerturbationConfig, cpus: number) {
    const random = createRandom(seed, 'perturbed run')
    // Drawn whether its kind is on or not, so that leaving one kind out changes none of the others.
    const drawn = (kind: RunPerturbation, choices: readonly number[], off = 0): number => {
      const choice = choices[random.nextInt(choices.length)]!
      return kinds.includes(kind) ? choice : off
    }
    this.#draws = Array.from({ length: cpus }, () => 0)
    this.#seed = hash32(seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0)
    this.#jitterPercent = drawn('steps', JITTER_PERCENT)
    this.#slowFactor = drawn('steps', SLOWER_CPU, 1)
    this.#slowCpu = random.nextInt(cpus)
    this.#stallOneIn = drawn('stalls', STALL_ONE_IN)
    this.#longestStall = drawn('stalls', LONGEST_STALL)
    this.#longestWire = drawn('interrupts', LONGEST_WIRE)
    this.#longestStore = drawn('stores', LONGEST_STORE)
    this.#picksWaiters = drawn('locks', [0, 1]) === 1
  }

  /** How long a step of `cycles` on `cpu` takes. */
  step(cpu: number, cycles: number): number {
    let taken = cpu === this.#slowCpu ? cycles * this.#slowFactor : cycles
    if (this.#jitterPercent > 0) {
      taken += Math.floor(cycles * this.#jitterPercent * this.#draw(cpu) / 2 ** 32 / 100)
      // The last cycle decides between events that would come together.
      if (this.#draw(cpu) < 2 ** 30) taken += 1
    }
    if (this.#stallOneIn > 0 && this.#draw(cpu) % this.#stallOneIn === 0) {
      taken += this.#logUniform(cpu, this.#longestStall)
    }
    return taken
  }

  /** How long an interrupt of `cycles` that `cpu` sends is on its way. */
  wire(cpu: number, cycles: number): number {
    return this.#longestWire === 0 ? cycles : cycles + this.#logUniform(cpu, this.#longestWire)
  }

  /** How long a store that takes `cycles` to be seen stays in the buffer of `cpu`. */
  store(cpu: number, cycles: number): number {
    return this.#longestStore === 0 ? cycles : cycles + this.#logUniform(cpu, this.#longestStore)
  }

  /** Which of `waiters` gets a lock that `cpu` releases: the first is the one that asked first. */
  waiter(cpu: number, waiters: number): number {
    return this.#picksWaiters && waiters > 1 ? this.#draw(cpu) % waiters : 0
  }

  #draw(cpu: number): number {
    return hash32(hash32(this.#seed, cpu), this.#draws[cpu]++)
  }

  /** 1 to `longest`; each power of two is as likely as the next. */
  #logUniform(cpu: number, longest: number): number {
    return Math.max(1, Math.floor(longest ** (this.#draw(cpu) / 2 ** 32)))
  }
}
