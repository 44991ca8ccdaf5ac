#!/usr/bin/env node
// The `shootdown` command: finds the sub-command (commands.ts) and turns whatever goes wrong into one
// message and an exit code (errors.ts). What a sub-command does is in its own file.

import { writeFailure } from '../base/atomic-file.js'
import { UserError } from '../base/errors.js'
import { programWith } from './commands.js'
import { reportAndExit } from './errors.js'
import { toolVersion } from './version.js'

/** The whole command; arguments without node and the script. */
async function main(args: readonly string[]): Promise<void> {
  const operands = args.filter((argument) => !argument.startsWith('-'))
  const program = await programWith(operands[0] === 'help' ? operands[1] : operands[0])
  await program.version(toolVersion(), '-V, --version', 'show the version').parseAsync(args, { from: 'user' })
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  const told = new UserError(`cannot write to standard output: ${writeFailure(error)}`)
  reportAndExit(error.code === 'EPIPE' ? error : told)
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  reportAndExit(error)
}
