// Half of all random runs have perturbed timing, as `shootdown explore` gives it.

import fc from 'fast-check'
import { perturbed, PERTURBATION_KINDS } from '../../src/study/perturb.js'
import type { RunInput } from '../../src/study/perturb.js'

/** The runs of `arbitrary` as they are, or with another timing. */
export function sometimesPerturbed<Run extends RunInput>(arbitrary: fc.Arbitrary<Run>): fc.Arbitrary<Run> {
  const seed = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 32 }))
  return fc.tuple(arbitrary, seed, fc.subarray(PERTURBATION_KINDS))
    .map(([run, drawn, kinds]) => Object.assign({}, run, perturbed(run, drawn, kinds)))
}
