// Entry of a worker: attaches to the shared buffers and serves the windows of its simulated CPU, or CPUs.
// What a window is: src/engine/windows.ts; how it is handed over: src/engine/worker-window.ts.

import { parentPort } from 'node:worker_threads'
import { expose } from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { assert } from '../src/base/assert.js'
import { attachWorker } from '../src/engine/cpu-thread.js'
import type { CpuControl, RunSetup } from '../src/engine/protocol.js'

let serveLoop: (() => void) | undefined

const control: CpuControl = {
  boot(setup: RunSetup, worker: number): void {
    serveLoop = attachWorker(setup, worker)
  },
  serve(): void {
    assert(serveLoop !== undefined, 'serve() before boot()')
    serveLoop()
  },
}

assert(parentPort !== null, 'workers/cpu.ts runs only as a worker')
expose(control, nodeEndpoint(parentPort))
