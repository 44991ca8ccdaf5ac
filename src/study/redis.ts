// A connection to Redis that either works or says at once why not, and the packages for it, which are optional:
// only `sweep --queue` and `worker` need them.

import type { Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { UserError } from '../base/errors.js'

const CONNECT_TIMEOUT_MS = 5000
const RETRY_MS = 500

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no host of this name',
  EAI_AGAIN: 'its name cannot be looked up',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'there is no way to this host',
}

interface Packages {
  Queue: typeof Queue
  Worker: typeof Worker
  Redis: typeof Redis
}

/** The packages. Throws a UserError when they are not installed. */
export async function queuePackages(): Promise<Packages> {
  try {
    const { Queue, Worker } = await import('bullmq')
    const { Redis } = await import('ioredis')
    return { Queue, Worker, Redis }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new UserError('a queue needs the packages bullmq and ioredis, which are not installed', undefined,
      ['npm install bullmq ioredis'])
  }
}

/** Connects to redis://[user:password@]host[:port][/database]. Throws a UserError when that does not work. */
export async function openRedis(url: string): Promise<Redis> {
  if (!/^rediss?:\/\/[^/]/.test(url) || !URL.canParse(url)) {
    throw new UserError(`"${withoutPassword(url)}" is not the address of a Redis server`, undefined,
      ['expected for example redis://localhost:6379'])
  }
  const packages = await queuePackages()
  let isUp = false
  let last: unknown
  // A job must wait for Redis to come back, however often it has to try (BullMQ asks for null).
  const redis = new packages.Redis(url, {
    lazyConnect: true, maxRetriesPerRequest: null, connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: () => isUp ? RETRY_MS : null,
  })
  redis.on('error', (error) => { last = error })
  try {
    await redis.connect()
    await redis.ping()
    isUp = true
    await checkEviction(redis, url)
    return redis
  } catch (error) {
    // One that has ended by itself would keep the process waiting for its end.
    if (redis.status !== 'end') redis.disconnect()
    if (error instanceof UserError) throw error
    throw new UserError(`cannot reach Redis at ${withoutPassword(url)}: ${reasonOf(last ?? error)}`)
  }
}

/** A server that throws keys away when memory is short would lose points without a word. */
async function checkEviction(redis: Redis, url: string): Promise<void> {
  let policy: string | undefined
  try {
    policy = (await redis.config('GET', 'maxmemory-policy') as string[])[1]
  } catch {
    // Hosted servers may forbid CONFIG; then the operator has decided.
    return
  }
  if (policy === undefined || policy === 'noeviction') return
  const where = withoutPassword(url)
  throw new UserError(`Redis at ${where} may throw results away: maxmemory-policy is ${policy}`, undefined, [
    'expected noeviction; redis-cli config set maxmemory-policy noeviction',
  ])
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (message.startsWith('Protocol error')) return 'what answers there is no Redis server'
  return (code !== undefined && REASONS[code]) || message
}

/** For messages. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//')
}
