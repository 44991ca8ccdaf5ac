// `shootdown export TRACE`: a saved canonical trace in another format. What a canonical trace does not hold
// (context flags, counters of TLBs) only `run --trace` can write.

import { Command, Option } from 'commander'
import { UserError } from '../base/errors.js'
import { endingsText, formatNamed, TRACE_FORMATS } from '../trace/formats.js'
import { interruptible } from './interrupt.js'
import { refuseSameFile } from './keep-inputs.js'
import { openTraceTarget, STANDARD_OUTPUT } from './run-trace.js'
import { counted } from './text-table.js'
import { readTextTrace } from '../trace/text-file.js'

interface Flags {
  format?: string
  output?: string
}

/** The sub-command, to be added to the program. */
export function exportCommand(): Command {
  return new Command('export')
    .description('write a saved trace in another format: Perfetto, Chrome JSON, ftrace text, CSV')
    .argument('<trace>', 'a trace in canonical text, as "shootdown run --trace" writes it')
    .addOption(new Option('-f, --format <name>', 'the format; without it the ending of the output says it')
      .choices(TRACE_FORMATS.map(({ name }) => name)))
    .option('-o, --output <file>', 'where to; "-" is standard output (default: the name of the trace, with the ending '
      + 'of the format)')
    .addHelpText('after', `
Formats:
${TRACE_FORMATS.map(({ name, what }) => `  ${name.padEnd(12)} ${what}`).join('\n')}

Endings: ${endingsText()}.
A saved trace has no TLB counters and no context flags: "shootdown run FILE --trace out.pftrace" writes them.

Examples:
  shootdown export out.trace --format perfetto        writes out.pftrace: open it in ui.perfetto.dev
  shootdown export out.trace -o events.csv
  shootdown export out.trace -f chrome -o - | gzip > out.json.gz`)
    .action(exportTrace)
}

async function exportTrace(file: string, flags: Flags): Promise<void> {
  await interruptible(() => `while writing ${file} in another format: nothing is written`, async ({ signal }) => {
    const target = openTraceTarget(outputFor(file, flags), flags.format)
    refuseSameFile(target.path, file)
    const { data, header } = readTextTrace(file)
    await target.save({ data, header }, signal)
    if (target.path === STANDARD_OUTPUT) return
    process.stdout.write(`${counted(data.length, 'event')} as ${target.format.name}: ${target.path}\n`)
  })
}

/** `a/out.trace` becomes `a/out.pftrace`. */
function outputFor(file: string, { format, output }: Flags): string {
  if (output !== undefined) return output
  const named = format === undefined ? undefined : formatNamed(format)
  if (named === undefined) {
    throw new UserError('there is no format', undefined, ['give --format, or --output with an ending that says it'])
  }
  const [ending] = named.endings
  if (ending === undefined) throw new UserError(`--format ${named.name} needs --output`)
  return `${file.replace(/\.(trace|txt|golden)$/i, '')}${ending}`
}
