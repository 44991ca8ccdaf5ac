// A flush that is put off until a freed page is used again, for pages that nobody could write to: LUF.
// Requests are those of 6.x; what reclaim does with read-only pages is in unflushed.ts.

import { linux6x } from './tlb-flush-6x.js'
import type { TlbPolicy } from './tlb-policy.js'

export const reuseDeferred: TlbPolicy = {
  ...linux6x,
  name: 'reuse-deferred',
  source: 'B. Park, "LUF (Lazy Unmap Flush)", linux-mm v12, February 2025',
  keepsUnflushed: true,
}
