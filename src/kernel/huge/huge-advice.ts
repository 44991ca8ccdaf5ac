// What programs say about huge pages: madvise(MADV_HUGEPAGE) and MADV_NOHUGEPAGE mark areas
// (mm/khugepaged.c: hugepage_madvise), and big anonymous mappings are placed so that huge pages fit.

import { ERRNO } from '../abi.js'
import type { KernelCpu } from '../cpu.js'
import type { KernelOp } from '../kernel-op.js'
import type { Mm } from '../mm/mm.js'
import { pagesPerHugePage } from '../mm/pgtable.js'
import { vmaAdjustTransHuge } from './split-huge.js'
import type { KernelState } from '../state.js'
import { NO_FILE, partOf } from '../mm/vma.js'
import type { VmaAttributes } from '../mm/vma.js'

/**
 * Marks the areas of [start, end). Entries that are huge stay so, except at the ends of the range, where areas are cut.
 * A hole is ENOMEM, after the areas around it were marked; hugetlb pages and devices are EINVAL.
 */
export function* madviseHuge(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, thp: VmaAttributes['thp'],
): KernelOp<number> {
  if (end <= start) return 0
  yield* mm.mmapLock.acquire(cpu, true)
  yield k.costs.vmaOperation
  let result = mm.vmas.covers(start, end) ? 0 : -ERRNO.ENOMEM
  for (const vma of mm.vmas.overlapping(start, end).map(area => partOf(area, start, end))) {
    if (vma.huge || vma.device) {
      result = -ERRNO.EINVAL
      break
    }
    if (vma.thp === thp) continue
    yield* vmaAdjustTransHuge(k, cpu, mm, vma.vmStart, vma.vmEnd)
    mm.vmas.setThp(vma.vmStart, vma.vmEnd, thp)
  }
  mm.mmapLock.release(cpu, true)
  return result
}

/**
 * thp_get_unmapped_area() of 6.x: where a private anonymous mapping of whole huge pages goes when nobody asked for an
 * address; -1: anywhere. 64-bit kernels only; a gap that is a huge page longer must be there.
 */
export function hugeAlignedAddress(
  k: KernelState, mm: Mm, request: { at: number; shared?: boolean; file?: number; device?: boolean; huge?: boolean },
  pages: number, lowest: number,
): number {
  const unit = pagesPerHugePage(k.geometry)
  const { at, shared, file, device, huge } = request
  const isPlain = at < 0 && shared === false && file === NO_FILE && device === false && huge === false
  const isOn = k.config.kernel.thp !== 'never' && k.config.kernel.era === 'linux-6.x' && k.geometry.canonical
  if (!isPlain || !isOn || pages % unit !== 0) return -1
  const padded = mm.vmas.findGapTopDown(pages + unit, k.layout.mmapBaseVpn, lowest, 1)
  return padded < 0 ? -1 : padded + unit - (padded % unit)
}
