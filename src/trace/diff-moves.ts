// Events that are removed in one place of a trace and inserted in another: not two differences but one
// that moved, to another time on its CPU or to another CPU.

import type { EventDifference } from './diff.js'
import { keyOf } from './event-key.js'
import type { TraceData } from './recorder.js'

/** By difference: where it went, or came from. Both halves are keys. */
export type Moves = ReadonlyMap<EventDifference, { way: string; partner: EventDifference }>

/** More differences than this are not looked at: the traces have too little in common. */
const MAX_DIFFERENCES = 20_000

/** Pairs removed and inserted events that are the same, first those on one CPU, then across CPUs. */
export function findMoves(a: TraceData, b: TraceData, differences: readonly EventDifference[]): Moves {
  const moves = new Map<EventDifference, { way: string; partner: EventDifference }>()
  if (differences.length > MAX_DIFFERENCES) return moves
  for (const sameCpu of [true, false]) {
    const waiting = new Map<string, EventDifference[]>()
    for (const one of differences) {
      if (one.kind !== 'inserted' || moves.has(one)) continue
      const key = placeKey(b, one.b, sameCpu)
      const list = waiting.get(key)
      if (list === undefined) waiting.set(key, [one])
      else list.push(one)
    }
    for (const one of differences) {
      if (one.kind !== 'removed' || moves.has(one)) continue
      const partner = waiting.get(placeKey(a, one.a, sameCpu))?.shift()
      if (partner === undefined) continue
      const way = sameCpu ? wayOf(b.cycle[partner.b]! - a.cycle[one.a]!) : 'on another CPU'
      moves.set(one, { way, partner })
      moves.set(partner, { way, partner: one })
    }
  }
  return moves
}

/** `earlier`, `later`, `elsewhere`, `on another CPU`; empty when it did not move. */
export function moveOf(moves: Moves, one: EventDifference): string {
  return moves.get(one)?.way ?? ''
}

function placeKey(data: TraceData, index: number, sameCpu: boolean): string {
  return sameCpu ? `${data.cpu[index]} ${keyOf(data, index)}` : keyOf(data, index)
}

function wayOf(shift: number): string {
  return shift === 0 ? 'elsewhere' : shift < 0 ? 'earlier' : 'later'
}
