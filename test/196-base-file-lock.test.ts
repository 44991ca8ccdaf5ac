// One writer at a time: a lock is refused while its owner lives, on this machine or another, and taken when it is gone.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { FileLock } from '../src/base/file-lock.js'
import { temporaryFolder } from './support/cli.js'

function place(): { folder: string; path: string } {
  const folder = temporaryFolder()
  return { folder, path: join(folder, 'a.lock') }
}

async function taken(path: string): Promise<FileLock> {
  const lock = await FileLock.take(path, 'a')
  onTestFinished(() => lock.release())
  return lock
}

/** The lock that this process would write, with other fields. */
async function written(path: string, changed: Record<string, unknown>): Promise<void> {
  const lock = await FileLock.take(path, 'a')
  const text = readFileSync(path, 'utf8')
  lock.release()
  writeFileSync(path, JSON.stringify({ ...JSON.parse(text), token: 'other', ...changed }))
}

describe('a lock', () => {
  test('is refused while its owner lives, and free when it is given back', async () => {
    const { folder, path } = place()
    const lock = await taken(path)
    await expect(FileLock.take(path, 'results.jsonl')).rejects.toThrow(
      `results.jsonl is being written by process ${process.pid}`)
    lock.check()
    lock.release()
    expect(readdirSync(folder)).toEqual([])
    await taken(path)
    expect(readdirSync(folder)).toEqual(['a.lock'])
  })

  test('of a process that was killed is taken at once', async () => {
    const { folder, path } = place()
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await once(child, 'spawn')
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
    const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    await written(path, { pid: child.pid, began })
    await expect(FileLock.take(path, 'a')).rejects.toThrow(`a is being written by process ${child.pid}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    ;(await taken(path)).check()
    expect(readdirSync(folder)).toEqual(['a.lock'])
  })

  test('of a process whose number is another\'s now is taken at once', async () => {
    const { path } = place()
    await written(path, { began: '1' })
    ;(await taken(path)).check()
  })

  test('of another machine counts until it has been silent for a minute', async () => {
    const { folder, path } = place()
    await written(path, { host: 'node7', machine: 'another', pid: 12 })
    const refused = await FileLock.take(path, 'a').then(() => undefined, (error: unknown) => error)
    expect(refused).toMatchObject({
      message: 'a is being written by process 12 of node7, heard of 0 s ago',
      details: [`when it has been silent for 60 s, its lock ${path} does not count any more`],
    })
    expect(readdirSync(folder)).toEqual(['a.lock'])
    const then = new Date(Date.now() - 61_000)
    utimesSync(path, then, then)
    ;(await taken(path)).check()
  })

  test('that is only just being written belongs to somebody', async () => {
    const { path } = place()
    writeFileSync(path, '')
    await expect(FileLock.take(path, 'a')).rejects.toThrow('a is being written by another process, heard of 0 s ago')
  })

  test('is one process\'s when several find it dead at the same moment', async () => {
    const { path } = place()
    await written(path, { began: '1' })
    // In one process the second candidate has the name of the first, and is refused; across processes the last wins.
    const results = await Promise.allSettled([1, 2, 3].map(() => FileLock.take(path, 'a')))
    const locks = results.flatMap((one) => one.status === 'fulfilled' ? [one.value] : [])
    expect(locks.length).toBe(1)
    locks[0]!.check()
    locks[0]!.release()
    expect(existsSync(path)).toBe(false)
  })

  test('that went to another is noticed before anything is written, and left alone', async () => {
    const { path } = place()
    const lock = await taken(path)
    const text = readFileSync(path, 'utf8').replace(/"token":"[^"]*"/, '"token":"other"')
    writeFileSync(path, text)
    expect(() => lock.check()).toThrow(`the lock ${path} was removed, or taken by a process that took this one`)
    lock.release()
    expect(readFileSync(path, 'utf8')).toBe(text)
  })
})
