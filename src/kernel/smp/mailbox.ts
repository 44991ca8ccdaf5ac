// A CPU's mailbox: interrupts that were sent to it and have not been taken yet. It lies in shared
// memory; the scheduler posts, the target takes at the arrival cycle or at the first moment after
// it at which interrupts are on, and acknowledges when the handler has done its part.
//
//   slot      0        1        2   ...   pending - 1 | free ...
//   arrival   cycle    cycle    cycle                 |
//   vector    251      253      252                   |
//   sender    cpu      cpu      cpu                   |
//
// empty: pending = 0. full: pending = capacity, which cannot be exceeded: an interrupt of a vector
// from a sender that has one in flight is the same interrupt. Nothing is lost by that: the handler
// runs after both were sent, so it finds what both are about.

import { fail } from '../../base/assert.js'

/** Vectors that one CPU sends to another: call function to one, to many, reschedule. */
const VECTORS_PER_SENDER = 3

// Words of `counts`.
/** Interrupts in the slots. */
export const MAILBOX_PENDING = 0
export const MAILBOX_POSTED = 1
export const MAILBOX_TAKEN = 2
/** Requests that handlers on this CPU have completed. */
export const MAILBOX_ACKED = 3
export const MAILBOX_COUNTS = 4

/** Slots that a machine of `cpus` CPUs needs in each mailbox. */
export function mailboxCapacity(cpus: number): number {
  return cpus * VECTORS_PER_SENDER
}

/** Views of one mailbox in shared memory. */
export interface MailboxWords {
  readonly arrivals: Float64Array
  readonly vectors: Int32Array
  readonly senders: Int32Array
  readonly counts: Int32Array
}

export class Mailbox {
  readonly #words: MailboxWords

  constructor(words: MailboxWords) {
    this.#words = words
  }

  /** Sends an interrupt that arrives at `arrival`. */
  post(arrival: number, vector: number, sender: number): void {
    const { arrivals, vectors, senders, counts } = this.#words
    const pending = counts[MAILBOX_PENDING]
    for (let slot = 0; slot < pending; slot++) if (vectors[slot] === vector && senders[slot] === sender) return
    if (pending >= vectors.length) fail(`mailbox full with ${pending} interrupts`)
    arrivals[pending] = arrival
    senders[pending] = sender
    vectors[pending] = vector
    // The slot is complete before it counts. Pairs with the load in earliest().
    Atomics.store(counts, MAILBOX_PENDING, pending + 1)
    Atomics.add(counts, MAILBOX_POSTED, 1)
  }

  /** Arrival of the next interrupt; Infinity when there is none. */
  earliest(): number {
    const { arrivals, counts } = this.#words
    let next = Infinity
    for (let slot = Atomics.load(counts, MAILBOX_PENDING) - 1; slot >= 0; slot--) {
      if (arrivals[slot] < next) next = arrivals[slot]
    }
    return next
  }

  /**
   * Takes what has arrived by `cycle`: the highest vector first, as the local APIC does; arrivals of one
   * vector that are due together are one interrupt (one IRR bit). -1 when nothing is due.
   */
  take(cycle: number): number {
    const { arrivals, vectors, counts } = this.#words
    let vector = -1
    for (let slot = counts[MAILBOX_PENDING] - 1; slot >= 0; slot--) {
      if (arrivals[slot] <= cycle && vectors[slot] > vector) vector = vectors[slot]
    }
    if (vector < 0) return -1
    for (let slot = counts[MAILBOX_PENDING] - 1; slot >= 0; slot--) {
      if (arrivals[slot] <= cycle && vectors[slot] === vector) this.#remove(slot)
    }
    return vector
  }

  /** Is an interrupt of this vector on its way? */
  holds(vector: number): boolean {
    const { vectors, counts } = this.#words
    for (let slot = 0; slot < counts[MAILBOX_PENDING]; slot++) if (vectors[slot] === vector) return true
    return false
  }

  /** A handler on this CPU has completed one request. */
  acknowledge(): void {
    Atomics.add(this.#words.counts, MAILBOX_ACKED, 1)
  }

  /** The last slot moves into the gap. */
  #remove(slot: number): void {
    const { arrivals, vectors, senders, counts } = this.#words
    const last = counts[MAILBOX_PENDING] - 1
    arrivals[slot] = arrivals[last]
    vectors[slot] = vectors[last]
    senders[slot] = senders[last]
    Atomics.store(counts, MAILBOX_PENDING, last)
    Atomics.add(counts, MAILBOX_TAKEN, 1)
  }
}
