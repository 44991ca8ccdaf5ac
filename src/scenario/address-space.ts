// What the compiler knows of an address space before anything runs: the page sizes of the
// geometry, where user addresses end, and which areas a program may name at which point.

import type { KernelEra } from '../kernel/config.js'
import { kernelLayout } from '../kernel/mm/layout.js'
import type { GeometryName } from '../machine/config.js'
import { geometryOf, LEVEL_PMD, LEVEL_PTE, LEVEL_PUD, type Geometry } from '../machine/geometry.js'
import type { RawMmap, RawOperation } from './schema-operations.js'
import { hex64, parseSize, parseU64 } from './values.js'
import type { Path, YamlSource } from './yaml-source.js'

const ALL_ONES = (1n << 64n) - 1n

export class AddressSpace {
  readonly geometry: GeometryName
  /** Bytes of a base page. */
  readonly pageBytes: number
  /** Bytes of the page that `huge` asks for. */
  readonly largePageBytes: number
  /** Bytes of the page above it; undefined where the geometry has none. */
  readonly giantPageBytes: number | undefined
  /** First byte address that user mappings may not reach. */
  readonly userEnd: bigint
  private readonly vaBits: bigint
  private readonly canonical: boolean

  constructor(name: GeometryName, era: KernelEra) {
    const geometry = geometryOf(name)
    const large = geometry.levels.findLast((level, index) => level.leaf && index < LEVEL_PTE)
    this.geometry = name
    this.pageBytes = 2 ** geometry.pageShift
    this.largePageBytes = 2 ** (large?.shift ?? geometry.pageShift)
    this.giantPageBytes = giantPageBytes(geometry)
    this.userEnd = BigInt(kernelLayout(era, geometry).userEndVpn) * BigInt(this.pageBytes)
    this.vaBits = BigInt(geometry.vaBits)
    this.canonical = geometry.canonical
  }

  /** Why user code cannot have `bytes` at `address`, in words; undefined when it can. */
  complaint(address: bigint, bytes: number): string | undefined {
    if (address > ALL_ONES) return `${hex64(address)} does not fit into 64 bits`
    if (this.canonical) {
      const sign = address >> (this.vaBits - 1n)
      if (sign !== 0n && sign !== ALL_ONES >> (this.vaBits - 1n)) {
        const signBits = `bits ${this.vaBits - 1n} to 63`
        return `${hex64(address)} is not canonical: ${signBits} must all be equal on ${this.geometry}`
      }
      if (sign !== 0n) return `${hex64(address)} is an address outside the geometry's user half: it is the kernel's`
    } else if (address >> this.vaBits !== 0n) {
      return `${hex64(address)} is an address outside the geometry: ${this.geometry} has ${this.vaBits} bits`
    }
    if (address + BigInt(bytes) > this.userEnd) {
      return `${hex64(address)} is an address outside the geometry's user range, which ends at ${hex64(this.userEnd)}`
    }
    return undefined
  }

  /** Length of an mmap in bytes, rounded up as the kernel does; undefined when it is not given exactly once. */
  mmapBytes(raw: RawMmap): number | undefined {
    const given = [raw.pages === undefined ? undefined : raw.pages * this.pageBytes, raw.bytes, raw.size]
      .filter((value) => value !== undefined)
    if (given.length !== 1) return undefined
    const unit = this.mmapUnit(raw)
    return Math.ceil(parseSize(given[0]!) / unit) * unit
  }

  /** Bytes of the pages that an mmap asks for. */
  mmapUnit(raw: RawMmap): number {
    if (raw.huge === '1G') return this.giantPageBytes ?? this.largePageBytes
    return raw.huge ? this.largePageBytes : this.pageBytes
  }
}

/** 1 GiB on x86-64: a leaf above another one. */
function giantPageBytes(geometry: Geometry): number | undefined {
  const isGiant = geometry.levels[LEVEL_PUD]!.leaf && !geometry.levels[LEVEL_PUD]!.folded
    && geometry.levels[LEVEL_PMD]!.leaf && !geometry.levels[LEVEL_PMD]!.folded
  return isGiant ? 2 ** geometry.levels[LEVEL_PUD]!.shift : undefined
}

/** The address as an exact number, after checking that user code may have `bytes` there. */
export function userAddress(
  source: YamlSource, space: AddressSpace, text: number | string, bytes: number, path: Path,
): bigint {
  const address = parseU64(text)
  const complaint = space.complaint(address, bytes)
  if (complaint !== undefined) {
    throw source.error(complaint, path, [`expected an address below ${hex64(space.userEnd)}`])
  }
  return address
}

/** Sizes in bytes that the mmaps of a name have; more than one where a program maps it again. */
export type AreaSizes = Map<string, number[]>

/** Every area that `program` itself maps, wherever in it; forked children map into spaces of their own. */
export function mappedAreas(
  space: AddressSpace, program: readonly RawOperation[], into: AreaSizes = new Map(),
): AreaSizes {
  for (const operation of program) {
    if (typeof operation === 'string') continue
    if (operation.mmap?.name !== undefined) addArea(into, operation.mmap.name, space.mmapBytes(operation.mmap) ?? 0)
    if (operation.mremap?.name !== undefined) addArea(into, operation.mremap.name, mremapBytes(space, operation.mremap))
    if (operation.repeat) mappedAreas(space, operation.repeat.do, into)
    // Threads, and a vfork child, map into the same space.
    const sharer = operation.clone ?? operation.vfork
    if (sharer) mappedAreas(space, sharer.program, into)
  }
  return into
}

/** Length of what mremap leaves under a new name; 0 when only the run can tell. */
function mremapBytes(space: AddressSpace, raw: NonNullable<Exclude<RawOperation, string>['mremap']>): number {
  if (raw.toPages !== undefined) return raw.toPages * space.pageBytes
  if (raw.to !== undefined) return parseSize(raw.to)
  if (raw.pages !== undefined) return raw.pages * space.pageBytes
  return raw.bytes === undefined ? 0 : parseSize(raw.bytes)
}

export function addArea(areas: AreaSizes, name: string, bytes: number): void {
  areas.set(name, [...(areas.get(name) ?? []), bytes])
}

/** Areas that one program may name: those mapped so far, and those that a sibling thread maps at some time. */
export class VisibleAreas {
  private readonly mapped: AreaSizes
  private readonly elsewhere: AreaSizes

  constructor(mapped: AreaSizes, elsewhere: AreaSizes) {
    this.mapped = mapped
    this.elsewhere = elsewhere
  }

  has(name: string): boolean {
    return this.mapped.has(name) || this.elsewhere.has(name)
  }

  /** Largest size the area may have. */
  maxBytes(name: string): number {
    return Math.max(...this.sizes(name))
  }

  /** The size of the area if all its mmaps agree. */
  exactBytes(name: string): number | undefined {
    const [first, ...others] = this.sizes(name)
    return others.every((bytes) => bytes === first) ? first : undefined
  }

  add(name: string, bytes: number): void {
    addArea(this.mapped, name, bytes)
  }

  names(): string[] {
    return [...new Set([...this.mapped.keys(), ...this.elsewhere.keys()])]
  }

  /** What a child forked here finds: everything of the parent's, frozen. */
  forChild(): VisibleAreas {
    const all: AreaSizes = new Map()
    for (const name of this.names()) all.set(name, this.sizes(name))
    return new VisibleAreas(all, new Map())
  }

  private sizes(name: string): number[] {
    return [...(this.mapped.get(name) ?? []), ...(this.elsewhere.get(name) ?? [])]
  }
}
