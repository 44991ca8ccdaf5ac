// Reclaim for random runs: memory.reclaim now and then, advice about pages, swap areas that are
// missing, almost full or roomy.

import fc from 'fast-check'
import { advise, area, mmap, program, reclaim, touch } from './programs.js'
import type { Step } from './programs.js'
import type { RandomRun } from './random-programs.js'

/** Most runs have room for everything, some for a few pages only. */
export const randomSwap: fc.Arbitrary<{ swapBytes: number }> =
  fc.constantFrom(0, 16 * 4096, 2 ** 22, 2 ** 22, 2 ** 22).map(swapBytes => ({ swapBytes }))

export const reclaimStep = (part: fc.Arbitrary<{ index: number; offset: number; pages: number }>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 60 }).map(reclaim) },
    { weight: 3, arbitrary: fc.tuple(part, fc.constantFrom('free' as const, 'cold' as const, 'pageout' as const))
      .map(([p, advice]) => advise(area(p.index, p.offset, p.pages), advice)) },
  )

/** The same run beside a process that wants nearly all memory, and swap for it: every CPU reclaims, kswapd too. */
export function underPressure({ config, image }: RandomRun, pages: number): RandomRun {
  const hog = program('hog', mmap(0, pages), touch(area(0), 'write'), touch(area(0), 'read'))
  const programs = [...image.programs, hog]
  const process = {
    name: 'hog', kernelThread: false, traceMappings: [],
    threads: [{ comm: 'hog', cpus: [], program: programs.length - 1 }],
  }
  return {
    config: {
      ...config, machine: { ...config.machine, memoryBytes: SMALL_MEMORY_BYTES },
      kernel: { ...config.kernel, swapBytes: Math.max(config.kernel.swapBytes, 2 ** 22) },
    },
    image: { ...image, programs, processes: [process, ...image.processes] },
  }
}

/** The least that the kernel boots with. */
const SMALL_MEMORY_BYTES = 28 * 2 ** 20
