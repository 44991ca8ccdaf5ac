// `schedule:` of a scenario: the turns of a captured schedule, with its task names as the scenario has
// them and its times as cycles. What the capture calls by a name that no task has is idle time here.

import type { Schedule, ScheduleTurn } from '../kernel/abi.js'
import type { CapturedSchedule, ScenarioNote } from './scenario.js'
import type { RawScenario } from './schema.js'
import { suggestionLines } from './suggest.js'
import type { Path, YamlSource } from './yaml-source.js'

/** Before the first turn, so that every CPU has booted into its idle task. */
const START_CYCLES = 10_000
const MAX_TURN_CYCLE = 2 ** 52

interface Context {
  source: YamlSource
  raw: RawScenario
  taskNames: ReadonlySet<string>
  cpus: number
  frequencyGhz: number
  notes: ScenarioNote[]
}

/** The turns of each CPU. Throws UserError where the scenario and the capture do not fit. */
export function compileSchedule(context: Context, captured: CapturedSchedule): Schedule {
  const { source, raw, cpus, frequencyGhz, notes } = context
  const options = typeof raw.schedule === 'string' ? { trace: raw.schedule } : raw.schedule!
  const path: Path = typeof raw.schedule === 'string' ? ['schedule'] : ['schedule', 'trace']
  if (captured.cpus > cpus) {
    throw source.error(`the capture has ${captured.cpus} CPUs, the machine ${cpus}`, path,
      [`set cpus: ${captured.cpus}`])
  }
  const nameOf = taskMapping(context, captured, options.tasks ?? {})
  const unknown = new Set<string>()
  const cycleOf = (us: number): number => START_CYCLES + Math.round(us * 1000 * frequencyGhz * (options.stretch ?? 1))
  const endCycle = cycleOf(captured.durationUs)
  if (endCycle > MAX_TURN_CYCLE) throw source.error('the capture is too long to be replayed', path)
  const turns = Array.from({ length: cpus }, (): ScheduleTurn[] => [])
  for (const { cpu, timeUs, task, before, beforeSleeps, exits } of captured.turns) {
    const name = nameOf(task)
    if (name === undefined) unknown.add(task)
    turns[cpu]!.push({
      cycle: cycleOf(timeUs), task: name ?? '', before: nameOf(before) ?? '', beforeSleeps, ...(exits ? { exits } : {}),
    })
  }
  if (unknown.size > 0) {
    const text = `no task is called ${[...unknown].join(', ')}: the CPU is idle where the capture runs it`
    notes.push({ position: source.source.position(source.span(path).start), text })
  }
  return { turns, endCycle }
}

/** The scenario's name of a captured task; '' is idle, undefined is nobody. */
function taskMapping(
  { source, taskNames }: Context, captured: CapturedSchedule, given: Readonly<Record<string, string>>,
): (task: string) => string | undefined {
  for (const [real, ours] of Object.entries(given)) {
    const path: Path = ['schedule', 'tasks', real]
    if (!captured.tasks.includes(real)) {
      throw source.error(`the capture has no task "${real}"`, path, suggestionLines(real, captured.tasks), 'key')
    }
    if (taskNames.has(ours)) continue
    throw source.error(`there is no task "${ours}"`, path, suggestionLines(ours, [...taskNames]))
  }
  return (task) => {
    if (task === '') return ''
    const name = given[task] ?? task
    return taskNames.has(name) ? name : undefined
  }
}
