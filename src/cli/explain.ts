// `shootdown explain ADDR`: how an address splits, and with a scenario also how it walks.
// `shootdown explain FILE:CYCLE`: the story of one event (explain-event.ts).

import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/errors.js'
import { hex64, parse64, type Word64 } from '../base/units.js'
import { explainAddress } from '../inspect/explain.js'
import { explainWalk } from '../inspect/explain-walk.js'
import type { KernelState } from '../kernel/state.js'
import type { Task } from '../kernel/sched/task.js'
import { GEOMETRY_NAMES, type GeometryName } from '../machine/config.js'
import { geometryOf, type Geometry } from '../machine/geometry.js'
import { EVENTS } from '../trace/events.js'
import { withValues } from './option-values.js'
import { suggestionLines } from '../scenario/suggest.js'
import { eventPlace, explainEvent } from './explain-event.js'
import type { EventFlags } from './explain-event.js'
import { AT_HELP, parseCycle, withStoppedRun } from './stopped-run.js'
import type { StopAt } from './stopped-run.js'

const DEFAULT_GEOMETRY: GeometryName = 'x86-64'

interface Flags extends EventFlags {
  geometry?: string
  scenario?: string
  task?: string
  at?: StopAt
}

/** The sub-command, to be added to the program. */
export function explainCommand(): Command {
  const geometry = withValues(
    new Option('--geometry <name>', `one of ${GEOMETRY_NAMES.join(', ')} (default: ${DEFAULT_GEOMETRY})`),
    GEOMETRY_NAMES)
  const event = withValues(
    new Option('--event <name>', 'of several events at a cycle, the one of this kind'), EVENTS.map(({ name }) => name))
  return new Command('explain')
    .description('tell the story of one event, or show how an address splits and walks')
    .argument('<what>', 'FILE:CYCLE, an event of a trace or of a scenario that is run; or an address, 0x and up to 16 '
      + 'digits, or a decimal number')
    .addOption(geometry)
    .option('--scenario <file>', 'of an address: also walk the tables of a task of this scenario')
    .option('--task <comm>', 'whose tables; not needed when all tasks share them')
    .option('--at <cycle>', AT_HELP, parseCycle)
    .option('--cpu <n>', 'of several events at a cycle, the one on this CPU', parseCpu)
    .addOption(event)
    .addHelpText('after', `
The story of an event: what led to it, the flush it belongs to, who waited and for how long, what it cost, what it
led to, and what every CPU was doing. At a cycle without an event it is told of the last one before.

Examples:
  shootdown explain scenarios/tour/02-shootdown.yaml:263787                the story of an event of a run
  shootdown explain out.trace:260122 --cpu 0                               of a recorded trace
  shootdown explain 0xb17010                                               how an address splits
  shootdown explain 0xc0101234 --geometry i386-pae                         on another machine
  shootdown explain 0xb17010 --scenario scenarios/tour/01-first-walk.yaml --at 20000    and what the tables say`)
    .action(explain)
}

async function explain(text: string, flags: Flags): Promise<void> {
  const place = eventPlace(text)
  if (place !== undefined) {
    refuse(['--geometry', '--scenario', '--task', '--at'], flags, 'is for addresses', 'an event is FILE:CYCLE')
    await explainEvent(place, flags)
    return
  }
  refuse(['--cpu', '--event'], flags, 'is for events', 'expected FILE:CYCLE')
  await explainAddressOf(text, flags)
}

/** Options that mean nothing for what is to be explained are a mistake, not noise. */
function refuse(options: readonly string[], flags: Flags, why: string, expected: string): void {
  const given = options.find((option) => flags[option.slice(2) as keyof Flags] !== undefined)
  if (given !== undefined) throw new UserError(`${given} ${why}`, undefined, [expected])
}

async function explainAddressOf(text: string, flags: Flags): Promise<void> {
  const address = parseAddress(text)
  const { scenario } = flags
  const named = flags.geometry === undefined ? undefined : geometryNamed(flags.geometry)
  if (scenario === undefined) {
    for (const [option, value] of [['--task', flags.task], ['--at', flags.at]] as const) {
      if (value === undefined) continue
      throw new UserError(`${option} needs a scenario`, undefined, ['expected --scenario FILE'])
    }
    process.stdout.write(draw(named ?? geometryOf(DEFAULT_GEOMETRY), address))
    return
  }
  await withStoppedRun(scenario, flags.at ?? 'fullest', (run) => {
    const { kernel } = run.simulation
    if (named !== undefined && named !== kernel.geometry) {
      throw new UserError(`--geometry ${named.name}, but the machine of ${scenario} has ${kernel.geometry.name}`)
    }
    const drawing = draw(kernel.geometry, address)
    const task = findTask(kernel, flags.task, run.headline)
    const mm = task.mm ?? task.activeMm
    if (mm === undefined) {
      throw new UserError(`${task.comm} is a kernel thread and borrows no page tables now`, undefined, [run.headline])
    }
    const walk = explainWalk(kernel, mm, address.hi, address.lo)
    process.stdout.write(`${drawing}\n${run.scenario.name}: ${run.headline}\n${walk}`)
  })
}

/** The drawing; 32-bit machines have 32-bit addresses. */
function draw(geometry: Geometry, { hi, lo }: Word64): string {
  if (!geometry.canonical && hi !== 0) {
    throw new UserError(`${hex64(hi, lo)} is no address of ${geometry.name}, whose addresses have 32 bits`)
  }
  return explainAddress(geometry, hi, lo)
}

function parseAddress(text: string): Word64 {
  const address = parse64(text)
  if (address !== undefined) return address
  const digits = text.replace(/^0x/i, '').replaceAll('_', '')
  const isHex = /^[0-9a-f]{1,16}$/i.test(digits)
  throw new UserError(`"${text}" is not an address`, undefined, [
    ...(isHex ? [`did you mean "0x${digits}"?`] : []),
    'expected 0x and up to 16 hexadecimal digits, or a decimal number below 2^64; or FILE:CYCLE for an event',
  ])
}

function parseCpu(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('expected the number of a CPU')
  return Number(text)
}

function geometryNamed(name: string): Geometry {
  const known = GEOMETRY_NAMES.find((each) => each === name)
  if (known === undefined) {
    throw new UserError(`unknown geometry "${name}"`, undefined, suggestionLines(name, GEOMETRY_NAMES))
  }
  return geometryOf(known)
}

/** The task with this comm; without a comm any, if they all share one mm. */
function findTask(k: KernelState, comm: string | undefined, headline: string): Task {
  const live = k.tasks.filter((task) => task.state !== 'Z')
  const users = live.filter((task) => task.mm !== undefined)
  if (comm !== undefined) {
    const task = live.find((each) => each.comm === comm)
    if (task !== undefined) return task
    const details = live.length === 0 ? ['no task is left'] : suggestionLines(comm, live.map((each) => each.comm))
    const isGone = k.tasks.some((each) => each.comm === comm)
    const message = isGone ? `task "${comm}" has exited` : `there is no task "${comm}"`
    throw new UserError(message, undefined, [...details, headline])
  }
  const [first] = users
  if (first === undefined) {
    throw new UserError('no user task is left whose tables could be walked', undefined,
      [headline, 'give an earlier --at'])
  }
  if (users.some((task) => task.mm !== first.mm)) {
    throw new UserError('there is more than one address space', undefined,
      [`expected --task with one of: ${users.map((task) => task.comm).join(', ')}`])
  }
  return first
}
