// Columns of whole numbers as few bytes that compress well: the lowest bytes of all values, then the
// next ones, as far as any value reaches. A column is stored as it is or as differences from value to
// value, whichever is smaller; both with the sign in the lowest bit. The compression itself (gzip) is
// the host's.
//
//   values         7  8  9  300      differences 7 1 1 291, signs folded in 14 2 2 582
//   plane 0       14  2  2   70      plane 1      0 0 0   2
//
// Used by whoever writes a report and by the page that reads it.

export type Column = Int32Array | Float64Array

/** How a column was stored. */
export interface ColumnShape {
  name: string
  length: number
  planes: number
  isDelta: boolean
}

export interface PackedColumns {
  shapes: ColumnShape[]
  bytes: Uint8Array<ArrayBuffer>
}

const PLANES_MAX = 8
const TWO_32 = 2 ** 32

/** Packs columns; values are whole numbers of up to 2^52 in size. */
export function packColumns(columns: Readonly<Record<string, Column>>): PackedColumns {
  const parts = Object.entries(columns).map(([name, values]) => packColumn(name, values))
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.bytes.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part.bytes, at)
    at += part.bytes.length
  }
  return { shapes: parts.map(({ shape }) => shape), bytes }
}

/** Gives the columns back, each into an array of the kind that `make` returns for its name and length. */
export function unpackColumns(
  shapes: readonly ColumnShape[], bytes: Uint8Array, make: (name: string, length: number) => Column,
): Map<string, Column> {
  let at = 0
  return new Map(shapes.map((shape) => {
    const values = make(shape.name, shape.length)
    unpackColumn(shape, bytes.subarray(at, at + shape.length * shape.planes), values)
    at += shape.length * shape.planes
    return [shape.name, values]
  }))
}

function packColumn(name: string, values: Column): { shape: ColumnShape; bytes: Uint8Array } {
  const { length } = values
  const isDelta = bitsOf(values, true) < bitsOf(values, false)
  const planes: Uint8Array[] = []
  let previous = 0
  for (let i = 0; i < length; i++) {
    const value = values[i]!
    let rest = folded(isDelta ? value - previous : value)
    previous = value
    for (let plane = 0; rest > 0; plane++) {
      planes[plane] ??= new Uint8Array(length)
      planes[plane]![i] = rest % 256
      rest = Math.floor(rest / 256)
    }
  }
  const bytes = new Uint8Array(planes.length * length)
  planes.forEach((plane, index) => bytes.set(plane, index * length))
  return { shape: { name, length, planes: planes.length, isDelta }, bytes }
}

function unpackColumn({ length, planes, isDelta }: ColumnShape, bytes: Uint8Array, values: Column): void {
  if (planes > PLANES_MAX) throw new RangeError(`a column of ${planes} bytes a value`)
  if (planes === 0) return
  let previous = 0
  for (let i = 0; i < length; i++) {
    let word = bytes[i]
    for (let plane = 1; plane < planes && plane < 4; plane++) word |= bytes[plane * length + i] << (8 * plane)
    let value = (word & 1) === 0 ? word >>> 1 : -(word >>> 1) - 1
    if (planes > 4) value = unfolded(upperHalf(bytes, length, planes, i) * TWO_32 + (word >>> 0))
    previous = isDelta ? previous + value : value
    values[i] = previous
  }
}

function upperHalf(bytes: Uint8Array, length: number, planes: number, i: number): number {
  let word = 0
  for (let plane = planes - 1; plane >= 4; plane--) word = word * 256 + bytes[plane * length + i]
  return word
}

/** Bits of all values, or of the differences: which way is smaller, before compression. */
function bitsOf(values: Column, isDelta: boolean): number {
  let bits = 0
  let previous = 0
  for (let i = 0; i < values.length; i++) {
    const value = isDelta ? values[i]! - previous : values[i]!
    previous = values[i]!
    const size = Math.abs(value)
    bits += size < TWO_32 ? 32 - Math.clz32(size) : 32 + (32 - Math.clz32(size / TWO_32))
  }
  return bits
}

/** 0, -1, 1, -2 become 0, 1, 2, 3. */
function folded(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function unfolded(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}
