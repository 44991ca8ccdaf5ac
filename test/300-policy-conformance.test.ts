// One suite for every shootdown policy. First what must always hold: no translation is used after its
// flush was acknowledged, no frame or table is used again before, nothing is left behind. Then what may
// vary, as a table: how many interrupts a policy sends for the same work. A skip says why.
//
// On the machine as it comes every story is told; of each other variant a fifth, another one for each
// policy. `POLICY_STORIES=all npx vitest run test/300` tells all of them.

import { describe, expect, test } from 'vitest'
import { tableLines } from '../src/base/table.js'
import { simulateHere } from '../src/engine/simulate.js'
import { checkEverything, checkTlbs } from '../src/inspect/check.js'
import type { KernelConfig } from '../src/kernel/config.js'
import { CpuMask } from '../src/kernel/cpumask.js'
import type { KernelOp } from '../src/kernel/kernel-op.js'
import { $slot, findLeaf, setEntry } from '../src/kernel/mm/pgtable.js'
import { POLICIES, POLICY_NAMES, whyNoMaskForm, whyNoPti } from '../src/kernel/policies.js'
import type { KernelState } from '../src/kernel/state.js'
import { vpnHi, vpnLo, vpnOf } from '../src/kernel/state.js'
import type { TlbPolicy } from '../src/kernel/tlb/tlb-policy.js'
import { FLUSH_ALL } from '../src/kernel/tlb/tlb-policy.js'
import { pageTableLock } from '../src/kernel/mm/zap.js'
import type { MachineConfig } from '../src/machine/config.js'
import { STORIES, wrongIn } from './support/conformance-stories.js'
import { KernelBench } from './support/kernel-bench.js'
import { testConfig } from './support/machines.js'
import { area, compute, dontneed, fork, image, mmap, mprotect, munmap, program, signal, sleep, spin, store, touch, wait,
} from './support/programs.js'
import type { Step } from './support/programs.js'

const ALL = POLICY_NAMES.map(name => POLICIES[name]!)
const VPN = 0x10000
const AT = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }
const LONG = compute(200_000)

/** Machines and kernels that a policy must be right on. */
interface Variant {
  readonly name: string
  readonly kernel?: Partial<KernelConfig>
  readonly machine?: Partial<MachineConfig>
  /** Why the policy cannot be tried on it; empty: it can. */
  readonly excludes?: (policy: TlbPolicy) => string
}

const noPcid = (policy: TlbPolicy): string => policy.usesPcid ? '' : 'never uses PCID'
const only6x = (policy: TlbPolicy): string => policy.eras[0] === 'linux-6.x' ? '' : 'Linux 4.6 is always serial'

const otherMask = ({ name, eras }: TlbPolicy): string => whyNoMaskForm(eras[0]!, name, 'per-cpu')
const noPti = ({ name, eras }: TlbPolicy): string => whyNoPti(eras[0]!, name, 'x86-64')

const VARIANTS: readonly Variant[] = [
  { name: 'as it comes' },
  { name: 'without PCID', kernel: { pcid: false }, excludes: noPcid },
  { name: 'initiator first', kernel: { remoteFlush: 'serial' }, excludes: only6x },
  { name: 'acknowledged early', kernel: { earlyAck: true }, excludes: only6x },
  { name: 'acknowledged early, initiator first', kernel: { earlyAck: true, remoteFlush: 'serial' }, excludes: only6x },
  { name: 'initiator first, without PCID', kernel: { remoteFlush: 'serial', pcid: false },
    excludes: policy => only6x(policy) || noPcid(policy) },
  { name: 'bits of the mask cleared at the switch', kernel: { mmCpumask: 'eager' }, excludes: otherMask },
  { name: 'bits of the mask cleared by any flush', kernel: { mmCpumask: 'lazy' }, excludes: otherMask },
  { name: 'no mask, flushes look at every CPU', kernel: { mmCpumask: 'per-cpu' }, excludes: otherMask },
  { name: 'no mask, without PCID', kernel: { mmCpumask: 'per-cpu', pcid: false },
    excludes: policy => otherMask(policy) || noPcid(policy) },
  { name: 'every range a full flush', kernel: { flushCeilingPages: 0 } },
  { name: 'no ceiling', kernel: { flushCeilingPages: 1_000_000 } },
  { name: 'idle CPUs poll', kernel: { idlePoll: true } },
  { name: 'CPUs speculate', kernel: { speculation: true } },
  { name: 'two sockets', machine: { sockets: 2, cpus: 4 } },
  { name: 'on an overcommitted host', machine: { host: { runCycles: 6000, awayCycles: 9000 } } },
  { name: 'page-table isolation', kernel: { pti: true }, excludes: noPti },
  { name: 'page-table isolation, without PCID', kernel: { pti: true, pcid: false },
    excludes: policy => noPti(policy) || noPcid(policy) },
  { name: 'PAE', machine: { geometry: 'i386-pae' }, kernel: { pcid: false } },
]

