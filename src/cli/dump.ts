// `shootdown dump FILE`: what a scenario's kernel and CPUs hold at a cycle, as text, and its
// physical memory as a file.

import { Command } from 'commander'
import { dumpAll, dumpAllTables, dumpCpus, dumpTasks, dumpTlbs } from '../inspect/dump.js'
import { writeMemoryImage } from '../inspect/memory-image.js'
import { refuseToOverwrite } from './keep-inputs.js'
import { AT_HELP, parseCycle, withStoppedRun } from './stopped-run.js'
import type { StopAt, StoppedRun } from './stopped-run.js'

interface Flags {
  at?: StopAt
  image?: string
  tables?: boolean
  tlbs?: boolean
  tasks?: boolean
}

/** The sub-command, to be added to the program. */
export function dumpCommand(): Command {
  return new Command('dump')
    .description('show page tables, TLBs, tasks or physical memory of a scenario at a cycle')
    .argument('<file>', 'scenario file')
    .option('--at <cycle>', AT_HELP, parseCycle)
    .option('--tables', 'page tables, as trees and as ranges')
    .option('--tlbs', 'what every TLB and paging cache holds, compared with the tables')
    .option('--tasks', 'CPUs, tasks and address spaces with their counters')
    .option('--image <file>', 'write physical memory to a file, and to FILE.json where the tables of each task are')
    .addHelpText('after', `
Without --tables, --tlbs, --tasks and --image everything is shown. What the words mean: docs/inspect.md.

Examples:
  shootdown dump scenarios/tour/02-shootdown.yaml --at 263000 --tlbs     in the middle of a shootdown
  shootdown dump scenarios/tour/06-fork-cow.yaml --tables                page tables as trees and as ranges
  shootdown dump scenarios/tour/01-first-walk.yaml --image memory.img    memory and CR3, for a real MMU`)
    .action((file: string, flags: Flags) => withStoppedRun(file, flags.at ?? 'fullest', (run) => show(run, flags)))
}

function show(run: StoppedRun, flags: Flags): void {
  const { kernel } = run.simulation
  if (flags.image !== undefined) {
    for (const path of [flags.image, `${flags.image}.json`]) refuseToOverwrite(path, run.scenario)
    writeMemoryImage(flags.image, run.memory, kernel)
    process.stderr.write(`wrote ${flags.image} and ${flags.image}.json\n`)
  }
  const parts = [
    ...(flags.tasks ? [dumpCpus(kernel, run.clockOf), dumpTasks(kernel)] : []),
    ...(flags.tables ? [dumpAllTables(kernel)] : []),
    ...(flags.tlbs ? [dumpTlbs(kernel)] : []),
  ]
  const isAll = parts.length === 0 && flags.image === undefined
  if (parts.length === 0 && !isAll) return
  process.stdout.write(`${run.scenario.name}: ${run.headline}\n\n`)
  process.stdout.write(isAll ? dumpAll(kernel, run.clockOf) : parts.join('\n'))
}
