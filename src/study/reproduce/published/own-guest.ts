// Our own measurement [o]: a KVM guest with 2 virtual CPUs on Zen 5, Linux 6.18, rdtscp around one call, 1500
// repetitions, medians, TSC cycles. Two runs with a remote thread; the interrupt moved by 20 % between them.

export interface GuestRow {
  pages: number
  alone: number
  remoteA: number
  remoteB: number
}

/** mprotect to read-only over n pages that were written. */
export const MPROTECT_CYCLES: readonly GuestRow[] = [
  { pages: 1, alone: 2158, remoteA: 29_380, remoteB: 35_490 },
  { pages: 2, alone: 2418, remoteA: 29_822, remoteB: 36_426 },
  { pages: 4, alone: 3068, remoteA: 30_290, remoteB: 36_868 },
  { pages: 8, alone: 4342, remoteA: 31_798, remoteB: 38_350 },
  { pages: 16, alone: 7358, remoteA: 35_360, remoteB: 41_288 },
  { pages: 24, alone: 9932, remoteA: 38_168, remoteB: 43_888 },
  { pages: 32, alone: 12_480, remoteA: 41_158, remoteB: 46_982 },
  { pages: 33, alone: 12_662, remoteA: 41_990, remoteB: 47_138 },
  { pages: 34, alone: 9750, remoteA: 37_024, remoteB: 43_108 },
  { pages: 40, alone: 10_816, remoteA: 38_116, remoteB: 44_694 },
  { pages: 48, alone: 12_636, remoteA: 39_520, remoteB: 46_358 },
  { pages: 64, alone: 15_990, remoteA: 43_004, remoteB: 49_582 },
  { pages: 128, alone: 29_692, remoteA: 56_160, remoteB: 62_790 },
  { pages: 512, alone: 108_758, remoteA: 132_444, remoteB: 143_208 },
]
