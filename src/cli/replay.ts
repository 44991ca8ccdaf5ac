// `shootdown replay TRACE`: a real memory trace through a chosen TLB, and what came of it.

import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/errors.js'
import { replayTrace, type AsidMode, type ReplayOptions, type ReplayResult, type TlbCounts } from '../engine/replay.js'
import type { TlbConfig } from '../machine/config.js'
import { TLB_PRESETS } from '../machine/presets.js'
import { loadTrace } from '../scenario/trace-file.js'
import { withValues } from './option-values.js'
import { Progress } from './progress.js'
import { DEFAULT_TLB_TEXT, parseTlbOption } from './tlb-option.js'

const DEFAULT_QUANTUM_RECORDS = 100_000
const DEFAULT_ASID: AsidMode = 'tagged'
const MIB = 2 ** 20

interface Flags {
  with?: string
  quantum?: number
  asid?: AsidMode
  tlb: string
  page: '4k' | '2m'
  flushEvery?: number
  json?: boolean
}

/** The sub-command, to be added to the program. */
export function replayCommand(): Command {
  return new Command('replay')
    .description('run a recorded memory trace through a TLB and count its misses')
    .argument('<trace>', 'valgrind lackey text or packed 8-byte records; plain, gzip or xz')
    .option('--with <trace>', 'a second trace, in an address space of its own; the two take turns')
    .option('--quantum <records>', `records until the other trace's turn (default: ${DEFAULT_QUANTUM_RECORDS})`,
      positiveInteger)
    .addOption(new Option('--asid <mode>', `at a turn, keep TLB entries by tag or empty all (default: ${DEFAULT_ASID})`)
      .choices(['tagged', 'flushed']))
    .addOption(withValues(new Option('--tlb <geometry>', 'entries/ways of each TLB, or the name of a preset')
      .default(DEFAULT_TLB_TEXT), Object.keys(TLB_PRESETS)))
    .addOption(new Option('--page <size>', 'page size').choices(['4k', '2m']).default('4k'))
    .option('--flush-every <records>', 'empty every TLB after each so many records', positiveInteger)
    .option('--json', 'print one JSON object')
    .addHelpText('after', `
Examples:
  shootdown replay test/data/pyjson-200k.trace.xz
  shootdown replay my.trace.xz --tlb skylake                             the TLBs of a real part
  shootdown replay my.trace.xz --tlb l1d=64/4,stlb=1536/12 --page 2m     or your own, and huge pages
  shootdown replay a.trace --with b.trace --asid flushed                 two processes that take turns`)
    .action(runReplay)
}

async function runReplay(file: string, flags: Flags): Promise<void> {
  for (const [name, value] of [['--quantum', flags.quantum], ['--asid', flags.asid]] as const) {
    if (value !== undefined && flags.with === undefined) {
      throw new UserError(`${name} needs a second trace`, undefined, ['expected --with TRACE'])
    }
  }
  const tlb = parseTlbOption(flags.tlb)
  const progress = new Progress()
  try {
    const loading = performance.now()
    const trace = await loadWithProgress(file, progress)
    const other = flags.with === undefined ? undefined : await loadWithProgress(flags.with, progress)
    const loadedSeconds = (performance.now() - loading) / 1000
    const options: ReplayOptions = {
      tlb,
      largePages: flags.page === '2m',
      flushEvery: flags.flushEvery ?? 0,
      onProgress: (done, total) => progress.update(() => `replaying: ${percent(done, total)}`),
    }
    if (other) {
      options.other = {
        trace: other, quantum: flags.quantum ?? DEFAULT_QUANTUM_RECORDS, asid: flags.asid ?? DEFAULT_ASID,
      }
    }
    const result = replayTrace(trace, options)
    progress.done()
    if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`)
    else process.stdout.write(report(file, flags, tlb, result, loadedSeconds))
  } finally {
    progress.done()
  }
}

function loadWithProgress(file: string, progress: Progress): ReturnType<typeof loadTrace> {
  return loadTrace(file, ({ records, readBytes, fileBytes }) => progress.update(() => {
    const share = fileBytes > 0 ? percent(readBytes, fileBytes) : `${Math.floor(readBytes / MIB)} MiB`
    return `reading ${file}: ${share}, ${grouped(records)} records`
  }))
}

/** A small table for people. */
function report(file: string, flags: Flags, tlb: TlbConfig, result: ReplayResult, loadedSeconds: number): string {
  const isLarge = flags.page === '2m'
  const lines = [`trace   ${file}`]
  if (flags.with !== undefined) {
    const quantum = grouped(flags.quantum ?? DEFAULT_QUANTUM_RECORDS)
    lines.push(`with    ${flags.with}, taking turns every ${quantum} records, TLBs ${flags.asid ?? DEFAULT_ASID}`)
  }
  if (flags.flushEvery !== undefined) lines.push(`flush   every ${grouped(flags.flushEvery)} records`)
  lines.push(`pages   ${isLarge ? '2 MiB' : '4 KiB'}`, '')
  lines.push(row('', 'geometry', 'lookups', 'misses', 'miss rate'))
  for (const [name, level, counts] of [
    ['L1I', tlb.l1i, result.l1i], ['L1D', tlb.l1d, result.l1d], ['STLB', tlb.stlb, result.stlb],
  ] as const) {
    const array = level.arrays[isLarge ? level.large : level.base]
    const geometry = array ? `${array.entries}/${array.ways}` : 'none'
    lines.push(row(name, geometry, grouped(counts.lookups), grouped(counts.misses), missRate(counts)))
  }
  const rate = result.seconds > 0 ? `, ${(result.records / result.seconds / 1e6).toFixed(1)} M references/s` : ''
  lines.push('', `walks   ${grouped(result.walks)}`,
    `time    ${result.seconds.toFixed(3)} s for ${grouped(result.records)} records${rate}`,
    `        (and ${loadedSeconds.toFixed(3)} s to read the trace)`)
  return `${lines.join('\n')}\n`
}

function row(name: string, geometry: string, lookups: string, misses: string, rate: string): string {
  return [name.padEnd(6), geometry.padStart(9), lookups.padStart(14), misses.padStart(12), rate.padStart(11)]
    .join('').trimEnd()
}

function missRate({ lookups, misses }: TlbCounts): string {
  return lookups === 0 ? '-' : `${(misses / lookups * 100).toFixed(3)} %`
}

function percent(done: number, total: number): string {
  return `${Math.floor(done / total * 100)} %`
}

/** 12,000,000: the same on every host, whatever its locale. */
function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

function positiveInteger(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('expected a whole number of records, 1 or more')
  }
  return value
}
