// Samples of the cores' counters at the steps at which a CPU goes from user mode into the kernel
// (trace/samples.ts says why there). Reading them changes nothing: a run with samples is the run without.

import type { CoreCounter } from '../kernel/counters.js'
import { COUNTER_L1D_MISSES, COUNTER_L1I_MISSES, COUNTER_STLB_MISSES, COUNTER_WALK_STEPS } from '../machine/mmu.js'
import { SAMPLED_COUNTERS, SampleRecorder } from '../trace/samples.js'
import type { CounterSamples, SampledCounter } from '../trace/samples.js'
import { CORE_ACCESSES } from './shared-state.js'
import type { SharedState } from './shared-state.js'

/** Where a counter lies in the row of a core. */
const PLACE: Readonly<Record<SampledCounter & CoreCounter, readonly ['counters' | 'doubles', number]>> = {
  accesses: ['doubles', CORE_ACCESSES],
  l1iMisses: ['counters', COUNTER_L1I_MISSES],
  l1dMisses: ['counters', COUNTER_L1D_MISSES],
  stlbMisses: ['counters', COUNTER_STLB_MISSES],
  walkSteps: ['counters', COUNTER_WALK_STEPS],
}

export class CounterSampler {
  readonly #recorder = new SampleRecorder()
  /** By CPU: the row and the index in it of each sampled counter. */
  readonly #places: readonly (readonly { readonly row: Float64Array; readonly index: number }[])[]
  readonly #values = new Float64Array(SAMPLED_COUNTERS.length)

  constructor(shared: SharedState, cpus: number) {
    this.#places = Array.from({ length: cpus }, (_, cpu) => SAMPLED_COUNTERS.map((name) => {
      const [field, index] = PLACE[name]
      return { row: shared.layout.view(shared.buffer, 'core', field, cpu), index }
    }))
  }

  /** `cpu` stands at `cycle`, and not beyond it. */
  sample(cpu: number, cycle: number): void {
    this.#places[cpu]!.forEach(({ row, index }, counter) => { this.#values[counter] = row[index]! })
    this.#recorder.record(cycle, cpu, this.#values)
  }

  /** One more sample of every CPU for the end of the run, at which all stand still. */
  finish(cycle: number): CounterSamples {
    for (let cpu = 0; cpu < this.#places.length; cpu++) this.sample(cpu, cycle)
    return this.#recorder.finish()
  }
}
