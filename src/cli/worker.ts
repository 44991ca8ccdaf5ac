// `shootdown worker --queue redis://HOST`: runs points of sweeps that other machines have put into a queue, until it
// is stopped. How points come and go: study/sweep-queue.ts.

import { availableParallelism } from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { openRedis } from '../study/redis.js'
import { runWorker } from '../study/sweep-queue.js'
import { openPointPool } from './point-pool.js'
import { Progress } from './progress.js'
import { counted } from './text-table.js'
import { toolVersion } from './version.js'

interface Flags {
  queue: string
  jobs: number
  lease: number
  drain?: boolean
}

/** The sub-command, to be added to the program. */
export function workerCommand(): Command {
  return new Command('worker')
    .description('run points of sweeps that are in a queue')
    .requiredOption('--queue <url>', 'the Redis server of the queue, such as redis://localhost:6379')
    .option('--jobs <n>', 'points at a time', whole(1, 1024), availableParallelism())
    .option('--lease <seconds>', 'give a point to another worker when this one is not heard of for so long',
      whole(1, 3600), 30)
    .option('--drain', 'stop when the queue is empty')
    .addHelpText('after', `
Takes points of any study, but only those that this version of the program has queued. Ctrl-C finishes the points that
are being run; a worker that is killed loses them to another one. Traces that scenarios replay must have the same path.
Exit codes: 0 stopped, 2 bad input.

Examples:
  shootdown worker --queue redis://localhost:6379
  shootdown sweep study.yaml --queue redis://localhost:6379`)
    .action(work)
}

async function work(flags: Flags): Promise<void> {
  const version = toolVersion()
  const redis = await openRedis(flags.queue)
  const pool = openPointPool(flags.jobs)
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    process.stderr.write('\nstopping: the points that are being run are finished first\n')
    controller.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const progress = new Progress()
  let points = 0
  process.stderr.write(`waiting for points of version ${version}\n`)
  try {
    await runWorker({
      redis, version, jobs: flags.jobs, leaseMs: flags.lease * 1000, signal: controller.signal,
      drain: flags.drain === true,
      run: (plan, index) => pool.run({ plan, index, version }),
      onPoint: (plan) => {
        points += 1
        progress.update(() => `${counted(points, 'point')}, now of ${plan.name}`)
      },
    })
  } finally {
    progress.done()
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
    redis.disconnect()
    await pool.destroy()
  }
  process.stderr.write(`${counted(points, 'point')} run\n`)
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
