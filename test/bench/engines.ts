// Bench: the three engines on whole simulations. What the threads engine gains where it can, what it
// loses where it cannot, how the cost of a kernel operation grows with the machine, and what
// recording and checks cost. The threads of a cluster are kept between runs, as `test` does;
// startup.ts measures how long a run takes from the shell.

import { availableParallelism } from 'node:os'
import { Cluster } from '../../src/engine/cluster.js'
import type { EngineName } from '../../src/engine/scheduler-loop.js'
import { simulate, type SimulateOptions } from '../../src/engine/simulate.js'
import {
  ACCESSES_PER_EVENT, independent, KERNEL_OPERATIONS_PER_ROUND, mostlyTouching, storm, type BenchRun,
} from './engine-programs.js'
import { against, measure, type BenchCase, type BenchRow, type BenchSuite } from './suite.js'

const PASSES = 7
// Tenths of a second each, or what is measured is how threads wake and code gets compiled.
const INDEPENDENT_ACCESSES = 256_000_000
const SHARED_ROUNDS = 1280
/** Three threads compile their code on two cores for the first seconds of a process. */
const SHARED_WARM_UP = 5
const STORM_OPERATIONS = 24_000
const CURVE_OPERATIONS = 6000
const CURVE_CPUS = [2, 4, 8, 16, 32, 64] as const

const cluster = new Cluster()

export async function benchEngines(): Promise<BenchSuite> {
  try {
    const rows = [
      ...await stormRows(), ...await curve(), ...await recordingRows(), ...await independentRows(),
      ...await sharedRows(),
    ]
    const notes = [`${availableParallelism()} host cores; the same work in every row of a group`]
    return { name: 'engines', notes, rows }
  } finally {
    await cluster.close()
  }
}

function bench(
  name: string, run: BenchRun, operations: number, unit: string, options: SimulateOptions,
): BenchCase {
  return { name, operations, unit, isAsync: true, run: async () => {
    const { result } = await simulate(run.config, run.image, { trace: false, cluster, ...options })
    if (result.end !== 'finished') throw new Error(`bench ${name}: ${result.end}`)
    return undefined
  } }
}

async function independentRows(): Promise<BenchRow[]> {
  const cases = [1, 2, 4].flatMap((cpus) => (['inline', 'threads'] as const).map((engine) => bench(
    `${cpus} processes on ${cpus} CPUs, ${engine}`, independent(cpus, INDEPENDENT_ACCESSES),
    cpus * INDEPENDENT_ACCESSES, 'accesses', { engine })))
  const [inline1, threads1, inline2, threads2, inline4, threads4] = await measure(cases, PASSES)
  return [
    inline1!, against(threads1!, inline1!), against(inline2!, inline1!), against(threads2!, threads1!),
    against(inline4!, inline1!), against(threads4!, threads2!),
  ]
}

async function sharedRows(): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  for (const event of ['fault', 'munmap'] as const) {
    const run = mostlyTouching(SHARED_ROUNDS, event)
    const [inline, threads] = await measure((['inline', 'threads'] as const).map((engine) => bench(
      `2 threads, a ${event} each ${ACCESSES_PER_EVENT} accesses, ${engine}`, run,
      2 * SHARED_ROUNDS * ACCESSES_PER_EVENT, 'accesses', { engine })), PASSES, SHARED_WARM_UP)
    rows.push(inline!, against(threads!, inline!))
  }
  return rows
}

function stormCase(cpus: number, operations: number, engine: EngineName, options: SimulateOptions = {}): BenchCase {
  const rounds = Math.ceil(operations / KERNEL_OPERATIONS_PER_ROUND / cpus)
  const kind = Object.entries(options).map(([key, on]) => `, ${on === false ? 'no ' : ''}${key}`).join('')
  return bench(`storm on ${cpus} CPUs, ${engine}${kind}`, storm(cpus, rounds),
    rounds * cpus * KERNEL_OPERATIONS_PER_ROUND, 'kernel operations', { engine, ...options })
}

async function stormRows(): Promise<BenchRow[]> {
  const [inline, threads] = await measure(
    (['inline', 'threads'] as const).map((engine) => stormCase(4, STORM_OPERATIONS, engine)), PASSES)
  return [inline!, against(threads!, inline!)]
}

/** The cost of an operation beside the interrupts that it causes; both relative to the smallest machine. */
async function curve(): Promise<BenchRow[]> {
  const rows = await measure(CURVE_CPUS.map((cpus) => stormCase(cpus, CURVE_OPERATIONS, 'inline')), 3, 1)
  const ipis = await Promise.all(CURVE_CPUS.map((cpus) => ipisPerOperation(cpus)))
  const cost = rows.map(({ medianMs, operations }) => (medianMs * 1000) / operations)
  for (const [index, row] of rows.entries()) {
    row.note = [
      `${cost[index]!.toFixed(1)} us and ${ipis[index]!.toFixed(2)} IPIs an operation:`,
      `${(cost[index]! / cost[0]!).toFixed(1)}x and ${(ipis[index]! / ipis[0]!).toFixed(1)}x of 2 CPUs`,
    ].join(' ')
  }
  return rows
}

async function ipisPerOperation(cpus: number): Promise<number> {
  const rounds = Math.ceil(CURVE_OPERATIONS / KERNEL_OPERATIONS_PER_ROUND / cpus)
  const { config, image } = storm(cpus, rounds)
  const { result: { counters } } = await simulate(config, image, { engine: 'inline', trace: false })
  return counters.callFunctionIpis / (rounds * cpus * KERNEL_OPERATIONS_PER_ROUND)
}

/** A storm is the worst case: nothing but kernel steps, each of which is checked. */
async function recordingRows(): Promise<BenchRow[]> {
  const [plain, traced, checked] = await measure([
    stormCase(4, STORM_OPERATIONS, 'inline', { trace: false }),
    stormCase(4, STORM_OPERATIONS, 'inline', { trace: true }),
    stormCase(4, STORM_OPERATIONS, 'inline', { check: true }),
  ], PASSES)
  const touching = mostlyTouching(SHARED_ROUNDS, 'munmap')
  const touchingCase = (kind: string, options: SimulateOptions): BenchCase => bench(
    `2 threads, a munmap each ${ACCESSES_PER_EVENT} accesses, inline, ${kind}`, touching,
    2 * SHARED_ROUNDS * ACCESSES_PER_EVENT, 'accesses', { engine: 'inline', ...options })
  const [touchingPlain, touchingChecked] = await measure(
    [touchingCase('no check', {}), touchingCase('check', { check: true })], PASSES)
  return [
    plain!, slower(traced!, plain!), slower(checked!, plain!), touchingPlain!, slower(touchingChecked!, touchingPlain!),
  ]
}

function slower(row: BenchRow, plain: BenchRow): BenchRow {
  return { ...against(row, plain), note: `takes ${(row.medianMs / plain.medianMs).toFixed(2)}x as long` }
}