const TELLS_ALL = process.env['POLICY_STORIES'] === 'all'

/** Every skip, in the order of the suite. */
const SKIPS = new Set<string>()

function skipReason(policy: TlbPolicy, variant: Variant, isSynchronous: boolean): string {
  if (isSynchronous && policy.defersFrees !== undefined) return `frees are deferred: ${policy.defersFrees}`
  return variant.excludes?.(policy) ?? ''
}

function configOf(policy: TlbPolicy, { kernel, machine }: Variant = { name: '' }) {
  const pcid = policy.usesPcid && machine?.geometry !== 'i386-pae'
  return testConfig({ cpus: 3, ...machine },
    { era: policy.eras[0]!, policy: policy.name, pcid, swapBytes: 2 ** 20, ...kernel })
}

describe.each(ALL)('$name: what must always hold', (policy) => {
  for (const [v, variant] of VARIANTS.entries()) {
    describe(variant.name, () => {
      for (const [s, story] of STORIES.entries()) {
        if (v > 0 && !TELLS_ALL && (s + v + ALL.indexOf(policy)) % 5 !== 0) continue
        const reason = skipReason(policy, variant, story.isSynchronous === true)
        if (reason !== '') SKIPS.add(`${policy.name}: ${reason}`)
        test.skipIf(reason !== '')(story.title + (reason === '' ? '' : ` (${reason})`), async () => {
          const { simulation, result } = await simulateHere(configOf(policy, variant), story.image,
            { check: true, trace: false })
          expect(wrongIn(story, result)).toEqual([])
          expectNothingLeft(simulation.kernel)
        })
      }
    })
  }

  test('a kernel page that was unmapped is in no TLB when its flush has returned', () => {
    for (const pages of [1, 40, FLUSH_ALL]) {
      const bench = running(policy)
      const { k } = bench
      const direct = BigInt.asUintN(64, k.layout.pageOffset)
      const start = vpnOf(k, Number(direct >> 32n) | 0, Number(direct & 0xffff_ffffn) | 0) + 0x100
      for (const cpu of k.cpus) for (let i = 0; i < 8; i++) {
        k.platform.mmu(cpu.id).translate(vpnHi(k, start + i), vpnLo(k, start + i), 0, false, true)
      }
      expect(cachedKernelPages(k, start, start + 8)).toBe(8 * k.cpus.length)
      bench.enterAll([0], (kernel, cpu) => pages === FLUSH_ALL
        ? kernel.policy.flushAll(kernel, cpu) : kernel.policy.flushKernelRange(kernel, cpu, start, start + pages))
      expect(cachedKernelPages(k, start, start + Math.min(8, pages))).toBe(0)
    }
  })

  test('a batch of pages of two processes leaves none of them usable when its flush has returned', () => {
    const bench = running(policy)
    bench.enterAll([0], function* (k, cpu): KernelOp {
      const mask = new CpuMask(k.cpus.length)
      const mms = ['t0', 'foreign'].map(comm => bench.mmOf(comm))
      for (const mm of mms) {
        findLeaf(k, mm, VPN)
        const { pfn, slot } = $slot
        const lock = pageTableLock(mm, pfn)
        yield* lock.acquire(cpu, true)
        setEntry(k, cpu, mm, pfn, slot, 0, 0)
        k.policy.batchAdd(k, cpu, mask, mm)
        lock.release(cpu, true)
      }
      yield* k.policy.flushBatch(k, cpu, mask, mms)
    })
    checkTlbs(bench.k)
  })

  test('two CPUs that flush the same mm at once both return, and neither can use what it had', () => {
    const bench = running(policy)
    const mm = bench.mmOf('t0')
    const onePage = { start: VPN, end: VPN + 1, stridePages: 1, freedTables: true, hugetlb: false }
    bench.enterAll([0, 1], (k, cpu) => k.policy.flushMmRange(k, cpu, mm, onePage))
    checkEverything(bench.k)
  })
})

/** Whatever lives on is an empty mm that an idle CPU has not let go of. */
function expectNothingLeft(k: KernelState): void {
  expect(k.deferredFrees).toEqual([])
  for (const mm of k.mms.values()) {
    if (mm === k.initMm) continue
    expect([mm.mmUsers, mm.rssPages, mm.vmas.areas.length, mm.gathersPending]).toEqual([0, 0, 0, 0])
  }
}

/** A process on CPU 0 and 1, another on CPU 2, all in user mode with a page at VPN. */
function running(policy: TlbPolicy): KernelBench {
  const steps = (i: number): Step[] => i === 0
    ? [mmap(0, 8, AT), touch(area(0), 'write'), signal(0), LONG] : [spin(0), touch(area(0), 'read'), LONG]
  const bench = new KernelBench(configOf(policy, { name: '', kernel: { timeSliceCycles: 10_000_000 } }), image([
    { threads: [0, 1].map(i => ({ comm: `t${i}`, cpus: [i], program: program('t', ...steps(i)) })) },
    { threads: [{ comm: 'foreign', cpus: [2], program: program('f', mmap(0, 8, AT), touch(area(0), 'write'), LONG) }] },
  ]), { check: false })
  bench.untilRunning(['t0', 't1', 'foreign'], 60_000)
  return bench
}

