// Writes a scenario of about a million events to standard output: sixteen threads of one process map,
// use and unmap buffers of different sizes at different times, so that little in the trace repeats and a
// report of it is as large as reports get. docs/report.md says what it is measured for.

import { hash32 } from '../../src/base/prng.js'

const CPUS = 16
const TIMES = 14
const ROUNDS = 40

/** A whole number in [low, high], the same for the same place. */
function draw(thread: number, round: number, which: number, low: number, high: number): number {
  return low + (hash32(hash32(thread * ROUNDS + round, which), 7) >>> 0) % (high - low + 1)
}

function round(thread: number, index: number): string[] {
  const buffer = `buffer${thread}`
  return [
    `mmap: {name: ${buffer}, pages: ${draw(thread, index, 0, 1, 14)}}`, `write: ${buffer}`, `munmap: ${buffer}`,
    `write: work${thread}`, `compute: ${draw(thread, index, 1, 2000, 240_000)}`,
  ].map((operation) => `                - ${operation}`)
}

const threads = Array.from({ length: CPUS }, (_, thread) => [
  `      - name: t${thread}`, `        cpu: ${thread}`, '        program:',
  `          - mmap: {name: work${thread}, pages: 24}`, '          - repeat:', `              times: ${TIMES}`,
  '              do:', ...Array.from({ length: ROUNDS }, (__, index) => round(thread, index)).flat(),
].join('\n'))

process.stdout.write([
  'name: million-events', 'question: What do sixteen threads of one process cost each other?', `cpus: ${CPUS}`,
  'processes:', '  - name: storm', '    threads:', ...threads, '',
].join('\n'))
