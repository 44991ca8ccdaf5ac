// Counters of CPUs over time: what a core had counted when it last went into the kernel, once for every
// entry. Kept beside the trace and not in it: the canonical trace holds what happened, and is the same
// whether somebody counts or not. Only entries into the kernel are moments at which every engine knows a
// core's counters exactly; between two of them an engine may be ahead of itself.

/** What is sampled, in the order of the columns; names as in kernel/counters.ts. */
export const SAMPLED_COUNTERS = ['accesses', 'l1iMisses', 'l1dMisses', 'stlbMisses', 'walkSteps'] as const
export type SampledCounter = (typeof SAMPLED_COUNTERS)[number]

/** Finished samples in the order (cycle, cpu). Plain: survives structured clone. */
export interface CounterSamples {
  readonly length: number
  readonly cycle: Float64Array<ArrayBuffer>
  readonly cpu: Int32Array<ArrayBuffer>
  /** One column for each of SAMPLED_COUNTERS: totals since the beginning. */
  readonly values: readonly Float64Array<ArrayBuffer>[]
}

const INITIAL_CAPACITY = 1024

export class SampleRecorder {
  #length = 0
  #cycle = new Float64Array(INITIAL_CAPACITY)
  #cpu = new Int32Array(INITIAL_CAPACITY)
  #values = SAMPLED_COUNTERS.map(() => new Float64Array(INITIAL_CAPACITY))

  /** Adds one sample; `values` in the order of SAMPLED_COUNTERS. Cycles never go back. */
  record(cycle: number, cpu: number, values: ArrayLike<number>): void {
    const i = this.#length
    if (i === this.#cycle.length) this.#grow()
    this.#cycle[i] = cycle
    this.#cpu[i] = cpu
    for (let counter = 0; counter < this.#values.length; counter++) this.#values[counter]![i] = values[counter]!
    this.#length = i + 1
  }

  finish(): CounterSamples {
    const length = this.#length
    return {
      length, cycle: this.#cycle.slice(0, length), cpu: this.#cpu.slice(0, length),
      values: this.#values.map((column) => column.slice(0, length)),
    }
  }

  #grow(): void {
    const capacity = 2 * this.#cycle.length
    const cpu = new Int32Array(capacity)
    cpu.set(this.#cpu)
    this.#cpu = cpu
    this.#cycle = grown(this.#cycle, capacity)
    this.#values = this.#values.map((column) => grown(column, capacity))
  }
}

/** The buffers of samples, for the transfer list of postMessage. */
export function sampleBuffers(samples: CounterSamples): ArrayBuffer[] {
  return [samples.cycle, samples.cpu, ...samples.values].map((column) => column.buffer)
}

function grown(column: Float64Array<ArrayBuffer>, capacity: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(capacity)
  larger.set(column)
  return larger
}
