// The machine and kernel parts of a scenario: presets, then what the file changes, then what the
// command line changes. The result has every field set (kernel/config.ts asks for that).

import { UserError } from '../base/errors.js'
import { formatBytes } from '../base/units.js'
import { BUGS, type Bug, type BugName } from '../kernel/bugs.js'
import type { KernelConfig, KernelEra, MaskForm, SimulationConfig } from '../kernel/config.js'
import { kernelLayout } from '../kernel/mm/layout.js'
import { nativeMaskForm, nativePolicy, POLICIES, POLICY_NAMES, whyNoMaskForm, whyNoPti } from '../kernel/policies.js'
import type { HostConfig, MachineConfig, TlbConfig, TlbLevelConfig } from '../machine/config.js'
import { geometryOf, LEVEL_PTE } from '../machine/geometry.js'
import { MACHINE_PRESETS, TLB_PRESETS } from '../machine/presets.js'
import { halfOf } from '../machine/smt.js'
import { MAX_CYCLES } from './fields.js'
import type { ScenarioOverrides } from './scenario.js'
import {
  DEFAULT_MACHINE, type RawKernel, type RawMachine, type RawScenario, type RawTlb, type RawTlbLevel,
} from './schema.js'
import { MAX_CPUS } from './schema-operations.js'
import { suggestionLines } from './suggest.js'
import { parseDuration, parseSize, parseTlbArray } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

export const DEFAULT_CPUS = 2
const DEFAULT_MEMORY_BYTES = 256 * 2 ** 20
const DEFAULT_PHYS_BASE = 0x100_0000
const DEFAULT_FLUSH_CEILING_PAGES = 33
const DEFAULT_TIME_SLICE = '3ms'
const MEMORY_UNIT_BYTES = 4 * 2 ** 20
const MAX_MEMORY_BYTES = 8 * 2 ** 30
/** Half of what an entry of 32 bits can name with pages of 4 KiB. */
const SWAP_MAX_BYTES = 4 * 2 ** 30
const PHYS_BASE_UNIT_BYTES = 2 * 2 ** 20
/** As the kernel asks for at boot: its own tables, the zero page, the first address spaces. */
const FRAMES_BEHIND_IMAGE = 64

export function compileConfig(
  source: YamlSource, raw: RawScenario, name: string, overrides: ScenarioOverrides,
): SimulationConfig {
  const machine = compileMachine(source, raw, overrides)
  const kernel = compileKernel(source, raw, machine, overrides)
  checkMemory(source, raw, machine, kernel)
  return { name, machine, kernel, seed: overrides.seed ?? raw.seed ?? 1 }
}

function compileMachine(source: YamlSource, raw: RawScenario, overrides: ScenarioOverrides): MachineConfig {
  const options: RawMachine = typeof raw.machine === 'string' ? { preset: raw.machine } : raw.machine ?? {}
  const preset = overrides.machine ?? options.preset ?? DEFAULT_MACHINE
  const base = MACHINE_PRESETS[preset]
  if (!base) {
    throw new UserError(`unknown machine preset "${preset}"`, undefined,
      suggestionLines(preset, Object.keys(MACHINE_PRESETS)))
  }
  if (raw.cpus !== undefined && options.cpus !== undefined && raw.cpus !== options.cpus) {
    throw source.error(`cpus is ${raw.cpus} here and ${options.cpus} in machine`, ['cpus'], ['give it once'])
  }
  const cpus = overrides.cpus ?? raw.cpus ?? options.cpus ?? DEFAULT_CPUS
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > MAX_CPUS) {
    throw new UserError(`a machine has 1 to ${MAX_CPUS} CPUs, not ${cpus}`)
  }
  const machine: MachineConfig = {
    preset,
    cpus,
    sockets: compileSockets(source, options, base, cpus),
    geometry: options.geometry ?? base.geometry,
    memoryBytes: options.memory === undefined ? DEFAULT_MEMORY_BYTES : parseSize(options.memory),
    maxPhysAddrBits: options.maxPhysAddrBits ?? base.maxPhysAddrBits,
    vendor: options.vendor ?? base.vendor,
    invpcid: options.invpcid ?? base.invpcid,
    apic: options.apic ?? base.apic,
    ipiShorthand: options.ipiShorthand ?? base.ipiShorthand,
    tlb: shareTlb(source, options, cpus, compileTlb(source, options.tlb, base.tlb)),
    costs: { ...base.costs, ...withoutUndefined(options.costs) },
  }
  const icr = options.icr ?? base.icr
  if (icr !== undefined) machine.icr = icr
  if (options.noise !== undefined) machine.noisePercent = options.noise
  if (options.host !== undefined) machine.host = compileHost(source, options.host, machine.costs.frequencyGhz)
  return machine
}

