// `shootdown sweep STUDY`: runs the points of a study on a pool of threads, each on the inline engine, and keeps
// every result the moment it is there. What a study is: study/study-file.ts; how a killed sweep goes on:
// study/sweep-journal.ts; what is written at the end: sweep-outputs.ts.

import { existsSync, unlinkSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename } from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/errors.js'
import type { FileLock } from '../base/file-lock.js'
import { openRedis, withoutPassword } from '../study/redis.js'
import { scanResults } from '../study/result-lines.js'
import { unitedRefs } from '../study/result-set.js'
import { parseShard, shardIndices, type Shard } from '../study/shard.js'
import { loadStudy } from '../study/study-file.js'
import { parametersText, pointParameters, pointText, type StudyPlan } from '../study/study-plan.js'
import { journalPath, lockResults, refuseOther, SweepJournal } from '../study/sweep-journal.js'
import { forgetStudy, runQueuedSweep } from '../study/sweep-queue.js'
import { lineOf } from '../study/sweep.js'
import { interruptible } from './interrupt.js'
import { refuseSameFile } from './keep-inputs.js'
import { openable } from './output-path.js'
import { Progress } from './progress.js'
import { addOutputOptions, checkOutputs, writeOutputs, type OutputFlags } from './sweep-outputs.js'
import { runOnThreads } from './sweep-threads.js'
import { counted, grouped } from './text-table.js'
import { toolVersion } from './version.js'

interface Flags extends OutputFlags {
  output?: string
  jobs: number
  shard?: Shard
  fresh?: boolean
  resume?: boolean
  queue?: string
  list?: boolean
  point?: number
}

/** The sub-command, to be added to the program. */
export function sweepCommand(): Command {
  const command = new Command('sweep')
    .description('run a study: a scenario at many points, with results as tables and a report')
    .argument('<study>', 'study file (docs/sweeps.md)')
    .option('--output <file>', 'results, one JSON object a line (default: the name of the study with .jsonl, here)')
    .option('--jobs <n>', 'points at a time', whole(1, 1024), availableParallelism())
    .option('--shard <i/n>', 'only the i-th of n parts, counted from 1; put them together with `shootdown merge`',
      shardOf)
    .option('--queue <url>', 'have workers run the points (`shootdown worker`), over a Redis server')
    .addOption(new Option('--resume', 'go on where a killed sweep stopped; this happens by itself').conflicts('fresh'))
    .option('--fresh', 'start again, and throw away what an earlier sweep has left in the place of the results')
    .addOption(new Option('--list', 'print the points and run nothing').conflicts('point'))
    .option('--point <index>', 'print the scenario of one point and run nothing', whole(0, Number.MAX_SAFE_INTEGER))
  return addOutputOptions(command)
    .addHelpText('after', `
Results are the same whatever --jobs is. A killed sweep goes on from FILE.partial when the same command is given again.
Exit codes: 0 all points ran, 1 a run did not end well or an expectation failed, 2 bad input.

Examples:
  shootdown sweep scenarios/studies/01-cpus-and-pages.study.yaml --csv cpus.csv
  shootdown sweep study.yaml --shard 2/4 --output part2.jsonl
  shootdown sweep study.yaml --point 17 > p17.yaml && shootdown run p17.yaml`)
    .action(sweep)
}

async function sweep(file: string, flags: Flags): Promise<void> {
  const plan = await loadStudy(file)
  if (flags.list === true) return listPoints(plan, flags)
  if (flags.point !== undefined) return printPoint(plan, flags.point)
  const output = flags.output ?? defaultOutput(file, flags.shard)
  for (const input of new Set([plan.file, plan.scenarioFile])) refuseSameFile(output, input)
  checkOutputs(flags)
  const version = toolVersion()
  const indices = shardIndices(plan.count, flags.shard)
  if (indices.length === 0) {
    throw new UserError(`part ${flags.shard!.number} of ${flags.shard!.of} is empty: there are ${plan.count} points`)
  }
  const wanted = { plan, indices, output, version }
  if (flags.fresh !== true && isComplete(wanted)) tellComplete(wanted)
  else {
    await runLocked(wanted, flags)
    if (process.exitCode !== undefined) return
  }
  writeOutputs([output], flags, { plan, complete: indices.length === plan.count })
}

/** Runs what is left while no other sweep can have the same file. */
async function runLocked(wanted: Wanted, flags: Flags): Promise<void> {
  openable(wanted.output)
  const lock = await lockResults(wanted.output)
  try {
    if (flags.fresh === true) removeResults(wanted.output)
    // Another sweep may have ended between the first look and the lock.
    if (isComplete(wanted)) tellComplete(wanted)
    else await runPoints(wanted, lock, flags)
  } finally {
    lock.release()
  }
}

