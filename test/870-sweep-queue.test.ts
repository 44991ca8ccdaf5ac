// A sweep over Redis: the rows of a local sweep, whoever runs the points and whoever dies meanwhile. Runs where
// there is a redis-server.

import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import type * as PointPool from '../src/cli/point-pool.js'
import { openRedis } from '../src/study/redis.js'
import { forgetStudy, runQueuedSweep, runWorker } from '../src/study/sweep-queue.js'
import { parseStudy } from '../src/study/study-file.js'
import { lineOf } from '../src/study/sweep.js'
import { runPoint, type PointOutcome } from '../src/study/sweep-point.js'
import { MAIN, ROOT, shootdown, temporaryFolder } from './support/cli.js'
import { freePort, REDIS_SERVER, startRedis, WITH_REDIS } from './support/redis.js'
import { SMALL_STUDY, SMALL_STUDY_POINTS } from './support/studies.js'

const OPTIONS = { timeout: 400_000 }

function worker(url: string, folder: string): ChildProcess {
  const child = spawn(process.execPath, [MAIN, 'worker', '--queue', url, '--jobs', '1', '--lease', '1'],
    { cwd: folder, stdio: 'ignore' })
  onTestFinished(() => { child.kill('SIGKILL') })
  return child
}

describe.skipIf(REDIS_SERVER === undefined)(`a sweep over Redis${WITH_REDIS}`, () => {
  test('gives the bytes of a local one with two worker processes, one of them killed in the middle', OPTIONS,
    async () => {
      const url = await startRedis()
      const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
      const local = await shootdown(['sweep', 's.study.yaml', '--output', 'local.jsonl'], { cwd: folder })
      expect(local.code).toBe(0)
      const [victim] = [worker(url, folder), worker(url, folder)]
      const redis = new Redis(url)
      onTestFinished(() => redis.disconnect())
      const done = async (): Promise<number> => {
        const [key] = await redis.keys('shootdown:done:*')
        return key === undefined ? 0 : await redis.scard(key)
      }
      const timer = setInterval(() => void done().then((count) => {
        if (count >= SMALL_STUDY_POINTS / 3) victim!.kill('SIGKILL')
      }), 5)
      const args = ['sweep', 's.study.yaml', '--queue', url, '--output', 'queued.jsonl']
      const queued = await shootdown(args, { cwd: folder })
      clearInterval(timer)
      expect({ code: queued.code, stderr: queued.stderr }).toEqual({ code: 0, stderr: expect.any(String) })
      expect(victim!.killed).toBe(true)
      expect(readFileSync(join(folder, 'queued.jsonl'), 'utf8')).toBe(readFileSync(join(folder, 'local.jsonl'), 'utf8'))
      expect(await redis.keys('shootdown:*')).toEqual([])
    })

  test('has one result of each point, however often it is queued and run', OPTIONS, async () => {
    const url = await startRedis()
    const plan = await parseStudy(SMALL_STUDY, 's.study.yaml')
    const [redis, other] = [await openRedis(url), await openRedis(url)]
    onTestFinished(() => { redis.disconnect(); other.disconnect() })
    const controller = new AbortController()
    let runs = 0
    // A run whose worker dies after the result is there, but before the job is done: once for every third point.
    const died = new Set<number>()
    const working = runWorker({
      redis: other, version: '1', jobs: 3, leaseMs: 1000, signal: controller.signal, drain: false,
      run: (study, index) => { runs += 1; return runPoint(study, index, '1') },
      onPoint: (_, index) => {
        if (index % 3 !== 0 || died.has(index)) return
        died.add(index)
        throw new Error('died')
      },
    })
    const sweepOnce = async (indices: readonly number[]): Promise<Map<number, PointOutcome>> => {
      const outcomes = new Map<number, PointOutcome>()
      await runQueuedSweep({
        redis, plan, indices, version: '1', signal: controller.signal, onProgress: () => undefined,
        onOutcome: (index, outcome) => {
          expect(outcomes.has(index)).toBe(false)
          outcomes.set(index, outcome)
        },
      })
      return outcomes
    }
    const all = Array.from({ length: plan.count }, (_, index) => index)
    const first = await sweepOnce(all)
    expect([...first.keys()].sort((a, b) => a - b)).toEqual(all)
    for (const [index, outcome] of first) {
      expect(lineOf(plan, index, outcome)).toBe((await runPoint(plan, index, '1')).line)
    }
    // The sweep was killed before it had them on disk: they are there, and nothing is run again.
    const before = runs
    expect((await sweepOnce(all)).size).toBe(plan.count)
    expect(runs - before).toBeLessThanOrEqual(died.size)
    expect(runs).toBeGreaterThanOrEqual(plan.count)
    await forgetStudy(redis, plan)
    controller.abort()
    await working
  })

  test('goes on when all it had put there is gone: another sweep of the study has ended, or the server forgot', OPTIONS,
    async () => {
      const url = await startRedis()
      const plan = await parseStudy(SMALL_STUDY, 's.study.yaml')
      const [redis, other] = [await openRedis(url), await openRedis(url)]
      onTestFinished(() => { redis.disconnect(); other.disconnect() })
      const controller = new AbortController()
      const forgets = [() => forgetStudy(redis, plan), () => redis.flushall()]
      const working = runWorker({
        redis: other, version: '1', jobs: 1, leaseMs: 1000, signal: controller.signal, drain: false,
        run: (study, index) => runPoint(study, index, '1'), onPoint: () => undefined,
      })
      const outcomes = new Map<number, PointOutcome>()
      await runQueuedSweep({
        redis, plan, indices: Array.from({ length: plan.count }, (_, index) => index), version: '1',
        signal: controller.signal, onProgress: () => undefined,
        onOutcome: (index, outcome) => {
          outcomes.set(index, outcome)
          if (outcomes.size % 8 === 0) void forgets.pop()?.()
        },
      })
      controller.abort()
      await working
      expect(outcomes.size).toBe(plan.count)
    })

  test('refuses a server that may throw results away', OPTIONS, async () => {
    const url = await startRedis('--maxmemory-policy', 'allkeys-lru')
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    const { code, stderr } = await shootdown(['sweep', 's.study.yaml', '--queue', url], { cwd: folder })
    expect({ code, stderr }).toEqual({
      code: 2, stderr: `error: Redis at ${url} may throw results away: maxmemory-policy is allkeys-lru\n`
        + 'expected noeviction; redis-cli config set maxmemory-policy noeviction\n',
    })
  })
})

