// One set-associative array: the two ways to keep the order of use answer alike, also when the
// stamps of one of them run out.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arrayWords, ENTRY_PFN, KEY_VALID } from '../src/machine/mmu-state.js'
import { TlbArray } from '../src/machine/tlb-array.js'

interface Twin {
  array: TlbArray
  words: Int32Array
}

function twin(entries: number, ways: number, stamped: boolean): Twin {
  const config = { entries, ways }
  const words = new Int32Array(arrayWords(config))
  return { array: new TlbArray(words, 0, config, stamped), words }
}

const keyHi = (tag: number): number => KEY_VALID | (tag << 16)

/** Looks a page up and brings it in when it is absent. */
function use({ array }: Twin, page: number, tag: number): boolean {
  const start = array.startOf(0, page)
  const at = array.find(start, page, keyHi(tag))
  if (at >= 0) array.touch(start, at)
  else array.insert(start, page, keyHi(tag), page + 1000, tag)
  return at >= 0
}

/** Frames in the order of sets and of use. */
function frames({ array, words }: Twin): number[] {
  const found: number[] = []
  array.forEach((at) => found.push(words[at + ENTRY_PFN]!))
  return found
}

const someUse = fc.record({
  kind: fc.constantFrom('use', 'use', 'use', 'use', 'remove', 'drop'), page: fc.nat(60), tag: fc.nat(2),
})

describe('an array that moves entries and one that stamps them', () => {
  test('hit, evict and list alike, whatever is used and removed', () => {
    const shape = fc.record({ sets: fc.integer({ min: 1, max: 6 }), ways: fc.integer({ min: 1, max: 17 }) })
    fc.assert(fc.property(shape, fc.array(someUse, { size: 'max', maxLength: 300 }), ({ sets, ways }, uses) => {
      const twins = [false, true].map((stamped) => twin(sets * ways, ways, stamped))
      for (const { kind, page, tag } of uses) {
        const [moved, stamped] = twins.map((one) => {
          const { array } = one
          if (kind === 'use') return use(one, page, tag)
          if (kind === 'drop') return array.removeMatching(-1, keyHi(tag))
          const start = array.startOf(0, page)
          const at = array.find(start, page, keyHi(tag))
          if (at >= 0) array.removeAt(start, at)
          return at >= 0
        })
        expect(stamped).toEqual(moved)
        expect(frames(twins[1]!)).toEqual(frames(twins[0]!))
      }
    }), { numRuns: 150 })
  })

  test('keep their order when stamps run out', () => {
    const moved = twin(24, 12, false)
    const stamped = twin(24, 12, true)
    const both = (page: number): void => {
      use(moved, page, 0)
      use(stamped, page, 0)
      expect(frames(stamped)).toEqual(frames(moved))
    }
    for (let page = 0; page < 20; page++) both(page)
    // The clock is behind the entries and their stamps; a stamp is a multiple of 2048 below 2^31.
    const clock = 24 * 5
    expect(stamped.words[clock]).toBe(20 * 2048)
    stamped.words[clock] = 2 ** 31 - 4 * 2048
    for (const page of [3, 8, 3, 11, 40, 41, 0, 42, 43, 44]) both(page)
    expect(stamped.words[clock]).toBeLessThan(30 * 2048)
  })

  test('are the same array where a set has more ways than can be told apart below a stamp', () => {
    const [moved, stamped] = [false, true].map((wanted) => twin(4096, 4096, wanted)) as [Twin, Twin]
    for (let page = 0; page < 5000; page++) expect(use(stamped, page % 4500, 0)).toBe(use(moved, page % 4500, 0))
    expect(stamped.words).toEqual(moved.words)
  })
})
