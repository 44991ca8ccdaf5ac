// What random programs do to tasks: threads, vfork, execve, ends of all kinds, affinity, weights,
// stretches with interrupts off; and pairs that wake each other or meet at a barrier. Whoever waits
// for another without a bound is in a process that nobody kills and that cannot fail, so all of them end.

import fc from 'fast-check'
import { barrier, clone, compute, execve, exitGroup, irqsOff, kill, nice, program, repeat, setaffinity, sleep, vfork,
  wake } from './programs.js'
import type { ProcessSpec, Step } from './programs.js'

/** `programs` children by number, of which the last is the image that execve() runs. */
export function taskStep(cpus: number, programs: number): fc.Arbitrary<Step> {
  const child = fc.integer({ min: 0, max: programs - 2 })
  const any = fc.integer({ min: 0, max: programs - 1 })
  const victim = fc.constantFrom('p0t0', 'p1t0', 'p2t1', 'child0', 'child1', 'thread0', 'vchild', 'image')
  const anybody = fc.oneof(fc.constant(''), victim)
  const some = fc.uniqueArray(fc.integer({ min: 0, max: cpus - 1 }), { minLength: 1, maxLength: cpus })
  return fc.oneof(
    { weight: 4, arbitrary: child.map(n => clone(n, `thread${n}`)) },
    { weight: 3, arbitrary: any.map(n => vfork(n, 'vchild')) },
    { weight: 2, arbitrary: fc.constant(execve(programs - 1, 'image')) },
    { weight: 1, arbitrary: fc.constant(exitGroup()) },
    { weight: 2, arbitrary: victim.map(kill) },
    { weight: 4, arbitrary: fc.tuple(some, anybody).map(([set, comm]) => setaffinity(set, comm)) },
    { weight: 3, arbitrary: fc.tuple(fc.integer({ min: -20, max: 19 }), anybody)
      .map(([value, comm]) => nice(value, comm)) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 8000 }).map(irqsOff) },
    { weight: 1, arbitrary: victim.map(wake) },
  )
}

/** Two tasks that wake each other in turn and meet at barrier 0. */
export function pair(cpus: number): fc.Arbitrary<ProcessSpec> {
  const set = fc.uniqueArray(fc.integer({ min: 0, max: cpus - 1 }), { minLength: 0, maxLength: cpus })
  const work = fc.integer({ min: 1, max: 4000 })
  return fc.record({ times: fc.integer({ min: 1, max: 5 }), sets: fc.tuple(set, set), work: fc.tuple(work, work) })
    .map(({ times, sets, work: [a, b] }) => ({
      threads: [
        { comm: 'ping', cpus: sets[0], program: program('ping',
          repeat(times, compute(a), sleep(0), wake('pong')), repeat(times, compute(a), barrier(0))) },
        { comm: 'pong', cpus: sets[1], program: program('pong',
          repeat(times, wake('ping'), compute(b), sleep(0)), repeat(times, compute(b), barrier(0))) },
      ],
    }))
}
