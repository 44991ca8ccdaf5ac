// A map of one SharedArrayBuffer: regions of rows of named fields.
//
//   region "core", rows 4                 each row starts on a cache line of its own, so rows
//   | row 0            | row 1            that different threads write never share a line
//   | clock | pc | ... | clock | pc | ...
//   0                  stride             stride = row size rounded up to 64 bytes
//
// A layout is pure arithmetic over its declaration: two threads that build it from the same
// declaration agree on every offset, so only the buffer travels between them. It prints itself
// (`describe`), so that a wrong word has an owner. Who may write what, and in which order, is
// said where a layout is declared, not here.

import { assert } from './assert.js'

export const CACHE_LINE_BYTES = 64

type FieldKind = 'int32' | 'float64'

export interface FieldSpec<K extends FieldKind = FieldKind> {
  readonly kind: K
  /** Number of elements; 1 for a plain field. */
  readonly length: number
}

/** A field of 32-bit words. */
export const int32 = (length = 1): FieldSpec<'int32'> => ({ kind: 'int32', length })
/** A field of doubles, 8-byte aligned. */
export const float64 = (length = 1): FieldSpec<'float64'> => ({ kind: 'float64', length })

export interface RegionSpec {
  /** What the region is and who writes it; printed in the map. */
  readonly doc: string
  /** Number of rows, for example one per CPU. Default 1. */
  readonly rows?: number
  readonly fields: Readonly<Record<string, FieldSpec>>
}

type View<F extends FieldSpec> = F['kind'] extends 'int32' ? Int32Array : Float64Array

export interface SharedLayout<R extends Readonly<Record<string, RegionSpec>>> {
  /** Bytes of a buffer that it fits into. */
  readonly byteLength: number
  /** A zeroed buffer of the right size. */
  allocate(): SharedArrayBuffer
  /** Bytes from the start of the buffer. */
  offsetOf<N extends keyof R & string>(region: N, field: keyof R[N]['fields'] & string, row?: number): number
  /** Bytes from one row of a region to the next. */
  strideOf(region: keyof R & string): number
  rowsOf(region: keyof R & string): number
  /** A typed view of one field of one row. */
  view<N extends keyof R & string, F extends keyof R[N]['fields'] & string>(
    buffer: SharedArrayBuffer, region: N, field: F, row?: number): View<R[N]['fields'][F]>
  /** Views of all fields of one row, under their names. */
  row<N extends keyof R & string>(buffer: SharedArrayBuffer, region: N, row?: number):
    { readonly [F in keyof R[N]['fields']]: View<R[N]['fields'][F]> }
  /** All bytes of a region, for copying rows as a whole (checkpoints). */
  words(buffer: SharedArrayBuffer, region: keyof R & string): Int32Array
  /** The map as text: region, offset, stride, rows, then fields with their offsets in a row. */
  describe(): string
}

interface PlacedField extends FieldSpec {
  readonly offset: number
}
interface PlacedRegion {
  readonly doc: string
  readonly offset: number
  readonly rows: number
  readonly stride: number
  readonly fields: ReadonlyMap<string, PlacedField>
}

const BYTES: Readonly<Record<FieldKind, number>> = { int32: 4, float64: 8 }

/** Places regions and fields in the order of their declaration, the first one at byte `start` (of a cache line). */
export function defineLayout<const R extends Readonly<Record<string, RegionSpec>>>(
  regions: R, start = 0,
): SharedLayout<R> {
  assert(start % CACHE_LINE_BYTES === 0, `a layout that starts at byte ${start}`)
  const placed = new Map<string, PlacedRegion>()
  let end = start
  for (const [name, spec] of Object.entries(regions)) {
    const region = placeRegion(name, spec, end)
    placed.set(name, region)
    end += region.stride * region.rows
  }
  const byteLength = end

  const find = (region: string, field: string, row: number): { field: PlacedField; offset: number } => {
    const owner = regionOf(region)
    const found = owner.fields.get(field)
    assert(found !== undefined, `region ${region} has no field ${field}`)
    assert(Number.isInteger(row) && row >= 0 && row < owner.rows, `region ${region} has no row ${row}`)
    return { field: found, offset: owner.offset + row * owner.stride + found.offset }
  }
  const regionOf = (region: string): PlacedRegion => {
    const found = placed.get(region)
    assert(found !== undefined, `the layout has no region ${region}`)
    return found
  }
  const viewOf = (buffer: SharedArrayBuffer, region: string, name: string, row: number): Int32Array | Float64Array => {
    assert(buffer.byteLength >= byteLength, `buffer of ${buffer.byteLength} bytes for a layout of ${byteLength}`)
    const { field, offset } = find(region, name, row)
    return field.kind === 'int32'
      ? new Int32Array(buffer, offset, field.length)
      : new Float64Array(buffer, offset, field.length)
  }

  const layout = {
    byteLength,
    allocate: () => new SharedArrayBuffer(byteLength),
    offsetOf: (region: string, field: string, row = 0) => find(region, field, row).offset,
    strideOf: (region: string) => regionOf(region).stride,
    rowsOf: (region: string) => regionOf(region).rows,
    view: (buffer: SharedArrayBuffer, region: string, field: string, row = 0) => viewOf(buffer, region, field, row),
    row: (buffer: SharedArrayBuffer, region: string, row = 0) => {
      const names = [...regionOf(region).fields.keys()]
      return Object.fromEntries(names.map((name) => [name, viewOf(buffer, region, name, row)]))
    },
    words: (buffer: SharedArrayBuffer, region: string) => {
      const { offset, stride, rows } = regionOf(region)
      return new Int32Array(buffer, offset, (stride * rows) / 4)
    },
    describe: () => describe(placed, byteLength - start),
  }
  return layout as unknown as SharedLayout<R>
}

function placeRegion(name: string, spec: RegionSpec, offset: number): PlacedRegion {
  const rows = spec.rows ?? 1
  assert(Number.isInteger(rows) && rows >= 0, `region ${name}: ${rows} rows`)
  const fields = new Map<string, PlacedField>()
  let end = 0
  for (const [fieldName, field] of Object.entries(spec.fields)) {
    assert(Number.isInteger(field.length) && field.length >= 0, `${name}.${fieldName}: ${field.length} elements`)
    const bytes = BYTES[field.kind]
    const start = roundUp(end, bytes)
    fields.set(fieldName, { ...field, offset: start })
    end = start + bytes * field.length
  }
  return { doc: spec.doc, offset, rows, stride: roundUp(end, CACHE_LINE_BYTES), fields }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}

function describe(regions: ReadonlyMap<string, PlacedRegion>, byteLength: number): string {
  const lines = [`${byteLength} bytes in ${regions.size} regions`]
  for (const [name, region] of regions) {
    const { rows, stride } = region
    lines.push('', `${hexOffset(region.offset)}  ${name}: ${rows} x ${stride} bytes. ${region.doc}`)
    for (const [fieldName, field] of region.fields) {
      const count = field.length === 1 ? '' : `[${field.length}]`
      lines.push(`  +${String(field.offset).padStart(6)}  ${field.kind.padEnd(8)}${fieldName}${count}`)
    }
  }
  return lines.join('\n') + '\n'
}

function hexOffset(offset: number): string {
  return '0x' + offset.toString(16).padStart(8, '0')
}
