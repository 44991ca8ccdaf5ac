// `shootdown merge FILES`: the parts of a study that were run with `sweep --shard`, as the one file that a single
// sweep would have written, byte for byte.

import { Command } from 'commander'
import { UserError } from '../base/errors.js'
import { counted } from '../base/table.js'
import { placeOf, scanResults } from '../study/result-lines.js'
import { gapsOf, gapsText, unitedRefs, writeResults } from '../study/result-set.js'
import { loadStudy } from '../study/study-file.js'
import { refuseOther } from '../study/sweep-journal.js'
import { refuseSameFile } from './keep-inputs.js'
import { openable } from './output-path.js'
import { addOutputOptions, checkOutputs, writeOutputs, type OutputFlags } from './sweep-outputs.js'
import { toolVersion } from './version.js'

interface Flags extends OutputFlags {
  output: string
  study?: string
}

/** The sub-command, to be added to the program. */
export function mergeCommand(): Command {
  const command = new Command('merge')
    .description('put the parts of a study together that were run with sweep --shard')
    .argument('<file...>', 'results of sweeps; one complete file is taken as it is')
    .requiredOption('--output <file>', 'the results of the whole study')
    .option('--study <file>', 'the study that the results must be of; its question goes into the summary')
  return addOutputOptions(command)
    .addHelpText('after', `
Refuses gaps, points that are there twice, and results of different studies or versions; then nothing is written.
Exit codes: 0 merged, 1 a run did not end well, 2 bad input.

Examples:
  shootdown merge part*.jsonl --output all.jsonl --csv all.csv`)
    .action(merge)
}

async function merge(files: readonly string[], flags: Flags): Promise<void> {
  for (const file of files) refuseSameFile(flags.output, file)
  openable(flags.output)
  checkOutputs(flags)
  const plan = flags.study === undefined ? undefined : await loadStudy(flags.study)
  const scanned = files.map((file) => ({ file, ...scanResults(file) }))
  for (const { file, refs, tornBytes } of scanned) {
    if (tornBytes === 0) continue
    throw new UserError('the last line is torn: the sweep that wrote it was killed',
      { file, line: refs.length + 1, column: 1 }, ['run the same sweep again; it goes on from there'])
  }
  const refs = unitedRefs(scanned.flatMap((one) => one.refs))
  const [first] = refs
  if (first === undefined) throw new UserError('there is no result in it', { file: files[0]!, line: 1, column: 1 })
  if (plan !== undefined) refuseOther(first, plan, toolVersion())
  const gaps = gapsOf(refs, first.of)
  if (gaps.length > 0) {
    const missing = gaps.reduce((sum, [from, to]) => sum + to - from + 1, 0)
    throw new UserError(`${counted(missing, 'point')} of the study missing: ${gapsText(gaps)}`, placeOf(first),
      [`the study has points 0 to ${first.of - 1}`])
  }
  writeResults(flags.output, refs)
  writeOutputs([flags.output], flags, { ...(plan === undefined ? {} : { plan }), complete: true })
}
