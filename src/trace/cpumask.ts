// CPU sets as the kernel prints them in ipi_send_cpumask: hex groups of 32 CPUs, highest group
// first, joined by commas; the first group has only as many digits as the machine's CPUs need
// (36 CPUs, all set: `f,ffffffff`).

import { fail } from '../base/assert.js'

/** `words[w]` holds CPUs 32w to 32w+31, the lowest in bit 0. */
export function formatCpumask(words: ArrayLike<number>, cpus: number): string {
  const groups = Math.ceil(cpus / 32)
  if (words.length < groups) fail(`cpumask of ${words.length} words for ${cpus} CPUs`)
  let text = ''
  for (let group = groups - 1; group >= 0; group--) {
    const bits = group === groups - 1 && cpus % 32 !== 0 ? cpus % 32 : 32
    text += (words[group]! >>> 0).toString(16).padStart(Math.ceil(bits / 4), '0')
    if (group > 0) text += ','
  }
  return text
}

/** Members in ascending order; undefined when the text is not a mask. */
export function parseCpumask(text: string): number[] | undefined {
  if (!/^[0-9a-f]{1,8}(,[0-9a-f]{8})*$/i.test(text)) return undefined
  const groups = text.split(',').reverse()
  const members: number[] = []
  groups.forEach((group, index) => {
    const word = parseInt(group, 16)
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) members.push(index * 32 + bit)
  })
  return members
}