function cachedKernelPages(k: KernelState, start: number, end: number): number {
  const found = new Set<string>()
  for (const cpu of k.cpus) {
    k.platform.mmu(cpu.id).forEachTlbEntry((entry) => {
      const vpn = vpnOf(k, entry.hi, entry.lo)
      const last = vpn + (entry.pageLevel === 0 ? 1 : 512)
      for (let at = Math.max(vpn, start); at < Math.min(last, end); at++) if (entry.global) found.add(`${cpu.id} ${at}`)
    })
  }
  return found.size
}

/** Work whose interrupts are counted: CPU 1 runs a thread of the process, or holds its mm lazily. */
const WORK: readonly { name: string; steps: Step[]; isLazy?: boolean; children?: Step[][] }[] = [
  { name: 'mprotect', steps: [mprotect(area(0), 1)] },
  { name: 'dontneed', steps: [dontneed(area(0))] },
  { name: 'munmap, tables', steps: [munmap(area(0))] },
  { name: 'fork', steps: [fork(0, 'child', [2]), wait()], children: [[compute(10)]] },
  { name: 'fork, write', steps: [fork(0, 'child', [2]), store(area(0), 1n), wait()], children: [[compute(20_000)]] },
  { name: 'lazy: dontneed', steps: [dontneed(area(0))], isLazy: true },
  { name: 'lazy: munmap, tables', steps: [munmap(area(0))], isLazy: true },
]

/** Call-function interrupts of a whole run, the exit of its tasks included. */
async function interruptsOf(policy: TlbPolicy, { steps, isLazy, children }: (typeof WORK)[number]): Promise<string> {
  const main = [mmap(0, 4, AT), touch(area(0), 'write'), signal(0), compute(30_000), ...steps, signal(1)]
  const other = [spin(0), touch(area(0), 'read'), ...(isLazy === true ? [sleep(1_000_000)] : [spin(1)])]
  const { result } = await simulateHere(configOf(policy), image([{ threads: [
    { comm: 'main', cpus: [0], program: program('main', ...main) },
    { comm: 'other', cpus: [1], program: program('other', ...other) },
  ] }], { children: (children ?? []).map((body, i) => program(`child${i}`, ...body)) }), { trace: false })
  return String(result.counters.callFunctionIpis)
}

test('what may vary: call-function interrupts for the same work', async () => {
  const rows: string[][] = []
  for (const policy of ALL) {
    const row = [policy.name]
    for (const work of WORK) row.push(await interruptsOf(policy, work))
    rows.push(row)
  }
  const columns = ['policy', ...WORK.map(({ name }) => name)]
    .map((title, i) => ({ title, align: i === 0 ? 'left' as const : 'right' as const }))
  expect(`\n${tableLines(columns, rows).join('\n')}\n`).toMatchInlineSnapshot(`
    "
    policy             mprotect  dontneed  munmap, tables  fork  fork, write  lazy: dontneed  lazy: munmap, tables
    linux-4.6                 2         2               2     2            3               2                     2
    linux-6.x                 2         2               1     2            3               1                     1
    linux-6.x-invlpgb         2         2               1     2            3               1                     1
    shoot-lazies              3         3               2     3            4               2                     2
    eager                     1         1               1     1            2               0                     0
    xen                       0         0               0     0            0               0                     0
    kvm-pv                    2         2               1     2            3               1                     1
    mach-1989                 2         2               1     2            3               1                     1
    latr                      2         1               0     2            3               1                     1
    reuse-deferred            2         2               1     2            3               1                     1
    hardware-coherent         0         0               0     0            0               0                     0
    "
  `)
})

test('skips, each with its reason', () => {
  expect([...SKIPS].sort()).toMatchInlineSnapshot(`
    [
      "eager: eager needs mmCpumask trimmed: it leaves the mask of an mm whenever it loads another one",
      "hardware-coherent: hardware-coherent needs mmCpumask trimmed: hardware knows where translations are cached",
      "latr: frees are deferred: frames, tables and addresses are kept until every CPU has swept",
      "latr: latr needs mmCpumask trimmed: it leaves its notes to the CPUs of the mask",
      "linux-4.6: Linux 4.6 is always serial",
      "linux-4.6: linux-4.6 clears a bit of mm_cpumask at every switch",
      "linux-4.6: linux-4.6 has no page-table isolation",
      "linux-4.6: never uses PCID",
      "shoot-lazies: shoot-lazies needs mmCpumask trimmed: the mask must have every CPU that borrows the mm",
      "xen: never uses PCID",
      "xen: xen has no page-table isolation: the hypervisor separates guest user mode from the guest kernel itself",
    ]
  `)
})
