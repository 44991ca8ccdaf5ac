// Rows of whole numbers that only grow, for observations of a run: the cycle as a double, everything
// else as 32-bit words, one typed array per column, doubled when full.

/** Finished rows. Plain: survives structured clone. */
export interface Rows<Name extends string> {
  readonly length: number
  readonly cycle: Float64Array<ArrayBuffer>
  readonly columns: Readonly<Record<Name, Int32Array<ArrayBuffer>>>
}

const INITIAL_CAPACITY = 256

export class GrowingRows<Name extends string> {
  readonly names: readonly Name[]
  #length = 0
  #cycle = new Float64Array(INITIAL_CAPACITY)
  #columns: Int32Array<ArrayBuffer>[]

  constructor(names: readonly Name[]) {
    this.names = names
    this.#columns = names.map(() => new Int32Array(INITIAL_CAPACITY))
  }

  get length(): number {
    return this.#length
  }

  /** `values` in the order of the names. */
  add(cycle: number, ...values: readonly number[]): void {
    const row = this.#length
    if (row === this.#cycle.length) this.#grow()
    this.#cycle[row] = cycle
    for (let column = 0; column < this.#columns.length; column++) this.#columns[column]![row] = values[column]!
    this.#length = row + 1
  }

  finish(): Rows<Name> {
    const entries = this.names.map((name, column) => [name, this.#columns[column]!.slice(0, this.#length)] as const)
    return {
      length: this.#length,
      cycle: this.#cycle.slice(0, this.#length),
      columns: Object.fromEntries(entries) as Record<Name, Int32Array<ArrayBuffer>>,
    }
  }

  #grow(): void {
    const capacity = this.#cycle.length * 2
    const cycle = new Float64Array(capacity)
    cycle.set(this.#cycle)
    this.#cycle = cycle
    this.#columns = this.#columns.map((column) => {
      const larger = new Int32Array(capacity)
      larger.set(column)
      return larger
    })
  }
}

/** The buffers of rows, for the transfer list of postMessage. */
export function rowBuffers(rows: Rows<string>): ArrayBuffer[] {
  return [rows.cycle.buffer, ...Object.values(rows.columns).map((column) => column.buffer)]
}
