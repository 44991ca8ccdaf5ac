// A sweep over Redis: one process puts the points of a plan into a queue (BullMQ) and takes the rows out, any number
// of workers on any machines run them.
//
//   sweep   plan:<study>  <- the plan, once         worker  takes a job (study, index), reads the plan, runs the point
//           queue         <- a job for each point           results:<study> <- its outcome, unless there is one
//           results:<study> -> journal on disk
//
// A job is done at least once: that of a worker that is killed goes to another one when its lease ends. A point has
// one result all the same: the first one, because "is there one?" and "put it there" are one step in Redis, and the
// journal takes an index once. Workers take only jobs of their own version.

import type { Redis } from 'ioredis'
import type { Job, Queue } from 'bullmq'
import { EngineError } from '../base/errors.js'
import { queuePackages } from './redis.js'
import type { StudyPlan } from './study-plan.js'
import type { PointOutcome } from './sweep-point.js'

export interface QueuedPoint {
  study: string
  index: number
}

/** A point that fails so often (its worker died, or a bug of ours) stops the sweep. */
const ATTEMPTS = 3
const STALLS = 20
const JOBS_PER_CALL = 500
const RESULTS_PER_CALL = 200
const POLL_MS = 200

/** KEYS: done, results. ARGV: index, outcome. */
const PUT_RESULT = `if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[2]) end`

const key = (what: 'plan' | 'done' | 'results', study: string): string => `shootdown:${what}:${study}`

/** Jobs of one version of the program. */
export function queueName(version: string): string {
  return `shootdown-${version}`
}

export interface QueuedSweep {
  redis: Redis
  plan: StudyPlan
  /** Points that have no row yet. */
  indices: readonly number[]
  version: string
  /** Called once with each outcome, in the order in which they come. */
  onOutcome: (index: number, outcome: PointOutcome) => void
  /** Called now and then with the number of workers. */
  onProgress: (workers: number) => void
  signal: AbortSignal
}

/** Has workers run `indices`; returns when all outcomes are there, or when `signal` aborts. */
export async function runQueuedSweep(sweep: QueuedSweep): Promise<void> {
  const { redis, plan, indices, version, signal } = sweep
  const packages = await queuePackages()
  const queue: Queue<QueuedPoint> = new packages.Queue(queueName(version), { connection: redis })
  const collector = new Collector(sweep)
  const putThere = async (): Promise<void> => {
    await redis.set(key('plan', plan.hash), JSON.stringify(plan))
    // What an earlier sweep has left there need not be run again.
    await collector.takeAll()
    await addJobs(queue, plan, indices.filter((index) => !collector.taken.has(index)), signal)
  }
  try {
    await putThere()
    while (collector.taken.size < indices.length && !signal.aborted) {
      if (await collector.take() > 0) continue
      await throwFailed(queue, plan)
      // Another sweep of the same study has ended and taken all with it, or the server began again with nothing.
      if (await redis.exists(key('plan', plan.hash)) === 0) await putThere()
      sweep.onProgress(await queue.getWorkersCount())
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  } finally {
    await queue.close()
  }
}

/** The rows are on disk: nothing of the study stays in Redis. */
export async function forgetStudy(redis: Redis, plan: StudyPlan): Promise<void> {
  await redis.del(key('plan', plan.hash), key('done', plan.hash), key('results', plan.hash))
}

class Collector {
  /** Indices whose outcome was handed over, of those that were wanted. */
  readonly taken = new Set<number>()
  readonly #sweep: QueuedSweep
  readonly #wanted: ReadonlySet<number>
  #cursor = 0

  constructor(sweep: QueuedSweep) {
    this.#sweep = sweep
    this.#wanted = new Set(sweep.indices)
  }

  /** From the beginning, because the list may be a new one. */
  async takeAll(): Promise<void> {
    this.#cursor = 0
    while (await this.take() > 0);
  }

  /** Hands new outcomes over; how many there were. */
  async take(): Promise<number> {
    const { redis, plan, onOutcome } = this.#sweep
    const texts = await redis.lrange(key('results', plan.hash), this.#cursor, this.#cursor + RESULTS_PER_CALL - 1)
    for (const text of texts) {
      const { index, outcome } = JSON.parse(text) as { index: number; outcome: PointOutcome }
      if (!this.#wanted.has(index) || this.taken.has(index)) continue
      onOutcome(index, outcome)
      this.taken.add(index)
    }
    this.#cursor += texts.length
    return texts.length
  }
}

/** A job that is in the queue already is not added again: its id is study and index. */
async function addJobs(
  queue: Queue<QueuedPoint>, plan: StudyPlan, indices: readonly number[], signal: AbortSignal,
): Promise<void> {
  for (let from = 0; from < indices.length && !signal.aborted; from += JOBS_PER_CALL) {
    await queue.addBulk(indices.slice(from, from + JOBS_PER_CALL).map((index) => ({
      name: 'point', data: { study: plan.hash, index },
      opts: { jobId: `${plan.hash}-${index}`, attempts: ATTEMPTS, removeOnComplete: true, removeOnFail: false },
    })))
  }
}

/** A job that has failed for good is removed, so that the next sweep tries it again, and told. */
async function throwFailed(queue: Queue<QueuedPoint>, plan: StudyPlan): Promise<void> {
  const failed = (await queue.getJobs(['failed'], 0, JOBS_PER_CALL)).filter(({ data }) => data.study === plan.hash)
  const [first] = failed
  if (first === undefined) return
  for (const job of failed) await job.remove()
  throw new EngineError(`point ${first.data.index} failed ${ATTEMPTS} times: ${first.failedReason}`)
}

export interface QueueWorker {
  redis: Redis
  version: string
  /** Points at a time. */
  jobs: number
  /** A point goes to another worker when this one was not heard of for so long, milliseconds. */
  leaseMs: number
  run: (plan: StudyPlan, index: number) => Promise<PointOutcome>
  /** Called after each point. */
  onPoint: (study: StudyPlan, index: number) => void
  /** Ends it: points that are being run are finished first. */
  signal: AbortSignal
  /** End when the queue is empty, too. */
  drain: boolean
}

/** Runs points of the queue until it is told to stop. */
export async function runWorker(options: QueueWorker): Promise<void> {
  const { redis, version, jobs, leaseMs, run, onPoint, signal, drain } = options
  const packages = await queuePackages()
  const plans = new Map<string, StudyPlan>()
  const process = async ({ data: { study, index } }: Job<QueuedPoint>): Promise<void> => {
    const plan = plans.get(study) ?? await readPlan(redis, study)
    // The study is over: a job of it may be left when its sweep was given up.
    if (plan === undefined) return
    plans.set(study, plan)
    const outcome = await run(plan, index)
    const text = JSON.stringify({ index, outcome })
    await redis.eval(PUT_RESULT, 2, key('done', study), key('results', study), index, text)
    onPoint(plan, index)
  }
  const worker = new packages.Worker<QueuedPoint>(queueName(version), process, {
    connection: redis, concurrency: jobs, lockDuration: leaseMs, stalledInterval: leaseMs, maxStalledCount: STALLS,
  })
  worker.on('error', () => undefined)
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve())
    if (drain) worker.on('drained', () => resolve())
  })
  await worker.close()
}

async function readPlan(redis: Redis, study: string): Promise<StudyPlan | undefined> {
  const text = await redis.get(key('plan', study))
  return text === null ? undefined : JSON.parse(text) as StudyPlan
}