function compileHost(
  source: YamlSource, raw: NonNullable<RawMachine['host']>, frequencyGhz: number,
): HostConfig {
  const turn = (key: 'run' | 'away'): number => {
    const cycles = parseDuration(raw[key], frequencyGhz)
    if (cycles < 1 || cycles > MAX_CYCLES) {
      throw source.error(`a turn on the host is 1 to ${MAX_CYCLES} cycles`, ['machine', 'host', key])
    }
    return cycles
  }
  return { runCycles: turn('run'), awayCycles: turn('away') }
}

/** Unless the file says how many: as many sockets as the CPUs would fill in the preset, with the CPUs spread evenly. */
function compileSockets(
  source: YamlSource, options: RawMachine, base: { cpus: number; sockets: number }, cpus: number,
): number {
  if (options.sockets !== undefined) {
    if (cpus % options.sockets !== 0) {
      throw source.error(`${cpus} CPUs cannot be spread evenly over ${options.sockets} sockets`, ['machine', 'sockets'])
    }
    return options.sockets
  }
  const perSocket = Math.max(1, Math.floor(base.cpus / base.sockets))
  return Math.min(base.sockets, Math.ceil(cpus / perSocket))
}

function compileTlb(source: YamlSource, raw: RawTlb | string | undefined, machineTlb: TlbConfig): TlbConfig {
  if (raw === undefined) return machineTlb
  if (typeof raw === 'string') return TLB_PRESETS[raw]!
  const base = raw.preset === undefined ? machineTlb : TLB_PRESETS[raw.preset]!
  const level = (key: 'l1i' | 'l1d' | 'stlb'): TlbLevelConfig => {
    const given = raw[key]
    return given === undefined ? base[key] : compileTlbLevel(source, given, ['machine', 'tlb', key])
  }
  return {
    l1i: level('l1i'),
    l1d: level('l1d'),
    stlb: level('stlb'),
    pagingCache: { ...base.pagingCache, ...withoutUndefined(raw.pagingCache) },
  }
}

/** What each CPU has of the TLBs of its core. */
function shareTlb(source: YamlSource, { smt }: RawMachine, cpus: number, tlb: TlbConfig): TlbConfig {
  if (smt === undefined) return tlb
  const path = ['machine', 'smt']
  if (cpus % 2 !== 0) {
    throw source.error(`${cpus === 1 ? 'one CPU is' : `${cpus} CPUs are`} no whole number of cores`, path,
      ['with smt, two CPUs are the threads of one core'])
  }
  const half = halfOf(tlb)
  if (half === undefined) throw source.error('a TLB with one way and an odd number of sets cannot be halved', path)
  return half
}

function compileTlbLevel(source: YamlSource, raw: RawTlbLevel, path: Path): TlbLevelConfig {
  const arrays: { entries: number; ways: number }[] = []
  const add = (text: number | string | undefined, at: Path): number => {
    if (text === undefined) return -1
    const array = parseTlbArray(text)
    if (!array) throw source.error(`the ways do not divide the entries in "${text}"`, at, ['expected for example 64/4'])
    return arrays.push(array) - 1
  }
  if (typeof raw !== 'object') {
    const shared = add(raw, path)
    return { arrays, base: shared, large: shared, giant: shared }
  }
  const base = add(raw.base, [...path, 'base'])
  const large = add(raw.large, [...path, 'large'])
  return { arrays, base, large, giant: add(raw.giant, [...path, 'giant']) }
}

