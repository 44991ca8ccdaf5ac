// INGO-B [v]: I. Molnar, "TLB flush multiple pages per IPI v5", linux-kernel, 25 Jun 2015 (Message-Id
// 20150625114819.GA20478@gmail.com). Cycles of an invalidation and of touching the pages again, by number of
// adjacent kernel pages (1 to 4), with caches hot and cold, on two processors that are not named further.

export interface InvalidationCycles {
  machine: string
  invlpgHot: readonly number[]
  cr3Hot: readonly number[]
  invlpgCold: readonly number[]
  cr3Cold: readonly number[]
  /** CR3 reload alone, hot and cold. */
  reload: readonly [hot: number, cold: number]
}

export const INVALIDATION: readonly InvalidationCycles[] = [
  {
    machine: 'intel-2015', invlpgHot: [280, 500, 728, 956], cr3Hot: [148, 152, 136, 152],
    invlpgCold: [356, 1152, 1920, 3084], cr3Cold: [280, 728, 736, 820], reload: [152, 168],
  },
  {
    machine: 'amd-2015', invlpgHot: [95, 188, 281, 374], cr3Hot: [114, 115, 115, 116],
    invlpgCold: [247, 543, 836, 1165], cr3Cold: [275, 480, 671, 670], reload: [127, 273],
  },
]
