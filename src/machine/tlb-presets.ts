// TLB geometries of real processors. Each row's mark says how it is known: [v] read in a source,
// [m:h], [m:m], [m:l] from memory with high, medium, low confidence, [a] assumed by us; the
// sources are listed in docs/cost-model.md. Cycles of a second-level hit are prices, not
// geometry: see presets.ts.
//
// Simplified, for every row: store-only TLBs and second-level instruction TLBs are absent (code
// and data share the second level); rows are those of a whole core (smt.ts halves them); a walk does not
// prefetch.

import type { TlbArrayConfig, TlbConfig, TlbLevelConfig } from './config.js'

type Ways = number | 'full'

function array(entries: number, ways: Ways): TlbArrayConfig {
  return { entries, ways: ways === 'full' ? entries : ways }
}

/** One array for base and large pages; giant pages too when `giant`. */
function shared(entries: number, ways: Ways, sizes: { giant: boolean } = { giant: true }): TlbLevelConfig {
  return { arrays: [array(entries, ways)], base: 0, large: 0, giant: sizes.giant ? 0 : -1 }
}

/** An array for each page size that is given. */
function separate(base: TlbArrayConfig, large?: TlbArrayConfig, giant?: TlbArrayConfig): TlbLevelConfig {
  const arrays = [base]
  const add = (next: TlbArrayConfig | undefined): number => (next === undefined ? -1 : arrays.push(next) - 1)
  const largeIndex = add(large)
  return { arrays, base: 0, large: largeIndex, giant: add(giant) }
}

const NO_TLB: TlbLevelConfig = { arrays: [], base: -1, large: -1, giant: -1 }

type PagingCacheConfig = TlbConfig['pagingCache']
const NO_PAGING_CACHE: PagingCacheConfig = { pgd: 0, p4d: 0, pud: 0, pmd: 0 }
/** Intel since Nehalem: PML4E 2-4, PDPTE 4, PDE 32 [m:m]. A PML4E is a p4d entry when five levels are on. */
const INTEL_PAGING_CACHE: PagingCacheConfig = { pgd: 2, p4d: 4, pud: 4, pmd: 32 }
/** The common research baseline 2/4/8/32 [v] CHAMPSIM, where nothing better is known. */
const BASELINE_PAGING_CACHE: PagingCacheConfig = { pgd: 2, p4d: 4, pud: 8, pmd: 32 }
/** Simplified: AMD keeps PDEs in the second-level TLB [v] WIKICHIP; here they have 64 entries of their own [a]. */
const AMD_PAGING_CACHE: PagingCacheConfig = { pgd: 2, p4d: 4, pud: 16, pmd: 64 }

/** Sandy and Ivy Bridge: the second level holds 4 KiB pages only. 512 [v] HANSEN, the rest [m:h]. */
const SANDY_BRIDGE: TlbConfig = {
  l1i: separate(array(128, 4), array(8, 'full')),
  l1d: separate(array(64, 4), array(32, 4), array(4, 'full')),
  stlb: separate(array(512, 4)),
  pagingCache: INTEL_PAGING_CACHE,
}

/** 80386: one 32-entry, 4-way TLB [m:h]. Simplified: code and data have one each, so neither evicts the other. */
const I386: TlbConfig = { l1i: shared(32, 4), l1d: shared(32, 4), stlb: NO_TLB, pagingCache: NO_PAGING_CACHE }

