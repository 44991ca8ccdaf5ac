// What every shootdown policy must keep, as small programs that notice when it does not: each loads what
// it must find and is run with the invariants on. What a policy may do differently is in test/300.

import type { RunResult } from '../../src/engine/result.js'
import type { ProgramImage } from '../../src/kernel/abi.js'
import { PROT_READ } from '../../src/kernel/abi.js'
import { area, compute, dontneed, execve, fork, gupFast, image, load, mmap, mprotect, munmap, program, reclaim, repeat,
  signal, sleep, spin, store, touch, wait } from './programs.js'
import type { ProcessSpec, Step } from './programs.js'

const READ_FILE = { file: 0, shared: true, prot: PROT_READ }
const AT = { at: { hi: 0, lo: 0x1000_0000 }, fixed: true }
/** Longer than any call takes. */
const PAUSE = compute(30_000)

export interface Story {
  /** A sentence about the machine. */
  readonly title: string
  readonly image: ProgramImage
  /** How each task must end, by name; `exited` where nothing is said. */
  readonly outcomes?: Readonly<Record<string, string>>
  /** Also wants that what a call takes away is gone when it returns, not a moment later. */
  readonly isSynchronous?: boolean
}

/** One process: `main` on CPU 0 maps and writes area 0 (four pages), `other` on CPU 1 reads it, then both go on. */
function twoThreads(main: Step[], other: Step[], children: Step[][] = []): ProgramImage {
  const threads: ProcessSpec['threads'] = [
    { comm: 'main', cpus: [0], program: program('main', mmap(0, 4, AT), touch(area(0), 'write'), store(area(0), 5n),
      signal(0), PAUSE, ...main) },
    { comm: 'other', cpus: [1], program: program('other', spin(0), load(area(0), 5n), ...other) },
  ]
  return image([{ threads }], { children: children.map((steps, i) => program(`child${i}`, ...steps)), flags: 8 })
}

