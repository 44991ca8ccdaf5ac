// Random steps that move memory about: mremap in all its forms, migration, NUMA balancing; and kernel buffers that
// come and go.

import fc from 'fast-check'
import type { AreaRef } from '../../src/kernel/abi.js'
import { area, kernelTouch, migrate, mremap, numaHint, vfree, vmalloc } from './programs.js'
import type { Step } from './programs.js'

const MIB = 2 ** 20

/** Where MREMAP_FIXED may go: two places that can be moved as whole tables, and two that cannot. */
const PLACES = [0x2000_0000, 0x2020_0000, 0x2040_3000, 0x2041_0000]

/** Steps on the first `areas` areas. */
export function moveSteps(areas: number): fc.Arbitrary<Step> {
  const where: fc.Arbitrary<AreaRef> = fc.record({
    index: fc.integer({ min: 0, max: areas - 1 }), offset: fc.constantFrom(0, 0, 0, 1, 5),
    pages: fc.constantFrom(0, 0, 3, 40),
  }).map(({ index, offset, pages }) => area(index, offset, pages))
  const remap = fc.record({
    where, pages: fc.constantFrom(0, 2, 8, 40, 48, 90, 2 * MIB / 4096), mayMove: fc.boolean(),
    at: fc.option(fc.constantFrom(...PLACES), { nil: undefined }),
  }).map(({ where: from, pages, mayMove, at }) =>
    mremap(from, pages, { mayMove, ...(at === undefined ? {} : { at: { hi: 0, lo: at }, mayMove: true }) }))
  return fc.oneof(remap, where.map(migrate), where.map(numaHint))
}

/** Kernel buffers. They are freed and used in any order, so tasks may end in an oops. */
export const kernelBufferStep: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom('vmalloc', 'vmalloc', 'vfree', 'kernelTouch', 'kernelTouch'),
  buffer: fc.integer({ min: 0, max: 1 }),
  pages: fc.constantFrom(1, 3, 40), access: fc.constantFrom<'read' | 'write'>('read', 'write'),
}).map(({ what, buffer, pages, access }) =>
  what === 'vmalloc' ? vmalloc(buffer, pages) : what === 'vfree' ? vfree(buffer) : kernelTouch(buffer, { access }))
