// What an event is, rather than when it happened and with which numbers: its kind, its task, and those of
// its fields that name something. Events with the same key correspond to each other in two traces.

import { EVENTS } from './events.js'
import type { EventField, EventName } from './events.js'
import type { TraceData } from './recorder.js'

/** Fields that say what an event is. */
const KEY_FIELDS: Partial<Readonly<Record<EventName, readonly string[]>>> = {
  sched_switch: ['nextComm'], sched_wakeup: ['comm'], sched_wakeup_new: ['comm'], sched_migrate_task: ['comm'],
  sched_process_fork: ['childComm'], tlb_flush: ['reason'], ipi_send_cpu: ['cpu', 'callback'], csd_queue_cpu: ['cpu'],
  ipi_send_cpumask: ['callback'], page_fault_user: ['address'], page_fault_kernel: ['address'],
  tracing_mark_write: ['text'], sys_enter: ['name'], sys_exit: ['name'], flush_skip: ['cpu'], flush_ack: ['cpu'],
  signal: ['name'], page_map: ['address'], load_mismatch: ['address'], oom: ['what'],
}

/** The words of a record that hold such fields, by kind of event. */
const KEY_WORDS: readonly (readonly { readonly word: number; readonly isString: boolean }[])[] = EVENTS.map((row) => {
  let word = 0
  return (row.fields as readonly EventField[]).flatMap(({ name, type }) => {
    const words = type === 'address' ? [word, word + 1] : [word]
    word += words.length
    return KEY_FIELDS[row.name]?.includes(name) === true
      ? words.map((each) => ({ word: each, isString: type === 'string' })) : []
  })
})

/** The key of a record as text. Equal texts, equal keys. */
export function keyOf(data: TraceData, index: number): string {
  const { kind, comm, strings, words } = data
  let key = `${kind[index]} ${strings[comm[index]!]}`
  for (const { word, isString } of KEY_WORDS[kind[index]!]!) {
    const value = words[word]![index]!
    key += isString ? ` ${strings[value]}` : ` ${value}`
  }
  return key
}

/**
 * Keys as numbers, the same for both of two traces: what a million events are aligned by. A key is a path in a tree,
 * one step for each of its words; no text is made.
 */
export class KeyNumbers {
  /** By node: where its words lead. Node 0 is the root. */
  readonly #next: (Map<number, number> | undefined)[] = [undefined]
  readonly #strings = new Map<string, number>()

  /** A function that gives the number of the key of a record of `data`. */
  of(data: TraceData): (index: number) => number {
    const { kind, comm, words } = data
    // Ids of strings differ between traces.
    const shared = data.strings.map((text) => this.#stringNumber(text))
    return (index) => {
      const row = kind[index]!
      let node = this.#step(this.#step(0, row), shared[comm[index]!]!)
      for (const { word, isString } of KEY_WORDS[row]!) {
        const value = words[word]![index]!
        node = this.#step(node, isString ? shared[value]! : value)
      }
      return node
    }
  }

  #step(node: number, word: number): number {
    const branches = (this.#next[node] ??= new Map<number, number>())
    let to = branches.get(word)
    if (to === undefined) {
      to = this.#next.length
      this.#next.push(undefined)
      branches.set(word, to)
    }
    return to
  }

  #stringNumber(text: string): number {
    let number = this.#strings.get(text)
    if (number === undefined) this.#strings.set(text, number = this.#strings.size)
    return number
  }
}
