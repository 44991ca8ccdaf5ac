// A Redis server for one test, where the host has the program; and what to say where it has not.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { temporaryFolder } from './cli.js'

/** Path of redis-server: $REDIS_SERVER, or in $PATH; undefined when there is none. */
export const REDIS_SERVER = process.env['REDIS_SERVER'] ?? (process.env['PATH'] ?? '').split(delimiter)
  .map((folder) => join(folder, 'redis-server')).find((path) => existsSync(path))

/** For titles of tests that need it. */
export const WITH_REDIS = REDIS_SERVER === undefined
  ? ' (skipped: no redis-server; install it or set REDIS_SERVER)' : ''

/** Starts a server that ends with the test; its address. */
export async function startRedis(...options: readonly string[]): Promise<string> {
  const port = await freePort()
  const server = spawn(REDIS_SERVER!, [
    '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', temporaryFolder(),
    ...options,
  ], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => { server.kill('SIGKILL') })
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.on('exit', (code) => reject(new Error(`redis-server ended with ${code}`)))
    server.stdout.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('eady to accept connections')) resolve()
    })
  })
  return `redis://127.0.0.1:${port}`
}

/** A port that nothing listens on, at least for now. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