export const TLB_PRESETS: Record<string, TlbConfig> = {
  'i386': I386,
  // NS32382 of the Encore Multimax: one 32-entry array [m:m]. Simplified as for i386.
  'ns32382': { ...I386, l1i: shared(32, 'full'), l1d: shared(32, 'full') },
  // MIPS R2000/R3000: 64 entries, fully associative [m:h]. Simplified: refilled by a walk, not by software.
  'mips-r3000': { ...I386, l1i: shared(64, 'full'), l1d: shared(64, 'full') },
  // [m:h]
  'pentium': {
    l1i: shared(32, 4, { giant: false }),
    l1d: separate(array(64, 4), array(8, 4)),
    stlb: NO_TLB,
    pagingCache: NO_PAGING_CACHE,
  },
  // [m:h] Simplified: the two second-level TLBs of 512 (code, data) are one of 1024.
  'k8': {
    l1i: separate(array(32, 'full'), array(8, 'full')),
    l1d: separate(array(32, 'full'), array(8, 'full')),
    stlb: separate(array(1024, 4)),
    pagingCache: { pgd: 0, p4d: 0, pud: 0, pmd: 24 },
  },
  // Data side [v] INTEL-OPT; fully associative where ways are unknown [a].
  'core2': {
    l1i: separate(array(128, 4), array(8, 4)),
    l1d: separate(array(16, 4), array(16, 4)),
    stlb: separate(array(256, 4), array(32, 4)),
    pagingCache: { pgd: 0, p4d: 0, pud: 0, pmd: 32 },
  },
  // L2 [v] CAQA, the rest [m:h]; the instruction side has 64 or 128 entries by thread count: 128.
  'nehalem': {
    l1i: separate(array(128, 4), array(8, 'full')),
    l1d: separate(array(64, 4), array(32, 4)),
    stlb: separate(array(512, 4)),
    pagingCache: INTEL_PAGING_CACHE,
  },
  'sandybridge': SANDY_BRIDGE,
  'ivybridge': SANDY_BRIDGE,
  // [v] MYNAVI, C&C; 2 MiB pages share the second level from here on.
  'haswell': { ...SANDY_BRIDGE, stlb: shared(1024, 8, { giant: false }) },
  // Entries [v] MYNAVI, ways [m:h].
  'broadwell': {
    ...SANDY_BRIDGE,
    stlb: { arrays: [array(1536, 6), array(16, 4)], base: 0, large: 0, giant: 1 },
  },
  // [v] VICTIM, INTEL-COMM, C&C.
  'skylake': {
    l1i: separate(array(128, 8), array(8, 'full')),
    l1d: separate(array(64, 4), array(32, 4), array(4, 4)),
    stlb: { arrays: [array(1536, 12), array(16, 4)], base: 0, large: 0, giant: 1 },
    pagingCache: INTEL_PAGING_CACHE,
  },
  // Size class [v] C&C, split [m:m]. Simplified: 1024 for 4K/2M and 1024 for 4K/1G are one array of 2048.
  'icelake': {
    l1i: separate(array(128, 8), array(8, 'full')),
    l1d: separate(array(64, 4), array(32, 4), array(8, 'full')),
    stlb: shared(2048, 16),
    pagingCache: INTEL_PAGING_CACHE,
  },
  // L2 size [v] C&C, the rest [m:h].
  'goldencove': {
    l1i: separate(array(256, 8), array(32, 4)),
    l1d: separate(array(96, 6), array(32, 4), array(8, 'full')),
    stlb: shared(2048, 16),
    pagingCache: INTEL_PAGING_CACHE,
  },
  // [v] WIKICHIP.
  'zen': {
    l1i: shared(64, 'full'), l1d: shared(64, 'full'), stlb: shared(1536, 12, { giant: false }),
    pagingCache: AMD_PAGING_CACHE,
  },
  // [v] WIKICHIP, 7CPU, C&C. Simplified: 16 ways, since 12 do not divide 2048; 1G pages are not split into 2M ones.
  'zen2': {
    l1i: shared(64, 'full'), l1d: shared(64, 'full'), stlb: shared(2048, 16), pagingCache: AMD_PAGING_CACHE,
  },
  // Size [v] C&C, 16 ways [m:m].
  'zen3': {
    l1i: shared(64, 'full'), l1d: shared(64, 'full'), stlb: shared(2048, 16), pagingCache: AMD_PAGING_CACHE,
  },
  // 72 and 3072 [v] C&C, the rest [m:m].
  'zen4': {
    l1i: shared(64, 'full'), l1d: shared(72, 'full'), stlb: shared(3072, 24), pagingCache: AMD_PAGING_CACHE,
  },
  // [v] JIEGEC.
  'zen5': {
    l1i: shared(64, 'full'), l1d: shared(96, 'full'), stlb: shared(4096, 16), pagingCache: AMD_PAGING_CACHE,
  },
  // L2 [v] C&C.
  'cortex-a57': {
    l1i: shared(48, 'full'), l1d: shared(32, 'full'), stlb: shared(1024, 4), pagingCache: BASELINE_PAGING_CACHE,
  },
  // [m:h]
  'neoverse-n1': {
    l1i: shared(48, 'full'), l1d: shared(48, 'full'), stlb: shared(1280, 5), pagingCache: BASELINE_PAGING_CACHE,
  },
  // L2 size [v] C&C, its ways and the instruction side [a], L1D [m:m].
  'neoverse-n2': {
    l1i: shared(48, 'full'), l1d: shared(44, 'full'), stlb: shared(1280, 5), pagingCache: BASELINE_PAGING_CACHE,
  },
  'neoverse-v1': {
    l1i: shared(48, 'full'), l1d: shared(48, 'full'), stlb: shared(2048, 8), pagingCache: BASELINE_PAGING_CACHE,
  },
}
