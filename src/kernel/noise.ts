// Seeded noise: real machines do not take the same time twice. Each step of a kernel and each interrupt on its way
// takes its price times a log-normal factor with median 1 (published means hide a spread of 3 to 14 %). Off by
// default. A draw depends on the seed, the CPU and the number of its draw, as in perturbation.ts, so a noisy
// run is as reproducible as a plain one and the same in every engine.
//
// User mode has no noise: windows compute their own time and draw nothing.

import { hash32 } from '../base/prng.js'

export class Noise {
  readonly #seed: number
  readonly #sigma: number
  readonly #draws: number[]

  /** `sigma` of the logarithm: 0.05 is about 5 %. */
  constructor(seed: number, sigma: number, cpus: number) {
    this.#seed = hash32(seed >>> 0, 0x6e6f6973)
    this.#sigma = sigma
    this.#draws = Array.from({ length: cpus }, () => 0)
  }

  /** How long something takes on `cpu` that costs `cycles`: whole cycles, at least one. */
  cycles(cpu: number, cycles: number): number {
    return Math.max(1, Math.round(cycles * Math.exp(this.#sigma * this.#normal(cpu))))
  }

  /** Standard normal (Box and Muller). */
  #normal(cpu: number): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#uniform(cpu)))
    return radius * Math.cos(2 * Math.PI * this.#uniform(cpu))
  }

  /** From 0 to below 1. */
  #uniform(cpu: number): number {
    return hash32(hash32(this.#seed, cpu), this.#draws[cpu]++) / 2 ** 32
  }
}
