// A scenario from a capture: the program that was captured, as its markers, page faults and switches
// show it. What the kernel did about it (flushes, interrupts) is left out, for that is compared.
//
//   main      maps, touches, BEGIN, the call, END, cleans up; round after round
//   threads   run on their CPU or sleep, as they did when the call was made
//   children  are forked where they first appear, and take turns with main where switches say so

import { stringify } from 'yaml'
import { UserError } from '../base/errors.js'
import { factsOf } from '../trace/capture-facts.js'
import type { Fact } from '../trace/capture-facts.js'
import { operationsOf } from '../trace/capture-marks.js'
import type { Operation } from '../trace/capture-marks.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'
import { RoundMaker } from './derive-rounds.js'
import type { Round, Step } from './derive-rounds.js'
import { castOf, commOf } from './derive-tasks.js'
import type { Cast, DerivedTask } from './derive-tasks.js'
import { RemoteThread } from './derive-remote.js'
import { turnsOf } from './derive-turns.js'

export interface DerivedScenario {
  /** The scenario file. */
  yaml: string
  /** Task of the scenario for tasks of the capture, by pid. */
  tasks: ReadonlyMap<string, string>
  /** What could not be taken from the capture. */
  notes: readonly string[]
}

/** Throws UserError when the capture has no markers, or none that names a call that is known. */
export function deriveScenario(capture: FtraceCapture): DerivedScenario {
  const facts = factsOf(capture.records)
  const { how, operations } = operationsOf(facts, () => false)
  if (how !== 'marks' || operations.length === 0) {
    throw new UserError('a scenario cannot be derived: the capture has no BEGIN and END markers',
      { file: capture.file, line: capture.records[0]!.line, column: 1 },
      ['write a scenario with the operations that were captured, or replay the scheduling: "shootdown replay-sched"'])
  }
  return new Deriver(capture, facts, operations).derive()
}

class Deriver {
  readonly #capture: FtraceCapture
  readonly #facts: readonly Fact[]
  readonly #operations: readonly Operation[]
  readonly #cast: Cast
  readonly #notes: string[] = []
  /** Programs of forked children, and those that are not forked yet. */
  readonly #children = new Map<number, Step[]>()
  readonly #unborn: DerivedTask[]
  readonly #sleeping: DerivedTask[] = []
  readonly #woken = new Set<DerivedTask>()

  constructor(capture: FtraceCapture, facts: readonly Fact[], operations: readonly Operation[]) {
    this.#capture = capture
    this.#facts = facts
    const pid = operations[0]!.pid
    this.#operations = operations.filter(operation => operation.pid === pid)
    if (this.#operations.length < operations.length) {
      this.#notes.push('several tasks set markers; only the operations of the first are derived')
    }
    this.#cast = castOf(facts, this.#operations)
    this.#unborn = this.#cast.others.filter(task => !task.isThread)
  }