function compileKernel(
  source: YamlSource, { kernel: raw, bugs }: RawScenario, machine: MachineConfig, overrides: ScenarioOverrides,
): KernelConfig {
  const options: RawKernel = typeof raw === 'string' ? { era: raw } : raw ?? {}
  const wanted = overrides.policy ?? options.policy
  const given = wanted === undefined ? undefined : POLICIES[wanted]
  if (wanted !== undefined && given === undefined) {
    throw new UserError(`unknown policy "${wanted}"`, undefined, suggestionLines(wanted, POLICY_NAMES))
  }
  const era = overrides.era ?? options.era ?? given?.eras[0] ?? 'linux-6.x'
  const policy = given ?? POLICIES[nativePolicy(era)]!
  if (!policy.eras.includes(era)) {
    const path = overrides.policy === undefined && overrides.era === undefined ? ['kernel', 'policy'] : ['kernel']
    throw source.error(`policy ${policy.name} does not run on ${era}`, path, [`use era: ${policy.eras.join(' or ')}`])
  }
  const hasPcid = machine.geometry.startsWith('x86-64')
  if (options.pcid === true && !policy.usesPcid) {
    throw source.error(`${policy.name} never uses PCID`, ['kernel', 'pcid'],
      ['remove the key, or use another era or policy'])
  }
  if (options.pcid === true && !hasPcid) {
    throw source.error(`${machine.geometry} has no PCID`, ['kernel', 'pcid'], ['remove the key'])
  }
  if (era === 'linux-4.6' && options.earlyAck === true) {
    throw source.error('linux-4.6 acknowledges flushes late', ['kernel', 'earlyAck'],
      ['remove the key, or use linux-6.x'])
  }
  if (era === 'linux-4.6' && machine.geometry === 'x86-64-la57') {
    const path = typeof raw === 'object' ? ['kernel', 'era'] : ['kernel']
    throw source.error('linux-4.6 has no five-level page tables', path, ['use geometry x86-64, or era linux-6.x'])
  }
  const timeSliceCycles = parseDuration(options.timeSlice ?? DEFAULT_TIME_SLICE, machine.costs.frequencyGhz)
  if (timeSliceCycles < 1 || timeSliceCycles > MAX_CYCLES) {
    throw source.error(`a time slice is 1 to ${MAX_CYCLES} cycles`, ['kernel', 'timeSlice'])
  }
  const physBase = options.physBase === undefined ? DEFAULT_PHYS_BASE : parseSize(options.physBase)
  if (physBase % PHYS_BASE_UNIT_BYTES !== 0) {
    throw source.error('physBase must be a multiple of 2M', ['kernel', 'physBase'])
  }
  return {
    era,
    policy: policy.name,
    flushCeilingPages: options.flushCeiling ?? DEFAULT_FLUSH_CEILING_PAGES,
    ...(options.vmapLazyPages === undefined ? {} : { vmapLazyPages: options.vmapLazyPages }),
    pcid: options.pcid ?? (policy.usesPcid && hasPcid),
    pti: compilePti(source, options, era, policy.name, machine),
    remoteFlush: options.remoteFlush ?? (era === 'linux-4.6' ? 'serial' : 'concurrent'),
    mmCpumask: compileMaskForm(source, options, era, policy.name),
    earlyAck: options.earlyAck ?? false,
    ...(options.flushEachUnmap === undefined ? {} : { flushEachUnmap: options.flushEachUnmap }),
    timeSliceCycles,
    idlePoll: options.idle === 'poll',
    idleDeep: options.idle === 'deep',
    physBase,
    swapBytes: compileSwap(source, options.swap, machine),
    thp: options.thp ?? 'never',
    khugepaged: compileKhugepaged(source, options.khugepaged, machine),
    bugs: overrides.bugs === undefined ? compileBugs(source, bugs ?? [], era) : chosenBugs(source, overrides.bugs, era),
    speculation: options.speculation ?? false,
  }
}

/** Page-table isolation, where kernel, policy and page tables know it. */
function compilePti(
  source: YamlSource, { pti }: RawKernel, era: KernelEra, policy: string, machine: MachineConfig,
): boolean {
  if (pti !== true) return false
  const reason = whyNoPti(era, policy, machine.geometry)
  if (reason !== '') throw source.error(reason, ['kernel', 'pti'], ['remove the key, or set it to false'])
  return true
}

function compileMaskForm(
  source: YamlSource, { mmCpumask: wanted }: RawKernel, era: KernelEra, policy: string,
): MaskForm {
  const mmCpumask = wanted ?? nativeMaskForm(era)
  const reason = whyNoMaskForm(era, policy, mmCpumask)
  if (reason !== '') throw source.error(reason, ['kernel', 'mmCpumask'], ['remove the key, or use policy linux-6.x'])
  return mmCpumask
}

/** At least the header and one page, at most what an entry of 32 bits can name. */
function compileSwap(source: YamlSource, swap: string | number | undefined, machine: MachineConfig): number {
  if (swap === undefined) return 0
  const bytes = parseSize(swap)
  const pageBytes = 2 ** geometryOf(machine.geometry).pageShift
  if (bytes === 0 || (bytes >= 2 * pageBytes && bytes <= SWAP_MAX_BYTES)) return bytes
  const range = `${formatBytes(2 * pageBytes)} to ${formatBytes(SWAP_MAX_BYTES)}`
  throw source.error(`swap must be 0, or ${range}`, ['kernel', 'swap'])
}

