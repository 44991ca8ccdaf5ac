// A set of CPUs as words of bits, like struct cpumask. Iteration is always in ascending order,
// because the order in which interrupts are sent is part of a trace.

import { formatCpumask } from '../trace/cpumask.js'

/** A set of CPU numbers in [0, cpus). */
export class CpuMask {
  readonly #cpus: number
  readonly #words: Uint32Array

  constructor(cpus: number) {
    this.#cpus = cpus
    this.#words = new Uint32Array(Math.ceil(cpus / 32))
  }

  has(cpu: number): boolean {
    return ((this.#words[cpu >>> 5] >>> (cpu & 31)) & 1) === 1
  }

  set(cpu: number): void {
    this.#words[cpu >>> 5] |= 1 << (cpu & 31)
  }

  clear(cpu: number): void {
    this.#words[cpu >>> 5] &= ~(1 << (cpu & 31))
  }

  /** cpumask_or: adds the members of `other`. */
  or(other: CpuMask): void {
    for (let i = 0; i < this.#words.length; i++) this.#words[i] |= other.#words[i]
  }

  clearAll(): void {
    this.#words.fill(0)
  }

  isEmpty(): boolean {
    return this.#words.every(word => word === 0)
  }

  /** cpumask_any_but: is any CPU but `cpu` in the set? */
  anyBut(cpu: number): boolean {
    for (let i = 0; i < this.#words.length; i++) {
      const word = i === cpu >>> 5 ? this.#words[i] & ~(1 << (cpu & 31)) : this.#words[i]
      if (word !== 0) return true
    }
    return false
  }

  /** The members, ascending. */
  toArray(): number[] {
    const cpus: number[] = []
    for (let i = 0; i < this.#words.length; i++) {
      // The lowest bit goes with every turn.
      for (let bits = this.#words[i]; bits !== 0; bits &= bits - 1) cpus.push(32 * i + 31 - Math.clz32(bits & -bits))
    }
    return cpus
  }

  /** As the kernel prints masks. */
  toHex(): string {
    return formatCpumask(this.#words, this.#cpus)
  }
}
