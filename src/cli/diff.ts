// `shootdown diff A B`: how two traces differ. Prints the first difference in its context, what every
// CPU was doing there, the differences by kind of event, and what became dearer or cheaper.

import { Command } from 'commander'
import { diffTraces } from '../trace/diff.js'
import { diffText, headerDifferences, summaryText } from '../trace/diff-text.js'
import { EXIT_DIFFERENT, EXIT_OK } from './errors.js'
import { readTextTrace } from '../trace/text-file.js'

const DEFAULT_SHOWN = 20

interface Flags {
  json?: boolean
  limit: number
}

/** The sub-command, to be added to the program. */
export function diffCommand(): Command {
  return new Command('diff')
    .description('compare two traces: what happened in one and not in the other, and what it cost')
    .argument('<a>', 'a trace written by "shootdown run --trace", the expected one')
    .argument('<b>', 'the other one')
    .option('--json', 'print the comparison as JSON')
    .option('--limit <n>', 'how many differences are listed', wholeNumber, DEFAULT_SHOWN)
    .addHelpText('after', `
Events are aligned per CPU by what they are, not by when they happened.
Exit codes: 0 the traces are the same, 1 they differ, 2 bad input.

Examples:
  shootdown run scenario.yaml --trace before.trace
  shootdown run scenario.yaml --trace after.trace --era linux-4.6
  shootdown diff before.trace after.trace`)
    .action((a: string, b: string, flags: Flags) => {
      const left = readTextTrace(a)
      const right = readTextTrace(b)
      const difference = diffTraces(left.data, right.data)
      const headers = headerDifferences(left, right)
      const isSame = difference.isEqual && headers.length === 0
      process.exitCode = isSame ? EXIT_OK : EXIT_DIFFERENT
      if (isSame && !flags.json) {
        process.stdout.write(`the same: ${left.data.length} events\n`)
        return
      }
      const summary = summaryText(left, right, difference)
      if (flags.json) {
        process.stdout.write(`${JSON.stringify({ equal: isSame, headers, summary, ...difference }, undefined, 2)}\n`)
        return
      }
      const runs = difference.isEqual && headers.length > 0 ? ['the same events, of different runs'] : []
      const lines = [...headers, ...runs, ...(summary === '' ? [] : [`${summary}\n`])]
      process.stdout.write(`${lines.join('\n')}\n${diffText(left, right, difference, flags.limit)}`)
    })
}

function wholeNumber(text: string): number {
  return Math.max(0, Math.floor(Number(text)) || 0)
}