describe('the threads of a worker', () => {
  test('stay for the next point, however long it takes to come', OPTIONS, async () => {
    // Its threads run what was built.
    const { openPointPool } = await import(join(ROOT, 'dist/src/cli/point-pool.js')) as typeof PointPool
    const pool = openPointPool(1)
    onTestFinished(() => pool.destroy())
    const plan = await parseStudy(SMALL_STUDY, 's.study.yaml')
    const threads: number[] = []
    for (const index of [0, 1]) {
      expect((await pool.run({ plan, index, version: '1' })).line).toContain(`"index":${index},`)
      await new Promise((resolve) => setTimeout(resolve, 100))
      threads.push(...pool.threads.map(({ threadId }) => threadId))
    }
    expect(threads).toEqual([threads[0], threads[0]])
  })
})

describe('a queue that cannot be reached', () => {
  test('is told at once, and nothing is left behind', OPTIONS, async () => {
    const url = `redis://user:secret@127.0.0.1:${await freePort()}`
    const shown = url.replace('user:secret@', '')
    const folder = temporaryFolder({ 's.study.yaml': SMALL_STUDY })
    for (const args of [['sweep', 's.study.yaml', '--queue', url], ['worker', '--queue', url]]) {
      const { code, stdout, stderr } = await shootdown(args, { cwd: folder })
      expect({ code, stdout, stderr }).toEqual({
        code: 2, stdout: '', stderr: `error: cannot reach Redis at ${shown}: nothing listens there\n`,
      })
    }
    const wrong = await shootdown(['worker', '--queue', 'localhost:6379'], { cwd: folder })
    expect([wrong.code, wrong.stderr]).toEqual([2, 'error: "localhost:6379" is not the address of a Redis server\n'
      + 'expected for example redis://localhost:6379\n'])
    expect(readdirSync(folder)).toEqual(['s.study.yaml'])
  })
})
