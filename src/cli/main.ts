#!/usr/bin/env node
// The `shootdown` command: finds the sub-command, loads only its module, and turns whatever goes
// wrong into one message and an exit code (errors.ts). What a sub-command does is in its own file.

import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { UserError } from '../base/errors.js'
import { reportAndExit } from './errors.js'

interface SubCommand {
  description: string
  load: () => Promise<Command>
}

const SUB_COMMANDS: Readonly<Record<string, SubCommand>> = {
  run: {
    description: 'run scenarios and say what happened',
    load: async () => (await import('./run.js')).runCommand(),
  },
  replay: {
    description: 'run a recorded memory trace through a TLB and count its misses',
    load: async () => (await import('./replay.js')).replayCommand(),
  },
  test: {
    description: 'compare the trace of every scenario with its golden trace',
    load: async () => (await import('./test.js')).testCommand(),
  },
  explore: {
    description: 'run a scenario under many timings with the invariants on',
    load: async () => (await import('./explore.js')).exploreCommand(),
  },
  diff: {
    description: 'compare two traces: what happened in one and not in the other, and what it cost',
    load: async () => (await import('./diff.js')).diffCommand(),
  },
  export: {
    description: 'write a saved trace in another format: Perfetto, Chrome JSON, ftrace text, CSV',
    load: async () => (await import('./export.js')).exportCommand(),
  },
  compare: {
    description: 'compare what a real kernel did (ftrace text) with a scenario, operation by operation',
    load: async () => (await import('./compare.js')).compareCommand(),
  },
  policies: {
    description: 'compare all shootdown policies on the same workloads',
    load: async () => (await import('./policies.js')).policiesCommand(),
  },
  'replay-sched': {
    description: 'run tasks where and when a captured schedule says, and show what the TLBs did',
    load: async () => (await import('./replay-sched.js')).replaySchedCommand(),
  },
  explain: {
    description: 'show how an address splits and walks',
    load: async () => (await import('./explain.js')).explainCommand(),
  },
  dump: {
    description: 'show page tables, TLBs, tasks or physical memory of a scenario at a cycle',
    load: async () => (await import('./dump.js')).dumpCommand(),
  },
}

const EXIT_CODE_HELP = `
Exit codes: 0 fine, 1 an expectation failed, 2 bad input, 3 our bug or the host's.`

/** The whole command; arguments without node and the script. */
async function main(args: readonly string[]): Promise<void> {
  const program = new Command('shootdown')
    .description('Multi-CPU kernel memory-management simulator: page tables, TLBs, lazy TLB, shootdowns')
    .version(version(), '-V, --version')
    .helpOption('-h, --help')
    .addHelpText('after', EXIT_CODE_HELP)
    .exitOverride()
  const operands = args.filter((argument) => !argument.startsWith('-'))
  const wanted = operands[0] === 'help' ? operands[1] : operands[0]
  for (const [name, { description, load }] of Object.entries(SUB_COMMANDS)) {
    if (name === wanted) program.addCommand((await load()).copyInheritedSettings(program))
    else program.command(name).description(description)
  }
  await program.parseAsync(args, { from: 'user' })
}

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  reportAndExit(error.code === 'EPIPE' ? error : new UserError(`cannot write to standard output: ${error.message}`))
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  reportAndExit(error)
}