/** Linux takes whole milliseconds. An interval near the time of a wake-up would leave a CPU to khugepaged alone. */
const SHORTEST_SCAN_SLEEP = '10us'

function compileKhugepaged(
  source: YamlSource, raw: RawKernel['khugepaged'], { costs, geometry }: MachineConfig,
): KernelConfig['khugepaged'] {
  if (raw === undefined) return undefined
  const scanSleepCycles = parseDuration(raw.scanSleep ?? '10s', costs.frequencyGhz)
  if (scanSleepCycles < parseDuration(SHORTEST_SCAN_SLEEP, costs.frequencyGhz)) {
    throw source.error(`scanSleep is at least ${SHORTEST_SCAN_SLEEP}`, ['kernel', 'khugepaged', 'scanSleep'])
  }
  return {
    scanSleepCycles,
    pagesToScan: raw.pagesToScan ?? 4096,
    maxPtesNone: raw.maxPtesNone ?? 2 ** geometryOf(geometry).levels[LEVEL_PTE]!.bits - 1,
  }
}

/** A switch does something only on kernels that have the place of the fix. */
function compileBugs(source: YamlSource, bugs: readonly BugName[], era: KernelEra): readonly BugName[] {
  for (const [index, name] of bugs.entries()) {
    const { eras }: Bug = BUGS[name]
    if (eras.includes(era)) continue
    throw source.error(`bug "${name}" is not one of ${era}`, ['bugs', index], [`use kernel: ${eras.join(' or ')}`])
  }
  return [...new Set(bugs)]
}

/** The same for bugs that the command line chose: there the kernel is what stands in the file. */
function chosenBugs(source: YamlSource, bugs: readonly BugName[], era: KernelEra): readonly BugName[] {
  for (const name of bugs) {
    const { eras }: Bug = BUGS[name]
    if (eras.includes(era)) continue
    throw source.error(`bug "${name}" is not one of ${era}`, ['kernel'], [`use kernel: ${eras.join(' or ')}`])
  }
  return [...new Set(bugs)]
}

function checkMemory(source: YamlSource, raw: RawScenario, machine: MachineConfig, kernel: KernelConfig): void {
  const bytes = machine.memoryBytes
  const given = typeof raw.machine === 'object' && raw.machine.memory !== undefined
  const path: Path = given ? ['machine', 'memory'] : ['machine']
  const fail = (message: string, detail: string): never => {
    throw source.error(message, path, [detail])
  }
  if (bytes % MEMORY_UNIT_BYTES !== 0) fail('memory must be a multiple of 4M', `found ${bytes} bytes`)
  if (bytes > MAX_MEMORY_BYTES) fail('a machine has at most 8G of memory', `found ${bytes} bytes`)
  if (bytes > 2 ** machine.maxPhysAddrBits) {
    fail(`${machine.maxPhysAddrBits} physical address bits cannot reach all of the memory`, `found ${bytes} bytes`)
  }
  const layout = kernelLayout(kernel.era, geometryOf(machine.geometry))
  if (bytes > layout.directMapBytes) {
    fail(`the direct map of ${machine.geometry} holds at most ${mib(layout.directMapBytes)}`, `found ${mib(bytes)}`)
  }
  const imageEnd = kernel.physBase + layout.textOffset + layout.textBytes + layout.dataBytes
  const needed = imageEnd + FRAMES_BEHIND_IMAGE * 2 ** geometryOf(machine.geometry).pageShift
  if (bytes < needed) {
    const least = Math.ceil(needed / MEMORY_UNIT_BYTES) * MEMORY_UNIT_BYTES
    fail(`${mib(bytes)} of memory is too little for the kernel image, which ends at ${mib(imageEnd)}, and page tables`,
      `expected at least ${mib(least)}, or a smaller kernel.physBase`)
  }
}

function mib(bytes: number): string {
  return `${bytes / 2 ** 20}M`
}

function withoutUndefined<Value>(values: Record<string, Value | undefined> | undefined): Record<string, Value> {
  const given = Object.entries(values ?? {}).filter((entry): entry is [string, Value] => entry[1] !== undefined)
  return Object.fromEntries(given)
}
