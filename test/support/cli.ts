// The built command as a child process, and folders that are gone after the test.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const MAIN = join(ROOT, 'dist/src/cli/main.js')

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
  /** From the signal that was sent to the end; 0 without one. */
  msAfterSignal: number
}

export interface CliOptions {
  cwd?: string
  /** Sends `signal` this long after the first output, milliseconds. */
  interruptAfterMs?: number
  signal?: NodeJS.Signals
  /** What runs node; default: nothing in between. */
  prefix?: readonly string[]
  /** Options of node itself. */
  node?: readonly string[]
}

/** Runs `shootdown` with these arguments, from the project's root unless told otherwise. */
export function shootdown(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  const [command, ...rest] = [...(options.prefix ?? []), process.execPath, ...(options.node ?? []), MAIN, ...args]
  const child = spawn(command!, rest, {
    cwd: options.cwd ?? ROOT, stdio: ['ignore', 'pipe', 'pipe'],
    // As on a desk, also where a CI system runs the tests: a missing golden is written there.
    env: { ...process.env, NO_COLOR: '1', CI: '' },
  })
  const { interruptAfterMs, signal = 'SIGINT' } = options
  let [stdout, stderr, signalledAt] = ['', '', 0]
  child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  if (interruptAfterMs !== undefined) {
    child.stdout.once('data', () => setTimeout(() => {
      signalledAt = performance.now()
      child.kill(signal)
    }, interruptAfterMs))
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      resolve({ code, stdout, stderr, msAfterSignal: signalledAt === 0 ? 0 : performance.now() - signalledAt })
    })
  })
}

/** A folder with these files. */
export function temporaryFolder(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'shootdown-cli-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}
