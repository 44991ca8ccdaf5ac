// madvise(): from the advice to what is done about it, in files by subject.

import type { Advice } from '../abi.js'
import { ERRNO } from '../abi.js'
import { madviseCollapse } from '../huge/collapse.js'
import type { KernelCpu } from '../cpu.js'
import { madviseHuge } from '../huge/huge-advice.js'
import type { KernelOp } from '../kernel-op.js'
import { madviseCold, madviseDontneed, madviseFree, madvisePageout } from './madvise-pages.js'
import type { Mm } from './mm.js'
import type { KernelState } from '../state.js'

type AdviceHandler = (k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number) => KernelOp<number>

const ADVICE_HANDLERS: { readonly [name in Advice]?: AdviceHandler } = {
  dontneed: madviseDontneed,
  free: madviseFree,
  cold: madviseCold,
  pageout: madvisePageout,
  collapse: madviseCollapse,
  hugepage: (k, cpu, mm, start, end) => madviseHuge(k, cpu, mm, start, end, 'hugepage'),
  nohugepage: (k, cpu, mm, start, end) => madviseHuge(k, cpu, mm, start, end, 'nohugepage'),
}

/** 0, or a negative error number. */
export function* madvise(
  k: KernelState, cpu: KernelCpu, mm: Mm, start: number, end: number, advice: Advice,
): KernelOp<number> {
  const handler = ADVICE_HANDLERS[advice]
  return handler === undefined ? -ERRNO.EINVAL : yield* handler(k, cpu, mm, start, end)
}