function tellComplete({ output }: Wanted): void {
  process.stderr.write(`${output} has all results already: nothing to run\n`)
}

/** True when the results are there; throws when they are those of something else. */
function isComplete({ output, plan, version, indices }: Wanted): boolean {
  if (!existsSync(output)) return false
  const { refs, tornBytes } = scanResults(output)
  for (const ref of refs) refuseOther(ref, plan, version)
  const found = new Set(unitedRefs(refs).map(({ index }) => index))
  const missing = indices.filter((index) => !found.has(index))
  if (missing.length === 0 && tornBytes === 0 && found.size === indices.length) return true
  throw new UserError(`${output} is there already, with ${counted(found.size, 'point')} of the study, not those wanted`,
    undefined, ['use another --output, or --fresh to start again without it'])
}

interface Wanted {
  plan: StudyPlan
  indices: readonly number[]
  output: string
  version: string
}

async function runPoints({ plan, indices, output, version }: Wanted, lock: FileLock, flags: Flags): Promise<void> {
  const redis = flags.queue === undefined ? undefined : await openRedis(flags.queue)
  const journal = new SweepJournal(output, plan, version, lock)
  const left = indices.filter((index) => !journal.done.has(index))
  tellResumed(journal, indices.length)
  const kept = (): string => `: ${grouped(journal.done.size)} of ${counted(indices.length, 'result')} are in `
    + `${journal.path}, and the same command goes on from there`
  await interruptible(kept, async ({ signal }) => {
    const progress = new Progress()
    const before = journal.done.size
    const startMs = performance.now()
    const show = (suffix: string): void => progress.update(() => {
      const done = journal.done.size
      return `${grouped(done)} of ${counted(indices.length, 'point')}, `
        + `${timeLeft(startMs, done - before, left.length)}${suffix}`
    })
    const onRow = (index: number, line: string): void => {
      journal.append(index, line)
      show('')
    }
    try {
      if (redis === undefined) await runOnThreads({ plan, indices: left, version, jobs: flags.jobs, signal, onRow })
      else {
        await runQueuedSweep({
          redis, plan, indices: left, version, signal,
          onOutcome: (index, outcome) => onRow(index, lineOf(plan, index, outcome)),
          onProgress: (workers) => show(`, ${workers === 0 ? noWorker(flags.queue!) : counted(workers, 'worker')}`),
        })
      }
      progress.done()
      if (signal.aborted) return
      journal.finish(output)
      if (redis !== undefined) await forgetStudy(redis, plan)
    } catch (error) {
      progress.done()
      if (!signal.aborted && journal.done.size > 0) process.stderr.write(`stopped${kept()}\n`)
      throw error
    } finally {
      progress.done()
      journal.close()
      redis?.disconnect()
    }
  })
}

function noWorker(url: string): string {
  return `no worker (start: shootdown worker --queue ${withoutPassword(url)})`
}

function tellResumed({ path, done, tornBytes }: SweepJournal, count: number): void {
  if (tornBytes > 0) {
    process.stderr.write(`${path}: the last line was torn when the sweep was killed; its point is run again\n`)
  }
  if (done.size > 0) process.stderr.write(`resuming: ${grouped(done.size)} of ${counted(count, 'point')} are done\n`)
}

function removeResults(output: string): void {
  for (const path of [output, journalPath(output)]) if (existsSync(path)) unlinkSync(path)
}

function listPoints(plan: StudyPlan, { shard }: Flags): void {
  for (const index of shardIndices(plan.count, shard)) {
    process.stdout.write(`${index} ${parametersText(pointParameters(plan, index))}\n`)
  }
}

function printPoint(plan: StudyPlan, index: number): void {
  if (index >= plan.count) {
    throw new UserError(`there is no point ${index}: the study has points 0 to ${plan.count - 1}`)
  }
  process.stdout.write(pointText(plan, index))
}

function defaultOutput(study: string, shard: Shard | undefined): string {
  const part = shard === undefined ? '' : `.${shard.number}-of-${shard.of}`
  return `${basename(study).replace(/(\.study)?\.ya?ml$/, '')}${part}.jsonl`
}

/** In words; depends on the host, and goes nowhere but to a terminal. */
export function timeLeft(startMs: number, done: number, count: number): string {
  const seconds = Math.ceil((performance.now() - startMs) / 1000 / Math.max(1, done) * (count - done))
  return seconds < 100 ? `about ${seconds} s left` : `about ${Math.ceil(seconds / 60)} min left`
}

function shardOf(text: string): Shard {
  const shard = parseShard(text)
  if (shard === undefined) {
    throw new InvalidArgumentError(`expected a part of a whole as in 2/4, counted from 1, found "${text}"`)
  }
  return shard
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`expected a whole number from ${least} to ${most}, found "${text}"`)
    }
    return value
  }
}
