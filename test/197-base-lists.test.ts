// Taking one item from a short list: at its ends, in the middle, the only one.

import { describe, expect, test } from 'vitest'
import { removeAt, removeFrom } from '../src/base/lists.js'

describe('taking one item from a list', () => {
  test.each([
    [0, ['b', 'c', 'd']],
    [1, ['a', 'c', 'd']],
    [2, ['a', 'b', 'd']],
    [3, ['a', 'b', 'c']],
  ])('at %i', (index, left) => {
    const byIndex = ['a', 'b', 'c', 'd']
    removeAt(byIndex, index)
    const byItem = ['a', 'b', 'c', 'd']
    removeFrom(byItem, byItem[index]!)
    expect([byIndex, byItem]).toEqual([left, left])
  })

  test('the only one', () => {
    const list = ['a']
    removeFrom(list, 'a')
    expect(list).toEqual([])
  })
})