  derive(): DerivedScenario {
    const { marker, others } = this.#cast
    const threads = this.#threads(others.filter(task => task.isThread))
    const maker = new RoundMaker(this.#facts, marker.pid, threads.map(({ task }) => task.pid))
    const rounds: { before: Step[]; steps: Step[] }[] = []
    for (const [index, operation] of this.#operations.entries()) {
      const since = index === 0 ? 0 : this.#operations[index - 1]!.lastLine
      const until = this.#operations[index + 1]?.firstLine ?? Infinity
      const round = maker.next(operation, since, this.#operations[index + 1])
      const before: Step[] = threads.flatMap(thread => thread.before(operation, since))
      const steps = [
        ...this.#reap(operation.firstLine), ...round.before, ...this.#forks(round), ...this.#call(round, until),
        ...round.after,
      ]
      const pause = this.#pauseAfter(operation, until)
      rounds.push({ before, steps: pause === undefined ? steps : [...steps, pause] })
    }
    const program = [
      ...(rounds.some(({ steps }) => JSON.stringify(steps).includes('"mmap"')) ? [] : [SOME_MEMORY]),
      ...repeated(rounds), ...threads.flatMap(thread => thread.end()), ...this.#reap(Infinity), ...this.#wakeLast(),
      ...(this.#children.size > 0 ? ['wait'] : []),
    ]
    this.#notes.push(...new Set(maker.notes))
    return { yaml: this.#yaml(program, threads), tasks: this.#tasks(threads), notes: this.#notes }
  }

  #threads(tasks: readonly DerivedTask[]): RemoteThread[] {
    const threads = tasks.map(task => new RemoteThread(this.#facts, this.#apart(task)))
    const remote = this.#operations.flatMap(({ name }) => /(?:^|\s)remote=(\S+)/.exec(name)?.[1] ?? []).at(0)
    if (threads.length > 0 || remote === undefined || /^(never|no|none|absent|off|0)$/.test(remote)) return threads
    if (this.#cast.others.length > 0) return threads
    // The capture does not show it: an idle task's events are missing, and it slept all the time.
    const { marker } = this.#cast
    const seen = this.#facts.flatMap(fact => [fact.cpu, ...fact.targets])
    const cpu = seen.find(other => other !== marker.cpu) ?? marker.cpu + 1
    this.#notes.push(`the capture does not show the remote thread of its markers (remote=${remote}), put on CPU ${cpu}`)
    const name = marker.name === 'remote' ? 'remote.2' : 'remote'
    return [new RemoteThread(this.#facts, { pid: -1, name, isThread: true, cpu, firstLine: 0, exitLine: Infinity })]
  }

  /** A thread that is only seen on its way from the marker's CPU, because the capture ends there. */
  #apart(task: DerivedTask): DerivedTask {
    const { cpu } = this.#cast.marker
    if (task.cpu !== cpu || this.#capture.cpus < 2) return task
    const seen = this.#facts.flatMap(fact => [fact.cpu, ...fact.targets])
    return { ...task, cpu: seen.find(other => other !== cpu) ?? (cpu + 1) % this.#capture.cpus }
  }

  /** Children that appear before the end of an operation, but not in it as its purpose. */
  #forks({ operation, verb }: Round): Step[] {
    const steps: Step[] = []
    for (const child of this.#unborn.slice()) {
      const until = verb.kind === 'fork' ? operation.firstLine : operation.lastLine
      if (child.firstLine >= until) continue
      steps.push(this.#fork(child))
      if (verb.kind !== 'turns' && verb.kind !== 'unknown') this.#letSleep(child)
    }
    return steps
  }

  /** A child that is there while others work: it holds its copy of the memory. */
  #letSleep(child: DerivedTask): void {
    this.#children.get(child.pid)?.push({ sleep: 'forever' })
    this.#sleeping.push(child)
  }

  /** Children that were asleep where the capture ends. */
  #wakeLast(): Step[] {
    const children = this.#cast.others.filter((child) => {
      const last = this.#children.get(child.pid)?.at(-1)
      return typeof last === 'object' && last['sleep'] === 'forever' && !this.#woken.has(child)
    })
    return children.map(child => ({ wake: commOf(child.name) }))
  }

  /** Ends sleeping children that exit before `line`. */
  #reap(line: number): Step[] {
    const ending = this.#sleeping.filter(child => line === Infinity || child.exitLine < line)
    for (const child of ending) {
      this.#sleeping.splice(this.#sleeping.indexOf(child), 1)
      this.#woken.add(child)
    }
    return ending.length === 0 ? [] : [...ending.map(child => ({ wake: commOf(child.name) })), 'wait']
  }

  #fork(child: DerivedTask): Step {
    this.#unborn.splice(this.#unborn.indexOf(child), 1)
    const program: Step[] = []
    this.#children.set(child.pid, program)
    return { fork: { name: commOf(child.name), cpu: child.cpu, program } }
  }

  #call({ operation, verb, call }: Round, untilLine: number): Step[] {
    const { name } = operation
    const steps: Step[] = []
    if (verb.kind === 'fork') {
      const { firstLine, lastLine } = operation
      const child = this.#unborn.find(task => task.firstLine >= firstLine && task.firstLine < untilLine)
      if (child === undefined) {
        this.#children.set(-1 - operation.firstLine, [])
        steps.push({ fork: { name: `child.${operation.round}`, program: ['exit'] } })
      } else {
        steps.push(this.#fork(child))
        if (child.exitLine > lastLine && !this.#sleepsInside(operation)) this.#letSleep(child)
      }
      steps.push(...call)
      if (this.#sleepsInside(operation)) steps.push('wait')
    } else if (verb.kind === 'turns' || verb.kind === 'unknown') {
      if (!this.#facts.some(({ kind }) => kind === 'switch')) this.#noSwitches(operation)
      if (verb.kind === 'unknown') this.#notes.push(`"${name}" is no call that is known; only its switches are derived`)
      const { marker, others } = this.#cast
      const turns = turnsOf(operation, [marker, ...others])
      for (const [pid, own] of turns) if (pid !== marker.pid) this.#children.get(pid)?.push(...own)
      steps.push(...(turns.get(marker.pid) ?? []))
    } else {
      steps.push(...call)
    }
    return [{ mark: `BEGIN ${name}` }, ...steps, { mark: `END ${name}` }]
  }

  #noSwitches({ name, firstLine }: Operation): never {
    throw new UserError(`"${name}" is derived from switches, and the capture has no sched_switch`,
      { file: this.#capture.file, line: firstLine, column: 1 }, ['give a scenario instead of --derive'])
  }

  #sleepsInside(operation: Operation): boolean {
    const { pid } = this.#cast.marker
    return operation.facts.some(({ kind, pid: who, record }) =>
      kind === 'switch' && who === pid && /^[SD]/.test(record.fields['prev_state']!))
  }

  /** How long the marker slept until the next operation. */
  #pauseAfter(operation: Operation, untilLine: number): Step | undefined {
    const { pid, cpu } = this.#cast.marker
    let begin: number | undefined
    let us = 0
    for (const { kind, record, pid: who, cpu: where } of this.#facts) {
      if (record.line <= operation.lastLine || record.line >= untilLine || kind !== 'switch' || where !== cpu) continue
      if (who === pid && /^[SD]/.test(record.fields['prev_state']!)) begin = record.timeUs
      else if (Number(record.fields['next_pid']) === pid && begin !== undefined) us += record.timeUs - begin
    }
    if (us < 1 || untilLine === Infinity || this.#capture.clock !== 'seconds') return undefined
    const rounded = Math.max(1, Math.round(us / PAUSE_STEP_US)) * PAUSE_STEP_US
    return { sleep: `${Math.min(rounded, MAX_PAUSE_US)}us` }
  }

  #yaml(program: Step[], threads: readonly RemoteThread[]): string {
    const { marker } = this.#cast
    for (const own of this.#children.values()) if (own.length === 0) own.push('exit')
    const main = { name: commOf(marker.name), cpu: marker.cpu, program }
    const cpus = Math.max(this.#capture.cpus, marker.cpu + 1, ...threads.map(({ task }) => task.cpu + 1))
    const isOld = this.#facts.some(({ record }) => / mm shootdown| ipi send/.test(record.fields['reason'] ?? ''))
    const scenario = {
      name: 'derived', question: `Does the simulation do what ${this.#capture.file} shows?`, cpus,
      kernel: isOld ? 'linux-4.6' : 'linux-6.x',
      processes: [threads.length === 0 ? main
        : { name: 'captured', threads: [main, ...threads.map(thread => thread.definition())] }],
    }
    return stringify(scenario, { lineWidth: 110, aliasDuplicateObjects: false })
  }

  #tasks(threads: readonly RemoteThread[]): Map<string, string> {
    const { marker, others } = this.#cast
    const present = others.filter(task => !task.isThread ? this.#children.has(task.pid)
      : threads.some(thread => thread.task.pid === task.pid))
    return new Map([marker, ...present].map(task => [String(task.pid), commOf(task.name)]))
  }
}

/** Every program has something mapped that goes away when it exits. */
const SOME_MEMORY: Step = { mmap: { name: 'memory', pages: 4, populate: true } }
/** A longer pause would only make the run longer. */
const MAX_PAUSE_US = 1000
/** Pauses are rounded, so that rounds that are alike are the same. */
const PAUSE_STEP_US = 50

/** Rounds that are the same in a row become a `repeat`. */
function repeated(rounds: readonly { before: Step[]; steps: Step[] }[]): Step[] {
  const program: Step[] = []
  for (let from = 0; from < rounds.length;) {
    const { before, steps } = rounds[from]!
    const text = JSON.stringify(steps)
    let to = from + 1
    while (to < rounds.length && rounds[to]!.before.length === 0 && JSON.stringify(rounds[to]!.steps) === text) to += 1
    program.push(...before)
    if (to - from === 1 || JSON.stringify(steps).includes('"fork"')) {
      for (let i = from; i < to; i++) program.push(...rounds[i]!.steps)
    } else {
      program.push({ repeat: { times: to - from, do: steps } })
    }
    from = to
  }
  return program
}

