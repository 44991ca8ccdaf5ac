// Alignment of sequences: every pair is equal, both sides ascend, and for short ones it is the longest there is.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { align } from '../src/trace/align.js'

const few = fc.array(fc.nat(3), { maxLength: 14 })

function pairsOf(a: number[], b: number[]): [number, number][] {
  const flat = align(Int32Array.from(a), Int32Array.from(b))
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1]!])
}

/** Length of the longest common subsequence, by the textbook table. */
function longest(a: readonly number[], b: readonly number[]): number {
  let row = new Array<number>(b.length + 1).fill(0)
  for (const value of a) {
    const next = [0]
    for (let j = 0; j < b.length; j++) next.push(value === b[j] ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!))
    row = next
  }
  return row[b.length]!
}

function isValid(a: number[], b: number[], pairs: [number, number][]): boolean {
  return pairs.every(([x, y], i) => a[x] === b[y] && (i === 0 || (x > pairs[i - 1]![0] && y > pairs[i - 1]![1])))
}

test('pairs are equal, ascending, and as many as there can be', () => {
  fc.assert(fc.property(few, few, (a, b) => {
    const pairs = pairsOf(a, b)
    expect(isValid(a, b, pairs)).toBe(true)
    expect(pairs.length).toBe(longest(a, b))
  }), { numRuns: 3000 })
})

test('an insertion and a removal in the middle of a long sequence', () => {
  const a = Array.from({ length: 10_000 }, (_, i) => i % 97)
  const b = [...a.slice(0, 4000), 1000, 1001, ...a.slice(4000, 7000), ...a.slice(7003)]
  expect(pairsOf(a, b).length).toBe(10_000 - 3)
})

test('sequences with nothing in common end in linear time, and those with much still pair well', () => {
  const a = Array.from({ length: 200_000 }, (_, i) => 2 * i)
  expect(pairsOf(a, a.map(value => value + 1))).toEqual([])
  const b = a.map((value, i) => (i % 10 === 0 ? -1 : value))
  const pairs = pairsOf(a, b)
  expect(isValid(a, b, pairs)).toBe(true)
  expect(pairs.length).toBe(180_000)
})
