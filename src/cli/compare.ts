// `shootdown compare CAPTURE SCENARIO`: a real kernel's ftrace text against a scenario that is run
// here, operation by operation. With --derive the scenario is made from the capture itself.

import { Command, InvalidArgumentError, Option } from 'commander'
import { writeFileAtomic } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { ENGINES } from '../engine/scheduler-loop.js'
import type { EngineName } from '../engine/scheduler-loop.js'
import { KERNEL_ERAS } from '../kernel/config.js'
import type { KernelEra } from '../kernel/config.js'
import { POLICY_NAMES } from '../kernel/policies.js'
import { loadScenario, parseScenario } from '../scenario/parse.js'
import type { Scenario } from '../scenario/scenario.js'
import { loadTrace } from '../scenario/trace-file.js'
import { loadCapture } from '../study/capture-file.js'
import { deriveScenario } from '../study/derive-scenario.js'
import { savedCapture, simulatedCapture } from '../study/compare-run.js'
import { loadSchedule } from '../study/schedule-scenario.js'
import { compareCaptures } from '../trace/capture-compare.js'
import { captureText } from '../trace/capture-text.js'
import type { FtraceCapture } from '../trace/ftrace-parse.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { interruptible } from './interrupt.js'

interface Flags {
  map: readonly (readonly [string, string])[]
  mapCpu: readonly (readonly [string, string])[]
  derive?: boolean
  saveScenario?: string
  engine: EngineName
  era?: KernelEra
  policy?: string
  cpus?: number
  seed?: number
  check?: boolean
  json?: boolean
  all?: boolean
}

/** The sub-command, to be added to the program. */
export function compareCommand(): Command {
  return new Command('compare')
    .description('compare what a real kernel did (ftrace text) with a scenario, operation by operation')
    .argument('<capture>', 'ftrace text: the tracefs file "trace" or what trace-cmd prints; plain, gzip or xz')
    .argument('[scenario]', 'a scenario, which is run, or a trace that "run --trace" saved')
    .option('--derive', 'make the scenario from the capture itself: its markers, page faults and switches')
    .option('--save-scenario <file>', 'write the derived scenario, to read or to change')
    .option('--map <real=ours>', 'a task of the capture (name or pid) is that task of the scenario; may be repeated',
      pair, [])
    .option('--map-cpu <real=ours>', 'a CPU of the capture is that CPU of the scenario; may be repeated', pair, [])
    .addOption(new Option('--engine <name>', 'engine that runs the scenario').choices(ENGINES).default('inline'))
    .addOption(new Option('--era <name>', 'whose kernel, instead of that of the scenario').choices(KERNEL_ERAS))
    .addOption(new Option('--policy <name>', 'shootdown policy, instead of that of the scenario').choices(POLICY_NAMES))
    .option('--cpus <n>', 'number of CPUs, instead of that of the scenario', wholeNumber)
    .option('--seed <n>', 'seed, instead of that of the scenario', wholeNumber)
    .option('--check', 'check the invariants while the scenario runs')
    .option('--all', 'show every event, also where nothing differs')
    .option('--json', 'print the comparison as one JSON object')
    .addHelpText('after', `
An operation is what lies between the markers "BEGIN ..." and "END ..." (tracing_mark_write; "mark" in a
scenario). Without markers each flush request is one. More: docs/compare.md.
Exit codes: 0 no unexplained difference, 1 there is one, 2 bad input.

Examples:
  shootdown compare capture.ftrace my-scenario.yaml
  shootdown compare capture.ftrace my-scenario.yaml --map 1234=main --map-cpu 3=0
  shootdown compare scenarios/captures/example.ftrace --derive --save-scenario derived.yaml`)
    .action(runCompare)
}

interface OtherSide {
  ours: FtraceCapture
  /** What it is, in a few words. */
  what: string
  tasks: ReadonlyMap<string, string>
  notes: readonly string[]
}

