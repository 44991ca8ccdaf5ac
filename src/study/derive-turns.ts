// Tasks that take turns: who goes to sleep when, as the switches of an operation show. Each turn ends
// with waking whoever has the next one. That is what pipes, futexes and sockets come down to here.
//
//   capture   main(S) -> pong   pong(R) -> main   main(S) -> pong   pong exits
//   main      sleep              wake pong, sleep
//   pong                         wake main, sleep                    wake main, exit

import type { Operation } from '../trace/capture-marks.js'
import type { Step } from './derive-rounds.js'
import { commOf } from './derive-tasks.js'
import type { DerivedTask } from './derive-tasks.js'

/** Steps of each task between the markers, by pid. */
export function turnsOf(operation: Operation, tasks: readonly DerivedTask[]): Map<number, Step[]> {
  const byPid = new Map(tasks.map(task => [task.pid, task]))
  const programs = new Map<number, Step[]>()
  /** The end of each turn: who left the CPU, and for good or not. */
  const turns: { pid: number; isLast: boolean; timeUs: number }[] = []
  let lastNext = 0
  for (const { kind, pid, record } of operation.facts) {
    if (kind !== 'switch' || !byPid.has(pid)) continue
    const next = Number(record.fields['next_pid'])
    // Preempted by a task that does not belong here: the turn goes on.
    if (next !== 0 && !byPid.has(next)) continue
    lastNext = next
    turns.push({ pid, isLast: /^[XZ]/.test(record.fields['prev_state']!), timeUs: record.timeUs })
  }
  // Whoever has the turn behind the last switch has one more, up to the END marker.
  const last = operation.isCut && byPid.has(lastNext) ? lastNext : operation.pid
  const order = [...turns.map(({ pid }) => pid), last]
  const started = new Set<number>([operation.pid])
  for (const [index, turn] of turns.entries()) {
    const own = programs.get(turn.pid) ?? []
    programs.set(turn.pid, own)
    const next = order[index + 1]!
    if (next === turn.pid) {
      own.push({ sleep: `${Math.max(1, Math.round((turns[index + 1]?.timeUs ?? turn.timeUs + 1) - turn.timeUs))}us` })
      continue
    }
    // A new task runs by itself when the CPU is free.
    if (started.has(next)) own.push({ wake: commOf(byPid.get(next)!.name) })
    started.add(next)
    own.push(turn.isLast ? 'exit' : { sleep: 'forever' })
  }
  // Where the capture ends in a turn of somebody else, the marker sleeps.
  if (last !== operation.pid) {
    programs.set(last, [...programs.get(last) ?? [], { wake: commOf(byPid.get(operation.pid)!.name) }])
  }
  return programs
}