export const STORIES: readonly Story[] = [
  {
    title: 'a write after fork is seen by the threads of its process and by nobody else',
    image: twoThreads(
      [fork(0, 'child', [2]), store(area(0), 6n), signal(1), load(area(0), 6n), wait()],
      [spin(1), load(area(0), 6n), signal(2)],
      [[load(area(0), 5n), spin(2), load(area(0), 5n), store(area(0), 7n), load(area(0), 7n)]]),
  },
  {
    title: 'the child of a fork writes what its parent never sees, on any CPU',
    image: twoThreads(
      [fork(0, 'child', [2]), spin(1), load(area(0), 5n), signal(2), wait()],
      [spin(2), load(area(0), 5n)],
      [[store(area(0), 9n), load(area(0), 9n), signal(1)]]),
  },
  {
    title: 'mprotect to read-only stops the writes of a CPU that has the page cached as writable',
    image: twoThreads(
      [mprotect(area(0), PROT_READ), signal(1), PAUSE, PAUSE],
      [store(area(0), 6n), spin(1), load(area(0), 6n), store(area(0), 7n), load(area(0), 99n)]),
    outcomes: { main: 'SIGSEGV', other: 'SIGSEGV' },
  },
  {
    title: 'a frame is not used again while another CPU may still read it through its old address',
    image: twoThreads(
      [munmap(area(0)), mmap(1, 8), touch(area(1), 'write'), store(area(1), 0x66n), ...repeatStores(1), PAUSE],
      [repeat(300, load(area(0), 5n))]),
    outcomes: { main: 'exited or SIGSEGV', other: 'exited or SIGSEGV' },
  },
  {
    title: 'after munmap has returned the other CPU faults',
    image: twoThreads(
      [munmap(area(0)), signal(1), PAUSE, PAUSE],
      [spin(1), load(area(0), 99n)]),
    outcomes: { main: 'SIGSEGV', other: 'SIGSEGV' },
    isSynchronous: true,
  },
  {
    title: 'a page that was given up and touched again is the same page on every CPU',
    image: twoThreads(
      [dontneed(area(0)), load(area(0), 0n), store(area(0), 6n), signal(1), spin(2), load(area(0), 8n)],
      [spin(1), load(area(0), 6n), store(area(0), 8n), signal(2)]),
  },
  {
    title: 'a fixed mapping over an old one shows the new pages on every CPU',
    image: twoThreads(
      [mmap(0, 4, AT), store(area(0), 6n), signal(1), PAUSE],
      [spin(1), load(area(0), 6n)]),
  },
  {
    title: 'a mapping where another one was shows its own pages on every CPU',
    image: twoThreads(
      [mmap(1, 4), store(area(1), 3n), signal(1), spin(2), munmap(area(1)), mmap(2, 4), store(area(2), 4n), signal(3),
        PAUSE],
      [spin(1), load(area(1), 3n), signal(2), spin(3), load(area(2), 4n)]),
  },
  {
    title: 'a lazy CPU comes back to what is mapped then, and its paging caches name no freed table',
    image: twoThreads(
      [munmap(area(0)), mmap(0, 4, AT), store(area(0), 6n), signal(1), PAUSE, PAUSE],
      [sleep(60_000), spin(1), load(area(0), 6n)]),
  },
  {
    title: 'a CPU that ran another process meanwhile comes back to what is mapped then',
    image: image([
      { threads: [
        { comm: 'main', cpus: [0], program: program('main', mmap(0, 4, AT), store(area(0), 5n), signal(0), PAUSE,
          dontneed(area(0)), store(area(0), 6n), signal(1), PAUSE, PAUSE) },
        { comm: 'other', cpus: [1], program: program('other',
          spin(0), load(area(0), 5n), sleep(60_000), spin(1), load(area(0), 6n)) },
      ] },
      { threads: [{ comm: 'foreign', cpus: [1], program: program('foreign', sleep(20_000),
        mmap(0, 4, AT), store(area(0), 1n), compute(10_000), load(area(0), 1n)) }] },
    ]),
  },
  {
    title: 'more address spaces than slots take turns, each with its own pages at the same address',
    image: image(Array.from({ length: 9 }, (_, i) => ({ threads: [{ comm: `p${i}`, cpus: [i % 2],
      program: program(`p${i}`, mmap(0, 2, AT), store(area(0), BigInt(i)),
        repeat(4, sleep(500), load(area(0), BigInt(i))), dontneed(area(0)), load(area(0), 0n)) }] }))),
  },
  {
    title: 'CPUs that free memory of one process at the same time do not wait for each other for ever',
    image: image([{ threads: Array.from({ length: 3 }, (_, i) => ({ comm: `t${i}`, cpus: [i],
      program: program(`t${i}`, repeat(4,
        mmap(i, 6), touch(area(i), 'write'), dontneed(area(i)), touch(area(i), 'write'), munmap(area(i)))) })) }]),
  },
  {
    title: 'memory that was taken back comes with what was in it, also what another CPU wrote meanwhile',
    image: twoThreads(
      [reclaim(4), load(area(0), 5n), store(area(0, 1), 6n), signal(1), spin(2), reclaim(4), load(area(0, 1), 7n)],
      [spin(1), load(area(0, 1), 6n), store(area(0, 1), 7n), signal(2)]),
  },
  {
    title: 'pages of a file that were taken back are read as what was written to them last',
    image: image([
      { threads: [
        { comm: 'main', cpus: [0], program: program('main', mmap(0, 8, READ_FILE), touch(area(0), 'read'), signal(0),
          PAUSE, reclaim(8), signal(1), spin(2), load(area(0), 9n)) },
        { comm: 'other', cpus: [1], program: program('other',
          spin(0), touch(area(0), 'read'), spin(1), load(area(0), 0n), signal(3), spin(2), load(area(0), 9n)) },
      ] },
      { threads: [{ comm: 'writer', cpus: [2], program: program('writer',
        spin(3), mmap(0, 8, { file: 0, shared: true }), store(area(0), 9n), signal(2)) }] },
    ], { files: [{ name: 'data', bytes: 8 * 4096 }] }),
  },
  {
    title: 'a new program has nothing of the old one, at the same addresses',
    image: twoThreads(
      [fork(0, 'child', [2]), wait(), load(area(0), 5n)], [load(area(0), 5n)],
      [[load(area(0), 5n), execve(1, 'fresh')], [mmap(0, 4, AT), load(area(0), 0n), store(area(0), 8n)]]),
    outcomes: { child: 'exited', fresh: 'exited' },
  },
  {
    title: 'a lockless walk finds the tables that it reads alive',
    image: twoThreads(
      [repeat(6, mmap(1, 4), touch(area(1), 'write'), signal(1), munmap(area(1)))],
      [spin(1), repeat(20, gupFast(area(1)))]),
  },
  {
    title: 'the last thread exits while another CPU holds the mm lazily',
    image: twoThreads([touch(area(0), 'write'), munmap(area(0))], [sleep(1_000)]),
  },
]

function repeatStores(index: number): Step[] {
  return [repeat(20, store(area(index), 0x66n), compute(500))]
}

/** What of the story did not come true; empty when all did. */
export function wrongIn(story: Story, result: RunResult): string[] {
  const ends = result.tasks.filter(task => task.comm !== 'kswapd0').flatMap(({ comm, outcome }) => {
    const wanted = story.outcomes?.[comm] ?? 'exited'
    return wanted.split(' or ').includes(outcome) ? [] : [`${comm} ended with ${outcome}, not ${wanted}`]
  })
  return [...(result.end === 'finished' ? [] : [`the run ended: ${result.end}`]), ...ends,
    ...result.failures.map(failure => failure.text)]
}