async function runCompare(file: string, other: string | undefined, flags: Flags): Promise<void> {
  checkFlags(other, flags)
  await interruptible(() => 'while comparing', async ({ signal }) => {
    const real = await loadCapture(file)
    const { ours, what, tasks, notes } = other === undefined
      ? await derivedSide(real, flags, signal) : await writtenSide(other, flags, signal)
    const comparison = compareCaptures(real, ours, {
      tasks: new Map([...tasks, ...flags.map]),
      cpus: new Map(flags.mapCpu.map(([from, to]) => [cpuNumber(from), cpuNumber(to)])),
    }, notes)
    const isFine = comparison.verdict !== 'different' && comparison.operations.length > 0
    process.exitCode = isFine ? EXIT_OK : EXIT_DIFFERENT
    if (flags.json) process.stdout.write(`${JSON.stringify(jsonOf(real, what, comparison, isFine), undefined, 2)}\n`)
    else process.stdout.write(captureText(real, comparison, { ours: what, all: flags.all ?? false }))
  })
}

function checkFlags(other: string | undefined, { derive, saveScenario }: Flags): void {
  if (other === undefined && derive !== true) {
    throw new UserError('there is nothing to compare with', undefined, ['give a scenario, or --derive'])
  }
  if (other !== undefined && derive === true) {
    throw new UserError('--derive makes the scenario from the capture, so there cannot be another one', undefined,
      [`leave out "${other}" or --derive`])
  }
  if (saveScenario !== undefined && derive !== true) {
    throw new UserError('--save-scenario writes a derived scenario', undefined, ['add --derive'])
  }
}

async function writtenSide(file: string, flags: Flags, signal: AbortSignal): Promise<OtherSide> {
  const common = { tasks: new Map<string, string>(), notes: [] }
  if (!/\.ya?ml$/.test(file)) return { ...common, ours: await savedCapture(file), what: `${file}, a saved trace` }
  const scenario = await loadScenario(file, overrides(flags), loadTrace)
  return { ...common, ...await run(scenario, file, flags, signal) }
}

async function derivedSide(real: FtraceCapture, flags: Flags, signal: AbortSignal): Promise<OtherSide> {
  const { yaml, tasks, notes } = deriveScenario(real)
  if (flags.saveScenario !== undefined) writeFileAtomic(flags.saveScenario, write => write(yaml))
  const name = flags.saveScenario ?? 'the derived scenario'
  const scenario = await parseScenario(yaml, name, overrides(flags), loadTrace)
  return { tasks, notes, ...await run(scenario, name, flags, signal) }
}

async function run(
  scenario: Scenario, name: string, flags: Flags, signal: AbortSignal,
): Promise<{ ours: FtraceCapture; what: string }> {
  const ours = await simulatedCapture(scenario, { engine: flags.engine, check: flags.check ?? false, signal })
  const { kernel: { era, policy } } = scenario.config
  return { ours, what: `${name}, ${era}${policy === era ? '' : `, policy ${policy}`}` }
}

function overrides({ seed, cpus, era, policy }: Flags): Parameters<typeof loadScenario>[1] {
  return {
    loadSchedule, ...(seed === undefined ? {} : { seed }), ...(cpus === undefined ? {} : { cpus }),
    ...(era === undefined ? {} : { era }), ...(policy === undefined ? {} : { policy }),
  }
}

function jsonOf(
  real: FtraceCapture, what: string, comparison: ReturnType<typeof compareCaptures>, isFine: boolean,
): Record<string, unknown> {
  const { roles, ...rest } = comparison
  return {
    ok: isFine, capture: real.file, simulation: what, events: real.records.length, captureNotes: real.notes,
    tasks: roles.how, missingTasks: roles.missing, cpus: Object.fromEntries(roles.cpus),
    foreignTasks: roles.foreign.map(({ comm, pid }) => ({ comm, pid })), ...rest,
  }
}

function pair(text: string, before: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  const at = text.lastIndexOf('=')
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('expected REAL=OURS, such as tlb_main=main')
  return [...before, [text.slice(0, at), text.slice(at + 1)]]
}

function cpuNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new UserError(`--map-cpu: "${text}" is not the number of a CPU`)
  return Number(text)
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected a whole number')
  return Number(text)
}
