// The sub-commands: name, one line about each, its group in the help, and how its module is loaded.
// Only the module of the command that is wanted is loaded; completion and help of all load them all.

import { Command } from 'commander'

export interface SubCommand {
  group: string
  description: string
  load: () => Promise<Command>
}

const LOOK = 'Run a scenario and look into it:'
const STUDY = 'Study:'
const GUARD = 'Traces, and guarding them in CI:'
const TOOLS = 'For your editor and shell:'

/** In the order of the help. */
export const SUB_COMMANDS: Readonly<Record<string, SubCommand>> = {
  run: {
    group: LOOK,
    description: 'run scenarios and say what happened',
    load: async () => (await import('./run.js')).runCommand(),
  },
  explain: {
    group: LOOK,
    description: 'tell the story of one event, or show how an address splits and walks',
    load: async () => (await import('./explain.js')).explainCommand(),
  },
  dump: {
    group: LOOK,
    description: 'show page tables, TLBs, tasks or physical memory of a scenario at a cycle',
    load: async () => (await import('./dump.js')).dumpCommand(),
  },
  replay: {
    group: STUDY,
    description: 'run a recorded memory trace through a TLB and count its misses',
    load: async () => (await import('./replay.js')).replayCommand(),
  },
  policies: {
    group: STUDY,
    description: 'compare all shootdown policies on the same workloads',
    load: async () => (await import('./policies.js')).policiesCommand(),
  },
  'compare-policies': {
    group: STUDY,
    description: 'run one scenario under all shootdown policies, with a report',
    load: async () => (await import('./compare-policies.js')).comparePoliciesCommand(),
  },
  machines: {
    group: STUDY,
    description: 'list the machines, or explain one: prices, where they come from, TLBs, topology',
    load: async () => (await import('./machines.js')).machinesCommand(),
  },
  reproduce: {
    group: STUDY,
    description: 'simulate what published figures show, and say where it agrees',
    load: async () => (await import('./reproduce.js')).reproduceCommand(),
  },
  sweep: {
    group: STUDY,
    description: 'run a study: a scenario at many points, with results as tables and a report',
    load: async () => (await import('./sweep.js')).sweepCommand(),
  },
  merge: {
    group: STUDY,
    description: 'put the parts of a study together that were run with sweep --shard',
    load: async () => (await import('./merge.js')).mergeCommand(),
  },
  worker: {
    group: STUDY,
    description: 'run points of sweeps that are in a queue',
    load: async () => (await import('./worker.js')).workerCommand(),
  },
  explore: {
    group: STUDY,
    description: 'run a scenario under many timings with the invariants on',
    load: async () => (await import('./explore.js')).exploreCommand(),
  },
  compare: {
    group: STUDY,
    description: 'compare what a real kernel did (ftrace text) with a scenario, operation by operation',
    load: async () => (await import('./compare.js')).compareCommand(),
  },
  'replay-sched': {
    group: STUDY,
    description: 'run tasks where and when a captured schedule says, and show what the TLBs did',
    load: async () => (await import('./replay-sched.js')).replaySchedCommand(),
  },
  test: {
    group: GUARD,
    description: 'compare the trace of every scenario with its golden trace',
    load: async () => (await import('./test.js')).testCommand(),
  },
  diff: {
    group: GUARD,
    description: 'compare two traces: what happened in one and not in the other, and what it cost',
    load: async () => (await import('./diff.js')).diffCommand(),
  },
  export: {
    group: GUARD,
    description: 'write a saved trace in another format: Perfetto, Chrome JSON, ftrace text, CSV',
    load: async () => (await import('./export.js')).exportCommand(),
  },
  init: {
    group: GUARD,
    description: 'write a first scenario, its golden trace and a CI workflow into a repository',
    load: async () => (await import('./init.js')).initCommand(),
  },
  schema: {
    group: TOOLS,
    description: 'print the JSON Schema of scenario files',
    load: async () => (await import('./schema.js')).schemaCommand(),
  },
  completion: {
    group: TOOLS,
    description: 'print a completion script for a shell',
    load: async () => (await import('./completion.js')).completionCommand(loadAll),
  },
}

/** The program with the sub-command `wanted`; of the others it knows name and description. */
export async function programWith(wanted: string | undefined): Promise<Command> {
  const program = newProgram()
  for (const [name, { group, description, load }] of Object.entries(SUB_COMMANDS)) {
    if (name === wanted) program.addCommand((await load()).copyInheritedSettings(program).helpGroup(group))
    else program.command(name).description(description).helpGroup(group)
  }
  return program
}

/** The program with all its sub-commands, as the completion scripts describe it. */
export async function loadAll(): Promise<Command> {
  const program = newProgram()
  for (const { load } of Object.values(SUB_COMMANDS)) {
    program.addCommand((await load()).copyInheritedSettings(program))
  }
  return program
}

function newProgram(): Command {
  return new Command('shootdown')
    .description('Multi-CPU kernel memory-management simulator: page tables, TLBs, lazy TLB, shootdowns')
    .helpOption('-h, --help', 'show this help, or that of a command')
    .addHelpCommand(new Command('help').argument('[command]').description('show the help of a command')
      .helpOption(false).helpGroup(TOOLS))
    .addHelpText('after', PROGRAM_HELP)
    .exitOverride()
}

const PROGRAM_HELP = `
Exit codes: 0 fine, 1 something differs or an expectation failed, 2 bad input, 3 our bug or the host's.

Examples:
  shootdown run scenarios/tour/02-shootdown.yaml            who gets an interrupt when a thread unmaps
  shootdown explain scenarios/tour/02-shootdown.yaml:263787 why that CPU flushed, and what it cost
  shootdown test my-scenarios                               against the golden traces beside them
  shootdown help run                                        options and examples of a command`
