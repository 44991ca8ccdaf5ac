// A thread of the captured program besides the one that sets the markers: does it run or sleep when a
// call is made? A thread that was switched away asleep and has shown nothing since then sleeps; its CPU
// is idle and lazy. In between it may have run: then it is woken in the scenario as well.
//
//   running    spins until the marker says so
//   sleeping   sleeps until it is woken

import type { Fact } from '../trace/capture-facts.js'
import type { Operation } from '../trace/capture-marks.js'
import type { Step } from './derive-rounds.js'
import { commOf } from './derive-tasks.js'
import type { DerivedTask } from './derive-tasks.js'

type State = 'running' | 'sleeping'

const RUNNING_WORDS = /^(spin|spins|spinning|run|runs|running|busy|user|active|loop)$/
const SLEEPING_WORDS = /^(lazy|idle|sleep|sleeps|sleeping|asleep|block|blocked|wait|halt|halted)$/
/** Until a woken thread has gone to sleep again. */
const SETTLE = '30us'

export class RemoteThread {
  readonly task: DerivedTask
  readonly #facts: readonly Fact[]
  readonly #program: Step[] = []
  #state: State | undefined
  #stretches = 0

  constructor(facts: readonly Fact[], task: DerivedTask) {
    this.task = task
    this.#facts = facts
  }

  /** What the marker does so that this thread is in the state that it had at the operation. */
  before(operation: Operation, sinceLine: number): Step[] {
    const state = this.#stateAt(operation)
    const ran = this.#state === 'sleeping' && state === 'sleeping' && this.#ranBetween(sinceLine, operation.firstLine)
    if (state === this.#state && !ran) return []
    const steps: Step[] = []
    if (this.#state === 'running') steps.push({ signal: this.#flag('stop') })
    if (this.#state === 'sleeping') steps.push({ wake: commOf(this.task.name) })
    this.#stretches += 1
    this.#state = state
    this.#program.push({ signal: this.#flag('runs') })
    steps.push({ spin: this.#flag('runs') })
    if (state === 'running') {
      this.#program.push({ spin: this.#flag('stop') })
    } else {
      this.#program.push({ sleep: 'forever' })
      steps.push({ compute: SETTLE })
    }
    return steps
  }

  /** Lets it end. */
  end(): Step[] {
    if (this.#state === 'running') return [{ signal: this.#flag('stop') }]
    return this.#state === 'sleeping' ? [{ wake: commOf(this.task.name) }] : []
  }

  definition(): Record<string, unknown> {
    const { name, cpu } = this.task
    return { name: commOf(name), cpu, program: this.#program.length === 0 ? ['exit'] : this.#program }
  }

  #flag(what: string): string {
    return `${this.task.name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?![A-Za-z_])/, '_')}-${what}-${this.#stretches}`
  }

  /** Facts in the operation tell most, then the last thing seen before it, then the marker. */
  #stateAt(operation: Operation): State {
    const { pid, cpu } = this.task
    for (const fact of operation.facts) {
      if (fact.pid === pid) return 'running'
      if (fact.cpu === cpu && fact.pid === 0 && fact.isInterrupt && fact.handler !== undefined) return 'sleeping'
    }
    const word = /(?:^|\s)remote=(\S+)/.exec(operation.name)?.[1] ?? ''
    const last = this.#lastSwitch(operation.firstLine)
    if (last?.pid === pid && last.kind === 'switch') {
      const isAsleep = !last.record.fields['prev_state']!.startsWith('R')
      // Its switch back from idle is missing where idle events are; the marker knows better then.
      return isAsleep && !RUNNING_WORDS.test(word) ? 'sleeping' : 'running'
    }
    if (SLEEPING_WORDS.test(word)) return 'sleeping'
    return 'running'
  }

  /** The last fact before `line` that is about this thread. */
  #lastSwitch(line: number): Fact | undefined {
    const { pid } = this.task
    let last: Fact | undefined
    for (const fact of this.#facts) {
      if (fact.record.line >= line) break
      if (fact.pid === pid || (fact.kind === 'switch' && Number(fact.record.fields['next_pid']) === pid)) last = fact
    }
    return last
  }

  #ranBetween(from: number, to: number): boolean {
    return this.#facts.some(({ pid, isInterrupt, record: { line } }) =>
      pid === this.task.pid && !isInterrupt && line > from && line < to)
  }
}
