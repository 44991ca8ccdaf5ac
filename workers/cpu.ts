// Entry of a simulated CPU's thread: attaches to the shared buffers and serves the windows of its
// core. What a window is: src/engine/windows.ts; how it is handed over: src/engine/threads.ts.

import { parentPort } from 'node:worker_threads'
import { expose } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { assert } from '../src/base/assert.js'
import { attachCpu } from '../src/engine/cpu-thread.js'
import type { CpuControl, RunSetup } from '../src/engine/protocol.js'

let serveLoop: (() => void) | undefined

const control: CpuControl = {
  boot(setup: RunSetup, id: number): void {
    serveLoop = attachCpu(setup, id)
  },
  serve(): void {
    assert(serveLoop !== undefined, 'serve() before boot()')
    serveLoop()
  },
}

assert(parentPort !== null, 'workers/cpu.ts runs only as a worker')
expose(control, nodeEndpoint(parentPort))
